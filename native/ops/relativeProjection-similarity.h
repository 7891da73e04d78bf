// What the similarities do to sums, and their derivatives: the maths is that of
// src/ops/relativeProjection/reference.ts.
#pragma once

#include <string>

#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA::relative {

// sin(πt) and cos(πt) for |t| <= 1/4.
BIRKHOFF_INLINE vf sine(vf t) {
  const vf z = t * t;
  vf p = fma(broadcast(-0.5890122056f), z, broadcast(2.5497610569f));
  p = fma(p, z, broadcast(-5.1677079201f));
  return fma(p, z, broadcast(3.1415927410f)) * t;
}
BIRKHOFF_INLINE vf cosine(vf t) {
  const vf z = t * t;
  vf p = fma(broadcast(0.2312609255f), z, broadcast(-1.3350359201f));
  p = fma(p, z, broadcast(4.0587067604f));
  p = fma(p, z, broadcast(-4.9348020554f));
  return fma(p, z, broadcast(1.0f));
}

// 1 - arccos(c) / π for |c| <= 1, by the series of arcsin near 0, of half the angle further out.
BIRKHOFF_INLINE vf angle(vf c) {
  const vf size = abs(c);
  const vi far = size > 0.5f;
  const vf z = select(far, 0.5f * (1.0f - size), c * c);
  const vf x = select(far, sqrt(z), c);
  vf p = fma(broadcast(0.0161037873f), z, broadcast(0.0126299467f));
  p = fma(p, z, broadcast(0.0240233224f));
  p = fma(p, z, broadcast(0.0530467592f));
  const vf arc = fma(p, z, broadcast(0.3183099031f)) * x;
  return select(far, select(c > 0.0f, 1.0f - 2.0f * arc, 2.0f * arc), 0.5f + arc);
}

// t^q for t >= 0; 0 where t is.
BIRKHOFF_INLINE vf powers(vf t, float q) {
  return select(t > 0.0f, exp(log(larger(t, broadcast(1.2e-38f))) * q), vf{});
}
// t^(halves / 2) for t >= 0, by multiplications and at most one root.
template <int halves>
BIRKHOFF_INLINE vf powerOf(vf t) {
  if constexpr (halves == 1) {
    return sqrt(t);
  } else if constexpr (halves == 2) {
    return t;
  } else if constexpr (halves % 4 == 0) {
    const vf root = powerOf<halves / 2>(t);
    return root * root;
  } else {
    constexpr int last = halves % 2 == 1 ? 1 : 2;
    return powerOf<halves - last>(t) * powerOf<last>(t);
  }
}
// weight · sign(t) where t is not 0.
BIRKHOFF_INLINE vf withSign(vf weight, vf t) { return fromBits(bits(weight) ^ (bits(t) & int32_t(0x80000000))); }
BIRKHOFF_INLINE vf clamped(vf c) { return larger(broadcast(-1.0f), smaller(broadcast(1.0f), c)); }

// x - *p and sum + t * *p with the number read by the instruction itself. A number that is held in a register for
// several vectors costs Zen 4 up to a quarter of its rate where additions and multiply-adds alternate.
BIRKHOFF_INLINE vf minusAt(vf x, const float* p) {
#if defined(__AVX512F__)
  vf y;
  asm("vsubps %2%{1to16%}, %1, %0" : "=v"(y) : "v"(x), "m"(*p));
  return y;
#else
  return x - broadcast(*p);
#endif
}
BIRKHOFF_INLINE vf addTimesAt(vf sum, vf t, const float* p) {
#if defined(__AVX512F__)
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(t), "m"(*p));
  return sum;
#else
  return fma(broadcast(*p), t, sum);
#endif
}

// The same value, of which the compiler knows nothing.
BIRKHOFF_INLINE vf opaque(vf v) {
#if defined(__aarch64__)
  asm("" : "+w"(v));
#else
  asm("" : "+x"(v));
#endif
  return v;
}

// Similarities of a product: `of` is the similarity from the sum and both inverse norms.
struct Cosine {
  static constexpr bool norms = true, readsResult = true;
  float factor;
  vf of(vf product) const { return clamped(product); }
  vf slope(vf) const { return broadcast(1.0f); }
  vf cosine(vf y) const { return y; }
};
struct Angular {
  static constexpr bool norms = true, readsResult = true;
  float factor;
  vf of(vf product) const { return angle(clamped(product)); }
  vf slope(vf y) const {
    const vf t = y - 0.5f, size = abs(t);
    const vf root = select(size > 0.25f, sine(0.5f - size), relative::cosine(t));
    return select((y > 0.0f) & (y < 1.0f), 0.31830989f / larger(root, broadcast(1e-8f)), vf{});
  }
  vf cosine(vf y) const {
    const vf t = y - 0.5f, size = abs(t);
    return select(size > 0.25f, copySign(relative::cosine(0.5f - size), t), sine(t));
  }
};
struct Inner {
  static constexpr bool norms = false, readsResult = false;
  float factor;
  vf of(vf product) const { return product * factor; }
};

// Distances: `with` adds a difference to a sum, `of` ends it; `slope` gives the weight of a gradient, `add` adds a
// feature of it. `light`: so few instructions that many rows go at once.
struct L1 {
  static constexpr bool readsResult = true, reaches = false, light = true;
  float p;
  // Differences take the adders; multiplying by 1 makes the sums wait for the multipliers instead.
  vf one = opaque(broadcast(1.0f));
  vf with(vf sum, vf t) const { return fma(abs(t), one, sum); }
  vf of(vf sum) const { return -sum; }
  vf slope(vf) const { return broadcast(-1.0f); }
  vf add(vf sum, const float* weight, vf t, vf) const {
    return sum + select(t != 0.0f, withSign(broadcast(*weight), t), vf{});
  }
  vf cosine(vf) const { return vf{}; }
};
struct L2 {
  static constexpr bool readsResult = true, reaches = false, light = true;
  float p;
  vf with(vf sum, vf t) const { return fma(t, t, sum); }
  vf of(vf sum) const { return -sqrt(sum); }
  vf slope(vf y) const { return select(y < 0.0f, 1.0f / smaller(y, broadcast(-1.2e-38f)), vf{}); }
  vf add(vf sum, const float* weight, vf t, vf) const { return addTimesAt(sum, t, weight); }
  vf cosine(vf) const { return vf{}; }
};
struct Linf {
  static constexpr bool readsResult = true, reaches = true, light = false;
  float p;
  vf with(vf sum, vf t) const { return larger(sum, abs(t)); }
  vf of(vf sum) const { return -sum; }
  vf slope(vf) const { return broadcast(-1.0f); }
  vf add(vf sum, const float* weight, vf t, vf reach) const {
    return sum + select((abs(t) >= reach) & (t != 0.0f), withSign(broadcast(*weight), t), vf{});
  }
  vf cosine(vf) const { return vf{}; }
};
struct Lp {
  static constexpr bool readsResult = true, reaches = false, light = false;
  float p;
  vf with(vf sum, vf t) const { return sum + powers(abs(t), p); }
  vf of(vf sum) const { return -powers(sum, 1.0f / p); }
  vf slope(vf y) const { return -powers(-y, 1.0f - p); }
  vf add(vf sum, const float* weight, vf t, vf) const {
    return fma(select(t != 0.0f, withSign(broadcast(*weight), t), vf{}), powers(abs(t), p - 1.0f), sum);
  }
  vf cosine(vf) const { return vf{}; }
};

// The same of p = halves / 2, without logarithms.
template <int halves>
struct LpOf {
  static constexpr bool readsResult = true, reaches = false, light = false;
  // Even powers of a number are those of its size, odd ones have its sign.
  static constexpr bool even = halves % 4 == 0;
  // What the multiply-add takes as its second factor.
  static constexpr int last = even ? halves / 2 : halves % 2 == 1 ? 1 : 2;
  float p;
  vf with(vf sum, vf t) const {
    const vf size = even ? t : abs(t);
    return fma(powerOf<halves - last>(size), powerOf<last>(size), sum);
  }
  vf of(vf sum) const { return -powers(sum, 1.0f / p); }
  vf slope(vf y) const { return -powers(-y, 1.0f - p); }
  vf add(vf sum, const float* weight, vf t, vf) const {
    return addTimesAt(sum, even ? powerOf<halves - 2>(t) : withSign(powerOf<halves - 2>(abs(t)), t), weight);
  }
  vf cosine(vf) const { return vf{}; }
};

// Calls use(similarity) with the struct of that name: `product` those of products, `distance` the others.
template <class Product, class Distance>
void withSimilarity(const std::string& kind, int64_t d, float p, Product product, Distance distance) {
  if (kind == "cosine") return product(Cosine{1.0f});
  if (kind == "angular") return product(Angular{1.0f});
  if (kind == "inner") return product(Inner{1.0f});
  if (kind == "scaledInner") return product(Inner{d == 0 ? 1.0f : 1.0f / __builtin_sqrtf(static_cast<float>(d))});
  if (kind == "l1") return distance(L1{p});
  if (kind == "l2") return distance(L2{p});
  if (kind == "linf") return distance(Linf{p});
  if (p == 1.5f) return distance(LpOf<3>{p});
  if (p == 2.5f) return distance(LpOf<5>{p});
  if (p == 3.0f) return distance(LpOf<6>{p});
  if (p == 4.0f) return distance(LpOf<8>{p});
  if (p == 5.0f) return distance(LpOf<10>{p});
  if (p == 6.0f) return distance(LpOf<12>{p});
  distance(Lp{p});
}

}  // namespace birkhoff::BIRKHOFF_ISA::relative
