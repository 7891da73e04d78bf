// One matrix per vector lane: numbers of `lanes` matrices to one vector per number, and back.
#pragma once

#include <algorithm>

#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {

// a b a b …: first or second halves of a and b, lane by lane.
template <bool second>
BIRKHOFF_INLINE vf zip(vf a, vf b) {
  constexpr int h = second ? lanes / 2 : 0;
  if constexpr (lanes == 16) {
    return __builtin_shufflevector(a, b, h, h + 16, h + 1, h + 17, h + 2, h + 18, h + 3, h + 19, h + 4, h + 20, h + 5,
                                   h + 21, h + 6, h + 22, h + 7, h + 23);
  } else if constexpr (lanes == 8) {
    return __builtin_shufflevector(a, b, h, h + 8, h + 1, h + 9, h + 2, h + 10, h + 3, h + 11);
  } else {
    return __builtin_shufflevector(a, b, h, h + 4, h + 1, h + 5);
  }
}

// Element k of vector r becomes element r of vector k.
BIRKHOFF_INLINE void transpose(vf (&rows)[lanes]) {
  for (int stage = 1; stage < lanes; stage *= 2) {
    vf next[lanes];
    for (int i = 0; i < lanes / 2; i++) {
      next[2 * i] = zip<false>(rows[i], rows[i + lanes / 2]);
      next[2 * i + 1] = zip<true>(rows[i], rows[i + lanes / 2]);
    }
    for (int i = 0; i < lanes; i++) rows[i] = next[i];
  }
}

namespace {

// `size` numbers of each of `valid` matrices, `stride` apart, to one vector per number. Lanes behind the last matrix
// get 0.
[[maybe_unused]] void intoLanes(const float* from, int64_t stride, int64_t size, int64_t valid, float* to) {
  for (int64_t e = 0; e < size; e += lanes) {
    const int64_t width = std::min<int64_t>(lanes, size - e);
    vf rows[lanes];
    for (int64_t l = 0; l < lanes; l++) rows[l] = l < valid ? loadPartial(from + l * stride + e, width) : vf{};
    transpose(rows);
    for (int64_t k = 0; k < width; k++) store(to + (e + k) * lanes, rows[k]);
  }
}

[[maybe_unused]] void outOfLanes(const float* from, int64_t stride, int64_t size, int64_t valid, float* to) {
  for (int64_t e = 0; e < size; e += lanes) {
    const int64_t width = std::min<int64_t>(lanes, size - e);
    vf rows[lanes];
    for (int64_t k = 0; k < lanes; k++) rows[k] = k < width ? load(from + (e + k) * lanes) : vf{};
    transpose(rows);
    for (int64_t l = 0; l < valid; l++) storePartial(to + l * stride + e, width, rows[l]);
  }
}

BIRKHOFF_INLINE vf at(const float* vectors, int64_t index) { return load(vectors + index * lanes); }
BIRKHOFF_INLINE void put(float* vectors, int64_t index, vf value) { store(vectors + index * lanes, value); }

}  // namespace

}  // namespace birkhoff::BIRKHOFF_ISA
