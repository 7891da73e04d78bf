//#include "lib/grid.wgsl"
//#include "lib/panel.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/schedule.wgsl"
//#include "lib/sinkhorn.wgsl"
//#include "lib/masses.wgsl"
//#include "lib/iterates.wgsl"

// Forward for large sides. A workgroup of the panel entries reads `panel_rows` rows of one matrix once: row sums first, then, from
// registers, its share of the column sums. One thread of the vector entries owns one row and one column of a matrix.
//   logits, kernel: [count, n · m], element (i, j) at i · row_step + j · column_step; the kernel is the plan in the end
//   state: see lib/iterates.wgsl
//   partials: [count, panels, 2, m] for the sweep, [count, panels, m + 1] after it, with the panel's share of the error in front
//   record: [count, record_stride], see geometry.ts
// COLUMNS = ceil(m / 256), at most 16.
override COLUMNS: u32;
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
  // Whether the kernel is exp(logits + f + g) anew.
  fresh: u32,
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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> columns: array<u32>;
@group(0) @binding(4) var<storage, read> start: array<u32>;
@group(0) @binding(5) var<storage, read> gate: array<u32>;
@group(0) @binding(6) var<storage, read_write> kernel: array<f32>;
@group(0) @binding(7) var<storage, read_write> state: array<f32>;
@group(0) @binding(8) var<storage, read_write> partials: array<f32>;
@group(0) @binding(9) var<storage, read_write> record: array<f32>;
@group(0) @binding(10) var<storage, read_write> status: array<atomic<u32>, 2>;

// Four rows by up to 16 columns.
var<private> quads: array<vec4f, 16>;
var<workgroup> stopped: u32;

fn load_logits(matrix: u32, first: u32, end: u32, lane: u32, temperature: f32, report: bool) {
  for (var k = 0u; k < COLUMNS; k++) {
    let j = lane + 256u * k;
    var quad = vec4f(PADDING);
    for (var r = 0u; r < 4u; r++) {
      if (first + r < end && j < params.m) { quad[r] = tempered(matrix, first + r, j, temperature, report); }
    }
    quads[k] = quad;
  }
}

// Masses, and potentials to begin with.
@compute @workgroup_size(256)
fn open(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = linear_workgroup(group, groups) * 256u + lane;
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
fn sweep(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  if (index >= params.count * params.panels) { return; }
  let matrix = index / params.panels;
  let begin = (index % params.panels) * params.panel_rows;
  let end = min(begin + params.panel_rows, params.n);
  let temperature = temperature_at(1u);
  let leak = params.leak_rows * temperature;
  var peaks: array<f32, 16>;
  var sums: array<f32, 16>;
  var began: array<f32, 16>;
  for (var k = 0u; k < COLUMNS; k++) {
    peaks[k] = PADDING;
    let j = lane + 256u * k;
    if (j < params.m) { began[k] = state[column_state(matrix, 0u, j)]; }
  }
  for (var first = begin; first < end; first += 4u) {
    load_logits(matrix, first, end, lane, temperature, true);
    var peak = vec4f(PADDING);
    for (var k = 0u; k < COLUMNS; k++) { peak = max(peak, quads[k] + began[k]); }
    peak = panel_largest(peak, lane);
    let has = peak > vec4f(0.5 * PADDING);
    let top = select(vec4f(), peak, has);
    var sum = vec4f();
    for (var k = 0u; k < COLUMNS; k++) { sum += power(quads[k] + began[k] - top); }
    let lse = top + log(max(panel_total(sum, lane), vec4f(SMALLEST)));
    var f = vec4f();
    var mass = vec4f();
    for (var r = 0u; r < 4u; r++) {
      if (first + r < end) { mass[r] = select(0.0, state[row_state(matrix, 3u, first + r)], has[r]); }
    }
    f = potential_of(mass, lse, leak);
    for (var k = 0u; k < COLUMNS; k++) {
      let quad = select(vec4f(PADDING), quads[k] + f, quads[k] > vec4f(0.5 * PADDING));
      let higher = max(peaks[k], max(max(quad.x, quad.y), max(quad.z, quad.w)));
      if (higher > 0.5 * PADDING) {
        sums[k] = sums[k] * share_of(peaks[k] - higher) + dot(power(quad - higher), vec4f(1.0));
        peaks[k] = higher;
      }
    }
    workgroupBarrier();
    if (lane < 4u && first + lane < end) {
      let i = first + lane;
      state[row_state(matrix, 0u, i)] = f[lane];
      state[row_state(matrix, 1u, i)] = select(0.0, 1.0, mass[lane] > 0.0);
      state[row_state(matrix, 3u, i)] = mass[lane];
      state[row_state(matrix, 4u, i)] = select(0.0, share_of(f[lane] + lse[lane]), mass[lane] > 0.0);
    }
    workgroupBarrier();
  }
  for (var k = 0u; k < COLUMNS; k++) {
    let j = lane + 256u * k;
    if (j < params.m) {
      partials[index * 2u * params.m + j] = peaks[k];
      partials[(index * 2u + 1u) * params.m + j] = sums[k];
    }
  }
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
fn sweep_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own = vector_of(linear_workgroup(group, groups) * 256u + lane);
  if (own.matrix >= params.count) { return; }
  let matrix = own.matrix;
  let j = own.index;
  if (j < params.m) {
    let leak = params.leak_columns * temperature_at(1u);
    let first = matrix * params.panels * 2u * params.m + j;
    var peak = PADDING;
    for (var k = 0u; k < params.panels; k++) { peak = max(peak, partials[first + k * 2u * params.m]); }
    let has = peak > 0.5 * PADDING;
    let top = select(0.0, peak, has);
    var sum = 0.0;
    for (var k = 0u; k < params.panels; k++) {
      sum += partials[first + (k * 2u + 1u) * params.m] * share_of(partials[first + k * 2u * params.m] - top);
    }
    let mass = select(0.0, state[column_state(matrix, 2u, j)], has);
    let lse = top + log(max(sum, SMALLEST));
    let g = damped(mass, lse, leak);
    let began = state[column_state(matrix, 0u, j)];
    state[column_state(matrix, 0u, j)] = g;
    state[column_state(matrix, 1u, j)] = select(0.0, 1.0, mass > 0.0);
    state[column_state(matrix, 2u, j)] = mass;
    state[column_state(matrix, 3u, j)] = select(0.0, share_of(g + lse), mass > 0.0);
    if (params.record == 2u) {
      // v₀ = exp(g₀ − g₁); where masses are met it is known without a logarithm.
      let v0 = select(share_of(began + top) * sum * safe_inverse(mass), share_of(began - g), params.leak_columns > 0.0);
      write_record(matrix, params.history - params.m + j, select(0.0, v0, mass > 0.0));
    }
  }
  remember_row(matrix, 1u, own.index);
  remember_column(matrix, 1u, own.index);
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

// Rows of iteration t: the next u, and the panel's share of kernelᵀ u and of the error before the iteration.
@compute @workgroup_size(256)
fn scale(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  if (index >= params.count * params.panels) { return; }
  let matrix = index / params.panels;
  let begin = (index % params.panels) * params.panel_rows;
  let end = min(begin + params.panel_rows, params.n);
  let temperature = temperature_at(params.t);
  let leak = params.leak_rows * temperature;
  if (lane == 0u) { stopped = u32(is_done(matrix)); }
  let done = workgroupUniformLoad(&stopped) == 1u;
  var v: array<f32, 16>;
  var g: array<f32, 16>;
  var sums: array<f32, 16>;
  var error = 0.0;
  for (var k = 0u; k < COLUMNS; k++) {
    let j = lane + 256u * k;
    if (j < params.m) {
      v[k] = state[column_state(matrix, 1u, j)];
      g[k] = state[column_state(matrix, 0u, j)];
    }
  }
  for (var first = begin; first < select(end, begin, done); first += 4u) {
    var f = vec4f();
    var u = vec4f();
    var mass = vec4f();
    for (var r = 0u; r < 4u; r++) {
      if (first + r < end) {
        f[r] = state[row_state(matrix, 0u, first + r)];
        u[r] = state[row_state(matrix, 1u, first + r)];
        mass[r] = state[row_state(matrix, 3u, first + r)];
      }
    }
    if (params.fresh == 1u) { load_logits(matrix, first, end, lane, temperature, false); }
    for (var k = 0u; k < COLUMNS; k++) {
      let j = lane + 256u * k;
      var quad = vec4f();
      if (params.fresh == 1u) { quad = power(quads[k] + f + g[k]); }
      for (var r = 0u; r < 4u; r++) {
        if (first + r < end && j < params.m) {
          let at = element(matrix, first + r, j);
          if (params.fresh == 1u) { kernel[at] = quad[r]; } else { quad[r] = kernel[at]; }
        }
      }
      quads[k] = quad;
    }
    var sum = vec4f();
    for (var k = 0u; k < COLUMNS; k++) { sum += quads[k] * v[k]; }
    sum = panel_total(sum, lane);
    let next = scaling(sum, mass, f, leak);
    error += dot(sum * abs(next - u), vec4f(1.0));
    for (var k = 0u; k < COLUMNS; k++) { sums[k] += dot(quads[k], next); }
    if (lane < 4u && first + lane < end) {
      state[row_state(matrix, 2u, first + lane)] = next[lane];
      state[row_state(matrix, 4u, first + lane)] = next[lane] * sum[lane];
    }
  }
  if (done) { return; }
  let part = index * (params.m + 1u);
  if (lane == 0u) { partials[part] = error; }
  for (var k = 0u; k < COLUMNS; k++) {
    let j = lane + 256u * k;
    if (j < params.m) { partials[part + 1u + j] = sums[k]; }
  }
}

// Whether a matrix is done after the iteration before t; after the last one (t = iterations + 1) all are. One thread each.
@compute @workgroup_size(64)
fn decide(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let matrix = linear_workgroup(group, groups) * 64u + lane;
  if (matrix >= params.count || is_done(matrix)) { return; }
  var error = 0.0;
  for (var k = 0u; k < params.panels; k++) { error += partials[(matrix * params.panels + k) * (params.m + 1u)]; }
  if (error <= params.tolerance || params.t > params.iterations) {
    state[ran_at(matrix)] = f32(params.t - 1u);
    state[ran_at(matrix) + 1u] = error;
  }
}

// Columns of iteration t: v, and the row's u; where the block ends both are absorbed.
@compute @workgroup_size(256)
fn scale_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own = vector_of(linear_workgroup(group, groups) * 256u + lane);
  if (own.matrix >= params.count || is_done(own.matrix)) { return; }
  let matrix = own.matrix;
  let absorb = ends_block(params.t) && params.t < params.iterations;
  if (own.index < params.n) {
    let mass = state[row_state(matrix, 3u, own.index)];
    let u = state[row_state(matrix, 2u, own.index)];
    state[row_state(matrix, 1u, own.index)] = u;
    if (absorb && mass > 0.0) { state[row_state(matrix, 0u, own.index)] += log(max(u, SMALLEST)); }
    remember_row(matrix, params.t, own.index);
    if (absorb) { state[row_state(matrix, 1u, own.index)] = select(0.0, 1.0, mass > 0.0); }
  }
  if (own.index < params.m) {
    let j = own.index;
    var sum = 0.0;
    for (var k = 0u; k < params.panels; k++) { sum += partials[(matrix * params.panels + k) * (params.m + 1u) + 1u + j]; }
    let mass = state[column_state(matrix, 2u, j)];
    let leak = params.leak_columns * temperature_at(params.t);
    let v = scaling(vec4f(sum), vec4f(mass), vec4f(state[column_state(matrix, 0u, j)]), leak).x;
    state[column_state(matrix, 1u, j)] = v;
    state[column_state(matrix, 3u, j)] = v * sum;
    if (absorb && mass > 0.0) { state[column_state(matrix, 0u, j)] += log(max(v, SMALLEST)); }
    remember_column(matrix, params.t, j);
    if (absorb) { state[column_state(matrix, 1u, j)] = select(0.0, 1.0, mass > 0.0); }
  }
}

// Final potentials, u and v being absorbed, and what the record says of the run.
@compute @workgroup_size(256)
fn close(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own = vector_of(linear_workgroup(group, groups) * 256u + lane);
  if (own.matrix >= params.count) { return; }
  let matrix = own.matrix;
  if (own.index < params.n) {
    let mass = state[row_state(matrix, 3u, own.index)];
    let f = state[row_state(matrix, 0u, own.index)] + log(max(state[row_state(matrix, 1u, own.index)], SMALLEST));
    state[row_state(matrix, 2u, own.index)] = select(EXCLUDED, f, mass > 0.0);
    if (params.record > 0u) {
      write_record(matrix, 2u + own.index, select(EXCLUDED, f, mass > 0.0));
      write_record(matrix, 2u + params.n + params.m + own.index, safe_inverse(mass));
    }
  }
  if (own.index < params.m) {
    let mass = state[column_state(matrix, 2u, own.index)];
    let g = state[column_state(matrix, 0u, own.index)] + log(max(state[column_state(matrix, 1u, own.index)], SMALLEST));
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

// The plan, one thread an element: u kernel v, or from potentials after a single iteration and for log P.
@compute @workgroup_size(256)
fn finish(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = linear_workgroup(group, groups) * 256u + lane;
  if (id >= params.count * params.n * params.m) { return; }
  let matrix = id / (params.n * params.m);
  let i = id / params.m % params.n;
  let j = id % params.m;
  let at = element(matrix, i, j);
  if (params.plan == 1u && params.fresh == 0u) {
    kernel[at] *= state[row_state(matrix, 1u, i)] * state[column_state(matrix, 1u, j)];
    return;
  }
  let logit = tempered(matrix, i, j, params.temperature, false);
  let exponent = logit + state[row_state(matrix, 2u, i)] + state[column_state(matrix, 3u, j)];
  let shown = select(EXCLUDED, max(EXCLUDED, exponent), logit > 0.5 * PADDING);
  kernel[at] = select(shown, share_of(shown), params.plan == 1u);
}
