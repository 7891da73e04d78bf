// How a matrix is computed from packed panels, whatever its elements are made of: the blocks and tasks of
// native/gemm.h, with what packs and what multiplies left to the caller. Blocks of k are added in order, and each
// element belongs to one thread.
#pragma once

#include <algorithm>

#include "gemm.h"
#include "kernel.h"

namespace birkhoff::BIRKHOFF_ISA::relative {

using gemm::panelColumns, gemm::panelRows, gemm::panels;

struct Steps {
  int64_t blocks, steps;
};
inline Steps stepsOf(int64_t k) {
  const int64_t blocks = std::max<int64_t>(1, panels(k, gemm::blockSteps));
  return {blocks, std::max<int64_t>(1, panels(k, blocks))};
}
inline int64_t rowsWork(int64_t m, int64_t steps) {
  return panels(panels(std::min(m, gemm::blockRows), panelRows) * panelRows * steps, 16) * 16;
}
// Floats of packed columns, which stay in the caches while all rows go by, that are made before any is used.
constexpr int64_t aheadFloats = 1 << 20;
// Blocks of k whose columns are packed at once.
inline int64_t aheadOf(int64_t columns, const Steps& k) {
  return std::clamp<int64_t>(aheadFloats / std::max<int64_t>(1, columns * k.steps), 1, k.blocks);
}
// With more rows than a block, each thread packs its own.
inline bool manyRowsIn(int64_t m) { return m > gemm::blockRows; }
constexpr int64_t ownRows = gemm::taskPanels * panelRows;
// Floats of the work area for m × n elements over k.
inline int64_t sweepWork(const Context& context, int64_t m, int64_t n, int64_t k) {
  const Steps all = stepsOf(k);
  const int64_t columns = panels(std::min(n, gemm::blockColumns), panelColumns) * panelColumns;
  return manyRowsIn(m) ? context.threads() * rowsWork(ownRows, all.steps) + columns * all.steps * aheadOf(columns, all)
                       : rowsWork(m, all.steps) + columns * all.steps;
}

// m × n elements over k. `sides` has
//   packRows(row, rows, step, k, to, fresh)      a panel of at most panelRows rows; `fresh`: the first time that these
//   are packed packColumns(column, columns, step, k, to)    a panel of at most panelColumns columns ready(row, rows,
//   column, columns)            once the last step of these is packed; sizes are 0 where they were told before
//   tile(row, rows, column, columns, step, k, a, b)    adds a panel of each to the result, which begins at step 0
//   finish(row, rows, column, columns)           for elements that are complete
template <class Sides>
void sweepFewRows(Context& context, int64_t m, int64_t n, int64_t k, Sides& sides, float* work) {
  const auto [blocks, steps] = stepsOf(k);
  float* packedRows = work;
  float* packedColumns = work + rowsWork(m, steps);
  for (int64_t column = 0; column < n; column += gemm::blockColumns) {
    const int64_t columns = std::min(n - column, gemm::blockColumns), panelsB = panels(columns, panelColumns);
    for (int64_t block = 0; block < blocks; block++) {
      const int64_t step = block * steps, some = std::max<int64_t>(0, std::min(k - step, steps));
      const bool last = block + 1 == blocks;
      for (int64_t row = 0; row < m; row += gemm::blockRows) {
        const int64_t rows = std::min(m - row, gemm::blockRows), panelsA = panels(rows, panelRows);
        const int64_t freshB = row == 0 ? panelsB : 0;
        const int64_t grain =
            std::max<int64_t>(1, gemm::taskOperations / 4 / (std::max<int64_t>(1, some) * panelColumns));
        context.parallel(panelsA + freshB, grain, [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; i++) {
            if (i < panelsA) {
              const int64_t first = i * panelRows;
              sides.packRows(row + first, std::min<int64_t>(rows - first, panelRows), step, some,
                             packedRows + first * some, column == 0);
            } else {
              const int64_t first = (i - panelsA) * panelColumns;
              sides.packColumns(column + first, std::min<int64_t>(columns - first, panelColumns), step, some,
                                packedColumns + first * some);
            }
          }
        });
        if (last) sides.ready(row, column == 0 ? rows : 0, column, row == 0 ? columns : 0);
        int64_t tall = gemm::taskPanels, wide = gemm::taskPanels;
        while (panels(panelsA, tall) * panels(panelsB, wide) < gemm::tasksPerThread * context.threads() &&
               tall * wide > 1)
          (tall > wide ? tall : wide) /= 2;
        const int64_t across = panels(panelsB, wide), down = panels(panelsA, tall);
        context.parallel(across * down, 1, [&](int64_t begin, int64_t end, int) {
          for (int64_t task = begin; task < end; task++) {
            const int64_t firstA = task % down * tall, endA = std::min(firstA + tall, panelsA);
            const int64_t firstB = task / down * wide, endB = std::min(firstB + wide, panelsB);
            for (int64_t b = firstB; b < endB; b++) {
              for (int64_t a = firstA; a < endA; a++) {
                const int64_t i = a * panelRows, j = b * panelColumns;
                const int64_t tileRows = std::min<int64_t>(rows - i, panelRows);
                const int64_t tileColumns = std::min<int64_t>(columns - j, panelColumns);
                sides.tile(row + i, tileRows, column + j, tileColumns, step, some, packedRows + i * some,
                           packedColumns + j * some);
                if (last) sides.finish(row + i, tileRows, column + j, tileColumns);
              }
            }
          }
        });
      }
    }
  }
}

// The same: every thread packs a few panels of rows and multiplies them by all columns, so that threads wait for each
// other twice per `aheadOf` blocks, and not twice per block of rows and of k.
template <class Sides>
void sweepManyRows(Context& context, int64_t m, int64_t n, int64_t k, Sides& sides, float* work) {
  const Steps all = stepsOf(k);
  const int64_t steps = all.steps, panelsA = panels(m, panelRows), ownWork = rowsWork(ownRows, steps);
  const auto stepsFrom = [&](int64_t block) { return std::max<int64_t>(0, std::min(k - block * steps, steps)); };
  float* packedColumns = work + context.threads() * ownWork;
  const int64_t ahead = aheadOf(panels(std::min(n, gemm::blockColumns), panelColumns) * panelColumns, all);
  int64_t tall = gemm::taskPanels;
  while (tall > 1 && panels(panelsA, tall) < 4 * gemm::tasksPerThread * context.threads()) tall /= 2;
  for (int64_t column = 0; column < n; column += gemm::blockColumns) {
    const int64_t columns = std::min(n - column, gemm::blockColumns), panelsB = panels(columns, panelColumns);
    const int64_t blockFloats = panelsB * panelColumns * steps;
    for (int64_t first = 0; first < all.blocks; first += ahead) {
      const int64_t end = std::min(all.blocks, first + ahead);
      context.parallel(panelsB, 1, [&](int64_t from, int64_t to, int) {
        for (int64_t b = from; b < to; b++) {
          const int64_t j = b * panelColumns, count = std::min<int64_t>(columns - j, panelColumns);
          for (int64_t block = first; block < end; block++)
            sides.packColumns(column + j, count, block * steps, stepsFrom(block),
                              packedColumns + (block - first) * blockFloats + j * stepsFrom(block));
        }
      });
      if (end == all.blocks) sides.ready(0, 0, column, columns);
      context.parallel(panels(panelsA, tall), 1, [&](int64_t from, int64_t to, int thread) {
        float* packedRows = work + thread * ownWork;
        for (int64_t row = from * tall * panelRows; row < std::min(m, to * tall * panelRows); row += tall * panelRows) {
          const int64_t rows = std::min(m - row, tall * panelRows);
          for (int64_t block = first; block < end; block++) {
            const int64_t step = block * steps, some = stepsFrom(block);
            const bool last = block + 1 == all.blocks;
            const float* packedBlock = packedColumns + (block - first) * blockFloats;
            for (int64_t i = 0; i < rows; i += panelRows)
              sides.packRows(row + i, std::min<int64_t>(rows - i, panelRows), step, some, packedRows + i * some,
                             column == 0);
            if (last && column == 0) sides.ready(row, rows, 0, 0);
            for (int64_t j = 0; j < columns; j += panelColumns) {
              for (int64_t i = 0; i < rows; i += panelRows) {
                const int64_t tileRows = std::min<int64_t>(rows - i, panelRows);
                const int64_t tileColumns = std::min<int64_t>(columns - j, panelColumns);
                sides.tile(row + i, tileRows, column + j, tileColumns, step, some, packedRows + i * some,
                           packedBlock + j * some);
                if (last) sides.finish(row + i, tileRows, column + j, tileColumns);
              }
            }
          }
        }
      });
    }
  }
}

template <class Sides>
void sweep(Context& context, int64_t m, int64_t n, int64_t k, Sides& sides, float* work) {
  manyRowsIn(m) ? sweepManyRows(context, m, n, k, sides, work) : sweepFewRows(context, m, n, k, sides, work);
}

// Rows that a tile of sums takes at a time: all or half of the panel where there are registers for them.
inline constexpr int groupRows = panelRows % 4 == 0 ? 4 : 3;
inline constexpr int manyRows = lanes == 16 ? panelRows : groupRows,
                     halfOfRows = lanes == 16 ? panelRows / 2 : groupRows;
// A tile of sums that are no products: add(sum, row, r, v, l, b) with one more step, `group` rows at a time.
template <int group, class Start, class Add>
BIRKHOFF_INLINE void sumTile(float* c, int64_t cRow, int64_t rows, int64_t columns, bool accumulate, int64_t k,
                             const float* b, Start start, Add add) {
  constexpr int vectors = gemm::panelVectors;
  const auto width = [&](int v) { return std::clamp<int64_t>(columns - v * lanes, 0, lanes); };
  for (int64_t row = 0; row < rows; row += group) {
    const int64_t live = std::min<int64_t>(group, rows - row);
    vf sums[group][vectors] = {};
    if (accumulate) {
#pragma GCC unroll 16
      for (int r = 0; r < group; r++) {
        for (int v = 0; v < vectors && r < live; v++)
          sums[r][v] = loadPartial(c + (row + r) * cRow + v * lanes, width(v));
      }
    }
    const auto own = start(row, live);
    for (int64_t l = 0; l < k; l++) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) {
        const vf column = load(b + l * panelColumns + v * lanes);
#pragma GCC unroll 16
        for (int r = 0; r < group; r++) sums[r][v] = add(own, sums[r][v], row, r, v, l, column);
      }
    }
    // Loops of a constant length: sums that are picked by a number would stay in memory.
#pragma GCC unroll 16
    for (int r = 0; r < group; r++) {
      for (int v = 0; v < vectors && r < live; v++)
        storePartial(c + (row + r) * cRow + v * lanes, width(v), sums[r][v]);
    }
  }
}

}  // namespace birkhoff::BIRKHOFF_ISA::relative
