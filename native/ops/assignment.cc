// The greedy assignment: keys that order the scores as whole numbers, the best of every segment of a row, and the best
// of every row. What is known of a segment or row whose column was taken since stays an upper bound, and is mended only
// when it comes out on top. Segments are filled over all rows at once; then every matrix is one piece of work.
#include <algorithm>
#include <cmath>

#include "kernel.h"
#include "reduce-states.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Elements per piece of work.
constexpr int64_t grain = 1 << 14;
// Columns per segment. To mend a row is to read a segment and what is known of all segments: of 4096 columns, 64 each.
constexpr int64_t segment = 64;

struct Best {
  int32_t key, column;
};

vi laneIndex() {
  vi index;
  for (int i = 0; i < lanes; i++) index[i] = i;
  return index;
}

// The first of the largest of n keys.
int32_t firstLargest(const int32_t* keys, int64_t n) {
  Argmax state;
  const vi lane = laneIndex();
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) state.takeKey(load(keys + i), broadcast(static_cast<int32_t>(i)) + lane);
  Best best{leastInt, nanKey};
  if (i > 0) {
    const Argmax all = state.folded();
    best = {all.key[0], all.place[0]};
  }
  for (; i < n; i++) {
    if (keys[i] > best.key) best = {keys[i], static_cast<int32_t>(i)};
  }
  return best.column;
}

// The best of n scores in a row whose column is not marked (-1); `hasNan` tells of NaN among all of them.
Best bestFree(const float* scores, const int32_t* taken, int64_t n, bool& hasNan) {
  Argmax state;
  const vi lane = laneIndex();
  vi nan{};
  for (int64_t i = 0; i < n; i += lanes) {
    const int64_t count = std::min<int64_t>(lanes, n - i);
    const vf x = count == lanes ? load(scores + i) : loadPartial(scores + i, count);
    const vi marked = load(taken + i) | (lane >= static_cast<int32_t>(count));
    nan |= isNan(x);
    state.takeKey(select(marked, broadcast(leastInt), keyOf<false>(x)), broadcast(static_cast<int32_t>(i)) + lane);
  }
  for (int i = 0; i < lanes; i++) hasNan |= nan[i] != 0;
  const Argmax all = state.folded();
  return {all.key[0], all.key[0] == leastInt ? -1 : all.place[0]};
}

struct Sizes {
  int64_t rows, columns, segments;
};

// One matrix. `keys` and `places` hold the best of every segment, `rowKeys` and `rowPlaces` room for the best of every
// row, `taken` is clear.
void assign(const Sizes& sizes, const float* scores, int32_t* keys, int32_t* places, int32_t* rowKeys,
            int32_t* rowPlaces, int32_t* taken, int32_t* result) {
  const auto [rows, columns, segments] = sizes;
  const auto gather = [&](int64_t row) {
    const int32_t* own = keys + row * segments;
    const int64_t best = segments == 1 ? 0 : firstLargest(own, segments);
    rowKeys[row] = own[best];
    rowPlaces[row] = places[row * segments + best];
  };
  for (int64_t row = 0; row < rows; row++) gather(row);
  std::fill(result, result + rows, -1);
  for (int64_t left = std::min(rows, columns); left > 0;) {
    const int64_t row = firstLargest(rowKeys, rows);
    const int32_t column = rowPlaces[row];
    if (taken[column] == 0) {
      result[row] = column;
      taken[column] = -1;
      rowKeys[row] = leastInt;
      left--;
      continue;
    }
    const int64_t k = column / segment, begin = k * segment;
    bool ignored = false;
    const Best best =
        bestFree(scores + row * columns + begin, taken + begin, std::min(segment, columns - begin), ignored);
    keys[row * segments + k] = best.key;
    places[row * segments + k] = static_cast<int32_t>(begin) + best.column;
    gather(row);
  }
}

}  // namespace

void assignmentGreedy(const Call& call, Context& context) {
  const Tensor &scores = call.inputs[0], &result = call.outputs[0];
  if (result.size == 0) return;
  const size_t rank = scores.shape.size();
  const int64_t rows = scores.shape[rank - 2], columns = scores.shape[rank - 1], matrices = result.size / rows;
  const Sizes sizes{rows, columns, (columns + segment - 1) / segment};
  const int64_t marks = (columns + lanes - 1) / lanes * lanes, known = rows * sizes.segments;
  const auto area = [&](int64_t count) { return reinterpret_cast<int32_t*>(context.scratch(count)); };
  int32_t* keys = area(matrices * known);
  int32_t* places = area(matrices * known);
  int32_t* rowKeys = area(matrices * rows);
  int32_t* rowPlaces = area(matrices * rows);
  int32_t* taken = area(context.threads() * marks);
  std::fill(taken, taken + context.threads() * marks, 0);

  context.parallel(matrices * rows, grain / columns + 1, [&](int64_t begin, int64_t end, int thread) {
    bool hasNan = false;
    for (int64_t row = begin; row < end; row++) {
      for (int64_t k = 0; k < sizes.segments; k++) {
        const int64_t first = k * segment;
        const Best best = bestFree(scores.f32() + row * columns + first, taken + thread * marks + first,
                                   std::min(segment, columns - first), hasNan);
        keys[row * sizes.segments + k] = best.key;
        places[row * sizes.segments + k] = static_cast<int32_t>(first) + best.column;
      }
    }
    if (hasNan) context.fault(std::numeric_limits<double>::quiet_NaN());
  });
  context.parallel(matrices, grain / (rows * columns) + 1, [&](int64_t begin, int64_t end, int thread) {
    int32_t* marked = taken + thread * marks;
    for (int64_t i = begin; i < end; i++) {
      std::fill(marked, marked + marks, 0);
      assign(sizes, scores.f32() + i * rows * columns, keys + i * known, places + i * known, rowKeys + i * rows,
             rowPlaces + i * rows, marked, result.i32() + i * rows);
    }
  });
}

void assignmentMatrix(const Call& call, Context& context) {
  const Tensor &assignment = call.inputs[0], &result = call.outputs[0];
  if (result.size == 0) return;
  const int64_t columns = call.integer("columns");
  context.parallel(assignment.size, grain / columns + 1, [&](int64_t begin, int64_t end, int) {
    std::fill(result.f32() + begin * columns, result.f32() + end * columns, 0.0f);
    for (int64_t row = begin; row < end; row++) {
      const int32_t column = assignment.i32()[row];
      if (column >= 0 && column < columns)
        result.f32()[row * columns + column] = 1;
      else if (column != -1)
        context.fault(column);
    }
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA
