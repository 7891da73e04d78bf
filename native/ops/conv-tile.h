// The pieces that the three convolution kernels share: the register tile, and the change of layout around it.
//
// All three are the same sum, acc[p][lane] += x(term, p) · w(term, lane), with channels across the lanes:
//
//               p            lanes                     terms
//   forward     pixels       features                  taps × channels
//   data        pixels       channels                  taps × features
//   weight      channels     features                  rows × pixels
//                 or taps
//
// so there is one tile, compiled for every p up to `maxTile`. See src/ops/conv/README.md.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "simd.h"
#include "transpose.h"

namespace birkhoff::BIRKHOFF_ISA {
namespace {

// One tile with two vectors of channels needs 2p accumulators, 2 weights and 1 factor in registers.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int64_t maxTile(int64_t) { return 14; }
#else
constexpr int64_t maxTile(int64_t vectors) { return vectors == 2 ? 6 : 12; }
#endif
constexpr int maxVectors = 2;
constexpr int largestTile = 14;

// The terms of a sum: `outer` runs of `inner` terms each. A run starts at x[o] and w[o]; within it x advances by
// `step`, and w by one row of lanes.
struct Terms {
  const int64_t* x;
  const int64_t* w;
  int64_t outer, inner, step;
};

// How the factor of (term, p) is found: at x + p, at x + p·pitch, or as a whole vector at x + p·pitch.
enum class Factor { unit, strided, vector };

// A value whose origin the compiler does not know, so that it computes with it instead of keeping what it could derive.
template <class T>
BIRKHOFF_INLINE T hidden(T value) {
  asm("" : "+r"(value));
  return value;
}

template <Factor factor, int P, int V>
void tile(float* acc, const float* x, const float* w, const Terms& terms, int64_t pitch) {
  // Loops that certainly run leave the sums in registers: else GCC copies them for the way around each.
  if (terms.outer <= 0 || terms.inner <= 0) return;
  vf sums[P][V];
#pragma GCC unroll 16
  for (int p = 0; p < P; p++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sums[p][v] = load(acc + (p * V + v) * lanes);
  }
  const int64_t three = hidden(3 * pitch), step = hidden(terms.step);
  int64_t o = 0;
  do {
    constexpr int bases = factor == Factor::unit ? 1 : (P + 3) / 4;
    const float* xs[bases];
#pragma GCC unroll 4
    for (int q = 0; q < bases; q++) xs[q] = hidden(x + terms.x[o] + q * 4 * pitch);
    const float* ws = w + terms.w[o];
    int64_t left = terms.inner;
    do {
      vf weights[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) weights[v] = load(ws + v * lanes);
#pragma GCC unroll 16
      for (int p = 0; p < P; p++) {
        const float* at = factor == Factor::unit ? xs[0] + p : xs[p / 4] + (p % 4 == 3 ? three : (p % 4) * pitch);
        const vf value = factor == Factor::vector ? load(at) : broadcast(*at);
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) sums[p][v] = fma(value, weights[v], sums[p][v]);
      }
#pragma GCC unroll 4
      for (int q = 0; q < bases; q++) xs[q] += step;
      ws += V * lanes;
    } while (--left > 0);
  } while (++o < terms.outer);
#pragma GCC unroll 16
  for (int p = 0; p < P; p++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) store(acc + (p * V + v) * lanes, sums[p][v]);
  }
}

using Tile = void (*)(float* acc, const float* x, const float* w, const Terms& terms, int64_t pitch);

template <Factor factor, int V, int... P>
Tile pick(int64_t size, std::integer_sequence<int, P...>) {
  static constexpr Tile all[] = {tile<factor, (P < maxTile(V) ? P + 1 : 1), V>...};
  return all[size - 1];
}

// The tile of `size` (1 to maxTile(vectors)) pixels and `vectors` (1 or 2; 1 for Factor::vector) vectors of channels.
inline Tile findTile(Factor factor, int64_t vectors, int64_t size) {
  constexpr std::make_integer_sequence<int, largestTile> sizes;
  if (factor == Factor::vector) return pick<Factor::vector, 1>(size, sizes);
  if (factor == Factor::unit)
    return vectors == 2 ? pick<Factor::unit, 2>(size, sizes) : pick<Factor::unit, 1>(size, sizes);
  return vectors == 2 ? pick<Factor::strided, 2>(size, sizes) : pick<Factor::strided, 1>(size, sizes);
}

// planes[c][0, count) for c < channels <= lanes, from the vectors at rowAt(i).
template <class RowAt>
void toPlanes(float* const* planes, int64_t channels, int64_t count, RowAt&& rowAt) {
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t n = std::min<int64_t>(lanes, count - i);
    vf square[lanes];
#pragma GCC unroll 16
    for (int r = 0; r < lanes; r++) square[r] = r < n ? load(rowAt(i + r)) : vf{};
    transpose(square);
    for (int64_t c = 0; c < channels; c++)
      n == lanes ? store(planes[c] + i, square[c]) : storePartial(planes[c] + i, n, square[c]);
  }
}

// plane[i] is the sum of the vector at rowAt(i).
template <class RowAt>
void sumLanes(float* plane, int64_t count, RowAt&& rowAt) {
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t n = std::min<int64_t>(lanes, count - i);
    vf square[lanes];
#pragma GCC unroll 16
    for (int r = 0; r < lanes; r++) square[r] = r < n ? load(rowAt(i + r)) : vf{};
    transpose(square);
#pragma GCC unroll 4
    for (int half = lanes / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
      for (int r = 0; r < half; r++) square[r] += square[r + half];
    }
    n == lanes ? store(plane + i, square[0]) : storePartial(plane + i, n, square[0]);
  }
}

// The reverse of toPlanes; lanes beyond `channels` become 0.
inline void toLanes(float* rows, int64_t pitch, const float* const* planes, int64_t channels, int64_t count) {
  vf square[lanes];
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
#pragma GCC unroll 16
    for (int c = 0; c < lanes; c++) square[c] = c < channels ? load(planes[c] + i) : vf{};
    transpose(square);
#pragma GCC unroll 16
    for (int r = 0; r < lanes; r++) store(rows + (i + r) * pitch, square[r]);
  }
  if (i == count) return;
  for (int64_t c = 0; c < lanes; c++) square[c] = c < channels ? loadPartial(planes[c] + i, count - i) : vf{};
  transpose(square);
  for (int64_t r = 0; i + r < count; r++) store(rows + (i + r) * pitch, square[r]);
}

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA
