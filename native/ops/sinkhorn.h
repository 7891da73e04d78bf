// What every way of running Sinkhorn shares: the calls taken apart, the record's layout, masses, scalings.
// The algorithm is that of src/ops/sinkhorn/README.md, the layout that of src/ops/sinkhorn/geometry.ts.
#pragma once

#include <algorithm>
#include <cmath>
#include <string_view>

#include "half.h"
#include "kernel.h"
#include "simd.h"
#include "transpose.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {

// BLOCK and EXCLUDED of geometry.ts.
inline constexpr int64_t block = 8;
inline constexpr float excluded = -1e30f;
// Logits of entries that are left out: so far down that no potential lifts them to where logits can be.
inline constexpr float far = -3e38f;
// Whatever is below was excluded, or is the largest of nothing but excluded numbers.
inline constexpr float nowhere = -2e38f;

// A kernel is made anew from the logits when scalings have moved one of its entries up by more than this since it was
// last: what had been flushed to 0 is still below 10⁻²⁵ then. Until that, absorbing is a multiplication.
inline constexpr float mostDrift = 1e12f;
// And after this many multiplications in any case, since each of them rounds.
inline constexpr int mostMultiplications = 8;

// Rows are the side that is normalised first: n of them. With `column`, they are the columns of the tensor.
struct Sides {
  int64_t count, n, m;
  bool column;

  Sides(const Tensor& matrix, bool column)
      : n(matrix.shape.rbegin()[column ? 0 : 1]), m(matrix.shape.rbegin()[column ? 1 : 0]), column(column) {
    count = matrix.size / (n * m);
  }
  int64_t size() const { return n * m; }
};

// Offsets into the record of one matrix.
struct Layout {
  int64_t f, g, rows, columns, start, history, stride, size;

  Layout(const Sides& sides, int64_t iterations, bool unbalanced, std::string_view kind) {
    const int64_t n = sides.n, m = sides.m;
    f = 2, g = f + n, rows = g + m, columns = rows + n, start = columns + m, history = start + m;
    stride = (n + m) * (unbalanced ? 2 : 1);
    size = kind == "none" ? 0 : kind == "head" ? start : history + iterations * stride;
  }
};

// Shared by all matrices (step 0), or one item for each.
template <class T>
struct Operand {
  const T* data = nullptr;
  int64_t step = 0;

  explicit operator bool() const { return data != nullptr; }
  const T* of(int64_t b) const { return data ? data + b * step : nullptr; }
};

// The operand of that name among those behind `before`, or null.
inline const Tensor* named(const Call& call, size_t before, std::string_view name) {
  std::string_view names = call.text("operands");
  for (size_t index = before; !names.empty(); index++) {
    const size_t end = std::min(names.find(' '), names.size());
    if (names.substr(0, end) == name) return &call.inputs[index];
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return nullptr;
}

// The input called `name`, if `operands` has it: its place in the list is that behind the first `before` inputs.
template <class T>
Operand<T> operandOf(const Call& call, size_t before, std::string_view name, int64_t size) {
  const Tensor* tensor = named(call, before, name);
  return tensor ? Operand<T>{static_cast<const T*>(tensor->data), tensor->size > size ? size : 0} : Operand<T>{};
}

// log u = met (log mass − log sum) − slack F: of a mass that need not be met, with F the potential so far.
struct Leak {
  float met = 1, slack = 0;
};

struct Run {
  Sides sides;
  int64_t iterations, annealed;
  bool unbalanced;
  double temperature, hot, cooling, leakRows, leakColumns;
  Layout layout;
  Context* context;

  Run(const Call& call, Context& context)
      : sides(call.inputs[0], call.text("order") == "column"),
        iterations(call.integer("iterations")),
        annealed(call.integer("annealed")),
        unbalanced(call.flag("unbalanced")),
        temperature(call.scalar("temperature")),
        hot(call.scalar("hot")),
        cooling(call.scalar("cooling")),
        leakRows(call.scalar("leak_rows")),
        leakColumns(call.scalar("leak_columns")),
        layout(sides, iterations, unbalanced, call.text("record")),
        context(&context) {}
  // A plain run that is recorded.
  Run(const Sides& sides, int64_t iterations, double temperature, Context& context)
      : sides(sides),
        iterations(iterations),
        annealed(0),
        unbalanced(false),
        temperature(temperature),
        hot(1),
        cooling(1),
        leakRows(0),
        leakColumns(0),
        layout(sides, iterations, false, "history"),
        context(&context) {}

  int64_t firsts() const { return std::max<int64_t>(1, annealed); }
  // Iterations of a record that says how many it has, and may be anybody's.
  int64_t done(float said) const { return static_cast<int64_t>(std::fmin(std::fmax(said, annealed), iterations)); }
  bool endsBlock(int64_t t) const { return t <= firsts() || (t - firsts()) % block == 0; }
  double temperatureAt(int64_t t) const {
    return t <= annealed ? hot * std::pow(cooling, static_cast<double>(t - 1)) : temperature;
  }
  static Leak leak(double rate, double temperature) {
    const double both = 1 + rate * temperature;
    return {static_cast<float>(1 / both), static_cast<float>(1 - 1 / both)};
  }
  Leak rowLeak(int64_t t) const { return leak(leakRows, temperatureAt(t)); }
  Leak columnLeak(int64_t t) const { return leak(leakColumns, temperatureAt(t)); }
};

enum class Plan { none, shares, logarithms };

struct Forward : Run {
  int64_t checkEvery;
  bool error, uniform, history;
  Plan plan;
  float tolerance;
  const float* logits;
  Operand<float> rows, columns, start;
  Operand<int32_t> mask, sizes;
  float *p, *record;

  Forward(const Call& call, Context& context)
      : Run(call, context),
        checkEvery(call.integer("checkEvery")),
        error(call.flag("error")),
        uniform(call.flag("uniform")),
        history(call.text("record") == "history"),
        plan(call.text("plan") == "P"      ? Plan::shares
             : call.text("plan") == "logP" ? Plan::logarithms
                                           : Plan::none),
        tolerance(static_cast<float>(call.scalar("tolerance"))),
        logits(floats(context, call.inputs[0])),
        rows(operandOf<float>(call, 1, "rows", sides.n)),
        columns(operandOf<float>(call, 1, "columns", sides.m)),
        start(operandOf<float>(call, 1, "start", sides.m)),
        mask(operandOf<int32_t>(call, 1, "mask", sides.size())),
        sizes(operandOf<int32_t>(call, 1, "sizes", 2)),
        p(call.outputs[0].f32()),
        record(call.outputs[1].f32()) {}
  // A plain run of which P and the record stay where they are computed.
  Forward(const Run& run, bool uniform, const float* logits)
      : Run(run),
        checkEvery(0),
        error(false),
        uniform(uniform),
        history(true),
        plan(Plan::shares),
        tolerance(0),
        logits(logits),
        p(nullptr),
        record(nullptr) {}

  // Nothing but logits and one mass for all rows, one for all columns.
  bool plain() const {
    return !rows && !columns && !start && !mask && !sizes && !unbalanced && annealed == 0 && checkEvery == 0 && !error;
  }
  float plainRow() const { return uniform ? 1.0f / static_cast<float>(sides.n) : 1.0f; }
  float plainColumn() const { return (uniform ? 1.0f : static_cast<float>(sides.n)) / static_cast<float>(sides.m); }
  // Whether iteration t begins with a look at what t − 1 left.
  bool looks(int64_t t) const { return checkEvery > 0 && t - 1 > annealed && (t - 1) % checkEvery == 0; }

  // Masses of matrix b, 0 for what is out, and its start: number i at to[i · stride].
  void masses(int64_t b, float* a, float* c, float* g, int64_t stride) const;
};

inline void Forward::masses(int64_t b, float* a, float* c, float* g, int64_t stride) const {
  int64_t inside[2] = {sides.n, sides.m};
  for (int k = 0; sizes && k < 2; k++) {
    const int32_t size = sizes.of(b)[sides.column ? 1 - k : k];
    if (size < 0 || size > inside[k]) context->fault(size);
    inside[k] = std::clamp<int64_t>(size, 0, inside[k]);
  }
  const double wide = static_cast<double>(inside[0]), high = static_cast<double>(inside[1]);
  const auto side = [&](const float* given, int64_t size, int64_t within, double otherwise, float* to) {
    for (int64_t i = 0; i < size; i++) {
      float mass = 0;
      if (i < within) {
        mass = given ? given[i] : static_cast<float>(otherwise);
        if (!(mass >= 0 && mass < infinity)) {
          context->fault(mass);
          mass = 0;
        }
      }
      to[i * stride] = mass;
    }
  };
  side(rows.of(b), sides.n, inside[0], uniform ? 1 / wide : 1, a);
  side(columns.of(b), sides.m, inside[1], uniform ? 1 / high : wide / high, c);
  for (int64_t j = 0; j < sides.m; j++) {
    float value = start ? start.of(b)[j] : 0;
    if (!std::isfinite(value)) {
      context->fault(value);
      value = 0;
    }
    g[j * stride] = std::clamp(value, -1e30f, 1e30f);
  }
}

enum class Matrix { shares, logarithms, logits };

struct Backward : Run {
  bool vectors;
  Matrix kind;
  const float *matrix, *record, *logits;
  Operand<float> gradient, recordGradient;
  Operand<int32_t> mask;
  float *dx, *dvectors;
  // Every mass is 1, every matrix ran all iterations, and nobody asks for more than the gradient of the logits.
  bool plain;

  Backward(const Call& call, Context& context)
      : Run(call, context),
        vectors(call.flag("vectors")),
        kind(call.text("matrix") == "P"      ? Matrix::shares
             : call.text("matrix") == "logP" ? Matrix::logarithms
                                             : Matrix::logits),
        matrix(floats(context, call.inputs[0])),
        record(call.inputs[1].f32()),
        gradient(operandOf<float>(call, 2, "gradient", sides.size())),
        recordGradient(operandOf<float>(call, 2, "recordGradient", layout.size)),
        mask(operandOf<int32_t>(call, 2, "mask", sides.size())),
        dx(call.outputs[0].f32()),
        dvectors(call.outputs[1].f32()),
        plain(call.flag("plain") && !vectors && !unbalanced && annealed == 0) {
    // With a batch of one, one item and one for each are the same.
    gradient.step = sides.size();
    recordGradient.step = layout.size;
    const Tensor* given = named(call, 2, "logits");
    logits = given ? floats(context, *given) : matrix;
  }
  // The way back through a plain run that left P and the record in vectors.
  Backward(const Run& run, const float* given, float* dx)
      : Run(run),
        vectors(false),
        kind(Matrix::shares),
        matrix(nullptr),
        record(nullptr),
        logits(nullptr),
        gradient{given, sides.size()},
        dx(dx),
        dvectors(nullptr),
        plain(false) {}
  int64_t vectorSize() const { return sides.n + 2 * sides.m; }
};

// Numbers.

BIRKHOFF_INLINE vf atMost(vf x, float bound) { return smaller(x, broadcast(bound)); }
BIRKHOFF_INLINE vf atLeast(vf x, float bound) { return larger(x, broadcast(bound)); }
BIRKHOFF_INLINE vf within(vf x, float low, float high) { return atMost(atLeast(x, low), high); }
// Products of scalings stay where neither they nor their reciprocals overflow.
BIRKHOFF_INLINE vf bounded(vf x) { return within(x, 1e-30f, 1e30f); }

// exp of what may be anything but NaN, kept finite; 0 stays possible below.
BIRKHOFF_INLINE vf boundedExp(vf x) { return exp(atMost(x, 80.0f)); }
BIRKHOFF_INLINE vf boundedLog(vf x) { return log(atLeast(x, 1e-30f)); }

// 1 / x to within 1 ulp, for x from 1e-30 to 1e30. A division takes AVX-512 as long as ten multiplications.
BIRKHOFF_INLINE vf inverse(vf x) {
#if defined(__AVX512F__)
  const vf guess = _mm512_maskz_rcp14_ps(0xffff, x);
  return fma(guess, fma(-x, guess, broadcast(1.0f)), guess);
#else
  return 1.0f / x;
#endif
}

BIRKHOFF_INLINE vf inverseOf(vf mass) { return select(mass > 0.0f, inverse(bounded(mass)), vf{}); }

BIRKHOFF_INLINE bool anyOf(vi mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#else
  int32_t values[lanes], all = 0;
  store(values, mask);
  for (int i = 0; i < lanes; i++) all |= values[i];
  return all != 0;
#endif
}

// Of as many numbers as fill vectors: scalings into the product of those before, of which the largest are returned.
BIRKHOFF_INLINE vf scaleBy(float* total, const float* scalings, int64_t size) {
  vf high{};
  for (int64_t i = 0; i < size; i += lanes) {
    const vf product = bounded(load(total + i) * load(scalings + i));
    store(total + i, product);
    high = larger(product, high);
  }
  return high;
}
// And potentials at another temperature.
BIRKHOFF_INLINE void rescale(float* potentials, int64_t size, double ratio) {
  for (int64_t i = 0; i < size; i += lanes) store(potentials + i, load(potentials + i) * static_cast<float>(ratio));
}

// mass / sum. Rows and columns that are out have no mass.
BIRKHOFF_INLINE vf scaling(vf mass, vf sum) { return mass * inverse(bounded(sum)); }

// The same where the mass need not be met.
BIRKHOFF_INLINE vf leakyScaling(vf mass, vf sum, vf potential, Leak leak) {
  const vf exponent = leak.met * (boundedLog(mass) - boundedLog(sum)) - leak.slack * potential;
  return select(mass > 0.0f, exp(within(exponent, -80.0f, 80.0f)), vf{});
}

BIRKHOFF_INLINE vi isBroken(vf x) { return (bits(x) & 0x7f800000) == 0x7f800000; }

// Logits over the temperature, and what was no number on the way.
class Scaler {
 public:
  explicit Scaler(double temperature) : temperature_(static_cast<float>(temperature)) {}

  // 0 for what is no number, `far` for what is out.
  [[gnu::always_inline]] inline vf operator()(vf value) { return scaled(value, isBroken(value)); }
  [[gnu::always_inline]] inline vf operator()(vf value, vi allowed) {
    return select(allowed, scaled(value, isBroken(value) & allowed), broadcast(far));
  }
  void report(Context& context) const {
    for (int i = 0; i < lanes; i++) {
      if (any_[i]) context.fault(last_[i]);
    }
  }

 private:
  [[gnu::always_inline]] inline vf scaled(vf value, vi broken) {
    any_ |= broken;
    last_ = select(broken, value, last_);
    value = select(broken, vf{}, value);
    if (temperature_ != 1.0f) value /= temperature_;
    return within(value, -1e30f, 1e30f);
  }
  float temperature_;
  vi any_{};
  vf last_{};
};

// f.operator()<R>(i) for consecutive blocks of R = most or fewer indices, all of nearly the same size; from the last
// one down with `backwards`.
template <int R, class F>
BIRKHOFF_INLINE void ofSize(int64_t size, int64_t i, F&& f) {
  if (size == R) {
    f.template operator()<R>(i);
  } else if constexpr (R > 1) {
    ofSize<R - 1>(size, i, f);
  }
}
template <int R, class F>
BIRKHOFF_INLINE void inBlocks(int64_t n, F&& f, bool backwards = false) {
  const int64_t blocks = (n + R - 1) / R, size = n / blocks, longer = n % blocks;
  for (int64_t k = 0; k < blocks; k++) {
    const int64_t at = backwards ? blocks - 1 - k : k;
    ofSize<R>(size + (at < longer), at * size + std::min(at, longer), f);
  }
}

// How much fits into the registers: 32 of them, or 16.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int tile = 5, tall = 8;
#else
inline constexpr int tile = 3, tall = 6;
#endif

// Iterations whose share of the gradient is assembled at once; it bounds the memory that long runs take.
inline constexpr int64_t chunk = 32;

inline float clipped(double x) { return static_cast<float>(std::min(x, 1e30)); }

// Conjugate gradients stop here: what is left of the energy, how curved the direction is against the diagonal alone (a
// flatter one is known by its rounding errors only: what all columns share changes nothing), or this many steps.
inline constexpr float leastEnergy = 1e-13f, leastCurvature = 1e-6f;
inline int64_t mostSteps(int64_t m) { return std::min<int64_t>(2 * m + 8, 256); }

}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
