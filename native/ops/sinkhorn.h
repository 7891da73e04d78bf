// What the two ways of running Sinkhorn share: one matrix per vector lane for small n, rows in vectors for larger n.
// The algorithm, and the layout of the history, are those of src/ops/sinkhorn/README.md.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {

// Scalings are absorbed into the potentials after this many iterations: BLOCK of src/ops/sinkhorn/reference.ts.
inline constexpr int64_t block = 8;
inline bool endsBlock(int64_t t) { return t > 1 && (t - 1) % block == 0; }

struct Forward {
  int64_t count, n, iterations;
  float temperature;
  const float* logits;
  float* p;
  float* history;  // null when not wanted
  Context* context;
};

struct Backward {
  int64_t count, n, iterations;
  float temperature;
  const float* p;
  const float* history;
  const float* gradient;
  float* dx;
};

inline int64_t historyRows(int64_t iterations) { return 2 * iterations - 1; }

// What no number is counts as 0; the quotient stays within ±1e30.
BIRKHOFF_INLINE vf scaledLogits(vf x, float temperature, Context& context) {
  const vi broken = (bits(x) & 0x7f800000) == 0x7f800000;
  int32_t any[lanes];
  store(any, broken);
  for (int i = 0; i < lanes; i++) {
    if (any[i]) context.fault(x[i]);
  }
  const vf quotient = select(broken, vf{}, x) / temperature;
  return min(max(quotient, broadcast(-1e30f)), broadcast(1e30f));
}

BIRKHOFF_INLINE vf bounded(vf x) { return min(max(x, broadcast(1e-30f)), broadcast(1e30f)); }

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

// Element r of the result is the sum of vector r: what `transpose` does, adding on the way.
BIRKHOFF_INLINE vf sumsOf(vf (&rows)[lanes]) {
  for (int half = lanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) rows[i] = zip<false>(rows[i], rows[i + half]) + zip<true>(rows[i], rows[i + half]);
  }
  return rows[0];
}

// f.operator()<R>(i) for consecutive blocks of R = 4 indices and what is left below 4.
template <class F>
BIRKHOFF_INLINE void inFours(int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) f.template operator()<4>(i);
  if (n - i == 3) f.template operator()<3>(i);
  if (n - i == 2) f.template operator()<2>(i);
  if (n - i == 1) f.template operator()<1>(i);
}

void forwardInLanes(const Forward& run);
void backwardInLanes(const Backward& run, Context& context);
void forwardInRows(const Forward& run);
void backwardInRows(const Backward& run, Context& context);

}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
