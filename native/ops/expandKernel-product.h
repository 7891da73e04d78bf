// Products c = a b whose operands lie in the layouts of src/ops/expandKernel/README.md, and are packed into panels by
// whoever knows where.
//
// Panels of a hold `panelRows` rows, those of b `panelColumns` columns, step of the depth after step, so that the
// micro-kernel reads both in order and keeps panelRows × panelColumns sums in registers. Every element of c is computed
// by one thread, and steps are added in order.
#pragma once

#include <algorithm>

#include "kernel.h"
#include "products.h"
#include "simd.h"
#include "transpose.h"

namespace birkhoff::BIRKHOFF_ISA::expansion {

// Registers: 32 vectors with AVX-512 and NEON, 16 otherwise.
#if defined(__AVX512F__)
inline constexpr int panelRows = 12;
#elif defined(__aarch64__)
inline constexpr int panelRows = 8;
#elif defined(__AVX2__)
inline constexpr int panelRows = 6;
#else
inline constexpr int panelRows = 4;
#endif
inline constexpr int64_t panelColumns = 2 * lanes;
// Steps of the depth at a time: a panel of b and some of a stay in the first-level cache.
inline constexpr int64_t blockSteps = 256;
// Panels of a that share one of b from that cache, and columns whose sums stay in the second.
inline constexpr int64_t panelsAtOnce = 4, blockColumns = 1024;
// Tasks that are worth making smaller ones.
inline constexpr int64_t fewTasks = 16;
// Multiplications, and numbers moved, that are worth a piece of work of their own: some 10 µs.
inline constexpr int64_t taskOperations = 1 << 19, taskMoves = 1 << 15;

inline int64_t parts(int64_t size, int64_t part) { return (size + part - 1) / part; }

// to[l · width + i] = rows[i][l], zeros behind `count` rows.
template <int width>
inline void turnRows(const float* const* rows, int64_t count, int64_t steps, float* to) {
  for (int64_t first = 0; first < width; first += lanes) {
    const int64_t columns = std::min<int64_t>(lanes, width - first);
    for (int64_t l = 0; l < steps; l += lanes) {
      const int64_t here = std::min<int64_t>(lanes, steps - l);
      vf turned[lanes];
      for (int64_t i = 0; i < lanes; i++) turned[i] = first + i < count ? loadPartial(rows[first + i] + l, here) : vf{};
      transpose(turned);
      for (int64_t j = 0; j < here; j++) storePartial(to + (l + j) * width + first, columns, turned[j]);
    }
  }
}

// to[i] = from[i], zeros behind `count`: one step of numbers that are neighbours in memory.
template <int width>
inline void copyPadded(const float* from, int64_t count, float* to) {
  for (int64_t i = 0; i < width; i += lanes)
    storePartial(to + i, std::min<int64_t>(lanes, width - i),
                 loadPartial(from + i, std::clamp<int64_t>(count - i, 0, lanes)));
}

template <int vectors>
BIRKHOFF_INLINE void microKernel(int64_t steps, const float* a, const float* b, float* c, int64_t cRow,
                                 bool accumulate) {
  vf sums[panelRows][vectors];
#pragma GCC unroll 12
  for (int r = 0; r < panelRows; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) sums[r][v] = accumulate ? load(c + r * cRow + v * lanes) : vf{};
  }
  addProducts<false>(sums, steps, a, 1, panelRows, b, panelColumns);
#pragma GCC unroll 12
  for (int r = 0; r < panelRows; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) store(c + r * cRow + v * lanes, sums[r][v]);
  }
}

struct Sides {
  int64_t batches, rows, columns, depth;
  // Whether all batches have the same b.
  bool sharedB = false;
};

// packA(batch, first row, count, first step, steps, to) and packB, with columns for rows, write a panel of `steps`
// steps. put(batch, row, first column, count, values) takes a part of a row of the result.
template <class PackA, class PackB, class Put>
void product(const Sides& sides, Context& context, PackA&& packA, PackB&& packB, Put&& put) {
  const auto [batches, rows, columns, depth, sharedB] = sides;
  if (batches * rows * columns == 0) return;
  const int64_t panelsA = parts(rows, panelRows), panelsB = parts(columns, panelColumns);
  const int64_t perB = depth * panelColumns, blocks = parts(depth, blockSteps), matricesB = sharedB ? 1 : batches;
  // Panel after panel, each with all of its steps.
  float* packedB = context.scratch(matricesB * panelsB * perB);
  context.parallel(matricesB * panelsB, std::max<int64_t>(1, taskMoves / std::max<int64_t>(1, perB)),
                   [&](int64_t begin, int64_t end, int) {
                     for (int64_t i = begin; i < end; i++) {
                       const int64_t column = i % panelsB * panelColumns;
                       packB(i / panelsB, column, std::min(panelColumns, columns - column), 0, depth,
                             packedB + i * perB);
                     }
                   });
  const int64_t columnBlocks = parts(columns, blockColumns);
  const int64_t atOnce = std::clamp<int64_t>(batches * panelsA * columnBlocks / fewTasks, 1, panelsAtOnce);
  const int64_t rowBlocks = parts(panelsA, atOnce), side = std::min(parts(columns, lanes) * lanes, blockColumns);
  const int64_t areaA = atOnce * panelRows * blockSteps, area = areaA + atOnce * panelRows * side;
  float* areas = context.scratch(context.threads() * area);
  const int64_t operations = atOnce * panelRows * side * std::max<int64_t>(1, depth);
  context.parallel(
      batches * columnBlocks * rowBlocks, std::max<int64_t>(1, taskOperations / operations),
      [&](int64_t begin, int64_t end, int thread) {
        float *packedA = areas + thread * area, *sums = packedA + areaA;
        for (int64_t task = begin; task < end; task++) {
          const int64_t batch = task / rowBlocks / columnBlocks,
                        firstColumn = task / rowBlocks % columnBlocks * blockColumns;
          const int64_t firstRow = task % rowBlocks * atOnce * panelRows;
          const int64_t rowsHere = std::min(atOnce * panelRows, rows - firstRow), ownA = parts(rowsHere, panelRows);
          const int64_t columnsHere = std::min(blockColumns, columns - firstColumn);
          if (depth == 0) std::fill(sums, sums + atOnce * panelRows * side, 0.0f);
          for (int64_t number = 0; number < blocks; number++) {
            const int64_t step = number * blockSteps, steps = std::min(blockSteps, depth - step);
            for (int64_t a = 0; a < ownA; a++)
              packA(batch, firstRow + a * panelRows, std::min<int64_t>(panelRows, rowsHere - a * panelRows), step,
                    steps, packedA + a * panelRows * blockSteps);
            for (int64_t column = 0; column < columnsHere; column += panelColumns) {
              const float* b = packedB +
                               ((sharedB ? 0 : batch) * panelsB + (firstColumn + column) / panelColumns) * perB +
                               step * panelColumns;
              for (int64_t a = 0; a < ownA; a++) {
                const float* panel = packedA + a * panelRows * blockSteps;
                float* c = sums + a * panelRows * side + column;
                columnsHere - column > lanes ? microKernel<2>(steps, panel, b, c, side, number > 0)
                                             : microKernel<1>(steps, panel, b, c, side, number > 0);
              }
            }
          }
          for (int64_t row = 0; row < rowsHere; row++)
            put(batch, firstRow + row, firstColumn, columnsHere, sums + row * side);
        }
      });
}

}  // namespace birkhoff::BIRKHOFF_ISA::expansion
