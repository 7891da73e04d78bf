// Sinkhorn normalisation with DeepSeek's eps, with the affine map before it and the mixing of streams behind it.
// One matrix per vector lane; streams in vectors along their features. The algorithm is that of
// src/ops/hyperConnection/README.md.
#include <algorithm>
#include <cmath>

#include "kernel.h"
#include "lanes.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
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

struct Outputs {
  const float* gradient;
  float *dlogits, *parameters, *dstreams;  // null where not wanted
  bool scaleGradient, biasGradient;
};

Run runOf(const Call& call, Context& context) {
  Run run{};
  size_t next = 0;
  const auto take = [&](const char* attr) { return call.flag(attr) ? &call.inputs[next++] : nullptr; };
  const Tensor& logits = call.inputs[next++];
  const Tensor *scale = take("scale"), *bias = take("bias"), *streams = take("streams");
  run.n = logits.shape[logits.shape.size() - 2];
  run.m = logits.shape.back();
  run.count = logits.size / (run.n * run.m);
  run.iterations = call.integer("iterations");
  run.temperature = static_cast<float>(call.scalar("temperature"));
  run.eps = static_cast<float>(call.scalar("eps"));
  run.logits = logits.f32();
  run.scale = scale ? scale->f32() : nullptr;
  run.bias = bias ? bias->f32() : nullptr;
  run.streams = streams ? streams->f32() : nullptr;
  run.scaleStep = scale && !scale->shape.empty() ? 1 : 0;
  run.biasStep = bias && bias->shape.size() > 2 ? run.n * run.m : 0;
  run.d = streams ? streams->shape.back() : 0;
  run.context = &context;
  return run;
}

// The sides of a matrix: known to the compiler, or (0) read from the run.
template <int N, int M>
struct Sides {
  int64_t runN, runM;
  explicit Sides(const Run& run) : runN(run.n), runM(run.m) {}
  int64_t n() const { return N ? N : runN; }
  int64_t m() const { return M ? M : runM; }
  int64_t size() const { return n() * m(); }
  static constexpr int64_t room = N ? N * M : most;
};

BIRKHOFF_INLINE vf clamped(vf x, float limit) { return min(max(x, broadcast(-limit)), broadcast(limit)); }

// NaN and infinities count as 0, and are marked.
BIRKHOFF_INLINE vf checked(vf x, vi& broken) {
  const vi here = (bits(x) & 0x7f800000) == 0x7f800000;
  broken |= here;
  return select(here, vf{}, x);
}

BIRKHOFF_INLINE bool any(vi mask) {
  int32_t parts[lanes];
  store(parts, mask);
  int32_t all = 0;
  for (int i = 0; i < lanes; i++) all |= parts[i];
  return all != 0;
}

void reportBroken(Context& context, const float* values, int64_t count) {
  for (int64_t i = 0; values && i < count; i++) {
    if (!std::isfinite(values[i])) context.fault(values[i]);
  }
}

// The scale of each lane's matrix.
BIRKHOFF_INLINE vf factorOf(const Run& run, int64_t first, int64_t valid) {
  if (!run.scale) return broadcast(1.0f);
  vi broken{};
  return checked(run.scaleStep ? loadPartial(run.scale + first, valid) : broadcast(run.scale[0]), broken);
}

// x = softmax((scale · logits + bias) / temperature) of `valid` matrices from `first` on; the logits stay in `z`.
template <class S>
BIRKHOFF_INLINE void softmaxOf(const Run& run, S sides, int64_t first, int64_t valid, float* z, float* shifts, vf* x,
                               bool report) {
  const int64_t n = sides.n(), m = sides.m(), size = sides.size();
  intoLanes(run.logits + first * size, size, size, valid, z);
  if (run.biasStep) intoLanes(run.bias + first * size, size, size, valid, shifts);
  vi broken{};
  vf factor = broadcast(1.0f);
  if (run.scale)
    factor = checked(run.scaleStep ? loadPartial(run.scale + first, valid) : broadcast(run.scale[0]), broken);
  const vf widest = broadcast(1e36f) / max(broadcast(1.0f), abs(factor));
  const float limit = 1e30f * std::min(run.temperature, 1.0f);
  for (int64_t e = 0; e < size; e++) {
    const vf logit = checked(at(z, e), broken);
    put(z, e, logit);
    vf value = factor * min(max(logit, -widest), widest);
    if (run.bias) value += clamped(checked(run.biasStep ? at(shifts, e) : broadcast(run.bias[e]), broken), 1e36f);
    x[e] = clamped(value, limit) / run.temperature;
  }
  if (report && any(broken)) {
    reportBroken(*run.context, run.logits + first * size, valid * size);
    reportBroken(*run.context, run.scale + (run.scaleStep ? first : 0), run.scale ? (run.scaleStep ? valid : 1) : 0);
    reportBroken(*run.context, run.bias + first * run.biasStep, run.bias ? (run.biasStep ? valid * size : size) : 0);
  }
  for (int64_t i = 0; i < n; i++) {
    vf peak = x[i * m], total{};
    for (int64_t j = 1; j < m; j++) peak = max(peak, x[i * m + j]);
    for (int64_t j = 0; j < m; j++) total += x[i * m + j] = exp(x[i * m + j] - peak);
    const vf share = 1.0f / total;
    for (int64_t j = 0; j < m; j++) x[i * m + j] *= share;
  }
}

// x = x / (Σ x + eps) over rows or columns; the divisors to `divisors`, unless it is null.
template <class S>
BIRKHOFF_INLINE void divideRows(S sides, vf* x, vf eps, float* divisors) {
  const int64_t n = sides.n(), m = sides.m();
  for (int64_t i = 0; i < n; i++) {
    vf total = x[i * m];
    for (int64_t j = 1; j < m; j++) total += x[i * m + j];
    total += eps;
    if (divisors) put(divisors, i, total);
    const vf factor = 1.0f / total;
    for (int64_t j = 0; j < m; j++) x[i * m + j] *= factor;
  }
}

template <class S>
BIRKHOFF_INLINE void divideColumns(S sides, vf* x, vf eps, float* divisors) {
  const int64_t n = sides.n(), m = sides.m();
  for (int64_t j = 0; j < m; j++) {
    vf total = x[j];
    for (int64_t i = 1; i < n; i++) total += x[i * m + j];
    total += eps;
    if (divisors) put(divisors, j, total);
    const vf factor = 1.0f / total;
    for (int64_t i = 0; i < n; i++) x[i * m + j] *= factor;
  }
}

// y = x / divisor: g = (g − Σ g ∘ y) / divisor, and x = y · divisor.
template <class S>
BIRKHOFF_INLINE void rowsBack(S sides, vf* x, vf* g, const float* divisors) {
  const int64_t n = sides.n(), m = sides.m();
  for (int64_t i = 0; i < n; i++) {
    const vf divisor = at(divisors, i), factor = 1.0f / divisor;
    vf total{};
    for (int64_t j = 0; j < m; j++) total = fma(g[i * m + j], x[i * m + j], total);
    for (int64_t j = 0; j < m; j++) {
      g[i * m + j] = (g[i * m + j] - total) * factor;
      x[i * m + j] *= divisor;
    }
  }
}

template <class S>
BIRKHOFF_INLINE void columnsBack(S sides, vf* x, vf* g, const float* divisors) {
  const int64_t n = sides.n(), m = sides.m();
  for (int64_t j = 0; j < m; j++) {
    const vf divisor = at(divisors, j), factor = 1.0f / divisor;
    vf total{};
    for (int64_t i = 0; i < n; i++) total = fma(g[i * m + j], x[i * m + j], total);
    for (int64_t i = 0; i < n; i++) {
      g[i * m + j] = (g[i * m + j] - total) * factor;
      x[i * m + j] *= divisor;
    }
  }
}

// x = P, from the softmax.
template <class S>
BIRKHOFF_INLINE void normalise(const Run& run, S sides, vf* x) {
  const vf eps = broadcast(run.eps);
  for (int64_t e = 0; e < sides.size(); e++) x[e] += eps;
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
  for (int64_t e = 0; e < size; e++) x[e] += eps;
  for (int64_t t = 0; t < run.iterations; t++) {
    if (t > 0) {
      if (t % anchor == 0) {
        for (int64_t e = 0; e < size; e++) put(anchors, (t / anchor - 1) * size + e, x[e]);
      }
      divideRows(sides, x, eps, divisors + t * step * lanes);
    }
    divideColumns(sides, x, eps, divisors + (t * step + n) * lanes);
  }
}

template <class S>
BIRKHOFF_INLINE void walkBack(const Run& run, S sides, vf* x, vf* g, const float* divisors, const float* anchors) {
  const int64_t n = sides.n(), step = n + sides.m(), size = sides.size();
  for (int64_t t = run.iterations - 1; t >= 0; t--) {
    columnsBack(sides, x, g, divisors + (t * step + n) * lanes);
    if (t == 0) break;
    rowsBack(sides, x, g, divisors + t * step * lanes);
    if (t % anchor == 0) {
      for (int64_t e = 0; e < size; e++) x[e] = at(anchors, (t / anchor - 1) * size + e);
    }
  }
}

// f(column, width) for each vector of a row of d numbers.
template <class F>
BIRKHOFF_INLINE void along(int64_t d, F&& f) {
  int64_t k = 0;
  for (; k + lanes <= d; k += lanes) f(k, int64_t{lanes});
  if (k < d) f(k, d - k);
}

BIRKHOFF_INLINE vf loadSome(const float* p, int64_t width) { return width == lanes ? load(p) : loadPartial(p, width); }
BIRKHOFF_INLINE void storeSome(float* p, int64_t width, vf v) {
  width == lanes ? store(p, v) : storePartial(p, width, v);
}

// y = P · streams of one matrix; or, with `transposed`, y = Pᵀ · streams.
template <bool transposed, class S>
BIRKHOFF_INLINE void mix(S sides, const float* p, int64_t d, const float* streams, float* y) {
  const int64_t n = sides.n(), m = sides.m(), in = transposed ? n : m, out = transposed ? m : n;
  along(d, [&](int64_t k, int64_t width) {
    vf v[largest];
    for (int64_t j = 0; j < in; j++) v[j] = loadSome(streams + j * d + k, width);
    for (int64_t i = 0; i < out; i++) {
      vf total{};
      for (int64_t j = 0; j < in; j++) total = fma(broadcast(p[transposed ? j * m + i : i * m + j]), v[j], total);
      storeSome(y + i * d + k, width, total);
    }
  });
}

// dp = gradient · streamsᵀ of one matrix.
template <class S>
BIRKHOFF_INLINE void products(S sides, const float* gradient, int64_t d, const float* streams, float* dp) {
  const int64_t n = sides.n(), m = sides.m();
  for (int64_t i = 0; i < n; i += 2) {
    const int64_t second = std::min(i + 1, n - 1);
    vf a[largest] = {}, b[largest] = {};
    along(d, [&](int64_t k, int64_t width) {
      const vf one = loadSome(gradient + i * d + k, width), two = loadSome(gradient + second * d + k, width);
      for (int64_t j = 0; j < m; j++) {
        const vf v = loadSome(streams + j * d + k, width);
        a[j] = fma(one, v, a[j]);
        b[j] = fma(two, v, b[j]);
      }
    });
    for (int64_t j = 0; j < m; j++) {
      dp[i * m + j] = sum(a[j]);
      dp[second * m + j] = sum(b[j]);
    }
  }
}

// Matrices that are computed together: a vector of them, or fewer where there are few and streams are most of the work.
int64_t togetherOf(const Run& run) { return run.streams ? std::clamp<int64_t>(run.count / 16, 1, lanes) : lanes; }

// Groups per piece of work: some 20 µs.
int64_t grainOf(const Run& run) { return std::max<int64_t>(1, 20000 / (run.n * run.m * (run.iterations + run.d))); }

template <int N, int M>
void forward(const Run& run, float* out) {
  using S = Sides<N, M>;
  const S sides(run);
  const int64_t size = sides.size(), together = togetherOf(run), area = 3 * most * lanes;
  float* scratch = run.context->scratch(area * run.context->threads());
  run.context->parallel((run.count + together - 1) / together, grainOf(run),
                        [&](int64_t begin, int64_t end, int thread) {
                          float *z = scratch + thread * area, *shifts = z + most * lanes, *p = shifts + most * lanes;
                          for (int64_t group = begin; group < end; group++) {
                            const int64_t first = group * together, valid = std::min(together, run.count - first);
                            vf x[S::room];
                            softmaxOf(run, sides, first, valid, z, shifts, x, true);
                            normalise(run, sides, x);
                            for (int64_t e = 0; e < size; e++) put(z, e, x[e]);
                            if (!run.streams) {
                              outOfLanes(z, size, size, valid, out + first * size);
                              continue;
                            }
                            outOfLanes(z, size, size, valid, p);
                            for (int64_t b = 0; b < valid; b++)
                              mix<false>(sides, p + b * size, run.d, run.streams + (first + b) * sides.m() * run.d,
                                         out + (first + b) * sides.n() * run.d);
                          }
                        });
}

template <int N, int M>
void backward(const Run& run, const Outputs& to) {
  using S = Sides<N, M>;
  const S sides(run);
  const int64_t size = sides.size(), together = togetherOf(run);
  const int64_t recorded = (sides.n() + sides.m()) * run.iterations + anchorsOf(run) * size;
  const int64_t area = (4 * (most + 1) + recorded) * lanes;
  float* scratch = run.context->scratch(area * run.context->threads());
  run.context->parallel(
      (run.count + together - 1) / together, grainOf(run), [&](int64_t begin, int64_t end, int thread) {
        float *z = scratch + thread * area, *shifts = z + (most + 1) * lanes, *p = shifts + (most + 1) * lanes,
              *start = p + (most + 1) * lanes, *divisors = start + (most + 1) * lanes,
              *anchors = divisors + (sides.n() + sides.m()) * run.iterations * lanes;
        for (int64_t group = begin; group < end; group++) {
          const int64_t first = group * together, valid = std::min(together, run.count - first);
          vf x[S::room], g[S::room];
          softmaxOf(run, sides, first, valid, z, shifts, x, false);
          for (int64_t e = 0; e < size; e++) put(start, e, x[e]);
          normaliseRecorded(run, sides, x, divisors, anchors);
          if (run.streams) {
            const int64_t streamSize = sides.m() * run.d, gradientSize = sides.n() * run.d;
            if (to.dstreams) {
              for (int64_t e = 0; e < size; e++) put(shifts, e, x[e]);
              outOfLanes(shifts, size, size, valid, p);
            }
            for (int64_t b = 0; b < valid; b++) {
              const float* gradient = to.gradient + (first + b) * gradientSize;
              if (to.dstreams) mix<true>(sides, p + b * size, run.d, gradient, to.dstreams + (first + b) * streamSize);
              products(sides, gradient, run.d, run.streams + (first + b) * streamSize, p + b * size);
            }
            intoLanes(p, size, size, valid, shifts);
          } else {
            intoLanes(to.gradient + first * size, size, size, valid, shifts);
          }
          if (!to.dlogits && !to.parameters) continue;
          for (int64_t e = 0; e < size; e++) g[e] = at(shifts, e);
          walkBack(run, sides, x, g, divisors, anchors);

          const vf factor = factorOf(run, first, valid), share = broadcast(1.0f) / run.temperature;
          vf alongLogits{};
          for (int64_t i = 0; i < sides.n(); i++) {
            vf total{};
            for (int64_t j = 0; j < sides.m(); j++)
              total = fma(g[i * sides.m() + j], at(start, i * sides.m() + j), total);
            for (int64_t j = 0; j < sides.m(); j++) {
              const int64_t e = i * sides.m() + j;
              const vf shift = at(start, e) * (g[e] - total) * share;
              alongLogits = fma(shift, at(z, e), alongLogits);
              put(p, e, shift);
              put(shifts, e, factor * shift);
            }
          }
          if (to.dlogits) outOfLanes(shifts, size, size, valid, to.dlogits + first * size);
          if (to.parameters) {
            const int64_t numbers = (to.biasGradient ? size : 0) + (to.scaleGradient ? 1 : 0);
            if (to.scaleGradient) put(p, numbers - 1, alongLogits);
            outOfLanes(p, numbers, numbers, valid, to.parameters + first * numbers);
          }
        }
      });
}

}  // namespace

void hyperConnectionForward(const Call& call, Context& context) {
  const Run run = runOf(call, context);
  float* out = call.outputs[0].f32();
  run.n == 4 && run.m == 4 ? forward<4, 4>(run, out) : forward<0, 0>(run, out);
}

void hyperConnectionBackward(const Call& call, Context& context) {
  const Run run = runOf(call, context);
  Outputs to{};
  size_t next = 0;
  const auto take = [&](bool wanted) { return wanted ? call.outputs[next++].f32() : nullptr; };
  to.scaleGradient = call.flag("scaleGradient");
  to.biasGradient = call.flag("biasGradient");
  to.gradient = call.inputs.back().f32();
  to.dlogits = take(call.flag("logitsGradient"));
  to.parameters = take(to.scaleGradient || to.biasGradient);
  to.dstreams = take(call.flag("streamsGradient"));
  run.n == 4 && run.m == 4 ? backward<4, 4>(run, to) : backward<0, 0>(run, to);
}

}  // namespace birkhoff::BIRKHOFF_ISA
