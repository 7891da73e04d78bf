// Activations and their derivatives, for kernels that apply them to what they just computed. The formulas are those of
// src/ops/elementwise/reference.ts.
#pragma once

#include <string>

#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {

BIRKHOFF_INLINE vf sigmoid(vf x) {
  const vf e = exp(-abs(x));
  return select(x >= 0.0f, broadcast(1.0f), e) / (1.0f + e);
}

BIRKHOFF_INLINE vf normalCdf(vf x) { return 0.5f + 0.5f * erf(x * 0.70710678f); }

// log(1 + e) for e in [0, 1]: the rounding of 1 + e is undone (Kahan).
BIRKHOFF_INLINE vf log1p(vf e) {
  const vf u = 1.0f + e;
  return select(u == 1.0f, e, log(u) * (e / select(u == 1.0f, broadcast(1.0f), u - 1.0f)));
}

// Hands the activation as a function of a vector to `use`; false when `kind` is none.
template <class Use>
bool withActivation(const std::string& kind, Use&& use) {
  const auto with = [&](auto f) {
    use(f);
    return true;
  };
  if (kind == "relu") return with([](vf x) { return select(x < 0.0f, vf{}, x); });
  if (kind == "gelu") return with([](vf x) { return x * normalCdf(x); });
  if (kind == "sigmoid") return with([](vf x) { return sigmoid(x); });
  if (kind == "tanh") return with([](vf x) { return tanh(x); });
  if (kind == "silu") return with([](vf x) { return x * sigmoid(x); });
  if (kind == "softplus") return with([](vf x) { return select(x > 0.0f, x, vf{}) + log1p(exp(-abs(x))); });
  return false;
}

// Likewise the product of a cotangent and the derivative, from the input x or the output y, whichever is saved.
template <class Use>
bool withDerivative(const std::string& kind, Use&& use) {
  const auto with = [&](auto f) {
    use(f);
    return true;
  };
  if (kind == "relu") return with([](vf d, vf y) { return select(y > 0.0f, d, vf{}); });
  if (kind == "gelu")
    return with([](vf d, vf x) { return d * (normalCdf(x) + x * 0.3989422804f * exp(-0.5f * x * x)); });
  if (kind == "sigmoid") return with([](vf d, vf y) { return d * y * (1.0f - y); });
  if (kind == "tanh") return with([](vf d, vf y) { return d * (1.0f - y * y); });
  if (kind == "silu") {
    return with([](vf d, vf x) {
      const vf s = sigmoid(x);
      return d * s * (1.0f + x * (1.0f - s));
    });
  }
  if (kind == "softplus") return with([](vf d, vf x) { return d * sigmoid(x); });
  return false;
}

}  // namespace birkhoff::BIRKHOFF_ISA
