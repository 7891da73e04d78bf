//#include "lib/grid.wgsl"
//#include "lib/slots.wgsl"
//#include "lib/clip.wgsl"

// Stochastic gradient descent in place, on one, two or three parameters a dispatch; one thread an element.
//   p0 … p2, g0 … g2: [counts[s]]   state: the momentum of every parameter of the group, that of slot s at offsets[s]   norm: [1]
// `state` is read and written when MOMENTUM is 1 alone, and `norm` when CLIP is 1.
override MOMENTUM: u32;
override NESTEROV: u32;
override CLIP: u32;

struct Params {
  starts: vec4u,
  counts: vec4u,
  offsets: vec4u,
  lr: f32,
  momentum: f32,
  decay: f32, // weight decay: added to the gradient
  limit: f32, // the largest norm of all gradients together
}

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

// The new weight, from the old one and its gradient; `at` is its place in the state.
fn update(weight: f32, gradient: f32, at: u32) -> f32 {
  var d = clipped(gradient) + params.decay * weight;
  if (MOMENTUM == 1u) {
    let velocity = params.momentum * state[at] + d;
    state[at] = velocity;
    d = select(velocity, d + params.momentum * velocity, NESTEROV == 1u);
  }
  return weight - params.lr * d;
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
