//#include "lib/grid.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/order.wgsl"

// The greedy assignment of every matrix: the largest free entry gets its row and column, `steps` times.
//   scores: [matrices, rows, columns] as words   y: [matrices, rows], the column of each row or -1
// LANES threads share a matrix, so a workgroup takes 256 / LANES matrices. A thread keeps the best free entry of its rows, and
// seeks anew only when the column of that entry was taken: what it knew of its other rows stays an upper bound.
// `small` has one row a thread, which it reads again to seek. `large` has rows lane, lane + LANES, …: `bests` holds the best of every
// segment of a row (`segments` fills it), `row_bests` the best of every row; both may name entries whose column is taken by now.
override LANES: u32; // a power of two up to 256

struct Params {
  matrices: u32,
  rows: u32,
  columns: u32,
  steps: u32,
  segment: u32,   // columns per segment
  segments: u32,  // per row
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;
@group(0) @binding(3) var<storage, read_write> status: array<atomic<u32>, 2>;
@group(0) @binding(4) var<storage, read_write> bests: array<vec2u>;
@group(0) @binding(5) var<storage, read_write> row_bests: array<vec2u>;

// An entry: its key and its place in its matrix. Key 0 stands for none.
const NONE = vec2u(0u, 0xffffffffu);

// One bit a column, for every matrix of the workgroup.
const TAKEN_WORDS: u32 = 512u;
var<workgroup> taken: array<u32, TAKEN_WORDS>;
var<workgroup> candidates: array<vec2u, 256>;
var<workgroup> heads: array<vec2u, 256>;

fn better(a: vec2u, b: vec2u) -> vec2u {
  if (a.x > b.x || (a.x == b.x && a.y <= b.y)) { return a; }
  return b;
}

fn column_of(entry: vec2u) -> u32 { return entry.y % params.columns; }

struct Slot {
  matrix: u32,
  lane: u32,
  first: u32, // thread of lane 0
  bits: u32,  // first word in `taken`
}

fn slot_of(work: u32, thread: u32) -> Slot {
  let slot = thread / LANES;
  return Slot(work * (256u / LANES) + slot, thread % LANES, slot * LANES, slot * ((params.columns + 31u) / 32u));
}

fn is_taken(slot: Slot, column: u32) -> bool { return ((taken[slot.bits + column / 32u] >> (column % 32u)) & 1u) == 1u; }

// The best free entry among columns [begin, end) of a row.
fn best_free(slot: Slot, row: u32, begin: u32, end: u32) -> vec2u {
  let base = slot.matrix * params.rows * params.columns;
  var result = NONE;
  for (var column = begin; column < end; column++) {
    let place = row * params.columns + column;
    let key = key_of(scores[base + place]);
    if (key > result.x && !is_taken(slot, column)) { result = vec2u(key, place); }
  }
  return result;
}

fn clear_taken(thread: u32) {
  for (var word = thread; word < TAKEN_WORDS; word += 256u) { taken[word] = 0u; }
  workgroupBarrier();
}

// The best entry of a slot's threads, for all of them; its column is marked as taken then.
fn take_best(slot: Slot, own: vec2u, thread: u32) -> vec2u {
  let width = min(LANES, 16u);
  candidates[thread] = own;
  workgroupBarrier();
  if (slot.lane < LANES / width) {
    var head = NONE;
    for (var k = 0u; k < width; k++) { head = better(head, candidates[slot.first + slot.lane * width + k]); }
    heads[thread] = head;
  }
  workgroupBarrier();
  var best = NONE;
  for (var k = 0u; k < LANES / width; k++) { best = better(best, heads[slot.first + k]); }
  if (slot.lane == 0u && best.x != 0u) {
    let column = column_of(best);
    taken[slot.bits + column / 32u] |= 1u << (column % 32u);
  }
  workgroupBarrier();
  return best;
}

fn report_nan(word: u32) {
  if (key_of(word) == NAN_KEY) { report_fault(params.fault | (2u << 30u), word); }
}

@compute @workgroup_size(256)
fn small(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let slot = slot_of(linear_workgroup(group, groups), thread);
  let row = slot.lane;
  let live = slot.matrix < params.matrices && row < params.rows;
  clear_taken(thread);
  var own = NONE;
  if (live) {
    let begin = (slot.matrix * params.rows + row) * params.columns;
    for (var column = 0u; column < params.columns; column++) { report_nan(scores[begin + column]); }
    own = best_free(slot, row, 0u, params.columns);
  }
  var result = -1;
  for (var step = 0u; step < params.steps; step++) {
    let best = take_best(slot, own, thread);
    if (own.x != 0u && best.y == own.y) {
      result = i32(column_of(own));
      own = NONE;
    } else if (own.x != 0u && is_taken(slot, column_of(own))) {
      own = best_free(slot, row, 0u, params.columns);
    }
  }
  if (live) { y[slot.matrix * params.rows + row] = result; }
}

// The best entry of every segment; one thread each.
@compute @workgroup_size(256)
fn segments(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let index = 256u * linear_workgroup(group, groups) + thread;
  if (index >= params.matrices * params.rows * params.segments) { return; }
  let row = index / params.segments;
  let begin = (index - row * params.segments) * params.segment;
  let end = min(begin + params.segment, params.columns);
  let base = row / params.rows * params.rows * params.columns;
  var result = NONE;
  for (var column = begin; column < end; column++) {
    let place = row % params.rows * params.columns + column;
    let word = scores[base + place];
    report_nan(word);
    let key = key_of(word);
    if (key > result.x) { result = vec2u(key, place); }
  }
  bests[index] = result;
}

// The best of a row's segments becomes the row's.
fn gather_segments(index: u32) -> vec2u {
  var result = NONE;
  for (var k = 0u; k < params.segments; k++) { result = better(result, bests[index * params.segments + k]); }
  row_bests[index] = result;
  return result;
}

// The best free entry of a thread's rows.
fn seek(slot: Slot) -> vec2u {
  let base = slot.matrix * params.rows;
  loop {
    var result = NONE;
    for (var row = slot.lane; row < params.rows; row += LANES) { result = better(result, row_bests[base + row]); }
    if (result.x == 0u || !is_taken(slot, column_of(result))) { return result; }
    let row = result.y / params.columns;
    let segment = column_of(result) / params.segment;
    let begin = segment * params.segment;
    bests[(base + row) * params.segments + segment] = best_free(slot, row, begin, min(begin + params.segment, params.columns));
    gather_segments(base + row);
  }
}

@compute @workgroup_size(256)
fn large(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let slot = slot_of(linear_workgroup(group, groups), thread);
  clear_taken(thread);
  var own = NONE;
  if (slot.matrix < params.matrices) {
    for (var row = slot.lane; row < params.rows; row += LANES) {
      let index = slot.matrix * params.rows + row;
      y[index] = -1;
      own = better(own, gather_segments(index));
    }
  }
  for (var step = 0u; step < params.steps; step++) {
    let best = take_best(slot, own, thread);
    if (own.x != 0u && best.y == own.y) {
      let index = slot.matrix * params.rows + own.y / params.columns;
      y[index] = i32(column_of(own));
      row_bests[index] = NONE;
    }
    if (own.x != 0u && is_taken(slot, column_of(own))) { own = seek(slot); }
  }
}
