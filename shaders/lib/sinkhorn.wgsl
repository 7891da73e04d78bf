// What all Sinkhorn kernels say in the same way; rows are the side that is normalised first.

// Stands for minus infinity: the potential of a row or column without mass, the logarithm of an entry that is 0.
const EXCLUDED: f32 = -1.0e30;
// Keeps products and ratios of scalings finite whatever the data; README.md says how far they really go.
const EXTREME: f32 = 1.0e30;

// exp within the finite numbers; 0 where the result would be below all that matters.
fn power(exponent: vec4f) -> vec4f {
  return select(exp(clamp(exponent, vec4f(-87.0), vec4f(80.0))), vec4f(0.0), exponent < vec4f(-87.0));
}
fn powers(a: mat4x4f, f: vec4f, g: vec4f) -> mat4x4f {
  return mat4x4f(power(a[0] + f.x + g), power(a[1] + f.y + g), power(a[2] + f.z + g), power(a[3] + f.w + g));
}

// log P = logits + f + g; EXCLUDED where the mask or missing mass leave an entry out.
fn logarithms(a: mat4x4f, f: vec4f, g: vec4f) -> mat4x4f {
  let some = vec4f(0.5 * PADDING);
  let lowest = vec4f(EXCLUDED);
  return mat4x4f(
    select(lowest, max(lowest, a[0] + f.x + g), a[0] > some), select(lowest, max(lowest, a[1] + f.y + g), a[1] > some),
    select(lowest, max(lowest, a[2] + f.z + g), a[2] > some), select(lowest, max(lowest, a[3] + f.w + g), a[3] > some));
}

// The next scalings from row or column sums: mass / sum, damped where the mass may be missed (`leak` is 1/ρ times the temperature).
fn scaling(sums: vec4f, mass: vec4f, potential: vec4f, leak: f32) -> vec4f {
  let safe = max(sums, max(vec4f(SMALLEST), SMALLEST * mass));
  if (leak == 0.0) { return mass / safe; }
  let damp = 1.0 / (1.0 + leak);
  let exponent = damp * (log(max(mass, vec4f(SMALLEST))) - log(safe)) - (1.0 - damp) * potential;
  return select(vec4f(0.0), power(exponent), mass > vec4f(0.0));
}

// The potential of the first iteration: λ (log mass − LSE), 0 without mass.
fn potential_of(mass: vec4f, lse: vec4f, leak: f32) -> vec4f {
  return select(vec4f(0.0), (log(max(mass, vec4f(SMALLEST))) - lse) / (1.0 + leak), mass > vec4f(0.0));
}

// 1 / x, and 0 for 0.
fn inverse(x: vec4f) -> vec4f { return select(vec4f(0.0), 1.0 / max(x, vec4f(SMALLEST)), x > vec4f(0.0)); }
