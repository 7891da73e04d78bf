//#include "lib/grid.wgsl"
//#include "lib/slots.wgsl"
//#include "lib/clip.wgsl"

// y = g · min(1, limit / (norm + 1e-6)), on one, two or three gradients a dispatch; one thread an element.
//   g0 … g2, y0 … y2: [counts[s]]   norm: [1]
struct Params {
  starts: vec4u,
  counts: vec4u,
  limit: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g0: array<f32>;
@group(0) @binding(2) var<storage, read> g1: array<f32>;
@group(0) @binding(3) var<storage, read> g2: array<f32>;
@group(0) @binding(4) var<storage, read_write> y0: array<f32>;
@group(0) @binding(5) var<storage, read_write> y1: array<f32>;
@group(0) @binding(6) var<storage, read_write> y2: array<f32>;
@group(0) @binding(7) var<storage, read> norm: array<f32>;

@compute @workgroup_size(256)
fn one(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let place = place_of(linear_workgroup(group, groups), lane);
  let i = place.y;
  if (i >= params.counts[place.x]) { return; }
  let factor = clip_factor(norm[0], params.limit);
  y0[i] = factor * g0[i];
}

@compute @workgroup_size(256)
fn two(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let place = place_of(linear_workgroup(group, groups), lane);
  let i = place.y;
  if (i >= params.counts[place.x]) { return; }
  let factor = clip_factor(norm[0], params.limit);
  switch place.x {
    case 0u: { y0[i] = factor * g0[i]; }
    default: { y1[i] = factor * g1[i]; }
  }
}

@compute @workgroup_size(256)
fn three(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let place = place_of(linear_workgroup(group, groups), lane);
  let i = place.y;
  if (i >= params.counts[place.x]) { return; }
  let factor = clip_factor(norm[0], params.limit);
  switch place.x {
    case 0u: { y0[i] = factor * g0[i]; }
    case 1u: { y1[i] = factor * g1[i]; }
    default: { y2[i] = factor * g2[i]; }
  }
}
