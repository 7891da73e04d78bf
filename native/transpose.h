// Blocks of lanes × lanes floats turned over in registers.
#pragma once

#include <algorithm>
#include <utility>

#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {

template <int first, int... i>
BIRKHOFF_INLINE vf interleave(vf a, vf b, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(a, b, (i % 2 == 0 ? first + i / 2 : lanes + first + i / 2)...);
}

// Each round moves the highest bit of the row number to the lowest of the column number; after log2(lanes) rounds they
// have changed places.
BIRKHOFF_INLINE void transpose(vf (&rows)[lanes]) {
#if defined(__AVX512F__)
  // Shuffles within quarters, then of quarters: none of them needs an index in a register.
  vf turned[lanes];
#pragma GCC unroll 4
  for (int i = 0; i < lanes; i += 4) {
    const __m512d a = (__m512d)_mm512_maskz_unpacklo_ps(0xffff, rows[i], rows[i + 1]);
    const __m512d b = (__m512d)_mm512_maskz_unpackhi_ps(0xffff, rows[i], rows[i + 1]);
    const __m512d c = (__m512d)_mm512_maskz_unpacklo_ps(0xffff, rows[i + 2], rows[i + 3]);
    const __m512d d = (__m512d)_mm512_maskz_unpackhi_ps(0xffff, rows[i + 2], rows[i + 3]);
    turned[i] = (vf)_mm512_maskz_unpacklo_pd(0xff, a, c);
    turned[i + 1] = (vf)_mm512_maskz_unpackhi_pd(0xff, a, c);
    turned[i + 2] = (vf)_mm512_maskz_unpacklo_pd(0xff, b, d);
    turned[i + 3] = (vf)_mm512_maskz_unpackhi_pd(0xff, b, d);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const __m512 a = _mm512_maskz_shuffle_f32x4(0xffff, turned[i], turned[4 + i], 0x88);
    const __m512 b = _mm512_maskz_shuffle_f32x4(0xffff, turned[i], turned[4 + i], 0xdd);
    const __m512 c = _mm512_maskz_shuffle_f32x4(0xffff, turned[8 + i], turned[12 + i], 0x88);
    const __m512 d = _mm512_maskz_shuffle_f32x4(0xffff, turned[8 + i], turned[12 + i], 0xdd);
    rows[i] = _mm512_maskz_shuffle_f32x4(0xffff, a, c, 0x88);
    rows[4 + i] = _mm512_maskz_shuffle_f32x4(0xffff, b, d, 0x88);
    rows[8 + i] = _mm512_maskz_shuffle_f32x4(0xffff, a, c, 0xdd);
    rows[12 + i] = _mm512_maskz_shuffle_f32x4(0xffff, b, d, 0xdd);
  }
#else
  constexpr auto index = std::make_integer_sequence<int, lanes>();
#pragma GCC unroll 4
  for (int round = 1; round < lanes; round *= 2) {
    vf turned[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes / 2; i++) {
      turned[2 * i] = interleave<0>(rows[i], rows[i + lanes / 2], index);
      turned[2 * i + 1] = interleave<lanes / 2>(rows[i], rows[i + lanes / 2], index);
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; i++) rows[i] = turned[i];
  }
#endif
}

// y[c][r] = x[r][c] for `rows` × `columns` <= lanes × lanes; writes `width` >= rows of each row of y, with zeros behind
// `rows`.
BIRKHOFF_INLINE void transposeBlock(const float* x, int64_t xRow, float* y, int64_t yRow, int64_t rows, int64_t columns,
                                    int64_t width) {
  vf block[lanes];
  if (rows == lanes && columns == lanes && width == lanes) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; i++) block[i] = load(x + i * xRow);
    transpose(block);
#pragma GCC unroll 16
    for (int i = 0; i < lanes; i++) store(y + i * yRow, block[i]);
    return;
  }
  for (int i = 0; i < lanes; i++) block[i] = i < rows ? loadPartial(x + i * xRow, columns) : vf{};
  transpose(block);
  for (int64_t i = 0; i < columns; i++) storePartial(y + i * yRow, width, block[i]);
}

}  // namespace birkhoff::BIRKHOFF_ISA
