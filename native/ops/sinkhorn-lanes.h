// One matrix per vector lane: for sides up to 32, where rows would not fill vectors well. What both directions share.
#pragma once

#include "sinkhorn.h"

namespace birkhoff::BIRKHOFF_ISA::sinkhorn {
namespace {

// Floats that surely stay in the nearest cache from one pass to the next.
inline constexpr int64_t fitsCache = 6144;

BIRKHOFF_INLINE vf at(const float* vectors, int64_t index) { return load(vectors + index * lanes); }
BIRKHOFF_INLINE void put(float* vectors, int64_t index, vf value) { store(vectors + index * lanes, value); }
BIRKHOFF_INLINE void fill(float* vectors, int64_t size, vf value) {
  for (int64_t i = 0; i < size; i++) put(vectors, i, value);
}
// What lane l alone sees of a vector.
BIRKHOFF_INLINE vf lane(int l, float inside, float outside) {
  vf value = broadcast(outside);
  value[l] = inside;
  return value;
}

// f(e, vector) for `size` numbers of each of `valid` matrices, `stride` apart. Lanes behind the last matrix get 0.
template <class F>
BIRKHOFF_INLINE void intoLanes(const float* from, int64_t stride, int64_t size, int64_t valid, F&& f) {
  int64_t e = 0;
  for (; valid == lanes && e + lanes <= size; e += lanes) {
    vf rows[lanes];
#pragma GCC unroll 16
    for (int l = 0; l < lanes; l++) rows[l] = load(from + l * stride + e);
    transpose(rows);
#pragma GCC unroll 16
    for (int k = 0; k < lanes; k++) f(e + k, rows[k]);
  }
  for (; e < size; e += lanes) {
    const int64_t width = std::min<int64_t>(lanes, size - e);
    vf rows[lanes];
    for (int l = 0; l < lanes; l++) rows[l] = l < valid ? loadPartial(from + l * stride + e, width) : vf{};
    transpose(rows);
    for (int64_t k = 0; k < width; k++) f(e + k, rows[k]);
  }
}

// The reverse, of vector f(e) for number e.
template <class F>
BIRKHOFF_INLINE void outOfLanes(F&& f, int64_t stride, int64_t size, int64_t valid, float* to) {
  int64_t e = 0;
  for (; valid == lanes && e + lanes <= size; e += lanes) {
    vf rows[lanes];
#pragma GCC unroll 16
    for (int k = 0; k < lanes; k++) rows[k] = f(e + k);
    transpose(rows);
#pragma GCC unroll 16
    for (int l = 0; l < lanes; l++) store(to + l * stride + e, rows[l]);
  }
  for (; e < size; e += lanes) {
    const int64_t width = std::min<int64_t>(lanes, size - e);
    vf rows[lanes];
    for (int64_t k = 0; k < lanes; k++) rows[k] = k < width ? f(e + k) : vf{};
    transpose(rows);
    for (int64_t l = 0; l < valid; l++) storePartial(to + l * stride + e, width, rows[l]);
  }
}

// f(place, vector) for all elements of the matrices, where place = row · m + column; and the reverse.
template <class F>
BIRKHOFF_INLINE void matricesIntoLanes(const Sides& sides, const float* from, int64_t valid, F&& f) {
  if (sides.column) {
    for (int64_t j = 0; j < sides.m; j++)
      intoLanes(from + j * sides.n, sides.size(), sides.n, valid,
                [&](int64_t i, vf value) { f(i * sides.m + j, value); });
  } else {
    intoLanes(from, sides.size(), sides.size(), valid, f);
  }
}
inline void matricesOutOfLanes(const Sides& sides, const float* from, int64_t valid, float* to) {
  if (sides.column) {
    for (int64_t j = 0; j < sides.m; j++)
      outOfLanes([&](int64_t i) { return at(from, i * sides.m + j); }, sides.size(), sides.n, valid, to + j * sides.n);
  } else {
    outOfLanes([&](int64_t e) { return at(from, e); }, sides.size(), sides.size(), valid, to);
  }
}

// Whether the mask allows an entry, as all bits or none, into `to`. A mask that all matrices share is the same in all
// lanes.
inline void maskIntoLanes(const Sides& sides, Operand<int32_t> mask, int64_t first, int64_t valid, float* to) {
  if (mask.step > 0) {
    matricesIntoLanes(sides, reinterpret_cast<const float*>(mask.of(first)), valid,
                      [&](int64_t place, vf value) { put(to, place, fromBits(bits(value) != 0)); });
    return;
  }
  for (int64_t i = 0; i < sides.n; i++) {
    for (int64_t j = 0; j < sides.m; j++) {
      const int32_t allowed = mask.data[sides.column ? j * sides.n + i : i * sides.m + j];
      put(to, i * sides.m + j, fromBits(broadcast(allowed) != 0));
    }
  }
}

// The side that has kernels without loops.
inline constexpr int four = 4;
inline bool isFour(const Sides& sides) { return sides.n == four && sides.m == four; }

// passInLanes of 4×4, without loops: sums stay in registers.
template <class F>
BIRKHOFF_INLINE void passOfFour(const float* matrix, const float* in, float* out, F&& f) {
  vf weight[4] = {}, sum[4] = {};
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) {
    const vf factor = at(in, j);
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) weight[r] = fma(at(matrix, r * 4 + j), factor, weight[r]);
  }
  f.template operator()<4>(0, weight);
#pragma GCC unroll 4
  for (int r = 0; r < 4; r++) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) sum[j] = fma(at(matrix, r * 4 + j), weight[r], sum[j]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) put(out, j, sum[j]);
}

// For blocks of rows: weights = f<R>(first row, matrix · in), then out = matrixᵀ · weights. The matrix is read once
// from memory. One that is larger than the cache is read upwards and downwards in turn (`turn` counts): where a pass
// ends is what the cache still holds.
template <class F>
BIRKHOFF_INLINE void passInLanes(const float* matrix, int64_t n, int64_t m, const float* in, float* out, int64_t turn,
                                 F&& f) {
  if (n == 4 && m == 4) return passOfFour(matrix, in, out, f);
  fill(out, m, vf{});
  const auto rowsFrom = [&]<int R>(int64_t i) {
    const float* rows = matrix + i * m * lanes;
    vf weight[R] = {};
    for (int64_t j = 0; j < m; j++) {
      const vf factor = at(in, j);
      for (int r = 0; r < R; r++) weight[r] = fma(at(rows, r * m + j), factor, weight[r]);
    }
    f.template operator()<R>(i, weight);
    for (int64_t j = 0; j < m; j++) {
      vf sum = at(out, j);
      for (int r = 0; r < R; r++) sum = fma(at(rows, r * m + j), weight[r], sum);
      put(out, j, sum);
    }
  };
  inBlocks<tall>(n, rowsFrom, n * m * lanes > fitsCache && turn % 2 == 1);
}

// Up to this size the passes of two groups take turns: what one of them waits for, the other computes.
inline constexpr int64_t shortPass = 16;

// Runs `Work` on every group of `lanes` matrices, in pieces of about 20 µs.
template <class Work, class R>
void eachGroup(const R& run) {
  const int64_t groups = (run.sides.count + lanes - 1) / lanes, area = Work::area(run);
  const int64_t grain = std::max<int64_t>(2, 40000 / (run.sides.size() * run.iterations + 1));
  const int64_t works = Work::pairs && run.sides.size() <= shortPass ? 2 : 1;
  float* scratch = run.context->scratch(works * area * run.context->threads());
  run.context->parallel(groups, grain, [&](int64_t begin, int64_t end, int thread) {
    Work one(run, scratch + works * thread * area);
    int64_t group = begin;
    if constexpr (Work::pairs) {
      Work other(run, scratch + (works * thread + works - 1) * area);
      for (; works == 2 && group + 1 < end; group += 2) Work::both(one, other, group * lanes);
    }
    for (; group < end; group++) one(group * lanes);
  });
}

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA::sinkhorn
