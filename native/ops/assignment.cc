// The greedy assignment: keys that order the scores as whole numbers, and the best of every segment of a row, of every
// row, and of every block of rows. What is known of a segment or row whose column was taken since stays an upper bound,
// and is mended only when it comes out on top. Segments are filled over all rows at once; then every matrix is one
// piece of work.
#include <algorithm>
#include <cmath>

#include "kernel.h"
#include "reduce-states.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// Elements per piece of work.
constexpr int64_t grain = 1 << 14;
// Columns per segment, and rows per block. To mend a row is to read a segment, what is known of all segments of the
// row, a block, and what is known of all blocks: of 4096 rows and columns, 64 each.
constexpr int64_t segment = 64;

struct Best {
  int32_t key, column;
};

vi laneIndex() {
  vi index;
  for (int i = 0; i < lanes; i++) index[i] = i;
  return index;
}

// The first of the largest of n keys; 0 where all are the least.
int32_t firstLargest(const int32_t* keys, int64_t n) {
  Argmax state;
  const vi lane = laneIndex();
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) state.takeKey(load(keys + i), broadcast(static_cast<int32_t>(i)) + lane);
  Best best{leastInt, 0};
  const Argmax all = state.folded();
  if (all.key[0] != leastInt) best = {all.key[0], all.place[0]};
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
  int64_t rows, columns;
  int64_t segments() const { return (columns + segment - 1) / segment; }
  int64_t blocks() const { return (rows + segment - 1) / segment; }
};

// What is known of one matrix: keys and columns of the best of every segment of every row, and of every row; keys and
// rows of the best of every block of rows.
struct Known {
  int32_t *keys, *columns, *rowKeys, *rowColumns, *blockKeys, *blockRows;
};

// One matrix whose segments are known. `taken` is clear.
void assign(const Sizes& sizes, const float* scores, const Known& known, int32_t* taken, int32_t* result) {
  const auto [rows, columns] = sizes;
  const int64_t segments = sizes.segments(), blocks = sizes.blocks();
  const auto gatherRow = [&](int64_t row) {
    const int64_t best = row * segments + firstLargest(known.keys + row * segments, segments);
    known.rowKeys[row] = known.keys[best];
    known.rowColumns[row] = known.columns[best];
  };
  const auto gatherBlock = [&](int64_t block) {
    const int64_t first = block * segment;
    const int64_t best = first + firstLargest(known.rowKeys + first, std::min(segment, rows - first));
    known.blockKeys[block] = known.rowKeys[best];
    known.blockRows[block] = static_cast<int32_t>(best);
  };
  for (int64_t row = 0; row < rows; row++) gatherRow(row);
  for (int64_t block = 0; block < blocks; block++) gatherBlock(block);
  std::fill(result, result + rows, -1);
  for (int64_t left = std::min(rows, columns); left > 0;) {
    const int64_t row = known.blockRows[firstLargest(known.blockKeys, blocks)];
    const int32_t column = known.rowColumns[row];
    if (taken[column] == 0) {
      result[row] = column;
      taken[column] = -1;
      known.rowKeys[row] = leastInt;
      left--;
    } else {
      const int64_t k = column / segment, begin = k * segment;
      bool ignored = false;
      const Best best =
          bestFree(scores + row * columns + begin, taken + begin, std::min(segment, columns - begin), ignored);
      known.keys[row * segments + k] = best.key;
      known.columns[row * segments + k] = static_cast<int32_t>(begin) + best.column;
      gatherRow(row);
    }
    gatherBlock(row / segment);
  }
}

}  // namespace

void assignmentGreedy(const Call& call, Context& context) {
  const Tensor &scores = call.inputs[0], &result = call.outputs[0];
  if (result.size == 0) return;
  const size_t rank = scores.shape.size();
  const int64_t rows = scores.shape[rank - 2], columns = scores.shape[rank - 1], matrices = result.size / rows;
  const Sizes sizes{rows, columns};
  const int64_t segments = sizes.segments(), blocks = sizes.blocks();
  const int64_t marks = (columns + lanes - 1) / lanes * lanes;
  const auto area = [&](int64_t count) { return reinterpret_cast<int32_t*>(context.scratch(count)); };
  const Known all{
      area(matrices * rows * segments), area(matrices * rows * segments), area(matrices * rows), area(matrices * rows),
      area(matrices * blocks),          area(matrices * blocks)};
  int32_t* taken = area(context.threads() * marks);
  std::fill(taken, taken + context.threads() * marks, 0);

  context.parallel(matrices * rows, grain / columns + 1, [&](int64_t begin, int64_t end, int thread) {
    bool hasNan = false;
    for (int64_t i = begin * segments; i < end * segments; i++) {
      const int64_t first = i % segments * segment;
      const Best best = bestFree(scores.f32() + i / segments * columns + first, taken + thread * marks + first,
                                 std::min(segment, columns - first), hasNan);
      all.keys[i] = best.key;
      all.columns[i] = static_cast<int32_t>(first) + best.column;
    }
    if (hasNan) context.fault(std::numeric_limits<double>::quiet_NaN());
  });
  context.parallel(matrices, grain / (rows * columns) + 1, [&](int64_t begin, int64_t end, int thread) {
    int32_t* marked = taken + thread * marks;
    for (int64_t i = begin; i < end; i++) {
      const int64_t row = i * rows, block = i * blocks;
      const Known known{all.keys + row * segments, all.columns + row * segments, all.rowKeys + row,
                        all.rowColumns + row,      all.blockKeys + block,        all.blockRows + block};
      std::fill(marked, marked + marks, 0);
      assign(sizes, scores.f32() + i * rows * columns, known, marked, result.i32() + row);
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
