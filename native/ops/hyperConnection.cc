// Sinkhorn normalisation with DeepSeek's eps, with the affine map before it and the mixing of streams behind it.
// One matrix per vector lane; streams in vectors along their features. The algorithm is that of
// src/ops/hyperConnection/README.md.
#include <algorithm>
#include <cmath>

#include "hyperConnection-lanes.h"
#include "kernel.h"
#include "lanes.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace hyperConnection {
namespace {

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
BIRKHOFF_INLINE vf factorOf(const Run& run, int64_t first, int64_t valid, vi& broken) {
  if (!run.scale) return broadcast(1.0f);
  return checked(run.scaleStep ? loadPartial(run.scale + first, valid) : broadcast(run.scale[0]), broken);
}

// x = softmax((scale · logits + bias) / temperature) of `valid` matrices from `first` on; the logits stay in `z`.
template <class S>
BIRKHOFF_INLINE void softmaxOf(const Run& run, S sides, int64_t first, int64_t valid, float* z, float* shifts, float* x,
                               bool report) {
  const int64_t n = sides.n(), m = sides.m(), size = sides.size();
  intoLanes(run.logits + first * size, size, size, valid, z);
  if (run.biasStep) intoLanes(run.bias + first * size, size, size, valid, shifts);
  vi broken{};
  const vf factor = factorOf(run, first, valid, broken);
  const vf widest = broadcast(1e36f) / max(broadcast(1.0f), abs(factor));
  const float limit = 1e30f * std::min(run.temperature, 1.0f);
  for (int64_t e = 0; e < size; e++) {
    const vf logit = checked(at(z, e), broken);
    put(z, e, logit);
    vf value = factor * min(max(logit, -widest), widest);
    if (run.bias) value += clamped(checked(run.biasStep ? at(shifts, e) : broadcast(run.bias[e]), broken), 1e36f);
    put(x, e, clamped(value, limit) / run.temperature);
  }
  if (report && any(broken)) {
    reportBroken(*run.context, run.logits + first * size, valid * size);
    reportBroken(*run.context, run.scale + (run.scaleStep ? first : 0), run.scale ? (run.scaleStep ? valid : 1) : 0);
    reportBroken(*run.context, run.bias + first * run.biasStep, run.bias ? (run.biasStep ? valid * size : size) : 0);
  }
  for (int64_t i = 0; i < n; i++) {
    vf peak = at(x, i * m), total{};
    for (int64_t j = 1; j < m; j++) peak = max(peak, at(x, i * m + j));
    for (int64_t j = 0; j < m; j++) {
      const vf share = exp(at(x, i * m + j) - peak);
      put(x, i * m + j, share);
      total += share;
    }
    const vf factor = 1.0f / total;
    for (int64_t j = 0; j < m; j++) put(x, i * m + j, at(x, i * m + j) * factor);
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

// f.operator()<count>(), for a count from 1 to `largest`.
template <int count = largest, class F>
BIRKHOFF_INLINE void asConstant(int64_t wanted, F&& f) {
  if (wanted == count) return f.template operator()<count>();
  if constexpr (count > 1) asConstant<count - 1>(wanted, f);
}

// y = P · streams of one matrix, or Pᵀ · streams: `out` rows of y from `in` streams. Weights of a row of y are `step`
// apart.
template <int in>
void mix(const float* p, int64_t rowStep, int64_t step, int64_t out, int64_t d, const float* streams, float* y) {
  along(d, [&](int64_t k, int64_t width) {
    vf v[in];
    for (int j = 0; j < in; j++) v[j] = loadSome(streams + j * d + k, width);
    for (int64_t i = 0; i < out; i++) {
      vf total = broadcast(p[i * rowStep]) * v[0];
      for (int j = 1; j < in; j++) total = fma(broadcast(p[i * rowStep + j * step]), v[j], total);
      storeSome(y + i * d + k, width, total);
    }
  });
}

// dp = gradient · streamsᵀ of one matrix, two rows at a time: all sums stay in registers.
template <int m>
void products(int64_t n, const float* gradient, int64_t d, const float* streams, float* dp) {
  for (int64_t i = 0; i < n; i += 2) {
    const int64_t second = std::min(i + 1, n - 1);
    vf a[m] = {}, b[m] = {};
    along(d, [&](int64_t k, int64_t width) {
      const vf one = loadSome(gradient + i * d + k, width), two = loadSome(gradient + second * d + k, width);
      for (int j = 0; j < m; j++) {
        const vf v = loadSome(streams + j * d + k, width);
        a[j] = fma(one, v, a[j]);
        b[j] = fma(two, v, b[j]);
      }
    });
    for (int j = 0; j < m; j++) {
      dp[i * m + j] = sum(a[j]);
      dp[second * m + j] = sum(b[j]);
    }
  }
}

// Matrices that are computed together: a vector of them, or fewer where there are few and streams are most of the work.
int64_t togetherOf(const Run& run) { return run.streams ? std::clamp<int64_t>(run.count / 16, 1, lanes) : lanes; }

// Groups per piece of work: some 20 µs.
int64_t grainOf(const Run& run) { return std::max<int64_t>(1, 20000 / (run.n * run.m * (run.iterations + run.d))); }

// Room for a vector of matrices and one number more.
constexpr int64_t area = (most + 1) * lanes;

// Matrices [first, first + valid) of the forward pass; `scratch` is 3 · area floats.

template <class S>
void forwardGroup(const Run& run, S sides, int64_t first, int64_t valid, float* scratch, float* out) {
  const int64_t size = sides.size();
  float *z = scratch, *shifts = z + area, *p = shifts + area;
  softmaxOf(run, sides, first, valid, z, shifts, p, true);
  vf x[S::room];
  sides.entries(BIRKHOFF_EACH(e) { x[e] = at(p, e); });
  normalise(run, sides, x);
  sides.entries(BIRKHOFF_EACH(e) { put(z, e, x[e]); });
  if (!run.streams) return outOfLanes(z, size, size, valid, out + first * size);
  outOfLanes(z, size, size, valid, p);
  const int64_t n = sides.n(), m = sides.m();
  asConstant(m, [&]<int in>() {
    for (int64_t b = 0; b < valid; b++)
      mix<in>(p + b * size, m, 1, n, run.d, run.streams + (first + b) * m * run.d, out + (first + b) * n * run.d);
  });
}

// d streams of the group and, into lanes of `dp`, dP.
template <class S>
void throughStreams(const Run& run, S sides, const Outputs& to, int64_t first, int64_t valid, const float* p,
                    float* rows, float* dp) {
  const int64_t n = sides.n(), m = sides.m(), size = sides.size();
  const float *gradient = to.gradient + first * n * run.d, *streams = run.streams + first * m * run.d;
  if (to.dstreams) {
    outOfLanes(p, size, size, valid, rows);
    asConstant(n, [&]<int in>() {
      for (int64_t b = 0; b < valid; b++)
        mix<in>(rows + b * size, 1, m, m, run.d, gradient + b * n * run.d, to.dstreams + (first + b) * m * run.d);
    });
  }
  asConstant(m, [&]<int columns>() {
    for (int64_t b = 0; b < valid; b++)
      products<columns>(n, gradient + b * n * run.d, run.d, streams + b * m * run.d, rows + b * size);
  });
  intoLanes(rows, size, size, valid, dp);
}

int64_t recordedOf(const Run& run) { return (run.n + run.m) * run.iterations + anchorsOf(run) * run.n * run.m; }

// The same of the backward pass; `scratch` is 4 · area + recordedOf(run) · lanes floats.
template <class S>
void backwardGroup(const Run& run, S sides, const Outputs& to, int64_t first, int64_t valid, float* scratch) {
  const int64_t m = sides.m(), size = sides.size();
  float *z = scratch, *shifts = z + area, *rows = shifts + area, *softmax = rows + area, *divisors = softmax + area,
        *anchors = divisors + (run.n + run.m) * run.iterations * lanes;
  softmaxOf(run, sides, first, valid, z, shifts, softmax, false);
  vf x[S::room];
  sides.entries(BIRKHOFF_EACH(e) { x[e] = at(softmax, e); });
  normaliseRecorded(run, sides, x, divisors, anchors);
  if (run.streams) {
    sides.entries(BIRKHOFF_EACH(e) { put(shifts, e, x[e]); });
    throughStreams(run, sides, to, first, valid, shifts, rows, shifts);
  } else {
    intoLanes(to.gradient + first * size, size, size, valid, shifts);
  }
  if (!to.dlogits && !to.parameters) return;
  vf g[S::room];
  sides.entries(BIRKHOFF_EACH(e) { g[e] = at(shifts, e); });
  walkBack(run, sides, x, g, divisors, anchors);

  vi reported{};
  const vf factor = factorOf(run, first, valid, reported), share = broadcast(1.0f) / run.temperature;
  vf alongLogits{};
  sides.rows(BIRKHOFF_EACH(i) {
    vf total{};
    sides.columns(BIRKHOFF_EACH(j) { total = fma(g[i * m + j], at(softmax, i * m + j), total); });
    sides.columns(BIRKHOFF_EACH(j) {
      const int64_t e = i * m + j;
      const vf shift = at(softmax, e) * (g[e] - total) * share;
      alongLogits = fma(shift, at(z, e), alongLogits);
      put(rows, e, shift);
      put(shifts, e, factor * shift);
    });
  });
  if (to.dlogits) outOfLanes(shifts, size, size, valid, to.dlogits + first * size);
  if (!to.parameters) return;
  const int64_t numbers = (to.biasGradient ? size : 0) + (to.scaleGradient ? 1 : 0);
  if (to.scaleGradient) put(rows, numbers - 1, alongLogits);
  outOfLanes(rows, numbers, numbers, valid, to.parameters + first * numbers);
}

// f(first, valid, scratch) for all groups of matrices.
template <class F>
void inGroups(const Run& run, int64_t floats, F&& f) {
  const int64_t together = togetherOf(run);
  float* scratch = run.context->scratch(floats * run.context->threads());
  run.context->parallel(
      (run.count + together - 1) / together, grainOf(run), [&](int64_t begin, int64_t end, int thread) {
        for (int64_t first = begin * together; first < std::min(end * together, run.count); first += together)
          f(first, std::min(together, run.count - first), scratch + thread * floats);
      });
}

// f(sides) with the sides as constants where they are the most common ones.
template <class F>
void withSides(const Run& run, F&& f) {
  run.n == 4 && run.m == 4 ? f(Sides<4, 4>(run)) : f(Sides<0, 0>(run));
}

}  // namespace
}  // namespace hyperConnection

using namespace hyperConnection;

void hyperConnectionForward(const Call& call, Context& context) {
  const Run run = runOf(call, context);
  float* out = call.outputs[0].f32();
  withSides(run, [&](auto sides) {
    inGroups(run, 3 * area, [&](int64_t first, int64_t valid, float* scratch) {
      forwardGroup(run, sides, first, valid, scratch, out);
    });
  });
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
  withSides(run, [&](auto sides) {
    inGroups(run, 4 * area + recordedOf(run) * lanes, [&](int64_t first, int64_t valid, float* scratch) {
      backwardGroup(run, sides, to, first, valid, scratch);
    });
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
