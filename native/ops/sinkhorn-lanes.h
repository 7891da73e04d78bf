// One matrix per vector lane: for small n, where a row does not fill a vector. Included by sinkhorn.cc.
#pragma once

#include "sinkhorn.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

// For blocks of rows: weights = f<R>(first row, matrix · in), then out += matrixᵀ · weights. The matrix is read once
// from memory.
template <class F>
BIRKHOFF_INLINE void passInLanes(const float* matrix, int64_t n, const float* in, float* out, F&& f) {
  for (int64_t j = 0; j < n; j++) put(out, j, vf{});
  inFours(n, [&]<int R>(int64_t i) {
    vf weight[R] = {};
    for (int64_t j = 0; j < n; j++) {
      const vf factor = at(in, j);
      for (int r = 0; r < R; r++) weight[r] = fma(at(matrix, (i + r) * n + j), factor, weight[r]);
    }
    f.template operator()<R>(i, weight);
    for (int64_t j = 0; j < n; j++) {
      vf sum = at(out, j);
      for (int r = 0; r < R; r++) sum = fma(at(matrix, (i + r) * n + j), weight[r], sum);
      put(out, j, sum);
    }
  });
}

// One group of `lanes` matrices. Leaves f, g and kernel = exp(x + f + g) of the first iteration, and v₀ in `start`.
void firstInLanes(const float* x, int64_t n, float* kernel, float* f, float* g, float* start) {
  for (int64_t i = 0; i < n; i++) {
    vf peak = at(x, i * n);
    for (int64_t j = 1; j < n; j++) peak = max(peak, at(x, i * n + j));
    vf sum{};
    for (int64_t j = 0; j < n; j++) sum += exp(at(x, i * n + j) - peak);
    put(f, i, -(peak + log(sum)));
  }
  for (int64_t j = 0; j < n; j++) {
    vf peak = at(x, j) + at(f, 0);
    for (int64_t i = 1; i < n; i++) peak = max(peak, at(x, i * n + j) + at(f, i));
    vf sum{};
    for (int64_t i = 0; i < n; i++) {
      const vf share = exp(at(x, i * n + j) + at(f, i) - peak);
      put(kernel, i * n + j, share);
      sum += share;
    }
    put(g, j, -(peak + log(sum)));
    put(start, j, exp(peak) * sum);
    const vf scale = 1.0f / sum;
    for (int64_t i = 0; i < n; i++) put(kernel, i * n + j, at(kernel, i * n + j) * scale);
  }
}

// Groups per piece of work: about 20 µs.
int64_t grainInLanes(int64_t n, int64_t iterations) { return std::max<int64_t>(1, 40000 / (n * n * iterations + 1)); }

}  // namespace

void forwardInLanes(const Forward& run) {
  const int64_t count = run.count, n = run.n, iterations = run.iterations, size = n * n;
  // Without a history there still is a place for the scalings of one iteration.
  const int64_t recorded = std::max(run.size, run.history + run.stride);
  const auto scalingsAt = [&](int64_t t) { return run.withHistory ? run.at(t) : run.history; };
  const float temperature = run.temperature;
  Context* context = run.context;
  const int64_t area = (2 * size + 3 * n + recorded) * lanes;
  float* scratch = context->scratch(area * context->threads());
  context->parallel((count + lanes - 1) / lanes, grainInLanes(n, iterations),
                    [&](int64_t begin, int64_t end, int thread) {
                      float* x = scratch + thread * area;
                      float *kernel = x + size * lanes, *f = kernel + size * lanes, *g = f + n * lanes,
                            *sums = g + n * lanes, *record = sums + n * lanes;
                      for (int64_t group = begin; group < end; group++) {
                        const int64_t first = group * lanes, valid = std::min<int64_t>(lanes, count - first);
                        intoLanes(run.logits + first * size, size, size, valid, x);
                        for (int64_t e = 0; e < size; e++) put(x, e, scaledLogits(at(x, e), temperature, *context));
                        firstInLanes(x, n, kernel, f, g, record + run.start * lanes);
                        // u and v of iteration t lie where the history wants them.
                        float *u = nullptr, *v = nullptr;
                        for (int64_t t = 2; t <= iterations; t++) {
                          float *nextU = record + scalingsAt(t) * lanes, *nextV = nextU + n * lanes;
                          if (!v) {
                            v = nextV;
                            for (int64_t j = 0; j < n; j++) put(v, j, broadcast(1.0f));
                          }
                          passInLanes(kernel, n, v, sums, [&]<int R>(int64_t i, vf(&weight)[R]) {
                            for (int r = 0; r < R; r++) put(nextU, i + r, weight[r] = 1.0f / weight[r]);
                          });
                          for (int64_t j = 0; j < n; j++) put(nextV, j, 1.0f / at(sums, j));
                          u = nextU;
                          v = nextV;
                          if (run.endsBlock(t) && t < iterations) {
                            for (int64_t i = 0; i < n; i++) {
                              put(f, i, at(f, i) + log(at(u, i)));
                              put(g, i, at(g, i) + log(at(v, i)));
                            }
                            for (int64_t i = 0; i < n; i++) {
                              for (int64_t j = 0; j < n; j++)
                                put(kernel, i * n + j, exp(at(x, i * n + j) + at(f, i) + at(g, j)));
                            }
                            v = nullptr;
                          }
                        }
                        if (u) {
                          for (int64_t i = 0; i < n; i++) {
                            for (int64_t j = 0; j < n; j++)
                              put(kernel, i * n + j, at(kernel, i * n + j) * (at(u, i) * at(v, j)));
                          }
                        }
                        outOfLanes(kernel, size, size, valid, run.plan + first * size);
                        if (!run.record) continue;
                        put(record, 0, broadcast(static_cast<float>(iterations)));
                        put(record, 1, vf{});
                        const vf one = broadcast(1.0f);
                        for (int64_t i = 0; i < n; i++) {
                          put(record, run.f() + i, u ? at(f, i) + log(at(u, i)) : at(f, i));
                          put(record, run.g() + i, u ? at(g, i) + log(at(v, i)) : at(g, i));
                          put(record, run.rows() + i, one);
                          put(record, run.columns() + i, one);
                          if (run.withHistory) {
                            put(record, run.at(1) + i, one);
                            put(record, run.at(1) + n + i, one);
                          }
                        }
                        outOfLanes(record, run.size, run.size, valid, run.record + first * run.size);
                      }
                    });
}

void backwardInLanes(const Backward& run) {
  const int64_t count = run.count, n = run.n, iterations = run.iterations, size = n * n;
  // Of the record, what begins with v₀.
  const int64_t recorded = run.size - run.start, vectors = 2 * iterations * n;
  const float temperature = run.temperature;
  Context& context = *run.context;
  const int64_t area = (2 * size + recorded + 2 * vectors + 4 * n) * lanes;
  float* scratch = context.scratch(area * context.threads());
  context.parallel((count + lanes - 1) / lanes, grainInLanes(n, iterations),
                   [&](int64_t begin, int64_t end, int thread) {
                     float* matrix = scratch + thread * area;
                     float *rest = matrix + size * lanes, *record = rest + size * lanes,
                           *left = record + recorded * lanes, *right = left + vectors * lanes;
                     float *barF = right + vectors * lanes, *sums = barF + n * lanes, *absorbedU = sums + n * lanes,
                           *absorbedV = absorbedU + n * lanes;
                     const vf one = broadcast(1.0f);
                     for (int64_t group = begin; group < end; group++) {
                       const int64_t first = group * lanes, valid = std::min<int64_t>(lanes, count - first);
                       intoLanes(run.values + first * size, size, size, valid, matrix);
                       intoLanes(run.gradient + first * size, size, size, valid, rest);
                       intoLanes(run.record + first * run.size + run.start, run.size, recorded, valid, record);
                       for (int64_t j = 0; j < n; j++) put(sums, j, vf{});
                       for (int64_t i = 0; i < n; i++) {
                         vf total{};
                         for (int64_t j = 0; j < n; j++) {
                           const vf product = at(matrix, i * n + j) * at(rest, i * n + j);
                           total += product;
                           put(sums, j, at(sums, j) + product);
                         }
                         put(barF, i, total);
                         put(absorbedU, i, one);
                         put(absorbedV, i, one);
                       }
                       for (int64_t t = iterations; t >= 1; t--) {
                         const float *recordU = record + (2 * t - 1) * n * lanes, *recordV = recordU + n * lanes;
                         float *leftU = left + 2 * (t - 1) * n * lanes, *leftZ = leftU + n * lanes,
                               *y = right + 2 * (t - 1) * n * lanes, *before = y + n * lanes;
                         const bool last = t == iterations;
                         // ḡ is minus what the pass after this iteration summed, times its v̂, which lies where `before`
                         // was then; ḡ_T as it is.
                         for (int64_t j = 0; j < n; j++) {
                           if (t > 1 && (last || run.endsBlock(t))) {
                             put(absorbedU, j, bounded(at(absorbedU, j) * at(recordU, j)));
                             if (last) put(absorbedV, j, bounded(at(recordV, j)));
                           }
                           const vf v = last ? one : at(right, (2 * t + 1) * n + j);
                           put(y, j, last ? at(sums, j) : -(v * (v * at(sums, j))));
                           put(leftU, j, min((t > 1 ? at(recordU, j) : one) / at(absorbedU, j), broadcast(1e30f)));
                           // v̂_{t−1}
                           if (t > 2 && run.endsBlock(t - 1))
                             put(absorbedV, j, bounded(at(absorbedV, j) * at(recordV, j - 2 * n)));
                           const vf scaling = t > 2 ? at(recordV, j - 2 * n) : t == 2 ? one : at(record, j);
                           put(before, j, min(scaling / at(absorbedV, j), broadcast(1e30f)));
                         }
                         passInLanes(matrix, n, y, sums, [&]<int R>(int64_t i, vf(&weight)[R]) {
                           for (int r = 0; r < R; r++) {
                             const vf u = at(leftU, i + r);
                             put(leftZ, i + r, weight[r] = u * ((last ? at(barF, i + r) : vf{}) - u * weight[r]));
                           }
                         });
                       }
                       // dx = P ∘ (G − leftᵀ right) / temperature, 4 × 4 elements at a time.
                       inFours(n, [&]<int R>(int64_t i) {
                         inFours(n, [&]<int C>(int64_t j) {
                           vf product[R][C] = {};
                           for (int64_t k = 0; k < 2 * iterations; k++) {
                             for (int r = 0; r < R; r++) {
                               for (int c = 0; c < C; c++)
                                 product[r][c] = fma(at(left, k * n + i + r), at(right, k * n + j + c), product[r][c]);
                             }
                           }
                           for (int r = 0; r < R; r++) {
                             for (int c = 0; c < C; c++) {
                               const int64_t e = (i + r) * n + j + c;
                               put(rest, e, at(matrix, e) * (at(rest, e) - product[r][c]) / temperature);
                             }
                           }
                         });
                       });
                       outOfLanes(rest, size, size, valid, run.dx + first * size);
                     }
                   });
}

}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
