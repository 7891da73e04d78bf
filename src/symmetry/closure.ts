/** Whether a set of matrices is closed under multiplication, as a group's must be. */
import { cayleyTable, type Permutation } from "../data/permutations.ts";
import { nearestPermutation, splitStack, type Values } from "./matrices.ts";

export interface ClosureResult {
  readonly g: number;
  /** [g, g]: for the product R_i R_j, min over k of ‖R_i R_j − R_k‖ / ‖R_i R_j‖ (Frobenius). */
  readonly errors: Float64Array;
  /** [g, g]: the k of that minimum. */
  readonly products: Int32Array;
  readonly mean: number;
  readonly max: number;
  /** [g, g] Cayley table of the nearest permutations when these are all different and closed under composition. */
  readonly table: Int32Array | undefined;
}

const multiply = (a: Values, b: Values, d: number, out: Float64Array): void => {
  out.fill(0);
  for (let row = 0; row < d; row++) {
    for (let k = 0; k < d; k++) {
      const factor = a[row * d + k];
      for (let column = 0; column < d; column++) out[row * d + column] += factor * b[k * d + column];
    }
  }
};

const norm = (a: Float64Array): number => Math.sqrt(a.reduce((sum, value) => sum + value * value, 0));

const difference = (a: Values, b: Values): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum);
};

const closedTable = (elements: readonly Permutation[]): Int32Array | undefined => {
  if (new Set(elements.map((element) => element.join())).size < elements.length) return undefined;
  const table = cayleyTable(elements);
  return table.includes(-1) ? undefined : table;
};

/**
 * Closure errors of all ordered pairs of a stack, pairs with the identity included. Note that the set {U, …, U} of
 * uniform matrices is closed too: read this beside the entropies.
 *
 * @param stack row-major [g, d, d], the identity included when it is an element
 * @throws ArgumentError for a stack that is not a multiple of d·d; DataError for entries that are not finite
 */
export const closure = (stack: Values, d: number): ClosureResult => {
  const matrices = splitStack("closure", "stack", stack, d);
  const g = matrices.length;
  const nearest = matrices.map((matrix) => nearestPermutation(matrix, d));
  const errors = new Float64Array(g * g);
  const products = new Int32Array(g * g);
  const product = new Float64Array(d * d);
  for (const [i, a] of matrices.entries()) {
    for (const [j, b] of matrices.entries()) {
      multiply(a, b, d, product);
      const size = norm(product);
      const distances = matrices.map((matrix) => difference(product, matrix));
      const k = distances.indexOf(Math.min(...distances));
      products[i * g + j] = k;
      errors[i * g + j] = size > 0 ? distances[k] / size : 0;
    }
  }
  return {
    g,
    errors,
    products,
    mean: errors.reduce((sum, error) => sum + error, 0) / (g * g),
    max: errors.reduce((most, error) => Math.max(most, error), 0),
    table: closedTable(nearest),
  };
};
