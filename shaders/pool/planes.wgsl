//#include "lib/grid.wgsl"

// The mean of every plane, and its gradient.
//   planes (x, dx): [planes, area]; one number each (y, dy): [planes]
struct Params {
  // Elements of the result.
  count: u32,
  area: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

// One thread sums one plane: for small planes.
@compute @workgroup_size(256)
fn mean_thread(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups) * 256u + lane;
  if (index >= params.count) { return; }
  var sum = 0.0;
  for (var i = 0u; i < params.area; i++) { sum += source[index * params.area + i]; }
  result[index] = sum / f32(params.area);
}

var<workgroup> parts: array<f32, 64>;

// One workgroup sums one plane.
@compute @workgroup_size(64)
fn mean_group(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups);
  var sum = 0.0;
  if (index < params.count) {
    for (var i = lane; i < params.area; i += 64u) { sum += source[index * params.area + i]; }
  }
  parts[lane] = sum;
  for (var half = 32u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { parts[lane] += parts[lane + half]; }
  }
  if (lane == 0u && index < params.count) { result[index] = parts[0] / f32(params.area); }
}

// One thread writes one element: its plane's gradient, shared out evenly.
@compute @workgroup_size(256)
fn spread(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = linear_workgroup(group, groups) * 256u + lane;
  if (index < params.count) { result[index] = source[index / params.area] / f32(params.area); }
}
