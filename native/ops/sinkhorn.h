// What all ways of running Sinkhorn share: what a call asks for, where everything lies in the record of a run, and the
// few formulas that they have in common. The algorithm is that of src/ops/sinkhorn/README.md; "rows" are the side that
// is normalised first.
#pragma once

#include <algorithm>
#include <cmath>
#include <string_view>

#include "kernel.h"
#include "lanes.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {

// Scalings are absorbed into the potentials after this many iterations: BLOCK of src/ops/sinkhorn/geometry.ts.
inline constexpr int64_t block = 8;
// Stands for minus infinity: potentials without mass, logarithms of entries that are 0.
inline constexpr float excluded = -1e30f;
// Below every logit, and still finite after any sum of two.
inline constexpr float far = -3e38f;
// What sums are divided by at least.
inline constexpr float tiny = 1e-30f;

// An input with one item for each matrix, or (step 0) one for all; null where it is not given.
struct Operand {
  const Tensor* tensor = nullptr;
  int64_t step = 0;

  explicit operator bool() const { return tensor != nullptr; }
  const float* f32(int64_t b) const { return tensor->f32() + b * step; }
  const int32_t* i32(int64_t b) const { return tensor->i32() + b * step; }
};

// The part of a call that forward and backward have in common.
struct Run {
  int64_t count, n, m, rowStep, columnStep, iterations, annealed;
  float temperature, hot, cooling, leakRows, leakColumns;
  // Offsets and sizes of the record, as recordLayout() of geometry.ts has them.
  int64_t start, history, stride, size;
  Context* context;

  // `record` is what it holds: none, head or history.
  Run(const Call& call, Context& context, const std::string& record);

  int64_t area() const { return n * m; }
  bool turned() const { return columnStep != 1; }
  bool unbalanced() const { return stride > n + m; }
  int64_t f() const { return 2; }
  int64_t g() const { return 2 + n; }
  int64_t rows() const { return 2 + n + m; }
  int64_t columns() const { return 2 + 2 * n + m; }
  int64_t at(int64_t t) const { return history + (t - 1) * stride; }

  float temperatureAt(int64_t t) const {
    if (t > annealed) return temperature;
    float result = hot;
    for (int64_t k = 1; k < t; k++) result *= cooling;
    return result;
  }
  bool endsBlock(int64_t t) const {
    const int64_t first = std::max<int64_t>(1, annealed);
    return t <= first || (t - first) % block == 0;
  }
  Operand operand(const Call& call, std::string_view name, int64_t firstInput, int64_t itemSize) const;
};

struct Forward : Run {
  Operand rowMasses, columnMasses, begin, mask, sizes;
  bool uniform, error, logarithmic;
  int64_t checkEvery;
  float tolerance;
  const float* logits;
  // Null where they are not wanted.
  float *plan, *record;
  bool withHistory;

  Forward(const Call& call, Context& context);

  // Nothing but n, T and a temperature: the loops can do without masses and masks.
  bool plain() const {
    return !rowMasses && !begin && !mask && !sizes && !uniform && !turned() && n == m && checkEvery == 0 && !error &&
           annealed == 0 && !unbalanced() && leakRows == 0 && leakColumns == 0 && !logarithmic && plan;
  }
  // Sizes that matrix b really has, in the order of rows and columns.
  std::pair<int64_t, int64_t> extent(int64_t b) const;
  // Masses of matrix b, 0 beyond its extent; broken ones are reported and count as 0.
  void masses(int64_t b, float* rows, float* columns) const;
  // Potentials to begin with.
  void beginning(int64_t b, float* g) const;
};

enum class Matrix { plan, logPlan, logits };

struct Backward : Run {
  Matrix kind;
  // Null where they are not given or not wanted.
  const float *gradient, *recordGradient, *logits;
  Operand mask;
  const float *values, *record;
  float *dx, *dvectors;

  Backward(const Call& call, Context& context);

  // Nothing but logits took part, and nothing but a cotangent of P arrives.
  bool plain;
};

BIRKHOFF_INLINE vf bounded(vf x) { return min(max(x, broadcast(1e-30f)), broadcast(1e30f)); }
BIRKHOFF_INLINE vf atLeast(vf x, float least) { return select(x > least, x, broadcast(least)); }
// exp within the finite numbers.
BIRKHOFF_INLINE vf power(vf x) { return exp(select(x < 80.0f, x, broadcast(80.0f))); }

// What no number is counts as 0 and is reported; the quotient stays within ±1e30.
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

// The next scalings from sums: mass / sum, damped where the mass may be missed (`leak` is 1/ρ times the temperature).
BIRKHOFF_INLINE vf scaling(vf sum, vf mass, vf potential, float leak) {
  const vf safe = atLeast(sum, tiny);
  if (leak == 0) return mass / safe;
  const float damp = 1 / (1 + leak);
  const vf exponent = damp * (log(atLeast(mass, tiny)) - log(safe)) - (1 - damp) * potential;
  return select(mass > 0.0f, power(exponent), vf{});
}

// The potential of the first iteration, λ (log mass − LSE), 0 without mass.
BIRKHOFF_INLINE vf potentialOf(vf mass, vf lse, float leak) {
  return select(mass > 0.0f, (log(atLeast(mass, tiny)) - lse) / (1 + leak), vf{});
}

BIRKHOFF_INLINE vf inverse(vf x) { return select(x > 0.0f, 1.0f / atLeast(x, tiny), vf{}); }

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

// Plain runs: one matrix per vector lane, or rows in vectors, a matrix per thread.
void forwardInLanes(const Forward& run);
void backwardInLanes(const Backward& run);
void forwardInRows(const Forward& run);
void backwardInRows(const Backward& run);

}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
