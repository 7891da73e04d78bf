// The transforms of Winograd's convolutions F(4×4, 3×3) and F(2×2, 5×5): polynomials through 0, ±3/4, ±3/2 and
// infinity, one axis at a time. Both have tiles of 6 points, so what differs is how many of them are results and how
// many taps; which transform it is follows from the length of what it is given. See src/ops/conv/README.md.
#pragma once

#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA::winograd {

// What a tile reads and multiplies per axis; its products; and its results per axis.
inline constexpr int points = 6, positions = points * points;
constexpr int outputsOf(int taps) { return points + 1 - taps; }

// The points ±a and ±b: a third of the error of ±1 and ±2, and their powers are exact.
inline constexpr float a = 0.75f, b = 1.5f, aa = a * a, bb = b * b;
inline constexpr float ofZero = 1 / (aa * bb), ofA = 1 / (2 * aa * (aa - bb)), ofB = 1 / (2 * bb * (bb - aa));

// Bᵀ x, of what a tile reads.
BIRKHOFF_INLINE void toPoints(const vf (&x)[points], vf (&y)[points]) {
  const vf first = broadcast(aa * bb), second = broadcast(-(aa + bb));
  y[0] = fma(first, x[0], fma(second, x[2], x[4]));
  y[5] = fma(first, x[1], fma(second, x[3], x[5]));
  const vf evenA = fma(broadcast(-bb), x[2], x[4]), oddA = fma(broadcast(-bb), x[1], x[3]);
  y[1] = fma(broadcast(a), oddA, evenA);
  y[2] = fma(broadcast(-a), oddA, evenA);
  const vf evenB = fma(broadcast(-aa), x[2], x[4]), oddB = fma(broadcast(-aa), x[1], x[3]);
  y[3] = fma(broadcast(b), oddB, evenB);
  y[4] = fma(broadcast(-b), oddB, evenB);
}

// Values of even and odd part at ±p: the points 1, 2 (p = a) and 3, 4 (p = b).
BIRKHOFF_INLINE void pairs(vf evenA, vf oddA, vf evenB, vf oddB, vf (&y)[points]) {
  y[1] = evenA + oddA;
  y[2] = evenA - oddA;
  y[3] = evenB + oddB;
  y[4] = evenB - oddB;
}

// G w, of a kernel.
BIRKHOFF_INLINE void toPoints(const vf (&w)[3], vf (&y)[points]) {
  y[0] = ofZero * w[0];
  pairs(ofA * fma(broadcast(aa), w[2], w[0]), (a * ofA) * w[1], ofB * fma(broadcast(bb), w[2], w[0]), (b * ofB) * w[1],
        y);
  y[5] = w[2];
}
BIRKHOFF_INLINE void toPoints(const vf (&w)[5], vf (&y)[points]) {
  y[0] = ofZero * w[0];
  pairs(ofA * fma(broadcast(aa), fma(broadcast(aa), w[4], w[2]), w[0]), (a * ofA) * fma(broadcast(aa), w[3], w[1]),
        ofB * fma(broadcast(bb), fma(broadcast(bb), w[4], w[2]), w[0]), (b * ofB) * fma(broadcast(bb), w[3], w[1]), y);
  y[5] = w[4];
}

// Aᵀ m: results from the products of a tile.
BIRKHOFF_INLINE void fromPoints(const vf (&m)[points], vf (&y)[4]) {
  const vf evenA = m[1] + m[2], oddA = m[1] - m[2], evenB = m[3] + m[4], oddB = m[3] - m[4];
  y[0] = m[0] + evenA + evenB;
  y[1] = fma(broadcast(b), oddB, a * oddA);
  y[2] = fma(broadcast(bb), evenB, aa * evenA);
  y[3] = fma(broadcast(b * bb), oddB, fma(broadcast(a * aa), oddA, m[5]));
}
BIRKHOFF_INLINE void fromPoints(const vf (&m)[points], vf (&y)[2]) {
  y[0] = m[0] + (m[1] + m[2]) + (m[3] + m[4]);
  y[1] = fma(broadcast(b), m[3] - m[4], fma(broadcast(a), m[1] - m[2], m[5]));
}

// A y, the adjoint of that: of the gradient of a tile's results.
BIRKHOFF_INLINE void toPoints(const vf (&y)[4], vf (&m)[points]) {
  m[0] = y[0];
  pairs(fma(broadcast(aa), y[2], y[0]), a * fma(broadcast(aa), y[3], y[1]), fma(broadcast(bb), y[2], y[0]),
        b * fma(broadcast(bb), y[3], y[1]), m);
  m[5] = y[3];
}
BIRKHOFF_INLINE void toPoints(const vf (&y)[2], vf (&m)[points]) {
  m[0] = y[0];
  pairs(y[0], a * y[1], y[0], b * y[1], m);
  m[5] = y[1];
}

// Gᵀ m, the adjoint of G: the gradient of a kernel.
BIRKHOFF_INLINE void fromPoints(const vf (&m)[points], vf (&w)[3]) {
  const vf evenA = ofA * (m[1] + m[2]), oddA = ofA * (m[1] - m[2]);
  const vf evenB = ofB * (m[3] + m[4]), oddB = ofB * (m[3] - m[4]);
  w[0] = fma(broadcast(ofZero), m[0], evenA + evenB);
  w[1] = fma(broadcast(b), oddB, a * oddA);
  w[2] = fma(broadcast(bb), evenB, fma(broadcast(aa), evenA, m[5]));
}
BIRKHOFF_INLINE void fromPoints(const vf (&m)[points], vf (&w)[5]) {
  const vf evenA = ofA * (m[1] + m[2]), oddA = ofA * (m[1] - m[2]);
  const vf evenB = ofB * (m[3] + m[4]), oddB = ofB * (m[3] - m[4]);
  w[0] = fma(broadcast(ofZero), m[0], evenA + evenB);
  w[1] = fma(broadcast(b), oddB, a * oddA);
  w[2] = fma(broadcast(bb), evenB, aa * evenA);
  w[3] = fma(broadcast(b * bb), oddB, (a * aa) * oddA);
  w[4] = fma(broadcast(bb * bb), evenB, fma(broadcast(aa * aa), evenA, m[5]));
}

// Both axes of a square.
template <int size>
BIRKHOFF_INLINE void toPositions(const vf (&x)[size][size], vf (&y)[points][points]) {
  vf half[size][points];
#pragma GCC unroll 6
  for (int i = 0; i < size; i++) toPoints(x[i], half[i]);
#pragma GCC unroll 6
  for (int k = 0; k < points; k++) {
    vf column[size], whole[points];
#pragma GCC unroll 6
    for (int i = 0; i < size; i++) column[i] = half[i][k];
    toPoints(column, whole);
#pragma GCC unroll 6
    for (int i = 0; i < points; i++) y[i][k] = whole[i];
  }
}

template <int size>
BIRKHOFF_INLINE void fromPositions(const vf (&m)[points][points], vf (&y)[size][size]) {
  vf half[points][size];
#pragma GCC unroll 6
  for (int k = 0; k < points; k++) {
    vf column[points];
#pragma GCC unroll 6
    for (int i = 0; i < points; i++) column[i] = m[i][k];
    fromPoints(column, half[k]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < size; i++) {
    vf row[points];
#pragma GCC unroll 6
    for (int k = 0; k < points; k++) row[k] = half[k][i];
    fromPoints(row, y[i]);
  }
}

}  // namespace birkhoff::BIRKHOFF_ISA::winograd
