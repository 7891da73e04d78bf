//#include "lib/erf.wgsl"

// Activations and their derivatives; the including file says by an override which.
const NONE: u32 = 0u;
const RELU: u32 = 1u;
const GELU: u32 = 2u;
const SIGMOID: u32 = 3u;
const TANH: u32 = 4u;
const SILU: u32 = 5u;
const SOFTPLUS: u32 = 6u;

// exp of a clamped argument, so that no infinity arises on the way; exact at both ends.
fn sigmoid(v: f32) -> f32 {
  let e = exp(-min(abs(v), 88.0));
  return select(e, 1.0, v >= 0.0) / (1.0 + e);
}

// tanh of hardware may overflow for large arguments; beyond 10 it is 1 in float32. Small arguments keep their relative accuracy.
fn safe_tanh(v: f32) -> f32 {
  let size = abs(v);
  let t = size * size;
  let series = size * (1.0 + t * (-0.33333333 + t * (0.13333333 + t * (-0.053968254 + t * 0.021869488))));
  let e = exp(-2.0 * min(size, 20.0));
  return sign(v) * select((1.0 - e) / (1.0 + e), series, size < 0.2);
}

// log(1 + e) for e in [0, 1]: the series where 1 + e would round e away.
fn log1p_small(e: f32) -> f32 {
  let series = e * (1.0 + e * (-0.5 + e * (0.33333333 - 0.25 * e)));
  return select(log(1.0 + e), series, e < 0.02);
}

fn activated(kind: u32, v: f32) -> f32 {
  switch kind {
    case RELU: { return select(v, 0.0, v < 0.0); }
    case GELU: { return v * normal_cdf(v); }
    case SIGMOID: { return sigmoid(v); }
    case TANH: { return safe_tanh(v); }
    case SILU: { return v * sigmoid(v); }
    case SOFTPLUS: { return max(v, 0.0) + log1p_small(exp(-min(abs(v), 88.0))); }
    default: { return v; }
  }
}

// Derivative from the saved input or output, as src/ops/elementwise/reference.ts lists it.
fn slope(kind: u32, s: f32) -> f32 {
  switch kind {
    case RELU: { return select(0.0, 1.0, s > 0.0); }
    case GELU: { return normal_cdf(s) + s * 0.3989422804 * exp(-min(0.5 * s * s, 88.0)); }
    case SIGMOID: { return s * (1.0 - s); }
    case TANH: { return 1.0 - s * s; }
    case SILU: { return sigmoid(s) * (1.0 + s * (1.0 - sigmoid(s))); }
    case SOFTPLUS: { return sigmoid(s); }
    default: { return 1.0; }
  }
}
