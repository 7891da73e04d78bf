// Products of matrices on packed panels, and the micro-kernel under them. Everything is read by strides, so that no
// transpose is ever made.
//
// Packed: a is cut into panels of `panelRows` rows, b into panels of `panelColumns` columns, each stored step of k
// after step of k, and the micro-kernel keeps panelRows × panelColumns sums in registers. Blocks of k are added in
// order, and every element of c is computed by one thread: results do not depend on the number of threads.
#pragma once

#include <algorithm>

#include "kernel.h"
#include "simd.h"
#include "transpose.h"

namespace birkhoff::BIRKHOFF_ISA::gemm {

// Registers: 32 vectors with AVX-512 and NEON, 16 otherwise.
#if defined(__AVX512F__)
inline constexpr int panelRows = 12, panelVectors = 2, stripVectors = 4;
#elif defined(__aarch64__)
inline constexpr int panelRows = 8, panelVectors = 3, stripVectors = 4;
#elif defined(__AVX2__)
inline constexpr int panelRows = 6, panelVectors = 2, stripVectors = 2;
#else
inline constexpr int panelRows = 4, panelVectors = 2, stripVectors = 2;
#endif
inline constexpr int panelColumns = panelVectors * lanes;
inline constexpr int64_t stripColumns = stripVectors * lanes;

// Steps of k per block: a panel of a and one of b stay in the first-level cache.
inline constexpr int64_t blockSteps = 256;
// Rows and columns packed at a time: they bound the work area, and stay in the second- and third-level cache.
inline constexpr int64_t blockRows = 960, blockColumns = 3072;
// Panels of a and of b in one task.
inline constexpr int64_t taskPanels = 4;
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

// Sums of rows × (vectors · lanes) elements over k. With `edge` the last vector has `tail` columns. Inlined, so that
// constant strides fold.
template <int rows, int vectors, bool edge>
BIRKHOFF_INLINE void microKernel(int64_t k, const float* a, int64_t aRow, int64_t aStep, const float* b, int64_t bStep,
                                 float* c, int64_t cRow, const float* bias, bool accumulate, int64_t tail) {
  const auto get = [&](const float* p, int v) {
    return edge && v == vectors - 1 ? loadPartial(p + v * lanes, tail) : load(p + v * lanes);
  };
  vf sums[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) sums[r][v] = vf{};
  }
  for (int64_t l = 0; l < k; l++) {
    vf column[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) column[v] = get(b, v);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
      const vf row = broadcast(a[r * aRow]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) sums[r][v] = fma(row, column[v], sums[r][v]);
    }
    a += aStep;
    b += bStep;
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
      float* to = c + r * cRow;
      const vf before = accumulate ? get(to, v) : bias ? get(bias, v) : vf{};
      if (edge && v == vectors - 1) {
        storePartial(to + v * lanes, tail, before + sums[r][v]);
      } else {
        store(to + v * lanes, before + sums[r][v]);
      }
    }
  }
}

// A panel: to[l · width + i] = from[i · along + l · step] for i < count, zeros up to width.
template <int width>
inline void packPanel(const float* from, int64_t along, int64_t step, int64_t count, int64_t k, float* to) {
  for (int64_t i = 0; i < width; i += lanes) {
    const int64_t columns = std::min<int64_t>(lanes, width - i), present = std::clamp<int64_t>(count - i, 0, columns);
    const float* x = from + i * along;
    float* y = to + i;
    if (along == 1) {
      if (present == lanes) {
        for (int64_t l = 0; l < k; l++) store(y + l * width, load(x + l * step));
      } else {
        for (int64_t l = 0; l < k; l++) storePartial(y + l * width, columns, loadPartial(x + l * step, present));
      }
    } else if (step == 1) {
      for (int64_t l = 0; l < k; l += lanes)
        transposeBlock(x + l, along, y + l * width, width, present, std::min<int64_t>(lanes, k - l), columns);
    } else {
      for (int64_t l = 0; l < k; l++) {
        for (int64_t j = 0; j < columns; j++) y[l * width + j] = j < present ? x[j * along + l * step] : 0.0f;
      }
    }
  }
}

// One tile of c from a packed panel of each side; `rows` and `columns` may be fewer than the panels hold.
inline void panelTile(int64_t k, const float* a, const float* b, float* c, int64_t cRow, const float* bias,
                      bool accumulate, int64_t rows, int64_t columns) {
  if (rows == panelRows && columns == panelColumns) {
    return microKernel<panelRows, panelVectors, false>(k, a, 1, panelRows, b, panelColumns, c, cRow, bias, accumulate,
                                                       0);
  }
  float tile[panelRows * panelColumns];
  microKernel<panelRows, panelVectors, false>(k, a, 1, panelRows, b, panelColumns, tile, panelColumns, nullptr, false,
                                              0);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < columns; j++) {
      float& to = c[i * cRow + j];
      to = tile[i * panelColumns + j] + (accumulate ? to : bias ? bias[j] : 0.0f);
    }
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
  return m < 2 * panelRows || (n <= stripColumns && k <= 4 * blockSteps) || m * n * k <= 64 * 64 * 64;
}

template <class Parallel>
void unpackedProduct(const Product& p, float* work, Parallel&& parallel) {
  const int64_t strips = (p.n + stripColumns - 1) / stripColumns, chunks = (p.m + unpackedRows - 1) / unpackedRows;
  const int64_t operations = std::min(p.m, unpackedRows) * std::min<int64_t>(p.n, stripColumns) * p.k;
  parallel(strips * chunks, std::max<int64_t>(1, taskOperations / std::max<int64_t>(1, operations)),
           [&](int64_t begin, int64_t end, int thread) {
             float* packed = work + thread * blockSteps * stripColumns;
             for (int64_t task = begin; task < end; task++) {
               const int64_t column = task % strips * stripColumns, row = task / strips * unpackedRows;
               for (int64_t step = 0; step < p.k; step += blockSteps) {
                 Product part = p;
                 part.m = std::min(p.m - row, unpackedRows);
                 part.n = std::min(p.n - column, stripColumns);
                 part.k = std::min(p.k - step, blockSteps);
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

// Floats that `product` needs as work area when at most `threads` threads run it.
inline int64_t productWork(int64_t m, int64_t n, int64_t k, int threads) {
  const int64_t steps = std::min(k, blockSteps);
  if (unpacked(m, n, k)) return threads * blockSteps * stripColumns;
  return (panels(std::min(m, blockRows), panelRows) * panelRows +
          panels(std::min(n, blockColumns), panelColumns) * panelColumns) *
         steps;
}

// One product. `parallel(count, grain, body)` is Context::parallel, or runs the body in one piece.
template <class Parallel>
void product(const Product& p, float* work, Parallel&& parallel) {
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
        const int64_t across = panels(panelsB, taskPanels), down = panels(panelsA, taskPanels);
        parallel(across * down, 1, [&](int64_t begin, int64_t end, int) {
          for (int64_t task = begin; task < end; task++) {
            const int64_t firstA = task % down * taskPanels, endA = std::min(firstA + taskPanels, panelsA);
            const int64_t firstB = task / down * taskPanels, endB = std::min(firstB + taskPanels, panelsB);
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

}  // namespace birkhoff::BIRKHOFF_ISA::gemm
