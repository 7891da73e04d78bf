//#include "lib/grid.wgsl"
//#include "lib/panel.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/transcendental.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/schedule.wgsl"
//#include "lib/sinkhorn.wgsl"
//#include "lib/masses.wgsl"
//#include "lib/iterates.wgsl"
//#include "lib/panel-logits.wgsl"

// Forward for large sides. Every panel of `panel_rows` rows of a matrix is read once an iteration: row sums first, then, from registers, its share
// of the column sums (lib/panel.wgsl), which the column entries add up.
//   logits, result: [count, n · m], element (i, j) at i · row_step + j · column_step
//   kernel: [count, n, width] of quads, in the order of the passes, 0 behind the columns
//   state: see lib/iterates.wgsl
//   partials: [count, panels, 2, width] for the sweep, [count, panels, width] after it
//   record: [count, record_stride], see geometry.ts
//   launch: how many workgroups `scale` and `scale_columns` take after a look at the errors, three words each: `launches` until no matrix is
//     left that goes on, 0 then; the number of those that are left
// RENEW: whether the kernel is exp(logits + f + g) anew.
override RENEW: u32;
override BLOCK: u32;

struct Params {
  count: u32,
  n: u32,
  m: u32,
  row_step: u32,
  column_step: u32,
  panel_rows: u32,
  panels: u32,
  iterations: u32,
  annealed: u32,
  t: u32,
  // 1: P, 2: log P, from whatever there is.
  plan: u32,
  record: u32,
  record_stride: u32,
  history: u32,
  history_stride: u32,
  given: u32,
  rows_step: u32,
  columns_step: u32,
  uniform_masses: u32,
  turned: u32,
  gate: u32,
  gate_step: u32,
  started: u32,
  start_step: u32,
  temperature: f32,
  hot: f32,
  cooling: f32,
  leak_rows: f32,
  leak_columns: f32,
  tolerance: f32,
  fault: u32,
  launches: array<vec4u, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> columns: array<u32>;
@group(0) @binding(4) var<storage, read> start: array<u32>;
@group(0) @binding(5) var<storage, read> gate: array<u32>;
@group(0) @binding(6) var<storage, read_write> kernel: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> state: array<f32>;
@group(0) @binding(8) var<storage, read_write> partials: array<vec4f>;
@group(0) @binding(9) var<storage, read_write> record: array<f32>;
@group(0) @binding(10) var<storage, read_write> status: array<atomic<u32>, 2>;
@group(0) @binding(11) var<storage, read_write> result: array<f32>;
@group(0) @binding(12) var<storage, read_write> launch: array<atomic<u32>, 7>;

const LAUNCH_SCALE: u32 = 0u;
const LAUNCH_COLUMNS: u32 = 3u;
const GOING_ON: u32 = 6u;
const LAUNCH_WORDS: u32 = 7u;

var<workgroup> stopped: u32;

fn logs(x: vec4f) -> vec4f { return vec4f(accurate_log(x.x), accurate_log(x.y), accurate_log(x.z), accurate_log(x.w)); }

// Masses, and potentials to begin with.
@compute @workgroup_size(256)
fn open(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = linear_workgroup(group, groups) * 256u + lane;
  if (id < 3u) {
    atomicStore(&launch[LAUNCH_SCALE + id], params.launches[0][id]);
    atomicStore(&launch[LAUNCH_COLUMNS + id], params.launches[1][id]);
    atomicStore(&launch[GOING_ON], params.count);
  }
  let all = params.n + params.m;
  let matrix = id / all;
  let i = id % all;
  if (matrix >= params.count) { return; }
  let extent = extent_of(matrix, i == 0u);
  if (i == 0u) {
    state[ran_at(matrix)] = 0.0;
    state[ran_at(matrix) + 1u] = 0.0;
  }
  if (i < params.n) {
    state[row_state(matrix, 3u, i)] = mass_of_row(matrix, i, extent, true);
    return;
  }
  let j = i - params.n;
  let mass = mass_of_column(matrix, j, extent, true);
  state[column_state(matrix, 2u, j)] = mass;
  var began = 0.0;
  if (params.started == 1u && mass > 0.0) {
    let word = start[matrix * params.start_step + j];
    if (is_broken(word)) { report_fault(params.fault | NUMBER, word); }
    began = scaled_logit(word, 1.0);
  }
  state[column_state(matrix, 0u, j)] = began;
}

// First iteration, rows: f, and per column the largest of logits + f and the sum of exponentials relative to it.
@compute @workgroup_size(256)
fn sweep(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let place = place_of(linear_workgroup(group, groups), thread);
  if (linear_workgroup(group, groups) >= params.count * params.panels * LANES / 256u) { return; }
  let matrix = place.matrix;
  let lane = place.lane;
  let temperature = temperature_at(1u);
  let began = column_numbers(matrix, 0u, lane);
  let none = Peaks(vec4f(PADDING), vec4f());
  var first_quad = none;
  var second = none;
  var third = none;
  var fourth = none;
  for (var step = 0u; step < params.panel_rows; step += 4u) {
    let first = place.begin + step;
    let given = select(vec4f(), row_numbers(matrix, 3u, first), has_rows(first));
    fill_rows(matrix, first, lane, temperature, false);
    let a = kernel_row(matrix, first, lane, PADDING);
    let b = kernel_row(matrix, first + 1u, lane, PADDING);
    let c = kernel_row(matrix, first + 2u, lane, PADDING);
    let d = kernel_row(matrix, first + 3u, lane, PADDING);
    let peak = panel_largest(vec4f(row_peak(a, began), row_peak(b, began), row_peak(c, began), row_peak(d, began)), thread);
    let has = peak > vec4f(0.5 * PADDING);
    let top = select(vec4f(), peak, has);
    let parts = vec4f(row_powers(a, began, top.x), row_powers(b, began, top.y), row_powers(c, began, top.z), row_powers(d, began, top.w));
    let lse = top + logs(max(panel_total(parts, thread), vec4f(SMALLEST)));
    let mass = select(vec4f(), given, has);
    let f = potential_of(mass, lse, params.leak_rows * temperature);
    first_quad = with_rows(first_quad, a[0], b[0], c[0], d[0], f);
    if (QUADS > 1u) { second = with_rows(second, a[1], b[1], c[1], d[1], f); }
    if (QUADS > 2u) { third = with_rows(third, a[2], b[2], c[2], d[2], f); }
    if (QUADS > 3u) { fourth = with_rows(fourth, a[3], b[3], c[3], d[3], f); }
    if (lane < 4u && first + lane < params.n) {
      let own = first + lane;
      state[row_state(matrix, 0u, own)] = f[lane];
      state[row_state(matrix, 1u, own)] = select(0.0, 1.0, mass[lane] > 0.0);
      state[row_state(matrix, 3u, own)] = mass[lane];
      state[row_state(matrix, 4u, own)] = select(0.0, share_of(f[lane] + lse[lane]), mass[lane] > 0.0);
    }
  }
  let at = place.panel * 2u * width();
  keep_partials(at, lane, mat4x4f(first_quad.peak, second.peak, third.peak, fourth.peak));
  keep_partials(at + width(), lane, mat4x4f(first_quad.sum, second.sum, third.sum, fourth.sum));
}

struct Vector {
  matrix: u32,
  index: u32,
}
fn vector_of(id: u32) -> Vector {
  let longest = max(params.n, params.m);
  return Vector(id / longest, id % longest);
}

// First iteration, columns: g, v = 1, v₀.
@compute @workgroup_size(256)
fn sweep_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let parts = stacks() + (params.n + 255u) / 256u;
  let matrix = linear_workgroup(group, groups) / parts;
  let part = linear_workgroup(group, groups) % parts;
  if (matrix >= params.count) { return; }
  if (part >= stacks()) {
    remember_row(matrix, 1u, (part - stacks()) * 256u + thread);
    return;
  }
  let first = matrix * params.panels * 2u * width() + stack_quad(part, thread);
  var peak = vec4f(PADDING);
  for (var k = thread / 8u; k < params.panels; k += 32u) { peak = max(peak, partials[first + k * 2u * width()]); }
  panel_parts[thread] = peak;
  workgroupBarrier();
  for (var k = 0u; k < 32u; k++) { peak = max(peak, panel_parts[k * 8u + thread % 8u]); }
  let top = select(vec4f(), peak, peak > vec4f(0.5 * PADDING));
  var share = vec4f();
  for (var k = thread / 8u; k < params.panels; k += 32u) {
    let at = first + k * 2u * width();
    share += partials[at + width()] * power(partials[at] - top);
  }
  let sum = stack_total(share, thread);
  workgroupBarrier();
  if (thread < 8u) { panel_parts[thread] = peak; }
  workgroupBarrier();
  let j = part * 32u + thread;
  if (thread >= 32u || j >= params.m) { return; }
  let own_peak = panel_parts[thread / 4u][thread % 4u];
  let has = own_peak > 0.5 * PADDING;
  let base = select(0.0, own_peak, has);
  let mass = select(0.0, state[column_state(matrix, 2u, j)], has);
  let lse = base + accurate_log(max(sum, SMALLEST));
  let g = damped(mass, lse, params.leak_columns * temperature_at(1u));
  let began = state[column_state(matrix, 0u, j)];
  state[column_state(matrix, 0u, j)] = g;
  state[column_state(matrix, 1u, j)] = select(0.0, 1.0, mass > 0.0);
  state[column_state(matrix, 2u, j)] = mass;
  state[column_state(matrix, 3u, j)] = select(0.0, share_of(g + lse), mass > 0.0);
  if (params.record == 2u) {
    // v₀ = exp(g₀ − g₁); where masses are met it is known without a logarithm.
    let v0 = select(share_of(began + base) * sum * safe_inverse(mass), share_of(began - g), params.leak_columns > 0.0);
    write_record(matrix, params.history - params.m + j, select(0.0, v0, mass > 0.0));
  }
  remember_column(matrix, 1u, j);
}

// Potentials from the temperature of the iteration before to that of iteration t, where annealing changes it.
@compute @workgroup_size(256)
fn cool(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own = vector_of(linear_workgroup(group, groups) * 256u + lane);
  if (own.matrix >= params.count) { return; }
  let ratio = temperature_at(params.t - 1u) / temperature_at(params.t);
  if (own.index < params.n) { state[row_state(own.matrix, 0u, own.index)] *= ratio; }
  if (own.index < params.m) { state[column_state(own.matrix, 0u, own.index)] *= ratio; }
}

// Rows of iteration t: the next u, its part of the error before the iteration, and the panel's share of kernelᵀ u.
@compute @workgroup_size(256)
fn scale(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let place = place_of(linear_workgroup(group, groups), thread);
  if (linear_workgroup(group, groups) >= params.count * params.panels * LANES / 256u) { return; }
  let matrix = place.matrix;
  let lane = place.lane;
  if (thread == 0u) { stopped = u32(is_done(matrix)); }
  if (workgroupUniformLoad(&stopped) == 1u) { return; }
  let leak = params.leak_rows * temperature_at(params.t);
  let v = column_numbers(matrix, 1u, lane);
  var sums = mat4x4f();
  for (var step = 0u; step < params.panel_rows; step += 4u) {
    let first = place.begin + step;
    if (RENEW == 1u) { fill_rows(matrix, first, lane, temperature_at(params.t), true); }
    let a = kernel_row(matrix, first, lane, 0.0);
    let b = kernel_row(matrix, first + 1u, lane, 0.0);
    let c = kernel_row(matrix, first + 2u, lane, 0.0);
    let d = kernel_row(matrix, first + 3u, lane, 0.0);
    let f = row_numbers(matrix, 0u, first);
    let mass = select(vec4f(), row_numbers(matrix, 3u, first), has_rows(first));
    let sum = panel_total(vec4f(row_dot(a, v), row_dot(b, v), row_dot(c, v), row_dot(d, v)), thread);
    let next = scaling(sum, mass, f, leak);
    sums = plus_row(plus_row(plus_row(plus_row(sums, a, next.x), b, next.y), c, next.z), d, next.w);
    if (lane < 4u && first + lane < params.n) {
      let own = first + lane;
      state[row_state(matrix, 2u, own)] = next[lane];
      state[row_state(matrix, 4u, own)] = next[lane] * sum[lane];
      state[row_state(matrix, 5u, own)] = sum[lane] * abs(next[lane] - state[row_state(matrix, 1u, own)]);
    }
  }
  keep_partials(place.panel * width(), lane, sums);
}

// Whether a matrix is done after the iteration before t; after the last one (t = iterations + 1) all are. The last one that is done leaves the
// iterations that follow without workgroups. LANES is 256.
@compute @workgroup_size(256)
fn decide(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let matrix = linear_workgroup(group, groups);
  if (matrix >= params.count) { return; }
  if (thread == 0u) { stopped = u32(is_done(matrix)); }
  if (workgroupUniformLoad(&stopped) == 1u) { return; }
  var part = 0.0;
  for (var i = thread; i < params.n; i += 256u) { part += state[row_state(matrix, 5u, i)]; }
  let error = panel_total(vec4f(part), thread).x;
  if (thread != 0u || (error > params.tolerance && params.t <= params.iterations)) { return; }
  state[ran_at(matrix)] = f32(params.t - 1u);
  state[ran_at(matrix) + 1u] = error;
  if (atomicSub(&launch[GOING_ON], 1u) == 1u) {
    for (var k = 0u; k < GOING_ON; k++) { atomicStore(&launch[k], 0u); }
  }
}

fn take_row(matrix: u32, i: u32, absorb: bool) {
  if (i >= params.n || is_done(matrix)) { return; }
  let mass = state[row_state(matrix, 3u, i)];
  let u = state[row_state(matrix, 2u, i)];
  state[row_state(matrix, 1u, i)] = u;
  if (absorb && mass > 0.0) { state[row_state(matrix, 0u, i)] += accurate_log(max(u, SMALLEST)); }
  remember_row(matrix, params.t, i);
  if (absorb) { state[row_state(matrix, 1u, i)] = select(0.0, 1.0, mass > 0.0); }
}

// Columns of iteration t: v, and the row's u; where the block ends both are absorbed.
@compute @workgroup_size(256)
fn scale_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let parts = stacks() + (params.n + 255u) / 256u;
  let matrix = linear_workgroup(group, groups) / parts;
  let part = linear_workgroup(group, groups) % parts;
  if (matrix >= params.count) { return; }
  let absorb = ends_block(params.t) && params.t < params.iterations;
  if (part >= stacks()) {
    take_row(matrix, (part - stacks()) * 256u + thread, absorb);
    return;
  }
  let sum = column_total(matrix, part, thread);
  let j = part * 32u + thread;
  if (thread >= 32u || j >= params.m || is_done(matrix)) { return; }
  let mass = state[column_state(matrix, 2u, j)];
  let leak = params.leak_columns * temperature_at(params.t);
  let v = scaling(vec4f(sum), vec4f(mass), vec4f(state[column_state(matrix, 0u, j)]), leak).x;
  state[column_state(matrix, 1u, j)] = v;
  state[column_state(matrix, 3u, j)] = v * sum;
  if (absorb && mass > 0.0) { state[column_state(matrix, 0u, j)] += accurate_log(max(v, SMALLEST)); }
  remember_column(matrix, params.t, j);
  if (absorb) { state[column_state(matrix, 1u, j)] = select(0.0, 1.0, mass > 0.0); }
}

// Final potentials, u and v being absorbed, and what the record says of the run.
@compute @workgroup_size(256)
fn close(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own = vector_of(linear_workgroup(group, groups) * 256u + lane);
  if (own.matrix >= params.count) { return; }
  let matrix = own.matrix;
  if (own.index < params.n) {
    let mass = state[row_state(matrix, 3u, own.index)];
    let f = state[row_state(matrix, 0u, own.index)] + accurate_log(max(state[row_state(matrix, 1u, own.index)], SMALLEST));
    state[row_state(matrix, 2u, own.index)] = select(EXCLUDED, f, mass > 0.0);
    if (params.record > 0u) {
      write_record(matrix, 2u + own.index, select(EXCLUDED, f, mass > 0.0));
      write_record(matrix, 2u + params.n + params.m + own.index, safe_inverse(mass));
    }
  }
  if (own.index < params.m) {
    let mass = state[column_state(matrix, 2u, own.index)];
    let g = state[column_state(matrix, 0u, own.index)] + accurate_log(max(state[column_state(matrix, 1u, own.index)], SMALLEST));
    state[column_state(matrix, 3u, own.index)] = select(EXCLUDED, g, mass > 0.0);
    if (params.record > 0u) {
      write_record(matrix, 2u + params.n + own.index, select(EXCLUDED, g, mass > 0.0));
      write_record(matrix, 2u + 2u * params.n + params.m + own.index, safe_inverse(mass));
    }
  }
  if (params.record == 0u) { return; }
  let ran = select(params.iterations, u32(state[ran_at(matrix)]), is_done(matrix));
  if (own.index == 0u) {
    write_record(matrix, 0u, f32(ran));
    write_record(matrix, 1u, state[ran_at(matrix) + 1u]);
  }
  if (params.record < 2u) { return; }
  // What an early stop has not written.
  let longest = max(params.n, params.m);
  for (var k = params.history + ran * params.history_stride + own.index; k < params.record_stride; k += longest) { write_record(matrix, k, 0.0); }
}

// The plan: u kernel v, or from potentials after a single iteration and for log P. A workgroup writes 1024 neighbours of one row of memory.
@compute @workgroup_size(256)
fn finish(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let length = max(params.row_step, params.column_step);
  let lines = params.n * params.m / length;
  let chunks = (length + 1023u) / 1024u;
  let line = linear_workgroup(group, groups) / chunks;
  let matrix = line / lines;
  if (matrix >= params.count) { return; }
  let first = linear_workgroup(group, groups) % chunks * 1024u + thread;
  for (var k = first; k < min(first + 1024u, length); k += 256u) {
    let i = select(line % lines, k, params.turned == 1u);
    let j = select(k, line % lines, params.turned == 1u);
    result[line * length + k] = entry(matrix, i, j);
  }
}
fn entry(matrix: u32, i: u32, j: u32) -> f32 {
  if (params.plan == 1u && RENEW == 0u) {
    let share = kernel[(matrix * params.n + i) * width() + j / 4u][j % 4u];
    return share * state[row_state(matrix, 1u, i)] * state[column_state(matrix, 1u, j)];
  }
  let alive = state[row_state(matrix, 3u, i)] > 0.0 && state[column_state(matrix, 2u, j)] > 0.0;
  let logit = tempered(matrix, i, j, alive, params.temperature);
  let exponent = logit + state[row_state(matrix, 2u, i)] + state[column_state(matrix, 3u, j)];
  let shown = select(EXCLUDED, max(EXCLUDED, exponent), logit > 0.5 * PADDING);
  return select(shown, share_of(shown), params.plan == 1u);
}
