// Products of matrices, packed or not, and how threads share one. Blocks and parts of k are added in order, and every
// element of c is computed by one thread: results do not depend on the number of threads.
#pragma once

#include <algorithm>

#include "gemm-panel.h"
#include "kernel.h"

namespace birkhoff::BIRKHOFF_ISA::gemm {

// Steps of k per block: a panel of a stays in the first-level cache, and c is visited seldom. Unpacked, a strip of b is
// to stay there.
inline constexpr int64_t blockSteps = 512, stripSteps = 256;
// Rows and columns packed at a time: they bound the work area, and stay in the second- and third-level cache.
inline constexpr int64_t blockRows = 960, blockColumns = 3072;
// Panels of a and of b in one task at most, and tasks per thread where there are enough panels.
inline constexpr int64_t taskPanels = 4, tasksPerThread = 4;
// A long k is cut into parts of at least so many steps, whose sums are added in order, until there are so many tiles.
inline constexpr int64_t partSteps = 512, wantedTiles = 256;
// Multiplications that are worth a piece of work of their own.
inline constexpr int64_t taskOperations = 1 << 16;

// What happens to elements that are complete: z = c where z is wanted, then c = f(c). z is laid out as c is.
struct Epilogue {
  void (*apply)(float* c, int64_t count);
  const float* c;
  float* z;
};

// c[i][j] = Σ_l a[i·aRow + l·aStep] · b[l·bStep + j·bColumn] + (accumulate ? c[i][j] : bias ? bias[j] : 0)
struct Product {
  int64_t m, n, k;
  const float* a;
  int64_t aRow, aStep;
  const float* b;
  int64_t bStep, bColumn;
  float* c;
  int64_t cRow;
  const float* bias;
  bool accumulate;
  const Epilogue* epilogue;
};

inline void finish(const Product& p, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  if (!p.epilogue) return;
  const auto [apply, base, z] = *p.epilogue;
  if (columns == p.cRow) {
    columns *= rows;
    rows = 1;
  }
  for (int64_t i = 0; i < rows; i++) {
    float* c = p.c + (row + i) * p.cRow + column;
    if (z) std::copy_n(c, columns, z + (c - base));
    apply(c, columns);
  }
}

// Unpacked: few rows, or matrices so small that packing would be most of the work.

template <int rows, int vectors, bool edge>
inline int64_t stripRows(const Product& p, int64_t begin, int64_t end, int64_t tail) {
  for (; begin + rows <= end; begin += rows) {
    microKernel<rows, vectors, edge>(p.k, p.a + begin * p.aRow, p.aRow, p.aStep, p.b, p.bStep, p.c + begin * p.cRow,
                                     p.cRow, p.bias, p.accumulate, tail);
  }
  return begin;
}

template <int vectors, bool edge>
inline void strip(const Product& p, int64_t tail) {
  int64_t row = 0;
  if constexpr (vectors == 1) row = stripRows<8, vectors, edge>(p, row, p.m, tail);
  row = stripRows<4, vectors, edge>(p, row, p.m, tail);
  row = stripRows<2, vectors, edge>(p, row, p.m, tail);
  stripRows<1, vectors, edge>(p, row, p.m, tail);
}

// At most `stripColumns` columns of b, which lie next to each other.
inline void anyStrip(const Product& p) {
  const int64_t tail = (p.n - 1) % lanes + 1;
  if (p.n == stripColumns) return strip<stripVectors, false>(p, 0);
  switch ((p.n + lanes - 1) / lanes) {
    case 1:
      return strip<1, true>(p, tail);
    case 2:
      return strip<2, true>(p, tail);
    case 3:
      return strip<std::min(3, stripVectors), true>(p, tail);
    default:
      return strip<stripVectors, true>(p, tail);
  }
}

inline constexpr int64_t unpackedRows = 256;

// Whether packing would not pay.
inline bool unpacked(int64_t m, int64_t n, int64_t k) {
  return m < 2 * panelRows || (n <= stripColumns && k <= 4 * stripSteps) || m * n * k <= 64 * 64 * 64;
}

template <class Parallel>
void unpackedProduct(const Product& p, float* work, Parallel&& parallel) {
  const int64_t strips = (p.n + stripColumns - 1) / stripColumns, chunks = (p.m + unpackedRows - 1) / unpackedRows;
  const int64_t operations = std::min(p.m, unpackedRows) * std::min<int64_t>(p.n, stripColumns) * p.k;
  parallel(strips * chunks, std::max<int64_t>(1, taskOperations / std::max<int64_t>(1, operations)),
           [&](int64_t begin, int64_t end, int thread) {
             float* packed = work + thread * stripSteps * stripColumns;
             for (int64_t task = begin; task < end; task++) {
               const int64_t column = task % strips * stripColumns, row = task / strips * unpackedRows;
               for (int64_t step = 0; step < p.k; step += stripSteps) {
                 Product part = p;
                 part.m = std::min(p.m - row, unpackedRows);
                 part.n = std::min(p.n - column, stripColumns);
                 part.k = std::min(p.k - step, stripSteps);
                 part.a += row * p.aRow + step * p.aStep;
                 part.b += step * p.bStep + column * p.bColumn;
                 part.c += row * p.cRow + column;
                 part.bias = p.bias ? p.bias + column : nullptr;
                 part.accumulate = p.accumulate || step > 0;
                 if (p.bColumn != 1) {
                   packPanel<stripColumns>(part.b, p.bColumn, p.bStep, part.n, part.k, packed);
                   part.b = packed;
                   part.bStep = stripColumns;
                 }
                 anyStrip(part);
               }
               finish(p, row, column, std::min(p.m - row, unpackedRows), std::min(p.n - column, stripColumns));
             }
           });
}

// Both sides run along k in memory and one of them has few vectors: sums of products, each row read as it lies.
inline bool dots(const Product& p) { return p.aStep == 1 && p.bStep == 1 && (p.m < 4 || p.n < 4); }

inline float dot(const float* a, const float* b, int64_t k) {
  vf sums[4] = {};
  int64_t l = 0;
  for (; l + 4 * lanes <= k; l += 4 * lanes) {
    for (int i = 0; i < 4; i++) sums[i] = fma(load(a + l + i * lanes), load(b + l + i * lanes), sums[i]);
  }
  for (; l + lanes <= k; l += lanes) sums[0] = fma(load(a + l), load(b + l), sums[0]);
  if (l < k) sums[1] = fma(loadPartial(a + l, k - l), loadPartial(b + l, k - l), sums[1]);
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <class Parallel>
void dotProduct(const Product& p, Parallel&& parallel) {
  const auto element = [&](int64_t i, int64_t j) {
    float& to = p.c[i * p.cRow + j];
    to = dot(p.a + i * p.aRow, p.b + j * p.bColumn, p.k) + (p.accumulate ? to : p.bias ? p.bias[j] : 0.0f);
  };
  const bool wide = p.n >= p.m;
  const int64_t count = wide ? p.n : p.m, others = wide ? p.m : p.n;
  parallel(count, std::max<int64_t>(1, taskOperations / std::max<int64_t>(1, others * p.k)),
           [&](int64_t begin, int64_t end, int) {
             for (int64_t i = begin; i < end; i++) {
               for (int64_t j = 0; j < others; j++) wide ? element(j, i) : element(i, j);
             }
             wide ? finish(p, 0, begin, others, end - begin) : finish(p, begin, 0, end - begin, others);
           });
}

inline int64_t panels(int64_t size, int64_t panel) { return (size + panel - 1) / panel; }

// How many parts k has: from sizes and strides alone. Columns of dot products and strips count several times: with
// more of them there are pieces enough.
inline int64_t partsOf(const Product& p) {
  int64_t tiles = panels(p.m, panelRows) * panels(p.n, panelColumns);
  if (dots(p)) {
    tiles = 4 * std::max(p.m, p.n);
  } else if (unpacked(p.m, p.n, p.k)) {
    tiles = 16 * panels(p.m, unpackedRows) * panels(p.n, stripColumns);
  }
  return std::max<int64_t>(1, std::min(wantedTiles / tiles, p.k / partSteps));
}

// Floats that one part of k steps needs as work area when at most `threads` threads run it; a multiple of 16.
inline int64_t partWork(const Product& p, int64_t k, int threads) {
  const int64_t packed = (panels(std::min(p.m, blockRows), panelRows) * panelRows +
                          panels(std::min(p.n, blockColumns), panelColumns) * panelColumns) *
                         std::min(k, blockSteps);
  return panels(unpacked(p.m, p.n, k) ? threads * stripSteps * stripColumns : packed, 16) * 16;
}

// Floats that `product` needs.
inline int64_t productWork(const Product& p, int threads) {
  const int64_t parts = partsOf(p);
  return parts == 1 ? partWork(p, p.k, threads) : threads * partWork(p, panels(p.k, parts), 1) + parts * p.m * p.n;
}

// Loops of a caller that is one thread of several.
struct Alone {
  static constexpr int threads = 1;
  template <class Body>
  void operator()(int64_t count, int64_t, Body&& body) const {
    body(0, count, 0);
  }
};

template <class Parallel>
void part(const Product& p, float* work, Parallel&& parallel) {
  if (dots(p)) return dotProduct(p, parallel);
  if (unpacked(p.m, p.n, p.k)) return unpackedProduct(p, work, parallel);
  const int64_t kBlocks = panels(p.k, blockSteps), steps = panels(p.k, kBlocks);
  float* packedB = work + panels(std::min(p.m, blockRows), panelRows) * panelRows * std::min(p.k, blockSteps);
  for (int64_t column = 0; column < p.n; column += blockColumns) {
    const int64_t columns = std::min(p.n - column, blockColumns), panelsB = panels(columns, panelColumns);
    for (int64_t step = 0; step < p.k; step += steps) {
      const int64_t k = std::min(p.k - step, steps);
      for (int64_t row = 0; row < p.m; row += blockRows) {
        const int64_t rows = std::min(p.m - row, blockRows), panelsA = panels(rows, panelRows);
        const int64_t freshB = row == 0 ? panelsB : 0;
        const int64_t grain = std::max<int64_t>(1, taskOperations / 4 / (k * panelColumns));
        parallel(panelsA + freshB, grain, [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; i++) {
            if (i < panelsA) {
              const int64_t first = i * panelRows;
              packPanel<panelRows>(p.a + (row + first) * p.aRow + step * p.aStep, p.aRow, p.aStep,
                                   std::min<int64_t>(rows - first, panelRows), k, work + first * k);
            } else {
              const int64_t first = (i - panelsA) * panelColumns;
              packPanel<panelColumns>(p.b + (column + first) * p.bColumn + step * p.bStep, p.bColumn, p.bStep,
                                      std::min<int64_t>(columns - first, panelColumns), k, packedB + first * k);
            }
          }
        });
        int64_t tall = taskPanels, wide = taskPanels;
        while (panels(panelsA, tall) * panels(panelsB, wide) < tasksPerThread * parallel.threads && tall * wide > 1)
          (tall > wide ? tall : wide) /= 2;
        const int64_t across = panels(panelsB, wide), down = panels(panelsA, tall);
        parallel(across * down, 1, [&](int64_t begin, int64_t end, int) {
          for (int64_t task = begin; task < end; task++) {
            const int64_t firstA = task % down * tall, endA = std::min(firstA + tall, panelsA);
            const int64_t firstB = task / down * wide, endB = std::min(firstB + wide, panelsB);
            for (int64_t b = firstB; b < endB; b++) {
              for (int64_t a = firstA; a < endA; a++) {
                const int64_t i = a * panelRows, j = b * panelColumns;
                panelTile(k, work + i * k, packedB + j * k, p.c + (row + i) * p.cRow + column + j, p.cRow,
                          p.bias ? p.bias + column + j : nullptr, p.accumulate || step > 0,
                          std::min<int64_t>(rows - i, panelRows), std::min<int64_t>(columns - j, panelColumns));
              }
            }
            if (step + k < p.k) continue;
            const int64_t i = firstA * panelRows, j = firstB * panelColumns;
            finish(p, row + i, column + j, std::min(rows, endA * panelRows) - i,
                   std::min(columns, endB * panelColumns) - j);
          }
        });
      }
    }
  }
}

// One product. `parallel(count, grain, body)` is Context::parallel for `parallel.threads` threads, or Alone.
template <class Parallel>
void product(const Product& p, float* work, Parallel&& parallel) {
  const int64_t parts = partsOf(p);
  if (parts == 1) return part(p, work, parallel);
  const int64_t each = partWork(p, panels(p.k, parts), 1), elements = p.m * p.n;
  float* sums = work + parallel.threads * each;
  parallel(parts, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t step = p.k * i / parts;
      Product one{p.m,
                  p.n,
                  p.k * (i + 1) / parts - step,
                  p.a + step * p.aStep,
                  p.aRow,
                  p.aStep,
                  p.b + step * p.bStep,
                  p.bStep,
                  p.bColumn,
                  sums + i * elements,
                  p.n,
                  nullptr,
                  false,
                  nullptr};
      part(one, work + thread * each, Alone{});
    }
  });
  parallel(p.m, std::max<int64_t>(1, taskOperations / (p.n * parts)), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      for (int64_t j = 0; j < p.n; j += lanes) {
        const int64_t count = std::min<int64_t>(lanes, p.n - j);
        float* to = p.c + i * p.cRow + j;
        vf sum = p.accumulate ? loadPartial(to, count) : p.bias ? loadPartial(p.bias + j, count) : vf{};
        for (int64_t q = 0; q < parts; q++) sum += loadPartial(sums + q * elements + i * p.n + j, count);
        storePartial(to, count, sum);
      }
    }
    finish(p, begin, 0, end - begin, p.n);
  });
}

}  // namespace birkhoff::BIRKHOFF_ISA::gemm
