/** Whether learned permutations are those of a candidate group, up to the symmetries of the grid on which they act and the order in which they come. */
import { checkPermutations, composed, equalPermutations, inverted, type Permutation } from "../data/permutations.ts";

export interface GroupMatch {
  /** Position, in `symmetries`, of the h with which most elements agree; the first of equals, so the identity where it does as well. */
  readonly symmetry: number;
  /** Position of h·learned[i]·h⁻¹ in the candidate, [g]; undefined for elements that are none of it. */
  readonly labels: readonly (number | undefined)[];
  /** Positions of candidate elements that no learned element became. */
  readonly missing: readonly number[];
  /**
   * same: every element at its own place; inverse: every element at the place of its inverse (the other orientation); relabelled: the candidate's elements in another order;
   * partial: some of them, or some more than once; other elements beside them, or none of them: different.
   */
  readonly relation: "same" | "inverse" | "relabelled" | "partial" | "different";
}

const relationOf = (
  labels: readonly (number | undefined)[],
  missing: readonly number[],
  candidate: readonly Permutation[],
): GroupMatch["relation"] => {
  if (labels.some((label) => label === undefined)) return "different";
  if (missing.length > 0 || labels.length !== candidate.length) return "partial";
  if (labels.every((label, i) => label === i)) return "same";
  const turned = candidate.map((element) => candidate.findIndex((other) => equalPermutations(other, inverted(element))));
  return labels.every((label, i) => label === turned[i]) ? "inverse" : "relabelled";
};

/**
 * Compares learned elements with a candidate group up to conjugation by the grid's symmetries h: of all, the one under which most of h·P·h⁻¹ are elements of
 * the candidate. A learned mirror top to bottom is the candidate's mirror left to right as seen from a quarter turn; C4 turned the other way round is C4 mirrored.
 *
 * @param learned permutations of d positions, such as the nearest permutations of a stack
 * @param candidate the elements of a group, or a part of one
 * @param symmetries of the grid; default the identity alone. `dihedralGroup(k).elements` are those of a k × k kernel
 * @throws ArgumentError for empty lists and for what is no permutation of d positions
 * @example
 * ```ts
 * const { elements } = flipGroup(3); // mirrored left to right
 * const upsideDown = dihedralGroup(3).elements[6]; // mirrored top to bottom
 * matchGroup([elements[0], upsideDown], elements).relation; // => "different"
 * matchGroup([elements[0], upsideDown], elements, dihedralGroup(3).elements).relation; // => "same"
 * const [r0, r1, r2, r3] = rotationGroup(3).elements;
 * matchGroup([r0, r3, r2, r1], [r0, r1, r2, r3]).relation; // => "inverse"
 * ```
 */
export const matchGroup = (learned: readonly Permutation[], candidate: readonly Permutation[], symmetries?: readonly Permutation[]): GroupMatch => {
  const d = checkPermutations("matchGroup", "learned", learned)[0].length;
  checkPermutations("matchGroup", "candidate", candidate, d);
  if (symmetries !== undefined) checkPermutations("matchGroup", "symmetries", symmetries, d);
  const position = new Map(candidate.map((element, k) => [element.join(), k]));
  const seen = (symmetry: Permutation | undefined): (number | undefined)[] =>
    learned.map((p) => position.get((symmetry ? composed(composed(symmetry, p), inverted(symmetry)) : p).join()));
  let best = { symmetry: 0, labels: seen(symmetries?.[0]), score: -1 };
  for (const [symmetry, h] of (symmetries ?? [undefined]).entries()) {
    const labels = seen(h);
    const known = labels.filter((label) => label !== undefined).length;
    // Of conjugations that find as many, the one that keeps most elements in place.
    const score = known * (learned.length + 1) + labels.filter((label, i) => label === i).length;
    if (score > best.score) best = { symmetry, labels, score };
  }
  const { symmetry, labels } = best;
  const missing = candidate.map((_, k) => k).filter((k) => !labels.includes(k));
  return { symmetry, labels, missing, relation: relationOf(labels, missing, candidate) };
};
