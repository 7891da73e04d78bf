// Logits read as words, and exponentials that never leave the finite numbers.

// What stands outside of a matrix: below every logit, and still finite after any sum of two logits.
const PADDING: f32 = -3.0e38;
const LARGEST_LOGIT: f32 = 1.0e30;
const SMALLEST: f32 = 1.0e-30;
// Kind bits of a fault code for a float32 value, see fault.wgsl.
const NUMBER: u32 = 0x80000000u;

// NaN or infinite.
fn is_broken(word: u32) -> bool { return (word & 0x7f800000u) == 0x7f800000u; }

// logit / temperature, at most ±1e30; 0 in place of what is no number.
fn scaled_logit(word: u32, temperature: f32) -> f32 {
  let limit = LARGEST_LOGIT * min(temperature, 1.0);
  return clamp(bitcast<f32>(select(word, 0u, is_broken(word))), -limit, limit) / temperature;
}
fn are_broken(words: vec4u) -> vec4<bool> { return (words & vec4u(0x7f800000u)) == vec4u(0x7f800000u); }
fn scaled_logits(words: vec4u, temperature: f32) -> vec4f {
  let limit = vec4f(LARGEST_LOGIT * min(temperature, 1.0));
  return clamp(bitcast<vec4f>(select(words, vec4u(), are_broken(words))), -limit, limit) / temperature;
}

// exp of what is at most 0 but for rounding.
fn shares(exponent: vec4f) -> vec4f {
  return select(exp(clamp(exponent, vec4f(-87.0), vec4f(0.0))), vec4f(0.0), exponent < vec4f(-87.0));
}
