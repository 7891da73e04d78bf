// Rows in vectors: for sides above 32. What both directions share.
//
// Matrices lie in areas whose rows and columns are padded to multiples of `lanes`, so that no loop has a tail. Work is
// cut into panels of rows, each with sums of columns of its own that are added up in order: which thread does a panel,
// or whether one does them all, changes no bit.
#pragma once

#include "sinkhorn.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

inline constexpr int64_t panelRows = 64;
// Matrices of this many elements are worth all threads at once, if there are few of them.
inline constexpr int64_t worthSharing = 1 << 17;

inline int64_t padded(int64_t size) { return (size + lanes - 1) / lanes * lanes; }

// A padded matrix: element (i, j) at data[i · stride + j].
struct Area {
  float* data = nullptr;
  int64_t stride = 0;

  float* row(int64_t i) const { return data + i * stride; }
};
// Rows that are a multiple of 4096 bytes apart would share their places in the cache.
inline int64_t strideOf(int64_t m) { return padded(m) + (padded(m) % 1024 == 0 ? lanes : 0); }
inline int64_t areaOf(const Sides& sides) { return padded(sides.n) * strideOf(sides.m); }
// Whether the tensor's own memory can be such an area.
inline bool needsNoPadding(const Sides& sides) {
  return !sides.column && sides.n % lanes == 0 && sides.m % lanes == 0 && sides.m % 1024 != 0;
}

// f(j, width) for each vector of a row of m numbers.
template <class F>
BIRKHOFF_INLINE void alongRow(int64_t m, F&& f) {
  int64_t j = 0;
  for (; j + lanes <= m; j += lanes) f(j, int64_t{lanes});
  if (j < m) f(j, m - j);
}

// `lanes` rows of a tensor's matrix from row i on, or fewer, into or out of an area, whatever their order. Into an
// area, numbers come with what is undefined in the padding behind.
BIRKHOFF_INLINE void rowsIn(const Sides& sides, const float* from, int64_t i, Area to) {
  const int64_t rows = std::min<int64_t>(lanes, sides.n - i);
  if (sides.column) {
    for (int64_t j = 0; j < sides.m; j += lanes)
      transposeBlock(from + j * sides.n + i, sides.n, to.row(i) + j, to.stride, std::min<int64_t>(lanes, sides.m - j),
                     rows, lanes);
  } else {
    for (int64_t r = i; r < i + rows; r++)
      alongRow(sides.m, [&](int64_t j, int64_t width) {
        store(to.row(r) + j,
              width == lanes ? load(from + r * sides.m + j) : loadPartial(from + r * sides.m + j, width));
      });
  }
}
BIRKHOFF_INLINE void rowsOut(const Sides& sides, Area from, int64_t i, float* to) {
  const int64_t rows = std::min<int64_t>(lanes, sides.n - i);
  if (sides.column) {
    for (int64_t j = 0; j < sides.m; j += lanes)
      transposeBlock(from.row(i) + j, from.stride, to + j * sides.n + i, sides.n, rows,
                     std::min<int64_t>(lanes, sides.m - j), rows);
  } else if (from.data != to) {
    for (int64_t r = i; r < i + rows; r++) std::copy(from.row(r), from.row(r) + sides.m, to + r * sides.m);
  }
}

// What is left out of row i: all bits for columns that are allowed, given which columns are in at all.
BIRKHOFF_INLINE vi allowedIn(const Sides& sides, const int32_t* mask, int64_t i, int64_t j, vi inside) {
  if (!mask) return inside;
  vi allowed{};
  for (int64_t k = 0; k < std::min<int64_t>(lanes, sides.m - j); k++)
    allowed[k] = mask[sides.column ? (j + k) * sides.n + i : i * sides.m + j + k] != 0 ? -1 : 0;
  return allowed & inside;
}

// Into the potentials what was absorbed, and what was not yet.
inline void move(float* potentials, float* total, const float* scalings, const float* ones, int64_t size) {
  for (int64_t i = 0; i < size; i += lanes) {
    const vf product = scalings ? bounded(load(total + i) * load(scalings + i)) : load(total + i);
    store(potentials + i, select(load(ones + i) > 0.0f, load(potentials + i) + log(product), broadcast(excluded)));
    store(total + i, broadcast(1.0f));
  }
}

#if defined(__AVX512F__)
// Of four vectors, quarter by quarter: element r of a quarter of the result joins the elements of that quarter of
// vector r. Shuffles within quarters, or of quarters, need no index in a register.
template <class F>
BIRKHOFF_INLINE vf inQuarters(vf a, vf b, vf c, vf d, F&& join) {
  const vf first = join(_mm512_maskz_unpacklo_ps(0xffff, a, b), _mm512_maskz_unpackhi_ps(0xffff, a, b));
  const vf second = join(_mm512_maskz_unpacklo_ps(0xffff, c, d), _mm512_maskz_unpackhi_ps(0xffff, c, d));
  return join((vf)_mm512_maskz_unpacklo_pd(0xff, (__m512d)first, (__m512d)second),
              (vf)_mm512_maskz_unpackhi_pd(0xff, (__m512d)first, (__m512d)second));
}
template <class F>
BIRKHOFF_INLINE vf ofQuarters(const vf (&four)[4], F&& join) {
  const auto two = [&](vf a, vf b) {
    return join(_mm512_maskz_shuffle_f32x4(0xffff, a, b, 0x88), _mm512_maskz_shuffle_f32x4(0xffff, a, b, 0xdd));
  };
  return two(two(four[0], four[1]), two(four[2], four[3]));
}
#endif

// Element r of the result joins the elements of vector r: what `transpose` does, adding (say) on the way.
template <class F>
BIRKHOFF_INLINE vf joined(vf (&rows)[lanes], F&& join) {
#if defined(__AVX512F__)
  vf four[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++)
    four[k] = inQuarters(rows[4 * k], rows[4 * k + 1], rows[4 * k + 2], rows[4 * k + 3], join);
  return ofQuarters(four, join);
#else
  constexpr auto index = std::make_integer_sequence<int, lanes>();
#pragma GCC unroll 4
  for (int half = lanes / 2; half > 0; half /= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < half; i++)
      rows[i] =
          join(interleave<0>(rows[i], rows[i + half], index), interleave<lanes / 2>(rows[i], rows[i + half], index));
  }
  return rows[0];
#endif
}
inline constexpr auto plus = [](vf a, vf b) { return a + b; };
inline constexpr auto theLarger = [](vf a, vf b) { return larger(a, b); };
BIRKHOFF_INLINE vf sumsOf(vf (&rows)[lanes]) { return joined(rows, plus); }
BIRKHOFF_INLINE vf largestOf(vf (&rows)[lanes]) { return joined(rows, theLarger); }

// Blocks of `lanes` rows: weights = f(first row, matrix · in), and out = matrixᵀ · weights.
template <class F>
BIRKHOFF_INLINE void wideBlocks(Area matrix, int64_t begin, int64_t end, const float* in, float* out, int64_t width,
                                F&& f) {
  std::fill(out, out + width, 0.0f);
  for (int64_t i = begin; i < end; i += lanes) {
    const float* rows = matrix.row(i);
    const int64_t stride = matrix.stride;
    vf sums[lanes] = {};
    for (int64_t j = 0; j < width; j += lanes) {
      const vf factor = load(in + j);
      for (int r = 0; r < lanes; r++) sums[r] = fma(load(rows + r * stride + j), factor, sums[r]);
    }
    float weights[lanes];
    store(weights, f(i, sumsOf(sums)));
    vf weight[lanes];
    for (int r = 0; r < lanes; r++) weight[r] = broadcast(weights[r]);
    for (int64_t j = 0; j < width; j += lanes) {
      // Two chains of additions; sums of sums lose less than one long sum.
      vf even{}, odd{};
      for (int r = 0; r < lanes; r += 2) {
        even = fma(load(rows + r * stride + j), weight[r], even);
        odd = fma(load(rows + (r + 1) * stride + j), weight[r + 1], odd);
      }
      store(out + j, load(out + j) + (even + odd));
    }
  }
}

#if defined(__AVX512F__)
// The same for rows of V vectors, where `in` and `out` stay in registers. Sums of the next block are taken before the
// weights of this one are used, so that nothing waits for the way from sums to weights.
template <int V>
BIRKHOFF_INLINE vf narrowSums(const float* rows, const vf (&factor)[V]) {
  vf four[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    vf total[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
      const float* row = rows + (4 * k + r) * V * lanes;
      total[r] = load(row) * factor[0];
#pragma GCC unroll 4
      for (int v = 1; v < V; v++) total[r] = fma(load(row + v * lanes), factor[v], total[r]);
    }
    four[k] = inQuarters(total[0], total[1], total[2], total[3], plus);
    // Four rows at a time, as written: sixteen sums at once would not fit beside the sums of columns.
    asm volatile("" : "+v"(four[k]));
  }
  return ofQuarters(four, plus);
}
template <int V, class F>
BIRKHOFF_INLINE void narrowBlocks(Area matrix, int64_t begin, int64_t end, const float* in, float* out, F&& f) {
  vf factor[V], even[V] = {}, odd[V] = {};
  for (int v = 0; v < V; v++) factor[v] = load(in + v * lanes);
  // Rows of so few vectors lie one behind the other: places in them are known when this is compiled.
  constexpr int64_t stride = V * lanes;
  vf sums = narrowSums(matrix.data + begin * stride, factor);
  for (int64_t i = begin; i < end; i += lanes) {
    const vf weights = f(i, sums);
    if (i + lanes < end) sums = narrowSums(matrix.data + (i + lanes) * stride, factor);
    const float* rows = matrix.data + i * stride;
#pragma GCC unroll 8
    for (int r = 0; r < lanes; r += 2) {
      const vf first = _mm512_maskz_permutexvar_ps(0xffff, (__m512i)broadcast(r), weights);
      const vf second = _mm512_maskz_permutexvar_ps(0xffff, (__m512i)broadcast(r + 1), weights);
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) {
        even[v] = fma(load(rows + r * stride + v * lanes), first, even[v]);
        odd[v] = fma(load(rows + (r + 1) * stride + v * lanes), second, odd[v]);
      }
    }
  }
  for (int v = 0; v < V; v++) store(out + v * lanes, even[v] + odd[v]);
}
#endif

// The rows of one panel.
template <class F>
BIRKHOFF_INLINE void passInRows(Area matrix, int64_t begin, int64_t end, const float* in, float* out, int64_t width,
                                F&& f) {
#if defined(__AVX512F__)
  if (width == 1 * lanes) return narrowBlocks<1>(matrix, begin, end, in, out, f);
  if (width == 2 * lanes) return narrowBlocks<2>(matrix, begin, end, in, out, f);
  if (width == 3 * lanes) return narrowBlocks<3>(matrix, begin, end, in, out, f);
  if (width == 4 * lanes) return narrowBlocks<4>(matrix, begin, end, in, out, f);
#endif
  wideBlocks(matrix, begin, end, in, out, width, f);
}

// The panels of one matrix and their sums of columns.
class Panels {
 public:
  Panels(const Run& run, float*& area)
      : run_(&run),
        height_(padded(run.sides.n)),
        width_(padded(run.sides.m)),
        count_((height_ + panelRows - 1) / panelRows) {
    parts_ = std::exchange(area, area + count_ * width_);
  }
  static int64_t area(const Run& run) {
    return (padded(run.sides.n) + panelRows - 1) / panelRows * padded(run.sides.m);
  }

  int64_t count() const { return count_; }
  float* part(int64_t panel) const { return parts_ + panel * width_; }

  // f(panel, first row, row behind the last).
  template <class F>
  void each(F&& f) const {
    run_->context->parallel(count_, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t k = begin; k < end; k++) f(k, k * panelRows, std::min(height_, (k + 1) * panelRows));
    });
  }
  // The sum of all parts (or the largest) into `to`.
  template <class F>
  void collect(float* to, F&& join) const {
    for (int64_t j = 0; j < width_; j += lanes) {
      vf all = load(parts_ + j);
      for (int64_t k = 1; k < count_; k++) all = join(all, load(part(k) + j));
      store(to + j, all);
    }
  }
  void add(float* to) const { collect(to, plus); }
  // out = matrixᵀ · f(first row, matrix · in, panel), for `lanes` rows at a time
  template <class F>
  void pass(Area matrix, const float* in, float* out, F&& f) const {
    each([&](int64_t panel, int64_t begin, int64_t end) {
      passInRows(matrix, begin, end, in, count_ == 1 ? out : part(panel), width_,
                 [&](int64_t i, vf sums) { return f(i, sums, panel); });
    });
    if (count_ > 1) add(out);
  }

 private:
  const Run* run_;
  int64_t height_, width_, count_;
  float* parts_;
};

// Runs `Work` on every matrix: a matrix per thread, or all threads on one after the other.
template <class Work, class R>
void eachMatrix(const R& run) {
  const int threads = run.context->threads();
  const bool together = run.sides.size() >= worthSharing && run.sides.count < 4 * threads;
  const int64_t area = Work::area(run);
  float* scratch = run.context->scratch(area * (together ? 1 : threads));
  if (together) {
    Work work(run, scratch);
    for (int64_t b = 0; b < run.sides.count; b++) work(b);
  } else {
    run.context->parallel(run.sides.count, 1, [&](int64_t begin, int64_t end, int thread) {
      Work work(run, scratch + thread * area);
      for (int64_t b = begin; b < end; b++) work(b);
    });
  }
}

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
