// The two sides of every product, and of every matrix of distances, for sweep().
#pragma once

#include "relativeProjection-panels.h"
#include "relativeProjection-sweep.h"

namespace birkhoff::BIRKHOFF_ISA::relative {

// Rows of x and of the anchors in standard units; the result is [B, K].
struct Operands {
  Context& context;
  const float* x;
  const float* anchors;
  int64_t B, K, d;
  Units units;
  float* y;
  // Sums of squares of the rows; or, where the similarity wants them, 1 / norm in their place.
  float* xSquares;
  float* anchorSquares;
  bool norms;

  void packRows(int64_t row, int64_t rows, int64_t step, int64_t k, float* to, bool fresh) const {
    float again[panelRows] = {};
    relative::packRows<panelRows>(x + row * d + step, d, units.from(step), rows, k, to, fresh ? xSquares + row : again);
  }
  void packColumns(int64_t column, int64_t columns, int64_t step, int64_t k, float* to) const {
    relative::packRows<panelColumns>(anchors + column * d + step, d, units.from(step), columns, k, to,
                                     anchorSquares + column);
  }
  void ready(int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    inverse(xSquares + row, rows);
    inverse(anchorSquares + column, columns);
  }
  void inverse(float* p, int64_t count) const {
    for (int64_t i = 0; i < count; i++) {
      if (p[i] - p[i] != 0) context.fault(static_cast<double>(p[i]));
      if (norms) p[i] = p[i] > 0 ? 1 / __builtin_sqrtf(p[i]) : 0;
    }
  }
};

template <class F>
struct Products : Operands {
  F f;

  void tile(int64_t row, int64_t rows, int64_t column, int64_t columns, int64_t step, int64_t k, const float* a,
            const float* b) const {
    gemm::panelTile(k, a, b, y + row * K + column, K, nullptr, step > 0, rows, columns);
  }
  void finish(int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    for (int64_t r = row; r < row + rows; r++) {
      for (int64_t c = column; c < column + columns; c += lanes) {
        const int64_t count = std::min<int64_t>(lanes, column + columns - c);
        float* to = y + r * K + c;
        const vf sum = some(to, count);
        if constexpr (F::norms)
          put(to, count, f.of(sum * xSquares[r] * some(anchorSquares + c, count)));
        else
          put(to, count, f.of(sum));
      }
    }
  }
};

template <class F>
struct Distances : Operands {
  F f;

  void tile(int64_t row, int64_t rows, int64_t column, int64_t columns, int64_t step, int64_t k, const float* a,
            const float* b) const {
    sumTile<F::light ? manyRows : groupRows>(
        y + row * K + column, K, rows, columns, step > 0, k, b, [](int64_t, int64_t) { return 0; },
        [&](int, vf sum, int64_t group, int r, int, int64_t l, vf other) {
          return f.with(sum, minusAt(other, a + l * panelRows + group + r));
        });
  }
  void finish(int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    for (int64_t r = row; r < row + rows; r++) {
      for (int64_t c = column; c < column + columns; c += lanes) {
        const int64_t count = std::min<int64_t>(lanes, column + columns - c);
        put(y + r * K + c, count, f.of(some(y + r * K + c, count)));
      }
    }
  }
};

// The gradient of the rows of `own`, from those of `other`; the result is [rows, d].
struct Cotangents {
  const float* g;
  const float* y;
  int64_t ownStep, otherStep;
  const float* own;
  const float* other;
  int64_t d;
  Units units;
  // 1 / norm of own and of other rows, where the similarity divides by them; Σ weight · cosine of the own rows.
  const float* ownNorms;
  const float* otherNorms;
  float* along;
  float* out;

  void packColumns(int64_t column, int64_t columns, int64_t step, int64_t k, float* to) const {
    packFeatures<panelColumns>(other + step * d + column, d, units.from(column),
                               otherNorms ? otherNorms + step : nullptr, columns, k, to);
  }
  void ready(int64_t, int64_t, int64_t, int64_t) const {}
  template <class F>
  void weights(const F& f, int64_t row, int64_t rows, int64_t step, int64_t k, float* to, bool fresh) const {
    float again[panelRows] = {};
    const int64_t at = row * ownStep + step * otherStep;
    packWeights<F, panelRows>(f, g + at, y + at, ownStep, otherStep, rows, k, to, fresh ? along + row : again);
  }
};

template <class F>
struct ProductGradient : Cotangents {
  F f;

  void packRows(int64_t row, int64_t rows, int64_t step, int64_t k, float* to, bool fresh) const {
    weights(f, row, rows, step, k, to, fresh);
  }
  void tile(int64_t row, int64_t rows, int64_t column, int64_t columns, int64_t step, int64_t k, const float* a,
            const float* b) const {
    // What finish() reads and writes comes while the sums are made.
    for (int64_t r = row; r < row + rows; r++) {
      for (int64_t c = column; c < column + columns; c += 16) {
        __builtin_prefetch(out + r * d + c, 1);
        if constexpr (F::norms) __builtin_prefetch(own + r * d + c);
      }
    }
    gemm::panelTile(k, a, b, out + row * d + column, d, nullptr, step > 0, rows, columns);
  }
  // 1/deviation · r · (Σ w v / ‖v‖ - r t u)
  void finish(int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    for (int64_t r = row; r < row + rows; r++) {
      const float size = F::norms ? ownNorms[r] : 1.0f, back = F::norms ? along[r] * size : 0.0f;
      for (int64_t c = column; c < column + columns; c += lanes) {
        const int64_t count = std::min<int64_t>(lanes, column + columns - c);
        float* to = out + r * d + c;
        vf sum = some(to, count);
        if constexpr (F::norms) sum = (sum - units.of(own + r * d, c, count) * back) * size;
        put(to, count, sum * some(units.inverse + c, count));
      }
    }
  }
};

template <class F>
struct DistanceGradient : Cotangents {
  F f;
  // Differences of at least this share of the largest count as the largest.
  static constexpr float share = 1 - 1e-6f;

  void packRows(int64_t row, int64_t rows, int64_t step, int64_t k, float* to, bool fresh) const {
    weights(f, row, rows, step, k, to, fresh);
  }
  static constexpr int together = F::light ? halfOfRows : groupRows;
  struct Own {
    vf rows[together][gemm::panelVectors];
  };
  void tile(int64_t row, int64_t rows, int64_t column, int64_t columns, int64_t step, int64_t k, const float* a,
            const float* b) const {
    sumTile<together>(
        out + row * d + column, d, rows, columns, step > 0, k, b,
        [&](int64_t group, int64_t live) {
          Own u{};
          for (int64_t r = 0; r < live; r++) {
            for (int v = 0; v < gemm::panelVectors; v++) {
              const int64_t count = std::clamp<int64_t>(columns - v * lanes, 0, lanes);
              const Units here = units.from(column + v * lanes);
              u.rows[r][v] = (loadPartial(own + (row + group + r) * d + column + v * lanes, count) -
                              loadPartial(here.mean, count)) *
                             loadPartial(here.inverse, count);
            }
          }
          return u;
        },
        [&](const Own& u, vf sum, int64_t group, int r, int v, int64_t l, vf column) {
          vf reach{};
          if constexpr (F::reaches) {
            // Rows beyond the last have no weight.
            const int64_t from = std::min(group + r, rows - 1);
            reach = broadcast(-share * y[(row + from) * ownStep + (step + l) * otherStep]);
          }
          return f.add(sum, a + l * panelRows + group + r, u.rows[r][v] - column, reach);
        });
  }
  void finish(int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    for (int64_t r = row; r < row + rows; r++) {
      for (int64_t c = column; c < column + columns; c += lanes) {
        const int64_t count = std::min<int64_t>(lanes, column + columns - c);
        put(out + r * d + c, count, some(out + r * d + c, count) * some(units.inverse + c, count));
      }
    }
  }
};

}  // namespace birkhoff::BIRKHOFF_ISA::relative
