/** All that a learned stack says about itself, at once. */
import { cayleyTable, checkPermutations, type Permutation } from "../data/permutations.ts";
import { checkNames } from "../errors.ts";
import { type ClosureResult, closure } from "./closure.ts";
import { type CoefficientFit, fitCoefficients } from "./coefficients.ts";
import { type CompareOptions, compareElements, type StackResult } from "./elements.ts";
import { type GroupIdentity, identifyGroup } from "./identify.ts";
import { splitStack, type Values } from "./matrices.ts";
import { type GroupMatch, matchGroup } from "./relabelling.ts";

export interface StackAnalysisOptions extends CompareOptions {
  /** Elements of a group that the stack may be. */
  readonly candidate?: readonly Permutation[];
  /** Symmetries of the grid of positions, for `match`; default the identity alone. */
  readonly symmetries?: readonly Permutation[];
}

export interface StackAnalysis extends StackResult {
  readonly closure: ClosureResult;
  /** [g, g] of the nearest permutations; −1 where a product is not among them. */
  readonly table: Int32Array;
  /** The group that the nearest permutations generate. */
  readonly group: GroupIdentity;
  /** Whether the nearest permutations are all of that group, each once: otherwise the stack is a part of it, or repeats elements. */
  readonly complete: boolean;
  /** How the matrices mix the candidate's elements; with `candidate` only. */
  readonly coefficients?: CoefficientFit;
  /** The nearest permutations beside the candidate's; with `candidate` only. */
  readonly match?: GroupMatch;
}

/**
 * What a learned stack became: its elements (`compareElements`), closure, Cayley table, and the group that the nearest permutations generate; beside a
 * candidate, the coefficients and the matching of elements.
 *
 * @param stack row-major [g, d, d], the identity included when it is an element
 * @param d side of a matrix
 * @throws ArgumentError for a stack that is not a multiple of d·d, candidates or symmetries that are no permutations of d positions; DataError for entries that are not finite
 * @example
 * ```ts
 * const stack = permutationMatrices(rotationGroup(3).elements);
 * const { group, complete, match } = analyzeStack(stack, 9, { candidate: rotationGroup(3).elements });
 * [group.name, complete, match?.relation]; // => ["C4", true, "same"]
 * ```
 */
export const analyzeStack = (stack: Values, d: number, options: StackAnalysisOptions = {}): StackAnalysis => {
  const where = "analyzeStack";
  const { candidate, symmetries, ...compare } = checkNames(where, options, ["candidate", "symmetries", "indexed", "fixedIdentity"]);
  splitStack(where, "stack", stack, d);
  for (const [argument, list] of Object.entries({ candidate, symmetries })) if (list !== undefined) checkPermutations(where, argument, list, d);
  const result = compareElements(stack, d, candidate, compare);
  const nearest = result.elements.map((element) => element.nearest);
  const group = identifyGroup(nearest);
  const distinct = new Set(nearest.map((element) => element.join())).size === nearest.length;
  return {
    ...result,
    closure: closure(stack, d),
    table: cayleyTable(nearest),
    group,
    complete: distinct && group.exact && group.order === BigInt(nearest.length),
    ...(candidate && { coefficients: fitCoefficients(stack, d, candidate), match: matchGroup(nearest, candidate, symmetries) }),
  };
};
