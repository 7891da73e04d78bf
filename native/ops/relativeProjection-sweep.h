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
// Floats of the work area for m × n elements over k.
inline int64_t sweepWork(int64_t m, int64_t n, int64_t k) {
  const int64_t steps = stepsOf(k).steps;
  return rowsWork(m, steps) + panels(std::min(n, gemm::blockColumns), panelColumns) * panelColumns * steps;
}

// m × n elements over k. `sides` has
//   packRows(row, rows, step, k, to, fresh)      a panel of at most panelRows rows; `fresh`: the first time that these
//   are packed packColumns(column, columns, step, k, to)    a panel of at most panelColumns columns ready(row, rows,
//   column, columns)            once the last step of these is packed; sizes are 0 where they were told before
//   tile(row, rows, column, columns, step, k, a, b)    adds a panel of each to the result, which begins at step 0
//   finish(row, rows, column, columns)           for elements that are complete
template <class Sides>
void sweep(Context& context, int64_t m, int64_t n, int64_t k, Sides& sides, float* work) {
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
