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

template <Factor factor, int P, int V>
void tile(float* acc, const float* x, const float* w, const Terms& terms, int64_t pitch) {
  vf sums[P][V];
#pragma GCC unroll 16
  for (int p = 0; p < P; p++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sums[p][v] = load(acc + (p * V + v) * lanes);
  }
  for (int64_t o = 0; o < terms.outer; o++) {
    const float* xs = x + terms.x[o];
    const float* ws = w + terms.w[o];
    for (int64_t i = 0; i < terms.inner; i++) {
      vf weights[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) weights[v] = load(ws + v * lanes);
#pragma GCC unroll 16
      for (int p = 0; p < P; p++) {
        // Four base addresses and the multiples of one pitch fit the processor's addressing modes.
        const float* at = factor == Factor::unit ? xs + p : xs + (p / 4) * (4 * pitch) + (p % 4) * pitch;
        const vf value = factor == Factor::vector ? load(at) : broadcast(*at);
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) sums[p][v] = fma(value, weights[v], sums[p][v]);
      }
      xs += terms.step;
      ws += V * lanes;
    }
  }
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

// planes[c][0, count) for c < channels <= lanes, from rows of lanes that are `pitch` apart.
inline void toPlanes(float* const* planes, int64_t channels, const float* rows, int64_t pitch, int64_t count) {
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t n = std::min<int64_t>(lanes, count - i);
    vf square[lanes];
#pragma GCC unroll 16
    for (int r = 0; r < lanes; r++) square[r] = r < n ? load(rows + (i + r) * pitch) : vf{};
    transpose(square);
    for (int64_t c = 0; c < channels; c++) {
      if (n == lanes) {
        store(planes[c] + i, square[c]);
      } else {
        storePartial(planes[c] + i, n, square[c]);
      }
    }
  }
}

// plane[i·spacing] is the sum of row i.
inline void sumLanes(float* plane, int64_t spacing, const float* rows, int64_t count) {
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t n = std::min<int64_t>(lanes, count - i);
    vf square[lanes];
#pragma GCC unroll 16
    for (int r = 0; r < lanes; r++) square[r] = r < n ? load(rows + (i + r) * lanes) : vf{};
    transpose(square);
#pragma GCC unroll 4
    for (int half = lanes / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
      for (int r = 0; r < half; r++) square[r] += square[r + half];
    }
    if (n == lanes && spacing == 1) {
      store(plane + i, square[0]);
    } else {
      for (int64_t r = 0; r < n; r++) plane[(i + r) * spacing] = square[0][r];
    }
  }
}

// The reverse of toPlanes; lanes beyond `channels` become 0.
inline void toLanes(float* rows, int64_t pitch, const float* const* planes, int64_t channels, int64_t count) {
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t n = std::min<int64_t>(lanes, count - i);
    vf square[lanes];
    for (int64_t c = 0; c < lanes; c++) square[c] = c < channels ? loadPartial(planes[c] + i, n) : vf{};
    transpose(square);
    for (int64_t r = 0; r < n; r++) store(rows + (i + r) * pitch, square[r]);
  }
}

}  // namespace
}  // namespace birkhoff::BIRKHOFF_ISA
