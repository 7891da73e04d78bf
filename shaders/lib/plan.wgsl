// P = exp(logits / temperature + f + g), entry by entry, from potentials that stand in a record of `stride` numbers per matrix.
// The including file includes lib/half.wgsl and lib/stored-logits.wgsl, and declares
//   var<storage, read> logits: array<u32>, potentials: array<f32>, mask: array<u32>;
// and the fields n, m, stride, row_offset, column_offset, masked, mask_step (u32) and temperature (f32) in `Params`.

// A potential at or below this is that of a row or column without mass.
const WITHOUT_MASS: f32 = -1.0e29;

fn row_potential(matrix: u32, i: u32) -> f32 { return potentials[matrix * params.stride + params.row_offset + i]; }
fn column_potential(matrix: u32, j: u32) -> f32 { return potentials[matrix * params.stride + params.column_offset + j]; }

fn share(matrix: u32, i: u32, j: u32, f: f32, g: f32) -> f32 {
  let at = i * params.m + j;
  if (f <= WITHOUT_MASS || g <= WITHOUT_MASS) { return 0.0; }
  if (params.masked == 1u && mask[matrix * params.mask_step + at] == 0u) { return 0.0; }
  let word = logit_at(matrix * params.n * params.m + at);
  // What is no number was reported by whoever made the potentials.
  let logit = bitcast<f32>(select(word, 0u, (word & 0x7f800000u) == 0x7f800000u));
  let limit = 1.0e30 * min(params.temperature, 1.0);
  let exponent = clamp(logit, -limit, limit) / params.temperature + f + g;
  return select(exp(clamp(exponent, -87.0, 80.0)), 0.0, exponent < -87.0);
}
