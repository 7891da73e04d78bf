// Reduces the terms of every output: LANES threads share one row, which is one part of the terms of one output.
//   x: the tensor's words   partials: [parts, outputs, 2]
// `whole` serves one part per output. Otherwise `partial` reduces every part and `combine` the parts of each output.
// The including file declares
//   struct State                                              what is known of some of the terms
//   fn empty() -> State
//   fn with_term(state: State, word: u32, term: u32) -> State
//   fn merge(a: State, b: State) -> State                     commutative but for rounding
//   fn pack(state: State) -> vec2u, fn unpack(words: vec2u) -> State
//   fn finish(output: u32, state: State)                      writes the result
override LANES: u32;       // a power of two up to 256
override INTERLEAVED: u32; // 1: neighbouring threads belong to neighbouring outputs; 0: to the same one
override KEPT: u32;        // axes walked by the outputs, and by the terms of one: at most 4 each
override REDUCED: u32;

struct Params {
  outputs: u32,
  terms: u32,
  parts: u32,
  part_terms: u32,
  // Outermost first, with the steps in x.
  kept_sizes: vec4<u32>,
  kept_steps: vec4<u32>,
  reduced_sizes: vec4<u32>,
  reduced_steps: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> partials: array<u32>;

var<workgroup> states: array<State, 256>;

// Place in x of the index-th element of the first `axes` axes.
fn place(index: u32, axes: u32, sizes: vec4u, steps: vec4u) -> u32 {
  var rest = index;
  var result = 0u;
  for (var axis = 3u; axis > 0u; axis--) {
    if (axis < axes) {
      let next = rest / sizes[axis];
      result += (rest - next * sizes[axis]) * steps[axis];
      rest = next;
    }
  }
  return result + rest * steps.x;
}

struct Row {
  index: u32, // part · outputs + output
  lane: u32,
}

fn row_of(work: u32, thread: u32) -> Row {
  let rows = 256u / LANES;
  let slot = select(thread / LANES, thread % rows, INTERLEAVED == 1u);
  return Row(work * rows + slot, select(thread % LANES, thread / rows, INTERLEAVED == 1u));
}

fn load_term(base: u32, term: u32) -> u32 {
  return x[base + place(term, REDUCED, params.reduced_sizes, params.reduced_steps)];
}

// The share of one thread. Four states, so that four loads are under way at a time.
fn gather(row: Row) -> State {
  var a = empty();
  if (row.index >= params.outputs * params.parts) { return a; }
  let part = row.index / params.outputs;
  let base = place(row.index - part * params.outputs, KEPT, params.kept_sizes, params.kept_steps);
  let end = min((part + 1u) * params.part_terms, params.terms);
  var term = part * params.part_terms + row.lane;
  if (params.part_terms >= 4u * LANES) {
    var b = empty();
    var c = empty();
    var d = empty();
    for (; term + 3u * LANES < end; term += 4u * LANES) {
      let first = load_term(base, term);
      let second = load_term(base, term + LANES);
      let third = load_term(base, term + 2u * LANES);
      let fourth = load_term(base, term + 3u * LANES);
      a = with_term(a, first, term);
      b = with_term(b, second, term + LANES);
      c = with_term(c, third, term + 2u * LANES);
      d = with_term(d, fourth, term + 3u * LANES);
    }
    a = merge(merge(a, b), merge(c, d));
  }
  for (; term < end; term += LANES) { a = with_term(a, load_term(base, term), term); }
  return a;
}

// The states of a row's threads merged by a tree; lane 0 gets the result.
fn across(own: State, lane: u32, thread: u32) -> State {
  let step = select(1u, 256u / LANES, INTERLEAVED == 1u);
  states[thread] = own;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { states[thread] = merge(states[thread], states[thread + half * step]); }
  }
  return states[thread];
}

@compute @workgroup_size(256)
fn whole(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = row_of(linear_workgroup(group, groups), thread);
  let state = across(gather(row), row.lane, thread);
  if (row.lane == 0u && row.index < params.outputs) { finish(row.index, state); }
}

@compute @workgroup_size(256)
fn partial(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = row_of(linear_workgroup(group, groups), thread);
  let words = pack(across(gather(row), row.lane, thread));
  if (row.lane == 0u && row.index < params.outputs * params.parts) {
    partials[2u * row.index] = words.x;
    partials[2u * row.index + 1u] = words.y;
  }
}

@compute @workgroup_size(256)
fn combine(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = row_of(linear_workgroup(group, groups), thread);
  var own = empty();
  if (row.index < params.outputs) {
    for (var part = row.lane; part < params.parts; part += LANES) {
      let at = 2u * (part * params.outputs + row.index);
      own = merge(own, unpack(vec2u(partials[at], partials[at + 1u])));
    }
  }
  let state = across(own, row.lane, thread);
  if (row.lane == 0u && row.index < params.outputs) { finish(row.index, state); }
}
