// The micro-kernel of products of matrices, and the packed panels that it reads. Everything else is read by strides, so
// that no transpose is ever made.
//
// Packed: a is cut into panels of `panelRows` rows, b into panels of `panelColumns` columns, each stored step of k
// after step of k; the micro-kernel keeps panelRows × panelColumns sums in registers.
#pragma once

#include <algorithm>

#include "products.h"
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

// Sums of rows × (vectors · lanes) elements over k. With `edge` the last vector has `tail` columns. Inlined, so that
// constant strides fold.
template <int rows, int vectors, bool edge>
BIRKHOFF_INLINE void microKernel(int64_t k, const float* a, int64_t aRow, int64_t aStep, const float* b, int64_t bStep,
                                 float* c, int64_t cRow, const float* bias, bool accumulate, int64_t tail) {
  const auto get = [&](const float* p, int v) {
    return edge && v == vectors - 1 ? loadPartial(p + v * lanes, tail) : load(p + v * lanes);
  };
  vf sums[rows][vectors] = {};
  addProducts<edge>(sums, k, a, aRow, aStep, b, bStep, tail);
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

}  // namespace birkhoff::BIRKHOFF_ISA::gemm
