// The transforms of Winograd's convolution F(4×4, 3×3): polynomials through 0, ±3/4, ±3/2 and infinity, one axis at a
// time. See src/ops/conv/README.md.
#pragma once

#include "simd.h"

namespace birkhoff::BIRKHOFF_ISA::winograd {

// Per axis of a tile: results, and what it reads and multiplies; then the products of a tile.
inline constexpr int outputs = 4, points = 6, positions = points * points, taps = 3;

// The points ±a and ±b: half as much error as ±1 and ±2 or less, and their powers are exact.
inline constexpr float a = 0.75f, b = 1.5f, aa = a * a, bb = b * b;

// Bᵀ x
BIRKHOFF_INLINE void transformSource(const vf (&x)[points], vf (&y)[points]) {
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

// G w
BIRKHOFF_INLINE void transformWeights(const vf (&w)[taps], vf (&y)[points]) {
  constexpr float ofA = 1 / (2 * aa * (aa - bb)), ofB = 1 / (2 * bb * (bb - aa));
  y[0] = w[0] * (1 / (aa * bb));
  const vf evenA = ofA * fma(broadcast(aa), w[2], w[0]), evenB = ofB * fma(broadcast(bb), w[2], w[0]);
  y[1] = fma(broadcast(a * ofA), w[1], evenA);
  y[2] = fma(broadcast(-a * ofA), w[1], evenA);
  y[3] = fma(broadcast(b * ofB), w[1], evenB);
  y[4] = fma(broadcast(-b * ofB), w[1], evenB);
  y[5] = w[2];
}

// Aᵀ m
BIRKHOFF_INLINE void transformProducts(const vf (&m)[points], vf (&y)[outputs]) {
  const vf evenA = m[1] + m[2], oddA = m[1] - m[2], evenB = m[3] + m[4], oddB = m[3] - m[4];
  y[0] = m[0] + evenA + evenB;
  y[1] = fma(broadcast(b), oddB, a * oddA);
  y[2] = fma(broadcast(bb), evenB, aa * evenA);
  y[3] = fma(broadcast(b * bb), oddB, fma(broadcast(a * aa), oddA, m[5]));
}

}  // namespace birkhoff::BIRKHOFF_ISA::winograd
