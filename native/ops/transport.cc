// P = exp(logits / temperature + f + g) applied to features, or summed against costs, without being stored.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "half.h"
#include "kernel.h"
#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Potentials at or below this are those of rows and columns without mass.
constexpr float withoutMass = -1e29f;
// Entries of a row of P that are computed at a time.
constexpr int64_t strip = 512;

struct Plan {
  int64_t count, n, m, stride, rowOffset, columnOffset, maskStep;
  float temperature;
  const float *logits, *potentials;
  const int32_t* mask;  // null when there is none

  Plan(const Call& call, Context& context)
      : n(call.inputs[0].shape[call.inputs[0].shape.size() - 2]),
        m(call.inputs[0].shape.back()),
        stride(call.inputs[1].shape.back()),
        rowOffset(call.integer("rowOffset")),
        columnOffset(call.integer("columnOffset")),
        temperature(static_cast<float>(call.scalar("temperature"))),
        logits(floats(context, call.inputs[0])),
        potentials(call.inputs[1].f32()) {
    // By the batch axes: matrices without columns have results too.
    const auto& shape = call.inputs[0].shape;
    count = std::accumulate(shape.begin(), shape.end() - 2, int64_t{1}, std::multiplies<>());
    const Tensor& last = call.inputs.back();
    const bool masked = call.flag("masked");
    mask = masked ? last.i32() : nullptr;
    maskStep = masked && last.size > n * m ? n * m : 0;
  }

  // Entries [begin, begin + width) of row i, into `to`, which may be written up to the next multiple of `lanes`.
  void row(int64_t b, int64_t i, int64_t begin, int64_t width, float* to) const {
    const float f = potentials[b * stride + rowOffset + i];
    const float* g = potentials + b * stride + columnOffset + begin;
    const float* z = logits + (b * n + i) * m + begin;
    for (int64_t j = 0; j < width; j += lanes) {
      const int64_t part = std::min<int64_t>(lanes, width - j);
      vf logit = loadPartial(z + j, part);
      const vf column = loadPartial(g + j, part);
      // What is no number was reported by whoever made the potentials.
      const vi broken = (bits(logit) & 0x7f800000) == 0x7f800000;
      logit = min(max(select(broken, vf{}, logit) / temperature, broadcast(-1e30f)), broadcast(1e30f));
      vf share = exp(min(logit + f + column, broadcast(80.0f)));
      share = select((column <= withoutMass) | (broadcast(f) <= withoutMass), vf{}, share);
      if (mask) {
        int32_t keep[lanes] = {};
        const int32_t* from = mask + b * maskStep + i * m + begin + j;
        std::copy(from, from + part, keep);
        share = select(load(keep) == 0, vf{}, share);
      }
      store(to + j, share);
    }
  }
};

// to[c] += Σ_r weights[r] · rows[r · step + c] for c below d.
template <int R>
BIRKHOFF_INLINE void accumulate(const float* weights, const float* rows, int64_t step, int64_t d, float* to) {
  for (int64_t c = 0; c < d; c += lanes) {
    const int64_t width = std::min<int64_t>(lanes, d - c);
    vf sum = width == lanes ? load(to + c) : loadPartial(to + c, width);
    for (int r = 0; r < R; r++) {
      const float* from = rows + r * step + c;
      sum = fma(broadcast(weights[r]), width == lanes ? load(from) : loadPartial(from, width), sum);
    }
    width == lanes ? store(to + c, sum) : storePartial(to + c, width, sum);
  }
}

// Whether x is one for the whole batch.
int64_t stepOf(const Tensor& x, int64_t perMatrix) { return x.size > perMatrix ? perMatrix : 0; }

int64_t grain(int64_t work) { return std::max<int64_t>(1, 20000 / (work + 1)); }

// y[i] = Σ_j P_ij x[j], one row of P at a time.
void applyRows(const Plan& plan, const Call& call, Context& context) {
  const Tensor& x = call.inputs[2];
  const int64_t d = x.shape.back(), step = stepOf(x, plan.m * d);
  context.parallel(plan.count * plan.n, grain(plan.m * d), [&](int64_t begin, int64_t end, int) {
    float shares[strip];
    for (int64_t r = begin; r < end; r++) {
      const int64_t b = r / plan.n, i = r % plan.n;
      float* y = call.outputs[0].f32() + r * d;
      std::fill(y, y + d, 0.0f);
      for (int64_t j = 0; j < plan.m; j += strip) {
        const int64_t width = std::min(strip, plan.m - j);
        plan.row(b, i, j, width, shares);
        const float* from = x.f32() + b * step + j * d;
        int64_t k = 0;
        for (; k + 4 <= width; k += 4) accumulate<4>(shares + k, from + k * d, d, d, y);
        for (; k < width; k++) accumulate<1>(shares + k, from + k * d, d, d, y);
      }
    }
  });
}

// y[j] = Σ_i P_ij x[i]: a piece of work owns `lanes` neighbouring results and walks down all rows.
void applyColumns(const Plan& plan, const Call& call, Context& context) {
  const Tensor& x = call.inputs[2];
  const int64_t d = x.shape.back(), step = stepOf(x, plan.n * d), pieces = (plan.m + lanes - 1) / lanes;
  context.parallel(plan.count * pieces, grain(plan.n * d * lanes), [&](int64_t begin, int64_t end, int) {
    float shares[4][lanes], column[4];
    for (int64_t piece = begin; piece < end; piece++) {
      const int64_t b = piece / pieces, j = piece % pieces * lanes, width = std::min<int64_t>(lanes, plan.m - j);
      float* y = call.outputs[0].f32() + (b * plan.m + j) * d;
      std::fill(y, y + width * d, 0.0f);
      int64_t i = 0;
      for (; i + 4 <= plan.n; i += 4) {
        for (int r = 0; r < 4; r++) plan.row(b, i + r, j, width, shares[r]);
        for (int64_t k = 0; k < width; k++) {
          for (int r = 0; r < 4; r++) column[r] = shares[r][k];
          accumulate<4>(column, x.f32() + b * step + i * d, d, d, y + k * d);
        }
      }
      for (; i < plan.n; i++) {
        plan.row(b, i, j, width, shares[0]);
        for (int64_t k = 0; k < width; k++) accumulate<1>(shares[0] + k, x.f32() + b * step + i * d, d, d, y + k * d);
      }
    }
  });
}

// f(b, i, first column, width, entries of P) for every strip of every row.
template <class F>
void overStrips(const Plan& plan, Context& context, F&& f) {
  context.parallel(plan.count * plan.n, grain(8 * plan.m), [&](int64_t begin, int64_t end, int) {
    float shares[strip];
    for (int64_t r = begin; r < end; r++) {
      for (int64_t j = 0; j < plan.m; j += strip) {
        const int64_t width = std::min(strip, plan.m - j);
        plan.row(r / plan.n, r % plan.n, j, width, shares);
        f(r / plan.n, r % plan.n, j, width, shares);
      }
    }
  });
}

// Σ a b over `width` numbers.
BIRKHOFF_INLINE float dot(const float* a, const float* b, int64_t width) {
  vf total{};
  for (int64_t j = 0; j < width; j += lanes) {
    const int64_t part = std::min<int64_t>(lanes, width - j);
    total = fma(loadPartial(a + j, part), loadPartial(b + j, part), total);
  }
  return sum(total);
}

}  // namespace

void transport(const Call& call, Context& context) {
  const Plan plan(call, context);
  float* y = call.outputs[0].f32();
  const std::string& kind = call.text("kind");
  if (kind == "rows") return applyRows(plan, call, context);
  if (kind == "columns") return applyColumns(plan, call, context);
  if (kind == "plan") {
    return overStrips(plan, context, [&](int64_t b, int64_t i, int64_t j, int64_t width, const float* shares) {
      std::copy(shares, shares + width, y + (b * plan.n + i) * plan.m + j);
    });
  }
  const Tensor& x = call.inputs[2];
  const int64_t step = stepOf(x, plan.n * plan.m);
  std::fill(y, y + plan.count * plan.n, 0.0f);
  overStrips(plan, context, [&](int64_t b, int64_t i, int64_t j, int64_t width, const float* shares) {
    y[b * plan.n + i] += dot(shares, x.f32() + b * step + i * plan.m + j, width);
  });
}

void transportBackward(const Call& call, Context& context) {
  const Plan plan(call, context);
  const float* gradient = call.inputs[2].f32();
  float *dlogits = call.outputs[0].f32(), *dpotentials = call.outputs[1].f32();
  context.parallel(plan.count, 1, [&](int64_t begin, int64_t end, int) {
    std::fill(dpotentials + begin * plan.stride, dpotentials + end * plan.stride, 0.0f);
  });
  // One matrix at a time per thread: its column sums are added up row by row.
  context.parallel(plan.count, grain(8 * plan.n * plan.m), [&](int64_t begin, int64_t end, int) {
    float shares[strip];
    for (int64_t b = begin; b < end; b++) {
      float *rows = dpotentials + b * plan.stride + plan.rowOffset,
            *columns = dpotentials + b * plan.stride + plan.columnOffset;
      for (int64_t j = 0; j < plan.m; j += strip) {
        const int64_t width = std::min(strip, plan.m - j);
        for (int64_t i = 0; i < plan.n; i++) {
          plan.row(b, i, j, width, shares);
          const int64_t at = (b * plan.n + i) * plan.m + j;
          vf total{};
          for (int64_t k = 0; k < width; k += lanes) {
            const int64_t part = std::min<int64_t>(lanes, width - k);
            const vf weight = loadPartial(shares + k, part) * loadPartial(gradient + at + k, part);
            storePartial(dlogits + at + k, part, weight / plan.temperature);
            storePartial(columns + j + k, part, loadPartial(columns + j + k, part) + weight);
            total += weight;
          }
          rows[i] += sum(total);
        }
      }
    }
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
