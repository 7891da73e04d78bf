// Half precision: what float16 tensors are stored in. Kernels compute in float32.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {

// The processor's own conversions where it has them, which round to the nearest, ties to even.
#if !(defined(__F16C__) || defined(__AVX512F__) || defined(__aarch64__))
inline vf widened(const uint16_t* p) {
  vu word{};
  for (int i = 0; i < lanes; i++) word[i] = p[i];
  const vu size = (word & 0x7fff) << 13, sign = (word & 0x8000) << 16;
  // Exponents are 112 further down; those of infinity and NaN go to the top. Below the smallest normal number the
  // fraction counts 2^-24.
  const vu moved = size + (112u << 23) + ((vu)(size >= (31u << 23)) & (112u << 23));
  const vf small = toFloat((vi)(word & 0x3ff)) * 0x1p-24f;
  return (vf)((size < (1u << 23) ? (vu)small : moved) | sign);
}

inline void halve(uint16_t* p, vf v) {
  for (int i = 0; i < lanes; i++) {
    uint32_t word;
    const float one = v[i];
    std::memcpy(&word, &one, sizeof word);
    const uint32_t size = word & 0x7fffffff, sign = word >> 16 & 0x8000;
    uint32_t half;
    if (size > 0x7f800000) {
      half = 0x7e00;
    } else if (size >= 0x477ff000) {
      half = 0x7c00;  // from 65520 on
    } else if (size < 0x38800000) {
      // Adding 0.5 leaves as last bit what 2^-24 is counted in.
      float magnitude;
      std::memcpy(&magnitude, &size, sizeof magnitude);
      magnitude += 0.5f;
      std::memcpy(&half, &magnitude, sizeof half);
      half -= 0x3f000000;
    } else {
      half = (size - (112u << 23) + 0xfff + (size >> 13 & 1)) >> 13;
    }
    p[i] = static_cast<uint16_t>(half | sign);
  }
}
#else
inline vf widened(const uint16_t* p) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#endif
}

inline void halve(uint16_t* p, vf v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__F16C__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
#else
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
#endif
}
#endif

// Elements per piece of work.
inline constexpr int64_t halfGrain = 1 << 14;

inline void widen(Context& context, const uint16_t* from, float* to, int64_t count) {
  context.parallel(count, halfGrain, [&](int64_t begin, int64_t end, int) {
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) store(to + i, widened(from + i));
    if (i == end) return;
    uint16_t last[lanes] = {};
    std::copy(from + i, from + end, last);
    storePartial(to + i, end - i, widened(last));
  });
}

inline void narrow(Context& context, const float* from, uint16_t* to, int64_t count) {
  context.parallel(count, halfGrain, [&](int64_t begin, int64_t end, int) {
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) halve(to + i, load(from + i));
    if (i == end) return;
    uint16_t last[lanes];
    halve(last, loadPartial(from + i, end - i));
    std::copy_n(last, end - i, to + i);
  });
}

// The numbers of a tensor of either kind: its own, or a copy in the work area.
inline const float* floats(Context& context, const Tensor& tensor) {
  if (tensor.dtype != DType::float16 || tensor.size == 0) return tensor.f32();
  float* copy = context.scratch(tensor.size);
  widen(context, tensor.f16(), copy, tensor.size);
  return copy;
}

}  // namespace birkhoff::BIRKHOFF_ISA
