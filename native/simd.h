// The vector type that kernels are written over, once for every instruction set.
//
// `vf` holds `lanes` floats: 16 with AVX-512, 8 with AVX2, 4 otherwise (SSE2 or NEON). + - * / and comparisons are the
// compiler's own operators on it; a comparison gives a `vi` of 0 and -1. Everything lives in the namespace of the
// level, so that code of two levels never shares a symbol.
#pragma once

#include <cstdint>
#include <limits>

#if defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define BIRKHOFF_INLINE [[gnu::always_inline]] static inline

namespace birkhoff::BIRKHOFF_ISA {

#if defined(__AVX512F__)
inline constexpr int lanes = 16;
#elif defined(__AVX2__)
inline constexpr int lanes = 8;
#else
inline constexpr int lanes = 4;
#endif

typedef float vf __attribute__((vector_size(lanes * 4)));
typedef int32_t vi __attribute__((vector_size(lanes * 4)));
// For arithmetic on bit patterns, which may wrap around.
typedef uint32_t vu __attribute__((vector_size(lanes * 4)));

inline constexpr float infinity = std::numeric_limits<float>::infinity();

// Moving.

BIRKHOFF_INLINE vf load(const float* p) {
  vf v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

BIRKHOFF_INLINE vi load(const int32_t* p) {
  vi v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

BIRKHOFF_INLINE void store(float* p, vf v) { __builtin_memcpy(p, &v, sizeof v); }
BIRKHOFF_INLINE void store(int32_t* p, vi v) { __builtin_memcpy(p, &v, sizeof v); }

BIRKHOFF_INLINE vf broadcast(float x) { return x - vf{}; }
BIRKHOFF_INLINE vi broadcast(int32_t x) { return x - vi{}; }

// The first n of `lanes` floats, 0 <= n <= lanes; the rest is 0. Touches no byte beyond them.
BIRKHOFF_INLINE vf loadPartial(const float* p, int64_t n) {
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
#elif defined(__AVX2__)
  const vi index = {0, 1, 2, 3, 4, 5, 6, 7};
  const vi mask = index < broadcast(static_cast<int32_t>(n));
  return _mm256_maskload_ps(p, (__m256i)mask);
#else
  vf v{};
  for (int64_t i = 0; i < lanes; i++) {
    if (i < n) v[i] = p[i];
  }
  return v;
#endif
}

BIRKHOFF_INLINE void storePartial(float* p, int64_t n, vf v) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
#elif defined(__AVX2__)
  const vi index = {0, 1, 2, 3, 4, 5, 6, 7};
  const vi mask = index < broadcast(static_cast<int32_t>(n));
  _mm256_maskstore_ps(p, (__m256i)mask, v);
#else
  for (int64_t i = 0; i < lanes; i++) {
    if (i < n) p[i] = v[i];
  }
#endif
}

// Choosing and comparing.

// Per lane: mask != 0 ? a : b. A mask is what a comparison gives (all bits or none).
BIRKHOFF_INLINE vf select(vi mask, vf a, vf b) { return mask ? a : b; }
BIRKHOFF_INLINE vi select(vi mask, vi a, vi b) { return mask ? a : b; }

BIRKHOFF_INLINE vi bits(vf v) { return (vi)v; }
BIRKHOFF_INLINE vf fromBits(vi v) { return (vf)v; }
BIRKHOFF_INLINE vi isNan(vf v) { return v != v; }

BIRKHOFF_INLINE vf abs(vf v) { return fromBits(bits(v) & 0x7fffffff); }
// The magnitude of `a` with the sign of `b`.
BIRKHOFF_INLINE vf copySign(vf a, vf b) { return fromBits((bits(a) & 0x7fffffff) | (bits(b) & int32_t(0x80000000))); }

// NaN in either gives NaN, as in PyTorch.
BIRKHOFF_INLINE vf max(vf a, vf b) {
#if defined(__aarch64__)
  return vmaxq_f32(a, b);
#else
  return select(isNan(a), a, select(a > b, a, b));
#endif
}

BIRKHOFF_INLINE vf min(vf a, vf b) {
#if defined(__aarch64__)
  return vminq_f32(a, b);
#else
  return select(isNan(a), a, select(a < b, a, b));
#endif
}

// a < b ? a : b and a > b ? a : b: the second where either is NaN, which is what x86 has an instruction for.
BIRKHOFF_INLINE vf smaller(vf a, vf b) {
#if defined(__AVX512F__)
  return _mm512_maskz_min_ps(0xffff, a, b);
#elif defined(__AVX2__)
  return _mm256_min_ps(a, b);
#elif defined(__SSE2__)
  return _mm_min_ps(a, b);
#else
  return select(a < b, a, b);
#endif
}

BIRKHOFF_INLINE vf larger(vf a, vf b) {
#if defined(__AVX512F__)
  return _mm512_maskz_max_ps(0xffff, a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#elif defined(__SSE2__)
  return _mm_max_ps(a, b);
#else
  return select(a > b, a, b);
#endif
}

// Arithmetic.

// a * b + c: rounded once where the processor can (all levels but portable).
BIRKHOFF_INLINE vf fma(vf a, vf b, vf c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

BIRKHOFF_INLINE vf sqrt(vf v) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(0xffff, v);
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(v);
#elif defined(__SSE2__)
  return _mm_sqrt_ps(v);
#elif defined(__aarch64__)
  return vsqrtq_f32(v);
#else
  for (int i = 0; i < lanes; i++) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

BIRKHOFF_INLINE vf reciprocal(vf v) { return 1.0f / v; }

// Towards zero; what does not fit is undefined.
BIRKHOFF_INLINE vi toInt(vf v) { return __builtin_convertvector(v, vi); }
BIRKHOFF_INLINE vf toFloat(vi v) { return __builtin_convertvector(v, vf); }

// Across lanes.

// One lane per step of a tree, so that the order of additions is the same at every call.
BIRKHOFF_INLINE float sum(vf v) {
  float part[lanes];
  __builtin_memcpy(part, &v, sizeof v);
  for (int half = lanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) part[i] += part[i + half];
  }
  return part[0];
}

// NaN when any lane is.
BIRKHOFF_INLINE float maxOf(vf v) {
  float part[lanes];
  __builtin_memcpy(part, &v, sizeof v);
  for (int half = lanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) {
      const float a = part[i], b = part[i + half];
      part[i] = a > b || a != a ? a : b;
    }
  }
  return part[0];
}

}  // namespace birkhoff::BIRKHOFF_ISA

#include "simd-math.h"
