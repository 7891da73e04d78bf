//#include "lib/grid.wgsl"
//#include "lib/slots.wgsl"
//#include "lib/clip.wgsl"
//#include "lib/parameters.wgsl"

// Stochastic gradient descent in place, on one, two or three parameters a dispatch; one thread an element.
//   p0 … p2, g0 … g2: [counts[s]]   state: the momentum of every parameter of the group, that of slot s at offsets[s]   norm: [1]
// `state` is read and written when MOMENTUM is 1 alone, and `norm` when CLIP is 1.
override MOMENTUM: u32;
override NESTEROV: u32;

struct Params {
  starts: vec4u,
  counts: vec4u,
  offsets: vec4u,
  lr: f32,
  momentum: f32,
  decay: f32, // weight decay: added to the gradient
  limit: f32, // the largest norm of all gradients together
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
