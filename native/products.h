// The loop in the middle of all products of matrices: a block of sums in registers.
#pragma once

#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {

// sums[r][v] += Σ_l a[r·aRow + l·aStep] · b[l·bStep + v·lanes + …] for l < k. With `edge` the last vector of b has
// `tail` numbers. Inlined, so that constant strides fold.
template <bool edge, int rows, int vectors>
BIRKHOFF_INLINE void addProducts(vf (&sums)[rows][vectors], int64_t k, const float* a, int64_t aRow, int64_t aStep,
                                 const float* b, int64_t bStep, int64_t tail = lanes) {
  for (int64_t l = 0; l < k; l++) {
    vf column[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
      column[v] =
          edge && v == vectors - 1 ? loadPartial(b + l * bStep + v * lanes, tail) : load(b + l * bStep + v * lanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
      // Four base addresses and the multiples of one distance fit the processor's addressing modes.
      const vf row = broadcast(a[(r / 4) * (4 * aRow) + (r % 4) * aRow + l * aStep]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) sums[r][v] = fma(row, column[v], sums[r][v]);
    }
  }
}

}  // namespace birkhoff::BIRKHOFF_ISA
