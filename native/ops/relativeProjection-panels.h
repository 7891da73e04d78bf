// Panels of rows in standard units, and of weighted cotangents, as the micro-kernel of products reads them: what is
// done to an element is done as it is packed. Layout as in gemm-panel.h.
#pragma once

#include <algorithm>

#include "gemm-panel.h"
#include "relativeProjection-similarity.h"

namespace birkhoff::BIRKHOFF_ISA::relative {

BIRKHOFF_INLINE vf some(const float* p, int64_t count) { return count == lanes ? load(p) : loadPartial(p, count); }
BIRKHOFF_INLINE void put(float* p, int64_t count, vf v) { count == lanes ? store(p, v) : storePartial(p, count, v); }

// What makes standard units of feature l: (x - mean[l]) · inverse[l].
struct Units {
  const float* mean;
  const float* inverse;
  Units from(int64_t feature) const { return {mean + feature, inverse + feature}; }
  // `count` features of a row, from feature l on.
  vf of(const float* row, int64_t l, int64_t count) const {
    return (some(row + l, count) - some(mean + l, count)) * some(inverse + l, count);
  }
};

// to[l · width + i] = row i's feature l, for `present` rows of x that are d apart, zeros up to width; adds their
// squares to squares[i].
template <int width>
void packRows(const float* x, int64_t d, const Units& units, int64_t present, int64_t k, float* to, float* squares) {
  for (int64_t i = 0; i < width; i += lanes) {
    const int64_t columns = std::min<int64_t>(lanes, width - i), rows = std::clamp<int64_t>(present - i, 0, columns);
    vf sums[lanes] = {};
    for (int64_t l = 0; l < k; l += lanes) {
      const int64_t count = std::min<int64_t>(lanes, k - l);
      const vf mean = some(units.mean + l, count), inverse = some(units.inverse + l, count);
      vf block[lanes];
#pragma GCC unroll 16
      for (int r = 0; r < lanes; r++) {
        block[r] = r < rows ? (some(x + (i + r) * d + l, count) - mean) * inverse : vf{};
        sums[r] = fma(block[r], block[r], sums[r]);
      }
      transpose(block);
      float* y = to + l * width + i;
      if (columns == lanes && count == lanes) {
#pragma GCC unroll 16
        for (int c = 0; c < lanes; c++) store(y + c * width, block[c]);
      } else {
        for (int64_t c = 0; c < count; c++) storePartial(y + c * width, columns, block[c]);
      }
    }
    for (int64_t r = 0; r < rows; r++) squares[i + r] += sum(sums[r]);
  }
}

// to[l · width + j] = feature j of row l, times weight[l], for `present` features.
template <int width>
void packFeatures(const float* x, int64_t d, const Units& units, const float* weight, int64_t present, int64_t k,
                  float* to) {
  for (int64_t j = 0; j < width; j += lanes) {
    const int64_t columns = std::min<int64_t>(lanes, width - j), count = std::clamp<int64_t>(present - j, 0, columns);
    const vf mean = loadPartial(units.mean + j, count), inverse = loadPartial(units.inverse + j, count);
    for (int64_t l = 0; l < k; l++)
      put(to + l * width + j, columns,
          (loadPartial(x + l * d + j, count) - mean) * inverse * (weight ? weight[l] : 1.0f));
  }
}

// to[l · width + i] = g · slope(y) of own row i and other row l; adds that times the cosine to along[i].
template <class F, int width>
void packWeights(const F& f, const float* g, const float* y, int64_t ownStep, int64_t otherStep, int64_t present,
                 int64_t k, float* to, float* along) {
  for (int64_t i = 0; i < width; i += lanes) {
    const int64_t columns = std::min<int64_t>(lanes, width - i), rows = std::clamp<int64_t>(present - i, 0, columns);
    if (otherStep == 1) {
      vf sums[lanes] = {};
      for (int64_t l = 0; l < k; l += lanes) {
        const int64_t count = std::min<int64_t>(lanes, k - l);
        vf block[lanes];
#pragma GCC unroll 16
        for (int r = 0; r < lanes; r++) {
          block[r] = vf{};
          if (r >= rows) continue;
          const int64_t at = (i + r) * ownStep + l;
          if constexpr (F::readsResult) {
            const vf result = some(y + at, count);
            block[r] = some(g + at, count) * f.slope(result);
            sums[r] = fma(block[r], f.cosine(result), sums[r]);
          } else {
            block[r] = some(g + at, count) * f.factor;
          }
        }
        transpose(block);
        float* out = to + l * width + i;
        if (columns == lanes && count == lanes) {
#pragma GCC unroll 16
          for (int c = 0; c < lanes; c++) store(out + c * width, block[c]);
        } else {
          for (int64_t c = 0; c < count; c++) storePartial(out + c * width, columns, block[c]);
        }
      }
      if constexpr (F::readsResult) {
        for (int64_t r = 0; r < rows; r++) along[i + r] += sum(sums[r]);
      }
    } else {
      vf sums{};
      for (int64_t l = 0; l < k; l++) {
        const int64_t at = i + l * otherStep;
        vf weight = loadPartial(g + at, rows);
        if constexpr (F::readsResult) {
          const vf result = loadPartial(y + at, rows);
          weight *= f.slope(result);
          sums = fma(weight, f.cosine(result), sums);
        } else {
          weight *= f.factor;
        }
        put(to + l * width + i, columns, weight);
      }
      if constexpr (F::readsResult) put(along + i, rows, some(along + i, rows) + sums);
    }
  }
}

}  // namespace birkhoff::BIRKHOFF_ISA::relative
