//#include "lib/grid.wgsl"
//#include "lib/slots.wgsl"
//#include "lib/clip.wgsl"
//#include "lib/parameters.wgsl"

// AdamW in place, on one, two or three parameters a dispatch; one thread an element.
//   p0 … p2, g0 … g2: [counts[s]]   norm: [1], read when CLIP is 1 alone
//   state: [2, total], first and second moment of every parameter of the group, those of slot s at offsets[s]
struct Params {
  starts: vec4u,
  counts: vec4u,
  offsets: vec4u,
  total: u32,
  keep: f32,       // 1 - lr · weight decay
  rate1: f32,      // 1 - beta1
  beta2: f32,
  rate2: f32,      // 1 - beta2
  step: f32,       // lr / (1 - beta1^t)
  correction: f32, // 1 / √(1 - beta2^t)
  eps: f32,
  limit: f32,      // the largest norm of all gradients together
}

// The new weight, from the old one and its gradient; `at` is its place in the state.
fn update(weight: f32, gradient: f32, at: u32) -> f32 {
  let d = clipped(gradient);
  let first = state[at] + params.rate1 * (d - state[at]);
  let second = params.beta2 * state[params.total + at] + params.rate2 * d * d;
  state[at] = first;
  state[params.total + at] = second;
  return params.keep * weight - params.step * first / (sqrt(second) * params.correction + params.eps);
}
