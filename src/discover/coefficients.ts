/** Which mixture of known elements a learned matrix is: the paper's measure (arXiv 2412.04594, appendix B.1). */

import type { MatrixSet } from "../data/interpolated.ts";
import type { Values } from "../symmetry/matrices.ts";

/** The nearest point of the simplex (Held, Wolfe and Crowder 1974). */
const project = (values: Float64Array): Float64Array => {
  const sorted = Float64Array.from(values).sort().reverse();
  let [sum, shift] = [0, 0];
  for (const [i, value] of sorted.entries()) {
    sum += value;
    if (value - (sum - 1) / (i + 1) > 0) shift = (sum - 1) / (i + 1);
  }
  return values.map((value) => Math.max(0, value - shift));
};

const product = (a: Values, b: Values): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};

/**
 * Coefficients c ≥ 0, Σ c = 1 that minimise ‖Σ_k c_k P_k − R‖ for each matrix R of a stack: accelerated projected gradient steps until none changes a coefficient.
 *
 * @param stack [g, d, d]
 * @returns [g, G]
 */
export const fitCoefficients = (stack: Values, { matrices, d, labels }: MatrixSet): Float64Array => {
  const [size, G] = [d * d, labels.length];
  const element = (k: number): Float32Array => matrices.subarray(k * size, (k + 1) * size);
  const gram = Array.from({ length: G }, (_, i) => Float64Array.from({ length: G }, (_, j) => product(element(i), element(j))));
  // The largest row sum bounds the largest eigenvalue.
  const rate = 1 / Math.max(...gram.map((row) => row.reduce((sum, value) => sum + Math.abs(value), 0)));
  const g = stack.length / size;
  const result = new Float64Array(g * G);
  for (let i = 0; i < g; i++) {
    const matrix = stack.subarray(i * size, (i + 1) * size);
    const target = Float64Array.from({ length: G }, (_, k) => product(element(k), matrix));
    let current: Float64Array = new Float64Array(G).fill(1 / G);
    let ahead = current;
    let momentum = 1;
    for (let step = 0; step < 5000; step++) {
      const next = project(ahead.map((value, k) => value - rate * (product(gram[k], ahead) - target[k])));
      const grown = (1 + Math.sqrt(1 + 4 * momentum ** 2)) / 2;
      ahead = next.map((value, k) => value + ((momentum - 1) / grown) * (value - current[k]));
      const change = next.reduce((most, value, k) => Math.max(most, Math.abs(value - current[k])), 0);
      [current, momentum] = [next, grown];
      if (change < 1e-10) break;
    }
    result.set(current, i * G);
  }
  return result;
};

/** How a learned stack lies to the elements that take part. */
export interface CoefficientRecord {
  /** Least of the matrices after the identity: the sum of coefficients on elements that take part at all, and on those that the matrix itself should become. */
  readonly taking: number;
  readonly own: number;
  /** Mean over the matrices of Σ_k |c_k − planted_k| / 2: 0 when they are the planted mixtures, 1 when they share nothing with them. */
  readonly distance: number;
}

/** @param weights what was planted, [g, G] */
export const compareCoefficients = (fitted: ArrayLike<number>, weights: ArrayLike<number>, G: number): CoefficientRecord => {
  const g = fitted.length / G;
  const taking = Array.from({ length: G }, (_, k) => Array.from({ length: g }, (_, i) => weights[i * G + k]).some((weight) => weight > 0));
  let [least, own, distance] = [1, 1, 0];
  for (let i = 1; i < g; i++) {
    let [mass, right] = [0, 0];
    for (let k = 0; k < G; k++) {
      const coefficient = fitted[i * G + k];
      if (taking[k]) mass += coefficient;
      if (weights[i * G + k] > 0) right += coefficient;
      distance += Math.abs(coefficient - weights[i * G + k]) / 2 / (g - 1);
    }
    [least, own] = [Math.min(least, mass), Math.min(own, right)];
  }
  return { taking: least, own, distance };
};
