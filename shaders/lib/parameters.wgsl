// What every optimiser that changes parameters in place shares: up to three parameters with their gradients a dispatch, one
// thread an element (`lib/slots.wgsl`, `lib/clip.wgsl`). The file that includes it gives `struct Params` with starts, counts,
// offsets and limit, and `fn update(weight: f32, gradient: f32, at: u32) -> f32`: the new weight, with `at` its place in the state.
override CLIP: u32;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read_write> p0: array<f32>;
@group(0) @binding(3) var<storage, read_write> p1: array<f32>;
@group(0) @binding(4) var<storage, read_write> p2: array<f32>;
@group(0) @binding(5) var<storage, read> g0: array<f32>;
@group(0) @binding(6) var<storage, read> g1: array<f32>;
@group(0) @binding(7) var<storage, read> g2: array<f32>;
@group(0) @binding(8) var<storage, read> norm: array<f32>;

fn clipped(gradient: f32) -> f32 {
  if (CLIP == 1u) { return gradient * clip_factor(norm[0], params.limit); }
  return gradient;
}

@compute @workgroup_size(256)
fn one(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let place = place_of(linear_workgroup(group, groups), lane);
  let i = place.y;
  if (i >= params.counts[place.x]) { return; }
  let at = params.offsets[place.x] + i;
  p0[i] = update(p0[i], g0[i], at);
}

@compute @workgroup_size(256)
fn two(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let place = place_of(linear_workgroup(group, groups), lane);
  let i = place.y;
  if (i >= params.counts[place.x]) { return; }
  let at = params.offsets[place.x] + i;
  switch place.x {
    case 0u: { p0[i] = update(p0[i], g0[i], at); }
    default: { p1[i] = update(p1[i], g1[i], at); }
  }
}

@compute @workgroup_size(256)
fn three(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let place = place_of(linear_workgroup(group, groups), lane);
  let i = place.y;
  if (i >= params.counts[place.x]) { return; }
  let at = params.offsets[place.x] + i;
  switch place.x {
    case 0u: { p0[i] = update(p0[i], g0[i], at); }
    case 1u: { p1[i] = update(p1[i], g1[i], at); }
    default: { p2[i] = update(p2[i], g2[i], at); }
  }
}
