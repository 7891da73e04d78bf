/** Compares a learned stack of matrices with the group that was planted. */
import { checkPermutations, equalPermutations, identityPermutation, type Permutation } from "../data/permutations.ts";
import { checkFlags, checkNames, expected } from "../errors.ts";
import {
  agreementOf,
  assign,
  massOf,
  nearestPermutation,
  permutationDistance,
  relativeRowEntropy,
  rowEntropy,
  splitStack,
  type Values,
} from "./matrices.ts";

export interface ElementResult {
  /** Position in the learned stack. */
  readonly index: number;
  readonly nearest: Permutation;
  /** Position of the planted element that it was matched with; undefined when none is planted or left. */
  readonly planted: number | undefined;
  /** Whether the nearest permutation is that planted element. */
  readonly correct: boolean;
  /** Share of rows whose largest entry is where the planted element (without one: the nearest permutation) has its 1. */
  readonly agreement: number;
  /** Mean row entropy in nats, and as a share of log d. */
  readonly entropy: number;
  readonly relativeEntropy: number;
  /** Frobenius distance to the nearest permutation. */
  readonly distance: number;
}

export interface StackResult {
  readonly elements: readonly ElementResult[];
  /** Every element has a planted counterpart and its nearest permutation is that one. */
  readonly recovered: boolean;
  /** Mean agreement of the learned elements with the planted ones; the fixed identity, which is right from the start, is left out. */
  readonly meanAgreement: number;
}

export interface CompareOptions {
  /** The task says which element is which: learned i is compared with planted i. Otherwise (default) elements are matched. */
  readonly indexed?: boolean;
  /** Element 0 is the identity by construction (default): it is matched with the planted identity and left out of the mean. */
  readonly fixedIdentity?: boolean;
}

/** For each learned element the planted one that it is compared with: the best total agreement, ties broken by weight. */
const match = (matrices: readonly Values[], planted: readonly Permutation[], fixedIdentity: boolean): (number | undefined)[] => {
  const identity = fixedIdentity ? planted.findIndex((element) => equalPermutations(element, identityPermutation(element.length))) : -1;
  const learned = matrices.map((_, i) => i).filter((i) => !(fixedIdentity && i === 0));
  const free = planted.map((_, k) => k).filter((k) => k !== identity);
  const result = new Array<number | undefined>(matrices.length).fill(undefined);
  if (identity >= 0) result[0] = identity;
  if (learned.length === 0 || free.length === 0) return result;
  const scores = new Float64Array(learned.length * free.length);
  for (const [a, i] of learned.entries()) {
    for (const [b, k] of free.entries()) {
      // Agreement comes in steps of 1/d, so this much weight decides between equals only.
      scores[a * free.length + b] = agreementOf(matrices[i], planted[k]) + 1e-6 * massOf(matrices[i], planted[k]);
    }
  }
  for (const [a, b] of assign(scores, learned.length, free.length).entries()) if (b >= 0) result[learned[a]] = free[b];
  return result;
};

/**
 * What each matrix of a learned stack became, and whether it is what was planted.
 *
 * @param stack row-major [g, d, d], the identity included when it is an element
 * @param d side of a matrix
 * @param planted the planted permutations; without them `correct` and `recovered` are false and agreement is with the
 * nearest permutation
 * @throws ArgumentError for a stack that is not a multiple of d·d, planted elements that are no permutations of d positions, and an indexed
 * task with another number of elements; DataError for entries that are not finite
 * @example
 * ```ts
 * const swap = Int32Array.of(1, 0);
 * const identity = Int32Array.of(0, 1);
 * const learned = Float32Array.of(1, 0, 0, 1, 0.1, 0.9, 0.9, 0.1); // [2, 2, 2]
 * const { recovered, meanAgreement } = compareElements(learned, 2, [identity, swap]);
 * [recovered, meanAgreement]; // => [true, 1]
 * ```
 */
export const compareElements = (stack: Values, d: number, planted?: readonly Permutation[], options: CompareOptions = {}): StackResult => {
  const { indexed = false, fixedIdentity = true } = checkNames("compareElements", options, ["indexed", "fixedIdentity"]);
  checkFlags("compareElements", { indexed, fixedIdentity });
  const matrices = splitStack("compareElements", "stack", stack, d);
  if (planted !== undefined) checkPermutations("compareElements", "planted", planted, d);
  if (indexed && planted?.length !== matrices.length)
    throw expected("compareElements", `${matrices.length} permutations`, "planted", planted?.length);
  const partners = planted === undefined ? [] : indexed ? matrices.map((_, i) => i) : match(matrices, planted, fixedIdentity);
  const elements = matrices.map((matrix, index): ElementResult => {
    const nearest = nearestPermutation(matrix, d);
    const partner = partners[index];
    const target = partner === undefined ? undefined : planted?.[partner];
    return {
      index,
      nearest,
      planted: partner,
      correct: target !== undefined && equalPermutations(nearest, target),
      agreement: agreementOf(matrix, target ?? nearest),
      entropy: rowEntropy(matrix, d),
      relativeEntropy: relativeRowEntropy(matrix, d),
      distance: permutationDistance(matrix, nearest),
    };
  });
  const learned = fixedIdentity && elements.length > 1 ? elements.slice(1) : elements;
  return {
    elements,
    recovered: elements.every((element) => element.correct),
    meanAgreement: learned.reduce((sum, element) => sum + element.agreement, 0) / learned.length,
  };
};
