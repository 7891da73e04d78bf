// Temperatures and blocks of iterations. The including file declares the fields temperature, hot, cooling (f32) and annealed (u32) in `Params`, and BLOCK.

// The temperature of iteration t. Repeated multiplication is exact to a rounding each; `pow` is not.
fn temperature_at(t: u32) -> f32 {
  let cold = t > params.annealed;
  var result = select(params.hot, params.temperature, cold);
  for (var k = select(1u, t, cold); k < t; k++) { result *= params.cooling; }
  return result;
}

// Whether scalings are absorbed into the potentials after iteration t.
fn ends_block(t: u32) -> bool {
  let first = max(1u, params.annealed);
  return t <= first || (t - first) % BLOCK == 0u;
}
