// Our own Chebyshev fits: erf(x)/x in x² on [0, 1] (relative error 1.5e-7), exp(x²)·erfc(x)·x in 1/x on [1, 11] (1.1e-6 with the rounding of x²).
fn erf_small(x: f32) -> f32 {
  let u = x * x;
  return x * (1.12837917 + u * (-0.376126267 + u * (0.112835947 + u * (-0.026854212 + u * (0.00518908742 + u * (-0.000801686428 + u * 0.0000787587504))))));
}

fn erfc_large(x: f32) -> f32 {
  let s = 1.0 / x;
  let poly = 0.564208304 + s * (-0.000686926988 + s * (-0.271572324 + s * (-0.0882153361 + s * (0.865394134 + s * (-1.33213855 + s * (1.06538169 + s * (-0.459253983 + s * 0.0844667073)))))));
  return s * poly * exp(-min(x * x, 88.0));
}

// Φ(x), the normal distribution function, with relative accuracy in the lower tail.
fn normal_cdf(x: f32) -> f32 {
  let scaled = abs(x) * 0.70710678;
  if (scaled < 1.0) { return 0.5 + 0.5 * sign(x) * erf_small(scaled); }
  let tail = 0.5 * erfc_large(min(scaled, 10.0));
  return select(tail, 1.0 - tail, x > 0.0);
}
