// The words of logits as float32 tensors hold them, or, with HALF_LOGITS, float16 ones. The including file includes lib/half.wgsl and declares
//   var<storage, read> logits: array<u32>
override HALF_LOGITS: u32 = 0u;

fn logits_at(at: vec4u) -> vec4u {
  if (HALF_LOGITS == 0u) { return vec4u(logits[at.x], logits[at.y], logits[at.z], logits[at.w]); }
  let pairs = vec4u(logits[at.x / 2u], logits[at.y / 2u], logits[at.z / 2u], logits[at.w / 2u]);
  return widened(pairs >> (vec4u(16u) * (at & vec4u(1u))));
}
fn logit_at(at: u32) -> u32 { return logits_at(vec4u(at)).x; }
