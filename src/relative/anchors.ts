/** Anchors without looking at where the points lie: at random, by label, and the same ones in two spaces. */
import { choice, createRandom } from "../data/random.ts";
import { checkInteger, checkNames, expected } from "../errors.ts";
import { checkChoice, checkLabels, checkMatrix, checkPaired, type HostMatrix, takeRows } from "./matrix.ts";

export interface AnchorOptions {
  /** In [0, 2³²); the same seed gives the same anchors. Default 0. */
  readonly seed?: number;
}

export interface StratifiedOptions extends AnchorOptions {
  /** "proportional" (default): as the classes are in the data. "equal": the same number of each class, as far as they go. */
  readonly allocation?: "proportional" | "equal";
}

/**
 * `anchors` different ones of 0 … count − 1, all equally likely, in random order.
 *
 * @throws ArgumentError unless 1 ≤ anchors ≤ count, and for a seed out of range.
 * @example
 * ```ts
 * const indices = uniformAnchors(1000, 3, { seed: 1 });
 * new Set(indices).size; // => 3
 * uniformAnchors(10, 0); // throws ArgumentError
 * ```
 */
export const uniformAnchors = (count: number, anchors: number, options: AnchorOptions = {}): Int32Array => {
  const { seed = 0 } = checkNames("uniformAnchors", options, ["seed"]);
  checkInteger("uniformAnchors", "count", count, 1, 2 ** 31 - 1);
  checkInteger("uniformAnchors", "anchors", anchors, 1, count);
  return choice(count, anchors, createRandom(seed));
};

/** Seats by highest averages with odd divisors (Sainte-Laguë): proportional to the weights without favour for large or small, and no class gets more than it has. */
const apportion = (seats: number, weights: Float64Array, most: Int32Array): Int32Array => {
  const given = new Int32Array(weights.length);
  for (let seat = 0; seat < seats; seat++) {
    let best = -1;
    for (let i = 0; i < weights.length; i++) {
      if (given[i] === most[i]) continue;
      if (best < 0 || weights[i] * (2 * given[best] + 1) > weights[best] * (2 * given[i] + 1)) best = i;
    }
    given[best]++;
  }
  return given;
};

/**
 * Anchors by label: so many of every class, drawn at random within it, in random order.
 *
 * @param labels whole numbers from 0, one per point
 * @throws ArgumentError unless 1 ≤ anchors ≤ the number of labels, and for labels that are no whole numbers from 0.
 * @example
 * ```ts
 * const labels = [0, 0, 0, 0, 0, 0, 1, 1, 2];
 * Array.from(stratifiedAnchors(labels, 3), (i) => labels[i]).toSorted(); // => [0, 0, 1]
 * Array.from(stratifiedAnchors(labels, 3, { allocation: "equal" }), (i) => labels[i]).toSorted(); // => [0, 1, 2]
 * ```
 */
export const stratifiedAnchors = (labels: ArrayLike<number>, anchors: number, options: StratifiedOptions = {}): Int32Array => {
  const where = "stratifiedAnchors";
  const { seed = 0, allocation = "proportional" } = checkNames(where, options, ["seed", "allocation"]);
  const checked = checkLabels(where, "labels", labels);
  checkChoice(where, "allocation", allocation, ["proportional", "equal"]);
  if (checked.length === 0) throw expected(where, "at least one label", "labels", labels);
  checkInteger(where, "anchors", anchors, 1, checked.length);
  const members = new Map<number, number[]>();
  for (const [i, label] of checked.entries()) {
    const list = members.get(label);
    if (list) list.push(i);
    else members.set(label, [i]);
  }
  const classes = [...members.entries()].sort(([a], [b]) => a - b).map(([, list]) => list);
  const sizes = Int32Array.from(classes, ({ length }) => length);
  const given = apportion(anchors, allocation === "equal" ? new Float64Array(sizes.length).fill(1) : Float64Array.from(sizes), sizes);
  const random = createRandom(seed);
  const chosen = classes.flatMap((list, i) => Array.from(choice(list.length, given[i], random), (position) => list[position]));
  return Int32Array.from(choice(chosen.length, chosen.length, random), (position) => chosen[position]);
};

/**
 * Parallel anchors: the rows of the same numbers in two spaces whose rows belong together (one input through two encoders, a text and its translation), so that
 * coordinate k means the same in both relative spaces.
 *
 * @param x [n, d], @param y [n, d'] with the same order of rows
 * @returns [anchors, d] and [anchors, d']
 * @throws ArgumentError for different numbers of rows, no index at all, indices out of range or named twice, and matrices that are not finite.
 * @example
 * ```ts
 * const x = { shape: [3, 1], data: Float32Array.of(1, 2, 3) };
 * const y = { shape: [3, 2], data: Float32Array.of(1, 1, 4, 4, 9, 9) };
 * const anchors = parallelAnchors(x, y, [2, 0]);
 * anchors.x.data; // => [3, 1]
 * anchors.y.data; // => [9, 9, 1, 1]
 * ```
 */
export const parallelAnchors = (x: HostMatrix, y: HostMatrix, indices: ArrayLike<number>): { readonly x: HostMatrix; readonly y: HostMatrix } => {
  const where = "parallelAnchors";
  const { rows } = checkMatrix(where, "x", x);
  checkPaired(where, { rows }, checkMatrix(where, "y", y));
  if (typeof indices?.length !== "number" || indices.length === 0) throw expected(where, "at least one index", "indices", indices);
  const seen = new Set<number>();
  for (let i = 0; i < indices.length; i++) {
    checkInteger(where, "indices", indices[i], 0, rows - 1);
    if (seen.has(indices[i])) throw expected(where, "every index once", "indices", `${indices[i]} twice`);
    seen.add(indices[i]);
  }
  return { x: takeRows(x, indices), y: takeRows(y, indices) };
};
