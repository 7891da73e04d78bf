//#include "lib/grid.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/plan.wgsl"

// A workgroup of 64 threads per row of P, or a thread per column.
//   logits, gradient: [count, n, m]   x: the same or, with step 0, [n, m]   y: [count, n, m]; for cost [count, n]   dpotentials: [count, stride]
struct Params {
  count: u32,
  n: u32,
  m: u32,
  stride: u32,
  row_offset: u32,
  column_offset: u32,
  masked: u32,
  mask_step: u32,
  x_step: u32,
  temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> potentials: array<f32>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;
@group(0) @binding(4) var<storage, read> x: array<f32>;
@group(0) @binding(5) var<storage, read> gradient: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read_write> dpotentials: array<f32>;

var<workgroup> parts: array<f32, 64>;

// Sum over the workgroup; to be called by all threads. Thread 0 gets it.
fn total(value: f32, lane: u32) -> f32 {
  parts[lane] = value;
  for (var half = 32u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { parts[lane] += parts[lane + half]; }
  }
  return parts[lane];
}

@compute @workgroup_size(64)
fn plan(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = linear_workgroup(group, groups);
  if (row >= params.count * params.n) { return; }
  let f = row_potential(row / params.n, row % params.n);
  for (var j = lane; j < params.m; j += 64u) {
    y[row * params.m + j] = share(row / params.n, row % params.n, j, f, column_potential(row / params.n, j));
  }
}

@compute @workgroup_size(64)
fn cost(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = linear_workgroup(group, groups);
  if (row >= params.count * params.n) { return; }
  let matrix = row / params.n;
  let i = row % params.n;
  let f = row_potential(matrix, i);
  var sum = 0.0;
  for (var j = lane; j < params.m; j += 64u) {
    sum += share(matrix, i, j, f, column_potential(matrix, j)) * x[matrix * params.x_step + i * params.m + j];
  }
  let all = total(sum, lane);
  if (lane == 0u) { y[row] = all; }
}

// Backward: P ∘ gradient, as the gradient of the logits, and its sums over rows. What is no potential gets 0.
@compute @workgroup_size(64)
fn weigh(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = linear_workgroup(group, groups);
  if (row >= params.count * params.n) { return; }
  let matrix = row / params.n;
  let i = row % params.n;
  let f = row_potential(matrix, i);
  var sum = 0.0;
  for (var j = lane; j < params.m; j += 64u) {
    let at = row * params.m + j;
    let weight = share(matrix, i, j, f, column_potential(matrix, j)) * gradient[at];
    y[at] = weight / params.temperature;
    sum += weight;
  }
  let all = total(sum, lane);
  if (lane == 0u) { dpotentials[matrix * params.stride + params.row_offset + i] = all; }
  if (i != 0u) { return; }
  for (var k = lane; k < params.stride; k += 64u) {
    let of_row = k >= params.row_offset && k < params.row_offset + params.n;
    let of_column = k >= params.column_offset && k < params.column_offset + params.m;
    if (!of_row && !of_column) { dpotentials[matrix * params.stride + k] = 0.0; }
  }
}

// The sums over columns, after `weigh`.
@compute @workgroup_size(64)
fn weigh_columns(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  let pieces = (params.m + 63u) / 64u;
  let matrix = index / pieces;
  let j = (index % pieces) * 64u + lane;
  if (matrix >= params.count || j >= params.m) { return; }
  var sum = 0.0;
  for (var i = 0u; i < params.n; i++) { sum += y[(matrix * params.n + i) * params.m + j]; }
  dpotentials[matrix * params.stride + params.column_offset + j] = sum * params.temperature;
}
