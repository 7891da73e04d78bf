// The normalisation of hyperConnection.cc and its way back, one matrix per vector lane.
#pragma once

#include <cstdint>
#include <utility>

#include "kernel.h"
#include "lanes.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA::hyperConnection {
namespace {

constexpr int64_t largest = 8, most = largest * largest;
// The walk back takes x from a copy of every so-manyth iteration, so that its roundings do not add up.
constexpr int64_t anchor = 16;

struct Run {
  int64_t count, n, m, d, iterations;
  int64_t scaleStep, biasStep;  // 0 where one serves all matrices
  float temperature, eps;
  const float *logits, *scale, *bias, *streams;  // null where absent
  Context* context;
};

// f(0), f(1), …, f(n − 1): written out where N says n, so that arrays indexed by it stay in registers.
template <int N, class F>
BIRKHOFF_INLINE void times(int64_t n, F&& f) {
  if constexpr (N > 0) {
    [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) { (f(int64_t{i}), ...); }
    (std::make_integer_sequence<int, N>{});
  } else {
    for (int64_t i = 0; i < n; i++) f(i);
  }
}
#define BIRKHOFF_EACH(i) [&](int64_t i) __attribute__((always_inline))

// The sides of a matrix: known to the compiler, or (0) read from the run.
template <int N, int M>
struct Sides {
  int64_t runN, runM;
  explicit Sides(const Run& run) : runN(run.n), runM(run.m) {}
  int64_t n() const { return N ? N : runN; }
  int64_t m() const { return M ? M : runM; }
  int64_t size() const { return n() * m(); }
  static constexpr int64_t room = N ? N * M : most;

  template <class F>
  [[gnu::always_inline]] void rows(F&& f) const {
    times<N>(runN, f);
  }
  template <class F>
  [[gnu::always_inline]] void columns(F&& f) const {
    times<M>(runM, f);
  }
  template <class F>
  [[gnu::always_inline]] void entries(F&& f) const {
    times<N * M>(runN * runM, f);
  }
};

// 1 / x for normal x. A division of 16 numbers takes as long as ten multiplications; a step of Newton's on the
// processor's estimate (2^-14) leaves an error of 1 ulp.
BIRKHOFF_INLINE vf inverse(vf x) {
#if defined(__AVX512F__)
  const vf estimate = _mm512_maskz_rcp14_ps(0xffff, x);
  return fma(estimate, fma(-x, estimate, broadcast(1.0f)), estimate);
#else
  return 1.0f / x;
#endif
}

// x = x / (Σ x + eps) over rows or columns; the divisors to `divisors`, unless it is null.
template <class S>
BIRKHOFF_INLINE void divideRows(S sides, vf* x, vf eps, float* divisors) {
  const int64_t m = sides.m();
  sides.rows(BIRKHOFF_EACH(i) {
    vf total{};
    sides.columns(BIRKHOFF_EACH(j) { total = j ? total + x[i * m + j] : x[i * m]; });
    total += eps;
    if (divisors) put(divisors, i, total);
    const vf factor = inverse(total);
    sides.columns(BIRKHOFF_EACH(j) { x[i * m + j] *= factor; });
  });
}

template <class S>
BIRKHOFF_INLINE void divideColumns(S sides, vf* x, vf eps, float* divisors) {
  const int64_t m = sides.m();
  sides.columns(BIRKHOFF_EACH(j) {
    vf total{};
    sides.rows(BIRKHOFF_EACH(i) { total = i ? total + x[i * m + j] : x[j]; });
    total += eps;
    if (divisors) put(divisors, j, total);
    const vf factor = inverse(total);
    sides.rows(BIRKHOFF_EACH(i) { x[i * m + j] *= factor; });
  });
}

// y = x / divisor: g = (g − Σ g ∘ y) / divisor, and x = y · divisor.
template <class S>
BIRKHOFF_INLINE void rowsBack(S sides, vf* x, vf* g, const float* divisors) {
  const int64_t m = sides.m();
  sides.rows(BIRKHOFF_EACH(i) {
    const vf divisor = at(divisors, i), factor = inverse(divisor);
    vf total{};
    sides.columns(BIRKHOFF_EACH(j) { total = fma(g[i * m + j], x[i * m + j], total); });
    sides.columns(BIRKHOFF_EACH(j) {
      g[i * m + j] = (g[i * m + j] - total) * factor;
      x[i * m + j] *= divisor;
    });
  });
}

template <class S>
BIRKHOFF_INLINE void columnsBack(S sides, vf* x, vf* g, const float* divisors) {
  const int64_t m = sides.m();
  sides.columns(BIRKHOFF_EACH(j) {
    const vf divisor = at(divisors, j), factor = inverse(divisor);
    vf total{};
    sides.rows(BIRKHOFF_EACH(i) { total = fma(g[i * m + j], x[i * m + j], total); });
    sides.rows(BIRKHOFF_EACH(i) {
      g[i * m + j] = (g[i * m + j] - total) * factor;
      x[i * m + j] *= divisor;
    });
  });
}

// x = P, from the softmax.
template <class S>
BIRKHOFF_INLINE void normalise(const Run& run, S sides, vf* x) {
  const vf eps = broadcast(run.eps);
  sides.entries(BIRKHOFF_EACH(e) { x[e] += eps; });
  divideColumns(sides, x, eps, nullptr);
  for (int64_t t = 1; t < run.iterations; t++) {
    divideRows(sides, x, eps, nullptr);
    divideColumns(sides, x, eps, nullptr);
  }
}

int64_t anchorsOf(const Run& run) { return (run.iterations - 1) / anchor; }

// The same, recording the divisors of all iterations, and x before every anchor-th but the first.
template <class S>
BIRKHOFF_INLINE void normaliseRecorded(const Run& run, S sides, vf* x, float* divisors, float* anchors) {
  const vf eps = broadcast(run.eps);
  const int64_t n = sides.n(), step = n + sides.m(), size = sides.size();
  sides.entries(BIRKHOFF_EACH(e) { x[e] += eps; });
  divideColumns(sides, x, eps, divisors + n * lanes);
  for (int64_t t = 1; t < run.iterations; t++) {
    if (t % anchor == 0) sides.entries(BIRKHOFF_EACH(e) { put(anchors, (t / anchor - 1) * size + e, x[e]); });
    divideRows(sides, x, eps, divisors + t * step * lanes);
    divideColumns(sides, x, eps, divisors + (t * step + n) * lanes);
  }
}

template <class S>
BIRKHOFF_INLINE void walkBack(const Run& run, S sides, vf* x, vf* g, const float* divisors, const float* anchors) {
  const int64_t n = sides.n(), step = n + sides.m(), size = sides.size();
  for (int64_t t = run.iterations - 1; t > 0; t--) {
    columnsBack(sides, x, g, divisors + (t * step + n) * lanes);
    rowsBack(sides, x, g, divisors + t * step * lanes);
    if (t % anchor == 0) sides.entries(BIRKHOFF_EACH(e) { x[e] = at(anchors, (t / anchor - 1) * size + e); });
  }
  columnsBack(sides, x, g, divisors + n * lanes);
}

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::hyperConnection
