// Rows in vectors, one matrix per piece of work: for n of a vector's width and more. Included by sinkhorn.cc.
// Matrices lie in an area padded with zeros to a multiple of `lanes` rows and columns, so that no loop has a tail.
#pragma once

#include "sinkhorn.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

int64_t padded(int64_t n) { return (n + lanes - 1) / lanes * lanes; }

// The area is the output or input itself where nothing needs padding.
bool needsArea(int64_t n) { return n % lanes != 0; }

// weights = f(first row, matrix · in) for `lanes` rows at a time, then out += matrixᵀ · weights. `side` is a multiple
// of `lanes`, and the second half finds the rows of the first still in the cache.
template <class F>
BIRKHOFF_INLINE void passInRows(const float* matrix, int64_t side, const float* in, float* out, F&& f) {
  std::fill(out, out + side, 0.0f);
  for (int64_t i = 0; i < side; i += lanes) {
    const float* rows = matrix + i * side;
    vf sums[lanes] = {};
    for (int64_t j = 0; j < side; j += lanes) {
      const vf factor = load(in + j);
      for (int r = 0; r < lanes; r++) sums[r] = fma(load(rows + r * side + j), factor, sums[r]);
    }
    float weights[lanes];
    store(weights, f(i, sumsOf(sums)));
    vf weight[lanes];
    for (int r = 0; r < lanes; r++) weight[r] = broadcast(weights[r]);
    for (int64_t j = 0; j < side; j += lanes) {
      // Two chains of additions; sums of sums lose less than one long sum.
      vf even{}, odd{};
      for (int r = 0; r < lanes; r += 2) {
        even = fma(load(rows + r * side + j), weight[r], even);
        odd = fma(load(rows + (r + 1) * side + j), weight[r + 1], odd);
      }
      store(out + j, load(out + j) + (even + odd));
    }
  }
}

// 1 / sum inside of the matrix, 0 in its padding.
BIRKHOFF_INLINE vf scalings(vf sums) { return select(sums > 0.0f, 1.0f / sums, vf{}); }

// f(value of `from`, column, width) for each vector of a row of n numbers.
template <class F>
BIRKHOFF_INLINE void alongRow(const float* row, int64_t n, F&& f) {
  int64_t j = 0;
  for (; j + lanes <= n; j += lanes) f(load(row + j), j, int64_t{lanes});
  if (j < n) f(loadPartial(row + j, n - j), j, n - j);
}

// Potentials and kernel of the first iteration, and v₀ in `start`. `sums` and `peaks` are working areas of a row.
void firstInRows(const Forward& run, const float* x, float* kernel, int64_t side, float* f, float* g, float* start,
                 float* peaks, float* sums) {
  const int64_t n = run.n;
  const vi index = [] {
    vi v;
    for (int i = 0; i < lanes; i++) v[i] = i;
    return v;
  }();
  const auto inside = [&](vf value, int64_t width) {
    return select(index < broadcast(static_cast<int32_t>(width)), value, broadcast(far));
  };
  std::fill(peaks, peaks + side, far);
  std::fill(sums, sums + side, 0.0f);
  for (int64_t i = 0; i < n; i++) {
    float* row = kernel + i * side;
    vf peak = broadcast(far), sum{};
    alongRow(x + i * n, n, [&](vf value, int64_t j, int64_t width) {
      const vf logit = inside(scaledLogits(value, run.temperature, *run.context), width);
      peak = max(peak, logit);
      storePartial(row + j, width, logit);
    });
    const vf top = broadcast(maxOf(peak));
    alongRow(row, n, [&](vf logit, int64_t, int64_t width) { sum += exp(inside(logit, width) - top); });
    f[i] = -(top[0] + log(broadcast(birkhoff::BIRKHOFF_ISA::sum(sum)))[0]);
    alongRow(row, n, [&](vf logit, int64_t j, int64_t width) {
      const vf shifted = logit + broadcast(f[i]);
      storePartial(row + j, width, shifted);
      storePartial(peaks + j, width, max(loadPartial(peaks + j, width), shifted));
    });
  }
  for (int64_t i = 0; i < n; i += lanes) {
    alongRow(peaks, n, [&](vf peak, int64_t j, int64_t width) {
      vf sum{};
      for (int64_t r = i; r < std::min(n, i + lanes); r++) {
        const vf share = exp(loadPartial(kernel + r * side + j, width) - peak);
        storePartial(kernel + r * side + j, width, share);
        sum += share;
      }
      storePartial(sums + j, width, loadPartial(sums + j, width) + sum);
    });
  }
  alongRow(peaks, n, [&](vf peak, int64_t j, int64_t width) {
    const vf sum = loadPartial(sums + j, width);
    storePartial(g + j, width, -(peak + log(sum)));
    storePartial(start + j, width, exp(peak) * sum);
    storePartial(sums + j, width, 1.0f / sum);
  });
  for (int64_t i = 0; i < n; i++) {
    float* row = kernel + i * side;
    alongRow(row, n, [&](vf share, int64_t j, int64_t width) {
      storePartial(row + j, width, share * loadPartial(sums + j, width));
    });
  }
}

// Rows of a matrix of side n into an area of rows of `side`, and back.
void copyRows(const float* from, int64_t fromSide, float* to, int64_t toSide, int64_t n) {
  for (int64_t i = 0; i < n; i++) std::copy(from + i * fromSide, from + i * fromSide + n, to + i * toSide);
}

// dx = P ∘ (G − leftᵀ right) / temperature for R rows and V vectors of columns.
template <int R, int V>
BIRKHOFF_INLINE void assemble(const Backward& run, const float* left, const float* right, int64_t side, int64_t base,
                              int64_t i, int64_t j) {
  vf product[R][V] = {};
  for (int64_t k = 0; k < 2 * run.iterations; k++) {
    vf factor[V];
    for (int v = 0; v < V; v++) factor[v] = load(right + k * side + j + v * lanes);
    for (int r = 0; r < R; r++) {
      const vf weight = broadcast(left[k * side + i + r]);
      for (int v = 0; v < V; v++) product[r][v] = fma(weight, factor[v], product[r][v]);
    }
  }
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < V; v++) {
      const int64_t column = j + v * lanes, at = base + (i + r) * run.n + column,
                    width = std::min<int64_t>(lanes, run.n - column);
      if (width == lanes) {
        store(run.dx + at, load(run.values + at) * (load(run.gradient + at) - product[r][v]) / run.temperature);
      } else {
        storePartial(run.dx + at, width,
                     loadPartial(run.values + at, width) * (loadPartial(run.gradient + at, width) - product[r][v]) /
                         run.temperature);
      }
    }
  }
}

}  // namespace

void forwardInRows(const Forward& run) {
  const int64_t count = run.count, n = run.n, iterations = run.iterations;
  const float temperature = run.temperature;
  const float* logits = run.logits;
  float* p = run.plan;
  Context* context = run.context;
  const int64_t side = padded(n), size = needsArea(n) ? side * side : 0, area = size + 7 * side;
  float* scratch = context->scratch(area * context->threads());
  if (size) std::fill(scratch, scratch + area * context->threads(), 0.0f);
  context->parallel(count, 1, [&](int64_t begin, int64_t end, int thread) {
    float* mine = scratch + thread * area;
    float *f = mine + size, *g = f + side, *u = g + side, *v = u + side, *sums = v + side, *peaks = sums + side,
          *start = peaks + side;
    std::fill(f, f + 7 * side, 0.0f);
    for (int64_t b = begin; b < end; b++) {
      const float* x = logits + b * n * n;
      float* kernel = size ? mine : p + b * n * n;
      float* record = run.record ? run.record + b * run.size : nullptr;
      const auto remember = [&](int64_t offset, const float* values) {
        if (run.withHistory) std::copy(values, values + n, record + offset);
      };
      firstInRows(run, x, kernel, side, f, g, start, peaks, sums);
      remember(run.start, start);
      std::fill(u, u + n, 1.0f);
      std::fill(v, v + n, 1.0f);
      remember(run.at(1), u);
      remember(run.at(1) + n, v);
      for (int64_t t = 2; t <= iterations; t++) {
        passInRows(kernel, side, v, sums, [&](int64_t i, vf rowSums) {
          const vf scaling = scalings(rowSums);
          store(u + i, scaling);
          return scaling;
        });
        for (int64_t j = 0; j < side; j += lanes) store(v + j, scalings(load(sums + j)));
        remember(run.at(t), u);
        remember(run.at(t) + n, v);
        if (!run.endsBlock(t) || t == iterations) continue;
        alongRow(u, n, [&](vf value, int64_t j, int64_t width) {
          storePartial(f + j, width, loadPartial(f + j, width) + log(value));
        });
        alongRow(v, n, [&](vf value, int64_t j, int64_t width) {
          storePartial(g + j, width, loadPartial(g + j, width) + log(value));
        });
        for (int64_t i = 0; i < n; i++) {
          alongRow(x + i * n, n, [&](vf value, int64_t j, int64_t width) {
            const vf logit = scaledLogits(value, temperature, *context);
            storePartial(kernel + i * side + j, width, exp(logit + broadcast(f[i]) + loadPartial(g + j, width)));
          });
        }
        std::fill(u, u + n, 1.0f);
        std::fill(v, v + n, 1.0f);
      }
      for (int64_t i = 0; i < n; i++) {
        alongRow(kernel + i * side, n, [&](vf share, int64_t j, int64_t width) {
          storePartial(p + (b * n + i) * n + j, width, share * (broadcast(u[i]) * loadPartial(v + j, width)));
        });
      }
      if (!record) continue;
      record[0] = static_cast<float>(iterations);
      record[1] = 0;
      alongRow(u, n, [&](vf value, int64_t i, int64_t width) {
        storePartial(record + run.f() + i, width, loadPartial(f + i, width) + log(value));
        storePartial(record + run.g() + i, width, loadPartial(g + i, width) + log(loadPartial(v + i, width)));
      });
      std::fill(record + run.rows(), record + run.rows() + 2 * n, 1.0f);
    }
  });
}

void backwardInRows(const Backward& run) {
  const int64_t count = run.count, n = run.n, iterations = run.iterations;
  const float *p = run.values, *gradient = run.gradient;
  Context& context = *run.context;
  const int64_t side = padded(n), size = needsArea(n) ? side * side : 0, vectors = 2 * iterations * side,
                area = size + 2 * vectors + 4 * side;
  float* scratch = context.scratch(area * context.threads());
  std::fill(scratch, scratch + area * context.threads(), 0.0f);
  context.parallel(count, 1, [&](int64_t begin, int64_t end, int thread) {
    float* mine = scratch + thread * area;
    float *left = mine + size, *right = left + vectors, *barF = right + vectors, *sums = barF + side,
          *absorbedU = sums + side;
    float* absorbedV = absorbedU + side;
    const vf one = broadcast(1.0f), most = broadcast(1e30f);
    for (int64_t b = begin; b < end; b++) {
      const int64_t base = b * n * n;
      const float* record = run.record + b * run.size;
      if (size) copyRows(p + base, n, mine, side, n);
      const float* matrix = size ? mine : p + base;
      std::fill(sums, sums + side, 0.0f);
      for (int64_t i = 0; i < n; i++) {
        vf total{};
        alongRow(p + base + i * n, n, [&](vf share, int64_t j, int64_t width) {
          const vf product = share * loadPartial(gradient + base + i * n + j, width);
          total += product;
          storePartial(sums + j, width, loadPartial(sums + j, width) + product);
        });
        barF[i] = sum(total);
      }
      std::fill(absorbedU, absorbedU + n, 1.0f);
      std::fill(absorbedV, absorbedV + n, 1.0f);
      for (int64_t t = iterations; t >= 1; t--) {
        // Rows of the history: u_t, v_t, and v_{t−1}, of which those of t = 1 are 1 and not stored.
        const float *recordU = t > 1 ? record + run.at(t) : nullptr,
                    *recordV = t > 1 ? record + run.at(t) + n : nullptr;
        const float* recordBefore = t > 2 ? record + run.at(t - 1) + n : t == 1 ? record + run.start : nullptr;
        float *leftU = left + 2 * (t - 1) * side, *leftZ = leftU + side, *y = right + 2 * (t - 1) * side,
              *before = y + side;
        const bool last = t == iterations;
        alongRow(sums, n, [&](vf total, int64_t j, int64_t width) {
          const auto take = [&](const float* values) { return values ? loadPartial(values + j, width) : one; };
          if (last || run.endsBlock(t)) storePartial(absorbedU + j, width, bounded(take(absorbedU) * take(recordU)));
          if (last) storePartial(absorbedV + j, width, bounded(take(recordV)));
          // ḡ is minus what the pass after this iteration summed, times its v̂; ḡ_T is what was summed first.
          const vf v = last ? one : take(right + (2 * t + 1) * side);
          storePartial(y + j, width, last ? total : -(v * (v * total)));
          storePartial(leftU + j, width, min(take(recordU) / take(absorbedU), most));
          if (t > 2 && run.endsBlock(t - 1))
            storePartial(absorbedV + j, width, bounded(take(absorbedV) * take(recordBefore)));
          storePartial(before + j, width, min(take(recordBefore) / take(absorbedV), most));
        });
        passInRows(matrix, side, y, sums, [&](int64_t i, vf product) {
          const vf u = load(leftU + i);
          const vf z = u * ((last ? load(barF + i) : vf{}) - u * product);
          store(leftZ + i, z);
          return z;
        });
      }
      constexpr int wide = lanes == 16 ? 4 : 2;
      inFours(n, [&]<int R>(int64_t i) {
        int64_t j = 0;
        for (; j + wide * lanes <= side; j += wide * lanes) assemble<R, wide>(run, left, right, side, base, i, j);
        for (; j < side; j += lanes) assemble<R, 1>(run, left, right, side, base, i, j);
      });
    }
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
