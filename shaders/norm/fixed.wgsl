//#include "lib/grid.wgsl"

// Normalisation with given statistics; one thread an element.
//   x, g, y: [count] = [outer, groups, inner]   mean, variance: [groups]
//   weight, bias: [inner] when BY_ELEMENT (outer is 1), else [channels] with channel = group % channels
// `forward`: y = (x - mean) · rstd · weight + bias. `backward`: y = g · rstd · weight.
override WEIGHT: u32;
override BIAS: u32;
override BY_ELEMENT: u32;

struct Params {
  count: u32,
  groups: u32,
  inner: u32,
  channels: u32,
  eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> variance: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;
@group(0) @binding(6) var<storage, read> bias: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

// (group, place of weight and bias)
fn places(i: u32) -> vec2u {
  let group = i / params.inner % params.groups;
  return vec2u(group, select(group % params.channels, i % params.inner, BY_ELEMENT == 1u));
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.count) { return; }
  let place = places(i);
  var value = (x[i] - mean[place.x]) / sqrt(variance[place.x] + params.eps);
  if (WEIGHT == 1u) { value *= weight[place.y]; }
  if (BIAS == 1u) { value += bias[place.y]; }
  y[i] = value;
}

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.count) { return; }
  let place = places(i);
  var value = g[i] / sqrt(variance[place.x] + params.eps);
  if (WEIGHT == 1u) { value *= weight[place.y]; }
  y[i] = value;
}
