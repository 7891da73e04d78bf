//#include "lib/grid.wgsl"
//#include "lib/panel.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/logits.wgsl"

// Forward for large n. A workgroup of the panel entries reads `rows` rows of one matrix once: row sums first, then, from registers,
// its share of the column sums, which a second dispatch adds up. One thread of the column entries owns one column.
//   logits, kernel: [count, n, n] (kernel is the output P in the end)     state: [count, 4, n]: f, g, u, v
//   partials: [count, panels, 2, n] for the sweep, [count, panels, n] after it     history: [count, 2·iterations − 1, n], written when asked for
// COLUMNS = ceil(n / 256), at most 16.
override COLUMNS: u32;

struct Params {
  count: u32,
  n: u32,
  rows: u32,
  panels: u32,
  iterations: u32,
  t: u32,
  // Whether the kernel is exp(logits + f + g) anew, whether u and v are absorbed into f and g after this iteration, and
  // whether the history is wanted.
  fresh: u32,
  absorb: u32,
  history: u32,
  temperature: f32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read_write> kernel: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<f32>;
@group(0) @binding(4) var<storage, read_write> partials: array<f32>;
@group(0) @binding(5) var<storage, read_write> history: array<f32>;
@group(0) @binding(6) var<storage, read_write> status: array<atomic<u32>, 2>;

// Four rows by up to 16 columns.
var<private> quads: array<vec4f, 16>;

fn state_at(matrix: u32, which: u32) -> u32 { return (matrix * 4u + which) * params.n; }

fn record(matrix: u32, index: u32, at: u32, value: f32) {
  if (params.history == 1u) { history[(matrix * (2u * params.iterations - 1u) + index) * params.n + at] = value; }
}

fn load_logits(matrix: u32, first: u32, end: u32, lane: u32, report: bool) {
  for (var j = 0u; j < COLUMNS; j++) {
    let column = lane + 256u * j;
    var quad = vec4f(PADDING);
    for (var k = 0u; k < 4u; k++) {
      if (first + k < end && column < params.n) {
        let word = logits[(matrix * params.n + first + k) * params.n + column];
        if (report && is_broken(word)) { report_fault(params.fault | NUMBER, word); }
        quad[k] = scaled_logit(word, params.temperature);
      }
    }
    quads[j] = quad;
  }
}

// First iteration, rows: f = −LSE(logits), and per column the largest of logits + f and the sum of exponentials relative to it.
@compute @workgroup_size(256)
fn sweep(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  if (index >= params.count * params.panels) { return; }
  let matrix = index / params.panels;
  let begin = (index % params.panels) * params.rows;
  let end = min(begin + params.rows, params.n);
  var peaks: array<f32, 16>;
  var sums: array<f32, 16>;
  for (var j = 0u; j < COLUMNS; j++) { peaks[j] = PADDING; }
  for (var first = begin; first < end; first += 4u) {
    load_logits(matrix, first, end, lane, true);
    var peak = vec4f(PADDING);
    for (var j = 0u; j < COLUMNS; j++) { peak = max(peak, quads[j]); }
    peak = panel_largest(peak, lane);
    peak = select(peak, vec4f(0.0), vec4u(first) + vec4u(0u, 1u, 2u, 3u) >= vec4u(end));
    var sum = vec4f();
    for (var j = 0u; j < COLUMNS; j++) { sum += shares(quads[j] - peak); }
    let f = -(peak + log(max(panel_total(sum, lane), vec4f(SMALLEST))));
    for (var j = 0u; j < COLUMNS; j++) {
      let quad = select(quads[j] + f, vec4f(PADDING), quads[j] == vec4f(PADDING));
      let higher = max(peaks[j], max(max(quad.x, quad.y), max(quad.z, quad.w)));
      sums[j] = sums[j] * shares(vec4f(peaks[j] - higher)).x + dot(shares(quad - higher), vec4f(1.0));
      peaks[j] = higher;
    }
    if (lane < 4u && first + lane < end) { state[state_at(matrix, 0u) + first + lane] = f[lane]; }
  }
  for (var j = 0u; j < COLUMNS; j++) {
    let column = lane + 256u * j;
    if (column < params.n) {
      partials[index * 2u * params.n + column] = peaks[j];
      partials[(index * 2u + 1u) * params.n + column] = sums[j];
    }
  }
}

// First iteration, columns: g = −LSE(logits + f), v = 1.
@compute @workgroup_size(256)
fn sweep_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = linear_workgroup(group, groups) * 256u + lane;
  if (id >= params.count * params.n) { return; }
  let matrix = id / params.n;
  let column = id % params.n;
  let first = matrix * params.panels * 2u * params.n + column;
  var peak = PADDING;
  for (var k = 0u; k < params.panels; k++) { peak = max(peak, partials[first + k * 2u * params.n]); }
  var sum = 0.0;
  for (var k = 0u; k < params.panels; k++) {
    sum += partials[first + (k * 2u + 1u) * params.n] * shares(vec4f(partials[first + k * 2u * params.n] - peak)).x;
  }
  state[state_at(matrix, 1u) + column] = -(peak + log(max(sum, SMALLEST)));
  state[state_at(matrix, 3u) + column] = 1.0;
  record(matrix, 0u, column, shares(vec4f(peak)).x * sum);
}

// Rows of iteration t: u = 1 / (kernel v), and the panel's share of kernelᵀ u.
@compute @workgroup_size(256)
fn scale(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  if (index >= params.count * params.panels) { return; }
  let matrix = index / params.panels;
  let begin = (index % params.panels) * params.rows;
  let end = min(begin + params.rows, params.n);
  var v: array<f32, 16>;
  var g: array<f32, 16>;
  var sums: array<f32, 16>;
  for (var j = 0u; j < COLUMNS; j++) {
    let column = lane + 256u * j;
    if (column < params.n) {
      v[j] = state[state_at(matrix, 3u) + column];
      g[j] = state[state_at(matrix, 1u) + column];
    }
  }
  for (var first = begin; first < end; first += 4u) {
    let here = matrix * params.n + first;
    if (params.fresh == 1u) {
      load_logits(matrix, first, end, lane, false);
      var f = vec4f();
      for (var k = 0u; k < 4u; k++) { if (first + k < end) { f[k] = state[state_at(matrix, 0u) + first + k]; } }
      for (var j = 0u; j < COLUMNS; j++) {
        let column = lane + 256u * j;
        quads[j] = shares(quads[j] + f + g[j]);
        for (var k = 0u; k < 4u; k++) { if (first + k < end && column < params.n) { kernel[(here + k) * params.n + column] = quads[j][k]; } }
      }
    } else {
      for (var j = 0u; j < COLUMNS; j++) {
        let column = lane + 256u * j;
        var quad = vec4f();
        for (var k = 0u; k < 4u; k++) { if (first + k < end && column < params.n) { quad[k] = kernel[(here + k) * params.n + column]; } }
        quads[j] = quad;
      }
    }
    var sum = vec4f();
    for (var j = 0u; j < COLUMNS; j++) { sum += quads[j] * v[j]; }
    let u = 1.0 / max(panel_total(sum, lane), vec4f(SMALLEST));
    for (var j = 0u; j < COLUMNS; j++) { sums[j] += dot(quads[j], u); }
    if (lane < 4u && first + lane < end) {
      let row = first + lane;
      state[state_at(matrix, 2u) + row] = u[lane];
      record(matrix, 2u * params.t - 3u, row, u[lane]);
    }
    // All threads have read f before the sum above, so that it may change now.
    if (params.absorb == 1u && lane < 4u && first + lane < end) { state[state_at(matrix, 0u) + first + lane] += log(u[lane]); }
  }
  for (var j = 0u; j < COLUMNS; j++) {
    let column = lane + 256u * j;
    if (column < params.n) { partials[index * params.n + column] = sums[j]; }
  }
}

// Columns of iteration t: v = 1 / (kernelᵀ u).
@compute @workgroup_size(256)
fn scale_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = linear_workgroup(group, groups) * 256u + lane;
  if (id >= params.count * params.n) { return; }
  let matrix = id / params.n;
  let column = id % params.n;
  var sum = 0.0;
  for (var k = 0u; k < params.panels; k++) { sum += partials[(matrix * params.panels + k) * params.n + column]; }
  let v = 1.0 / max(sum, SMALLEST);
  record(matrix, 2u * params.t - 2u, column, v);
  state[state_at(matrix, 3u) + column] = select(v, 1.0, params.absorb == 1u);
  if (params.absorb == 1u) { state[state_at(matrix, 1u) + column] += log(v); }
}

// P = u kernel v, one thread an element; after a single iteration there is no kernel yet.
@compute @workgroup_size(256)
fn finish(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = linear_workgroup(group, groups) * 256u + lane;
  if (id >= params.count * params.n * params.n) { return; }
  let row = id / params.n;
  let matrix = row / params.n;
  let i = row % params.n;
  let j = id % params.n;
  if (params.fresh == 1u) {
    let exponent = scaled_logit(logits[id], params.temperature) + state[state_at(matrix, 0u) + i] + state[state_at(matrix, 1u) + j];
    kernel[id] = shares(vec4f(exponent)).x;
  } else {
    kernel[id] *= state[state_at(matrix, 2u) + i] * state[state_at(matrix, 3u) + j];
  }
}
