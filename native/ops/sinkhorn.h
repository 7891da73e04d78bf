// What the two ways of running Sinkhorn share: one matrix per vector lane for small n, rows in vectors for larger n.
// The algorithm, and the layout of the history, are those of src/ops/sinkhorn/README.md.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernel.h"
#include "lanes.h"
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
