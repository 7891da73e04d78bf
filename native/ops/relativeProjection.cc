// Similarities of rows to anchors, and statistics of columns; the maths is that of
// src/ops/relativeProjection/reference.ts. Statistics and norms are applied as rows are packed and as results are
// written; the products between are those of native/gemm.h.
#include <algorithm>

#include "kernel.h"
#include "relativeProjection-sides.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

using namespace relative;

// Floats per piece of work that only moves memory.
constexpr int64_t grain = 1 << 14;
// Columns whose statistics are taken together, and rows whose sums stay in float32.
constexpr int64_t strip = 4 * lanes, chunkRows = 64;

// Means, and 1 / deviation; 0 and 1 without statistics.
Units unitsOf(const float* statistics, int64_t d, Context& context) {
  float* made = context.scratch(2 * d);
  for (int64_t l = 0; l < d; l++) {
    const float deviation = statistics ? statistics[d + l] : 1.0f;
    made[l] = statistics ? statistics[l] : 0.0f;
    made[d + l] = deviation == 0 ? 0.0f : 1 / deviation;
  }
  return {made, made + d};
}

// The largest values of rows in falling order, and their places; of equal ones the first.
struct Best {
  float* values;
  int32_t* places;
  int64_t most;

  // More values of a row, which stand at the places from `first` on.
  void take(int64_t row, const float* more, int64_t first, int64_t count) const {
    float* own = values + row * most;
    int64_t i = 0;
    for (; i < count && first + i < most; i++) insert(row, first + i, more[i], first + i);
    // Hardly any of a vector is among the largest.
    for (; i < count; i += lanes) {
      const int64_t live = std::min<int64_t>(lanes, count - i);
      float vector[lanes];
      store(vector, loadPartial(more + i, live));
      if (live == lanes && !(maxOf(load(more + i)) > own[most - 1])) continue;
      for (int64_t q = 0; q < live; q++) {
        if (vector[q] > own[most - 1]) insert(row, most - 1, vector[q], first + i + q);
      }
    }
  }
  // In place of the value at `at`, behind all that are as large.
  void insert(int64_t row, int64_t at, float value, int64_t place) const {
    float* own = values + row * most;
    int32_t* to = places + row * most;
    for (; at > 0 && own[at - 1] < value; at--) {
      own[at] = own[at - 1];
      to[at] = to[at - 1];
    }
    own[at] = value;
    to[at] = static_cast<int32_t>(place);
  }
};

// Values from `least` on, in the order in which they come, their places, and how many there are; room for `most` of a
// row.
struct Found {
  float* values;
  int32_t* places;
  int32_t* counts;
  int64_t most;
  float least;

  // More values of a row, which stand at the places from `first` on.
  void take(int64_t row, const float* more, int64_t first, int64_t count) const {
    int64_t found = first == 0 ? 0 : counts[row];
    for (int64_t i = 0; i < count; i += lanes) {
      const int64_t live = std::min<int64_t>(lanes, count - i);
      // Hardly any of a vector does.
      if (live == lanes && maxOf(load(more + i)) < least) continue;
      for (int64_t q = i; q < i + live; q++) {
        if (more[q] < least) continue;
        if (found < most) {
          values[row * most + found] = more[q];
          places[row * most + found] = static_cast<int32_t>(first + q);
        }
        found++;
      }
    }
    counts[row] = static_cast<int32_t>(found);
  }
  void end(int64_t row) const {
    const int64_t from = std::min<int64_t>(counts[row], most);
    std::fill(values + row * most + from, values + (row + 1) * most, 0.0f);
    std::fill(places + row * most + from, places + (row + 1) * most, -1);
  }
};

// sums[q][c] = Σ over the rows of term q of column c, for the columns of one strip: `terms(row, column, count)` gives
// an array of vectors.
template <int count, class Terms>
void sumRows(int64_t rows, int64_t columns, double (&sums)[count][strip], Terms terms) {
  for (int64_t first = 0; first < rows; first += chunkRows) {
    const int64_t end = std::min(rows, first + chunkRows);
    for (int64_t c = 0; c < columns; c += lanes) {
      const int64_t live = std::min<int64_t>(lanes, columns - c);
      vf part[count] = {};
      for (int64_t row = first; row < end; row++) terms(part, row, c, live);
      for (int q = 0; q < count; q++) {
        for (int64_t i = 0; i < live; i++) sums[q][c + i] += static_cast<double>(part[q][i]);
      }
    }
  }
}

}  // namespace

void relativeProjection(const Call& call, Context& context) {
  const Tensor &x = call.inputs[0], &anchors = call.inputs[1];
  const int64_t B = x.shape[0], K = anchors.shape[0], d = x.shape[1];
  const bool norms = call.outputs.size() > 1;
  float* xSquares = norms ? call.outputs[1].f32() : context.scratch(B);
  float* anchorSquares = norms ? call.outputs[2].f32() : context.scratch(K);
  std::fill_n(xSquares, B, 0.0f);
  std::fill_n(anchorSquares, K, 0.0f);
  const Units units = unitsOf(call.flag("standardised") ? call.inputs[2].f32() : nullptr, d, context);
  const Operands operands{context,  x.f32(),       anchors.f32(), B, K, d, units, call.outputs[0].f32(),
                          xSquares, anchorSquares, norms};
  if (B == 0) {
    // The norms of the anchors are wanted all the same.
    float* unused = context.scratch(panelColumns * d);
    for (int64_t k = 0; k < K; k += panelColumns)
      operands.packColumns(k, std::min<int64_t>(panelColumns, K - k), 0, d, unused);
    return operands.ready(0, 0, 0, K);
  }
  float* work = context.scratch(sweepWork(context, B, K, d));
  withSimilarity(
      call.text("similarity"), d, static_cast<float>(call.scalar("p")),
      [&](auto f) {
        Products<decltype(f)> sides{operands, f};
        sweep(context, B, K, d, sides, work);
      },
      [&](auto f) {
        Distances<decltype(f)> sides{operands, f};
        sweep(context, B, K, d, sides, work);
      });
}

namespace {

// Calls take(row, similarities, anchor, count) with those of every row to the anchors from `anchor` on, block by block,
// so that no more than one is ever held; in order for a row, but rows in parallel.
template <class Take>
void takeBlocks(const Call& call, Context& context, Take take) {
  const Tensor &x = call.inputs[0], &anchors = call.inputs[1];
  const int64_t B = x.shape[0], K = anchors.shape[0], d = x.shape[1];
  if (B == 0) return;
  const Units units = unitsOf(call.flag("standardised") ? call.inputs[2].f32() : nullptr, d, context);
  const std::string& similarity = call.text("similarity");
  const bool norms = similarity == "cosine" || similarity == "angular";
  const int64_t tall = std::min(B, gemm::blockRows), wide = std::min(K, gemm::blockColumns);
  float* work = context.scratch(sweepWork(context, tall, wide, d));
  float* block = context.scratch(tall * wide);
  float* xSquares = context.scratch(tall);
  float* anchorSquares = context.scratch(wide);
  for (int64_t row = 0; row < B; row += tall) {
    const int64_t rows = std::min(tall, B - row);
    for (int64_t anchor = 0; anchor < K; anchor += wide) {
      const int64_t count = std::min(wide, K - anchor);
      std::fill_n(xSquares, rows, 0.0f);
      std::fill_n(anchorSquares, count, 0.0f);
      const Operands operands{
          context, x.f32() + row * d, anchors.f32() + anchor * d, rows, count, d, units, block, xSquares, anchorSquares,
          norms};
      withSimilarity(
          similarity, d, static_cast<float>(call.scalar("p")),
          [&](auto f) {
            Products<decltype(f)> sides{operands, f};
            sweep(context, rows, count, d, sides, work);
          },
          [&](auto f) {
            Distances<decltype(f)> sides{operands, f};
            sweep(context, rows, count, d, sides, work);
          });
      context.parallel(rows, grain / count + 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; r++) take(row + r, block + r * count, anchor, count);
      });
    }
  }
}

}  // namespace

void relativeProjectionTop(const Call& call, Context& context) {
  const Best best{call.outputs[0].f32(), call.outputs[1].i32(), call.integer("most")};
  takeBlocks(call, context,
             [&](int64_t row, const float* more, int64_t first, int64_t count) { best.take(row, more, first, count); });
}

void relativeProjectionRange(const Call& call, Context& context) {
  const int64_t K = call.inputs[1].shape[0];
  const Found found{call.outputs[0].f32(), call.outputs[1].i32(), call.outputs[2].i32(), call.integer("most"),
                    static_cast<float>(call.scalar("least"))};
  takeBlocks(call, context, [&](int64_t row, const float* more, int64_t first, int64_t count) {
    found.take(row, more, first, count);
    if (first + count == K) found.end(row);
  });
}

void relativeProjectionBackward(const Call& call, Context& context) {
  const bool ofX = call.text("side") == "x", standardised = call.flag("standardised");
  const Tensor &x = call.inputs[1], &anchors = call.inputs[2];
  const int64_t B = x.shape[0], K = anchors.shape[0], d = x.shape[1], rows = ofX ? B : K;
  if (rows * d == 0) return;
  const size_t first = standardised ? 4 : 3;
  const Units units = unitsOf(standardised ? call.inputs[3].f32() : nullptr, d, context);
  const float* g = call.inputs[0].f32();
  const float* y = call.inputs.size() > first ? call.inputs[first].f32() : g;
  const bool norms = call.inputs.size() > first + 1;
  float* work = context.scratch(sweepWork(context, rows, d, ofX ? K : B));
  float* along = context.scratch(rows);
  std::fill_n(along, rows, 0.0f);
  const Cotangents cotangents{g,
                              y,
                              ofX ? K : 1,
                              ofX ? 1 : K,
                              (ofX ? x : anchors).f32(),
                              (ofX ? anchors : x).f32(),
                              d,
                              units,
                              norms ? call.inputs[first + (ofX ? 1 : 2)].f32() : nullptr,
                              norms ? call.inputs[first + (ofX ? 2 : 1)].f32() : nullptr,
                              along,
                              call.outputs[0].f32()};
  withSimilarity(
      call.text("similarity"), d, static_cast<float>(call.scalar("p")),
      [&](auto f) {
        ProductGradient<decltype(f)> sides{cotangents, f};
        sweep(context, rows, d, ofX ? K : B, sides, work);
      },
      [&](auto f) {
        DistanceGradient<decltype(f)> sides{cotangents, f};
        sweep(context, rows, d, ofX ? K : B, sides, work);
      });
}

// Distances from the first row: a mean far from 0 costs no digits.
void relativeProjectionStatistics(const Call& call, Context& context) {
  const float* x = call.inputs[0].f32();
  float* result = call.outputs[0].f32();
  const int64_t n = call.inputs[0].shape[0], d = call.inputs[0].shape[1];
  const bool scale = call.flag("scale");
  context.parallel((d + strip - 1) / strip, grain / (n * strip) + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t column = i * strip, columns = std::min(strip, d - column);
      const float* from = x + column;
      double mean[1][strip] = {};
      sumRows<1>(n, columns, mean, [&](auto& part, int64_t row, int64_t c, int64_t live) {
        part[0] += some(from + row * d + c, live) - some(from + c, live);
      });
      float means[strip] = {};
      for (int64_t c = 0; c < columns; c++) {
        means[c] = static_cast<float>(mean[0][c] / static_cast<double>(n));
        result[column + c] = static_cast<float>(static_cast<double>(from[c]) + mean[0][c] / static_cast<double>(n));
        result[d + column + c] = 1;
      }
      double square[1][strip] = {};
      sumRows<1>(n, columns, square, [&](auto& part, int64_t row, int64_t c, int64_t live) {
        const vf distance = some(from + row * d + c, live) - some(from + c, live) - some(means + c, live);
        part[0] = fma(distance, distance, part[0]);
      });
      for (int64_t c = 0; c < columns; c++) {
        if (square[0][c] - square[0][c] != 0) context.fault(square[0][c]);
        if (scale) result[d + column + c] = static_cast<float>(__builtin_sqrt(square[0][c] / static_cast<double>(n)));
      }
    }
  });
}

void relativeProjectionColumns(const Call& call, Context& context) {
  const int64_t d = call.inputs[0].shape[1];
  const Units units = unitsOf(call.inputs[4].f32(), d, context);
  float* result = call.outputs[0].f32();
  const int64_t rows = call.inputs[0].shape[0] + call.inputs[2].shape[0];
  context.parallel((d + strip - 1) / strip, grain / (rows * strip) + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t column = i * strip, columns = std::min(strip, d - column);
      const Units here = units.from(column);
      double sums[2][strip] = {};
      for (size_t side = 0; side < 4; side += 2) {
        const float *gradient = call.inputs[side].f32() + column, *x = call.inputs[side + 1].f32() + column;
        sumRows<2>(call.inputs[side].shape[0], columns, sums, [&](auto& part, int64_t row, int64_t c, int64_t live) {
          const vf value = some(gradient + row * d + c, live);
          part[0] += value;
          part[1] = fma(value, here.of(x + row * d, c, live), part[1]);
        });
      }
      for (int64_t c = 0; c < columns; c++) {
        result[column + c] = static_cast<float>(-sums[0][c]);
        result[d + column + c] = static_cast<float>(-sums[1][c]);
      }
    }
  });
}

void relativeProjectionStatisticsBackward(const Call& call, Context& context) {
  const int64_t n = call.inputs[1].shape[0], d = call.inputs[1].shape[1];
  if (n * d == 0) return;
  const float *g = call.inputs[0].f32(), *x = call.inputs[1].f32();
  const float* onto = call.flag("onto") ? call.inputs[3].f32() : nullptr;
  const Units units = unitsOf(call.inputs[2].f32(), d, context);
  const bool scale = call.flag("scale");
  const float share = 1 / static_cast<float>(n);
  float* dx = call.outputs[0].f32();
  context.parallel(n, grain / d + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      for (int64_t c = 0; c < d; c += lanes) {
        const int64_t count = std::min<int64_t>(lanes, d - c);
        vf value = some(g + c, count);
        if (scale) value = fma(some(g + d + c, count), units.of(x + row * d, c, count), value);
        value *= share;
        if (onto) value += some(onto + row * d + c, count);
        put(dx + row * d + c, count, value);
      }
    }
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
