// exp, log, tanh and erf over `vf`. Included by simd.h. Errors are measured by test/driver.cc, which states the bounds.
#pragma once

namespace birkhoff::BIRKHOFF_ISA {

// At most 2 ulp. 0 below about -103.97, infinity above about 88.72, subnormal results between.
BIRKHOFF_INLINE vf exp(vf x) {
  // Beyond these the result is 0 or infinity anyway; NaN passes both comparisons.
  x = smaller(broadcast(89.0f), x);
  x = larger(broadcast(-104.5f), x);
  // n = round(x / ln 2), by adding a number so large that the fraction falls off.
  const vf shift = broadcast(12582912.0f);
  const vf shifted = fma(x, broadcast(1.44269504f), shift);
  const vf n = shifted - shift;
  // r = x - n ln 2, with ln 2 in two parts of which the first has few bits, so that n times it is exact.
  vf r = fma(n, broadcast(-0.693359375f), x);
  r = fma(n, broadcast(2.12194440e-4f), r);
  vf p = broadcast(1.9875691500e-4f);
  p = fma(p, r, broadcast(1.3981999507e-3f));
  p = fma(p, r, broadcast(8.3334519073e-3f));
  p = fma(p, r, broadcast(4.1665795894e-2f));
  p = fma(p, r, broadcast(1.6666665459e-1f));
  p = fma(p, r, broadcast(5.0000001201e-1f));
  p = fma(p, r * r, r) + 1.0f;
#if defined(__AVX512F__)
  return _mm512_maskz_scalef_ps(0xffff, p, n);
#else
  // 2^n in two factors: one alone cannot reach subnormal results or 2^128.
  const vi whole = (vi)((vu)shifted - 0x4b400000u);
  const vi half = whole >> 1;
  return p * (vf)(((vu)half + 127u) << 23) * (vf)(((vu)whole - (vu)half + 127u) << 23);
#endif
}

// At most 2 ulp for every positive number. log 0 = -infinity, below 0 NaN.
BIRKHOFF_INLINE vf log(vf x) {
  const vi subnormal = x < 1.17549435e-38f;
  const vf scaled = select(subnormal, x * 8388608.0f, x);
  // x = 2^e m with m in [sqrt(1/2), sqrt(2)), found by moving the boundary 1 to sqrt(1/2) in the bit pattern.
  const vu shifted = (vu)scaled - 0x3f3504f3u;
  const vi e = ((vi)shifted >> 23) - select(subnormal, broadcast(23), broadcast(0));
  const vf m = (vf)((shifted & 0x007fffffu) + 0x3f3504f3u);
  // log m = 2 atanh(s) = f - f^2/2 + s (f^2/2 + R(s^2)), s = f / (2 + f).
  const vf f = m - 1.0f;
  const vf s = f / (f + 2.0f);
  const vf z = s * s;
  vf series = broadcast(0.24279078841f);
  series = fma(series, z, broadcast(0.28498786688f));
  series = fma(series, z, broadcast(0.40000972152f));
  series = fma(series, z, broadcast(0.66666662693f)) * z;
  const vf square = f * f * 0.5f;
  const vf exponent = toFloat(e);
  const vf tail = fma(s, square + series, exponent * 9.0580006145e-6f);
  vf result = fma(exponent, broadcast(0.69313812256f), f - (square - tail));
  result = select(x == infinity, x, result);
  result = select(x == 0.0f, broadcast(-infinity), result);
  return select((x < 0.0f) | isNan(x), broadcast(std::numeric_limits<float>::quiet_NaN()), result);
}

// At most 2 ulp.
BIRKHOFF_INLINE vf tanh(vf x) {
  const vf t = abs(x);
  const vf z = x * x;
  vf small = broadcast(-5.70498872745e-3f);
  small = fma(small, z, broadcast(2.06390887954e-2f));
  small = fma(small, z, broadcast(-5.37397155531e-2f));
  small = fma(small, z, broadcast(1.33314422036e-1f));
  small = fma(small, z, broadcast(-3.33332819422e-1f));
  small = fma(small * z, t, t);
  // 1 - 2 / (e^2t + 1): no cancellation once e^2t is well above 1.
  const vf large = 1.0f - 2.0f / (exp(t + t) + 1.0f);
  return copySign(select(t > 0.625f, large, small), x);
}

// At most 2 ulp: x + x P(x^2) near 0, and 1 - exp(-t + t Q(t)) with t = |x| further out, both fitted for the least
// largest relative error of the result.
BIRKHOFF_INLINE vf erf(vf x) {
  const vf t = abs(x);
  const vf z = x * x;
  vf p = broadcast(8.267432713e-5f);
  p = fma(p, z, broadcast(-8.118067635e-4f));
  p = fma(p, z, broadcast(5.198828876e-3f));
  p = fma(p, z, broadcast(-2.685849741e-2f));
  p = fma(p, z, broadcast(1.128367931e-1f));
  p = fma(p, z, broadcast(-3.761263192e-1f));
  p = fma(p, z, broadcast(1.283791661e-1f));
  const vf small = fma(p, t, t);
  vf q = broadcast(2.133751253e-4f);
  q = fma(q, t, broadcast(-3.209906630e-3f));
  q = fma(q, t, broadcast(2.287369221e-2f));
  q = fma(q, t, broadcast(-1.052363142e-1f));
  q = fma(q, t, broadcast(-6.357378364e-1f));
  q = fma(q, t, broadcast(-1.285085529e-1f));
  const vf large = 1.0f - exp(fma(q, t, -t));
  return copySign(select(t > 4.0f, broadcast(1.0f), select(t > 0.9375f, large, small)), x);
}

}  // namespace birkhoff::BIRKHOFF_ISA
