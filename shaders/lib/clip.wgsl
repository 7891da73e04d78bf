// min(1, limit / (norm + 1e-6)); NaN for a NaN norm and 0 for an infinite one, read off the bits since a compiler may
// assume that neither occurs.
fn clip_factor(norm: f32, limit: f32) -> f32 {
  let magnitude = bitcast<u32>(norm) & 0x7fffffffu;
  if (magnitude > 0x7f800000u) { return norm; }
  if (magnitude == 0x7f800000u) { return 0.0; }
  return min(1.0, limit / (norm + 1e-6));
}
