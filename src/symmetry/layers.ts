/** Whether the layers of a network have learned the same group. */
import { cayleyTable, equalPermutations, type Permutation } from "../data/permutations.ts";
import { expected } from "../errors.ts";
import { compareElements } from "./elements.ts";
import { agreementOf, nearestPermutation, splitStack, type Values } from "./matrices.ts";

export interface LayerConsistency {
  /** Which element of the lifting layer each matrix is on the pixels; undefined for matrices beyond the lifting layer's number. */
  readonly labels: readonly (number | undefined)[];
  /** ‖M − A ⊗ S‖ / ‖M‖ per matrix, A and S its means over pixels and over the group axis: 0 for products, as every element of a group is. */
  readonly productErrors: readonly number[];
  /** Share of the rows of S whose largest entry is where the lifting layer's element has its 1. */
  readonly spaceAgreements: readonly number[];
  /**
   * Share of the rows of A whose largest entry is where the lifting layer's Cayley table has it, among rows for which the table says so; undefined where it says nothing.
   */
  readonly groupAgreements: readonly (number | undefined)[];
  /** Every nearest permutation of S is the lifting layer's, and every one of A what its Cayley table says. */
  readonly consistent: boolean;
}

interface Factors {
  readonly group: Float64Array;
  readonly space: Float64Array;
  readonly error: number;
}

/** Means of M [p·s, p·s] over the pixels [p, p] and over the group axis [s, s]: for a doubly stochastic product its factors. */
const factorsOf = (matrix: Values, p: number, s: number): Factors => {
  const group = new Float64Array(p * p);
  const space = new Float64Array(s * s);
  const d = p * s;
  for (let row = 0; row < d; row++) {
    for (let column = 0; column < d; column++) {
      const value = matrix[row * d + column];
      group[Math.floor(row / s) * p + Math.floor(column / s)] += value;
      space[(row % s) * s + (column % s)] += value;
    }
  }
  // Divided once, so that those of a permutation are exact.
  for (let i = 0; i < group.length; i++) group[i] /= s;
  for (let i = 0; i < space.length; i++) space[i] /= p;
  let [difference, total] = [0, 0];
  for (let row = 0; row < d; row++) {
    for (let column = 0; column < d; column++) {
      const product = group[Math.floor(row / s) * p + Math.floor(column / s)] * space[(row % s) * s + (column % s)];
      difference += (matrix[row * d + column] - product) ** 2;
      total += matrix[row * d + column] ** 2;
    }
  }
  return { group, space, error: total > 0 ? Math.sqrt(difference / total) : 0 };
};

/** Element b sends what stands at a to b·a: where row a of the group axis has its 1, −1 where the table does not say. */
const translation = (table: Int32Array, n: number, b: number, axis: readonly (number | undefined)[]): Int32Array =>
  Int32Array.from(axis, (row) => axis.findIndex((column) => row !== undefined && column !== undefined && table[b * n + column] === row));

/**
 * Holds every group layer against the lifting layer: on the pixels each matrix should be one of its elements b, and on the group axis what b does to the elements of the layer
 * before, b·a, by the Cayley table of the lifting layer's nearest permutations. Layers may have their elements in any order: each layer's labels say what stands on
 * the group axis of the next.
 *
 * @param lifting row-major [g, s, s], the identity first; s positions of a kernel
 * @param layers row-major [g, p·s, p·s] each, the group axis outermost, the identity first; p is the number of elements of the layer before
 * @throws ArgumentError for stacks of other sizes; DataError for entries that are not finite
 * @example
 * ```ts
 * const C4 = rotationGroup(3).elements;
 * const [layer] = layerConsistency(permutationMatrices(C4), 9, [permutationMatrices(shiftTwist(C4))]);
 * [layer.consistent, layer.labels]; // => [true, [0, 1, 2, 3]]
 * ```
 */
export const layerConsistency = (lifting: Values, s: number, layers: readonly Values[]): LayerConsistency[] => {
  const where = "layerConsistency";
  const elements = splitStack(where, "lifting", lifting, s, "s").map((matrix) => nearestPermutation(matrix, s));
  const n = elements.length;
  const table = cayleyTable(elements);
  let axis: readonly (number | undefined)[] = elements.map((_, a) => a);
  if (!Array.isArray(layers)) throw expected(where, "an array of stacks", "layers", layers);
  return Array.from(layers, (stack: Values, layer) => {
    const p = axis.length;
    const factors = splitStack(where, `layers[${layer}]`, stack, p * s).map((matrix) => factorsOf(matrix, p, s));
    const spaces = new Float64Array(factors.length * s * s);
    for (const [i, { space }] of factors.entries()) spaces.set(space, i * s * s);
    const found = compareElements(spaces, s, elements);
    const labels = found.elements.map(({ planted }) => planted);
    const wanted = labels.map((b) => b !== undefined && translation(table, n, b, axis));
    const groupAgreements = factors.map(({ group }, i) => {
      const target = wanted[i];
      if (!target) return undefined;
      const said = target.reduce((count, column) => count + Number(column >= 0), 0);
      return said === 0 ? undefined : (agreementOf(group, target) * p) / said;
    });
    const acts = (group: Float64Array, target: Permutation | false): boolean =>
      target !== false && equalPermutations(nearestPermutation(group, p), target);
    const consistent = found.recovered && factors.every(({ group }, i) => acts(group, wanted[i]));
    axis = labels;
    return {
      labels,
      productErrors: factors.map(({ error }) => error),
      spaceAgreements: found.elements.map(({ agreement }) => agreement),
      groupAgreements,
      consistent,
    };
  });
};
