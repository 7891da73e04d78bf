/**
 * Finite groups as lists of permutations.
 *
 * One convention everywhere, that of the weight-sharing layer W[n] = Σ_m R[n, m] w[m]: a permutation `p` is an
 * Int32Array in which output position n takes input position `p[n]`, so its matrix has R[n, p[n]] = 1. Products are
 * matrix products: `compose(a, b)` applies b first. Images are flattened row by row, rows downwards.
 */
import { checkInteger, expected } from "../errors.ts";

/** Output position n takes input position p[n]. */
export type Permutation = Int32Array;

/** A finite group of permutations, or a part of one. The identity comes first. */
export interface PermutationSet {
  readonly name: string;
  readonly elements: readonly Permutation[];
  /** What people call each element ("90°"), in the same order. */
  readonly labels: readonly string[];
}

/** Of a square image: all its pixels are positions. */
const checkSide = (where: string, k: number): void => checkInteger(where, "k", k, 1, 256);

const build = (length: number, source: (n: number) => number): Permutation => Int32Array.from({ length }, (_, n) => source(n));

/**
 * The permutation that leaves every position where it is.
 *
 * @throws ArgumentError unless length is an integer of at least 1.
 * @example identityPermutation(3); // => [0, 1, 2]
 */
export const identityPermutation = (length: number): Permutation => {
  checkInteger("identityPermutation", "length", length, 1, 2 ** 31 - 1);
  return build(length, (n) => n);
};

/**
 * Whether `p` is an array, typed or not, that contains each of 0 … length − 1 once.
 *
 * @example isPermutation([1, 2, 0]); // => true
 */
export const isPermutation = (p: ArrayLike<number>): boolean => {
  if (!Array.isArray(p) && (!ArrayBuffer.isView(p) || p instanceof DataView)) return false;
  const seen = new Uint8Array(p.length);
  for (let n = 0; n < p.length; n++) {
    // Beyond the places nothing is 0.
    if (!Number.isInteger(p[n]) || seen[p[n]] !== 0) return false;
    seen[p[n]] = 1;
  }
  return true;
};

/** A permutation as it came, of d positions where that is said; throws for what is none. */
export const checkPermutation = (where: string, argument: string, p: unknown, d?: number): Permutation => {
  if (p instanceof Int32Array && p.length > 0 && p.length === (d ?? p.length) && isPermutation(p)) return p;
  throw expected(where, `an Int32Array with each of 0 … ${d === undefined ? "length − 1" : d - 1} once`, argument, p);
};

/** At least one permutation as they came, all of d positions, or of as many as the first; throws for others. */
export const checkPermutations = (where: string, argument: string, list: unknown, d?: number): readonly Permutation[] => {
  if (!Array.isArray(list) || list.length === 0) throw expected(where, "at least one permutation", argument, list);
  const length = d ?? checkPermutation(where, `${argument}[0]`, list[0]).length;
  for (const [i, p] of list.entries()) checkPermutation(where, `${argument}[${i}]`, p, length);
  return list;
};

export const equalPermutations = (a: Permutation, b: Permutation): boolean => a.length === b.length && a.every((source, n) => source === b[n]);

/** `compose` of permutations that were checked. */
export const composed = (a: Permutation, b: Permutation): Permutation => a.map((at) => b[at]);

/** `inverse` of a permutation that was checked. */
export const inverted = (p: Permutation): Permutation => {
  const result = new Int32Array(p.length);
  for (let n = 0; n < p.length; n++) result[p[n]] = n;
  return result;
};

/**
 * The permutation of the matrix product A·B: b acts first, (a∘b)[n] = b[a[n]].
 *
 * @throws ArgumentError for what is no permutation, and for permutations of different lengths
 * @example compose(Int32Array.of(1, 2, 0), Int32Array.of(1, 0, 2)); // => [0, 2, 1]
 */
export const compose = (a: Permutation, b: Permutation): Permutation => {
  const { length } = checkPermutation("compose", "a", a);
  return composed(a, checkPermutation("compose", "b", b, length));
};

/**
 * The permutation that undoes `p`.
 *
 * @throws ArgumentError for what is no permutation
 * @example inverse(Int32Array.of(1, 2, 0)); // => [2, 0, 1]
 */
export const inverse = (p: Permutation): Permutation => inverted(checkPermutation("inverse", "p", p));

/** Moves values: result[n] = values[p[n]]. Writes into `out` when given (not `values` itself). */
export const permute = (values: Float32Array, p: Permutation, out: Float32Array = new Float32Array(p.length)): Float32Array => {
  for (let n = 0; n < p.length; n++) out[n] = values[p[n]];
  return out;
};

/** The matrix of `p`, row-major [length, length]: R[n, p[n]] = 1. */
export const permutationMatrix = (p: Permutation): Float32Array => {
  checkPermutation("permutationMatrix", "p", p);
  const matrix = new Float32Array(p.length * p.length);
  for (let n = 0; n < p.length; n++) matrix[n * p.length + p[n]] = 1;
  return matrix;
};

/**
 * The matrices of several permutations, row-major [count, length, length]: R[i, n, p_i[n]] = 1.
 *
 * @throws ArgumentError for an empty list, a list that is no permutation, and lists of different lengths.
 * @example permutationMatrices([Int32Array.of(1, 0)]); // => [0, 1, 1, 0]
 */
export const permutationMatrices = (elements: readonly Permutation[]): Float32Array => {
  const d = checkPermutations("permutationMatrices", "elements", elements)[0].length;
  const stack = new Float32Array(elements.length * d * d);
  for (const [i, element] of elements.entries()) stack.set(permutationMatrix(element), i * d * d);
  return stack;
};

/**
 * table[i·g + j] = k where element i times element j (j acts first) is element k; −1 where the product is not in the list.
 *
 * @throws ArgumentError for an empty list, what is no permutation, and permutations of different lengths
 * @example cayleyTable([Int32Array.of(0, 1), Int32Array.of(1, 0)]); // => [0, 1, 1, 0]
 */
export const cayleyTable = (elements: readonly Permutation[]): Int32Array => {
  const g = checkPermutations("cayleyTable", "elements", elements).length;
  const position = new Map(elements.map((element, i) => [element.join(), i]));
  const table = new Int32Array(g * g);
  for (let i = 0; i < g; i++) {
    for (let j = 0; j < g; j++) table[i * g + j] = position.get(composed(elements[i], elements[j]).join()) ?? -1;
  }
  return table;
};

/**
 * All products of the generators and their inverses, identity first, then in order of discovery.
 *
 * @param limit default 4096
 * @throws ArgumentError without generators, for what is no permutation, generators of different lengths, and when the group has more than `limit` elements
 * @example
 * ```ts
 * generateGroup([Int32Array.of(1, 2, 0), Int32Array.of(1, 0, 2)]).length; // => 6
 * generateGroup([Int32Array.of(1, 1, 0)]); // throws ArgumentError
 * ```
 */
export const generateGroup = (generators: readonly Permutation[], limit = 4096): Permutation[] => {
  checkPermutations("generateGroup", "generators", generators);
  if (!Number.isInteger(limit) || limit < 1) throw expected("generateGroup", "an integer of at least 1", "limit", limit);
  const found = [identityPermutation(generators[0].length)];
  const known = new Set(found.map((element) => element.join()));
  // The list grows while it is walked; in a finite group inverses are powers, so right products alone reach everything.
  for (const element of found) {
    for (const generator of generators) {
      const product = composed(element, generator);
      const key = product.join();
      if (known.has(key)) continue;
      if (found.length === limit) throw expected("generateGroup", `generators of at most ${limit} elements`, "generators", "a larger group");
      known.add(key);
      found.push(product);
    }
  }
  return found;
};

/**
 * Cyclic shifts of n positions: element s moves every value s places up, as `np.roll(x, s)`.
 *
 * @throws ArgumentError unless n is an integer from 1 to 65536.
 * @example
 * ```ts
 * const { elements: shifts } = cyclicGroup(4);
 * shifts.length; // => 4
 * shifts[1]; // => [3, 0, 1, 2]
 * ```
 */
export const cyclicGroup = (n: number): PermutationSet => {
  checkInteger("cyclicGroup", "n", n, 1, 65536);
  return {
    name: `C${n}`,
    elements: Array.from({ length: n }, (_, s) => build(n, (i) => (i - s + n) % n)),
    labels: Array.from({ length: n }, (_, s) => (s === 0 ? "identity" : `shift ${s}`)),
  };
};

/** A quarter turn of a k × k image, counter-clockwise, as `np.rot90`. */
const quarterTurn = (k: number): Permutation => build(k * k, (n) => (n % k) * k + (k - 1 - Math.floor(n / k)));

/** A k × k image mirrored left to right, as `np.fliplr`. */
export const flipPermutation = (k: number): Permutation => {
  checkSide("flipPermutation", k);
  return build(k * k, (n) => Math.floor(n / k) * k + (k - 1 - (n % k)));
};

/**
 * Rotations of a k × k image by 0°, 90°, 180°, 270°, counter-clockwise as `np.rot90`.
 *
 * @throws ArgumentError unless k is an integer from 1 to 256.
 * @example rotationGroup(2).elements[1]; // => [1, 3, 0, 2]
 */
export const rotationGroup = (k: number): PermutationSet => {
  checkSide("rotationGroup", k);
  const turn = quarterTurn(k);
  const half = compose(turn, turn);
  return {
    name: "C4",
    elements: [identityPermutation(k * k), turn, half, compose(half, turn)],
    labels: ["identity", "90°", "180°", "270°"],
  };
};

/**
 * Identity and left-right mirror of a k × k image.
 *
 * @throws ArgumentError unless k is an integer from 1 to 256.
 * @example flipGroup(2).elements[1]; // => [1, 0, 3, 2]
 */
export const flipGroup = (k: number): PermutationSet => {
  checkSide("flipGroup", k);
  return { name: "flip", elements: [identityPermutation(k * k), flipPermutation(k)], labels: ["identity", "flip"] };
};

/**
 * The eight symmetries of a k × k image: the four rotations, then the mirrored image turned by the same four.
 *
 * @throws ArgumentError unless k is an integer from 1 to 256.
 * @example dihedralGroup(3).labels[5]; // => "flip + 90°"
 */
export const dihedralGroup = (k: number): PermutationSet => {
  checkSide("dihedralGroup", k);
  const rotations = rotationGroup(k);
  const flip = flipPermutation(k);
  return {
    name: "D4",
    elements: [...rotations.elements, ...rotations.elements.map((rotation) => compose(rotation, flip))],
    labels: [...rotations.labels, "flip", "flip + 90°", "flip + 180°", "flip + 270°"],
  };
};

/** Where a coordinate goes: axis `from[i]` becomes axis i, times `sign[i]`. */
interface SignedAxes {
  readonly from: readonly [number, number, number];
  readonly sign: readonly [number, number, number];
}

const turned = ({ from, sign }: SignedAxes, point: readonly number[]): number[] => from.map((axis, i) => sign[i] * point[axis]);

/** Angle and axis, for people: from the trace and the antisymmetric part of the matrix, or, of half turns, from what they leave as it is. */
const rotationLabel = (rotation: SignedAxes): string => {
  const entry = (i: number, j: number): number => (rotation.from[i] === j ? rotation.sign[i] : 0);
  const trace = entry(0, 0) + entry(1, 1) + entry(2, 2);
  if (trace === 3) return "identity";
  const skew = [entry(2, 1) - entry(1, 2), entry(0, 2) - entry(2, 0), entry(1, 0) - entry(0, 1)];
  const fixed = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
    ...[1, -1].flatMap((s) => [
      [1, s, 0],
      [1, 0, s],
      [0, 1, s],
    ]),
  ].find((axis) => turned(rotation, axis).every((value, i) => value === axis[i]));
  const axis = trace === -1 ? fixed : skew.map(Math.sign);
  return `${{ "-1": 180, "0": 120, "1": 90 }[`${trace}` as "0"]}° about [${axis?.join(", ")}]`;
};

/**
 * The 24 rotations of a cube of k × k × k voxels, isomorphic to S4. Position (z·k + y)·k + x; axes in labels are [x, y, z].
 *
 * @throws ArgumentError unless k is an integer from 1 to 40.
 * @example
 * ```ts
 * const { elements, labels } = cubeGroup(3);
 * elements.length; // => 24
 * labels[1]; // => "90° about [1, 0, 0]"
 * ```
 */
export const cubeGroup = (k: number): PermutationSet => {
  checkInteger("cubeGroup", "k", k, 1, 40);
  const sides = [1, -1] as const;
  const rotations: SignedAxes[] = [];
  for (const [from, parity] of [
    [[0, 1, 2], 1],
    [[0, 2, 1], -1],
    [[1, 0, 2], -1],
    [[1, 2, 0], 1],
    [[2, 0, 1], 1],
    [[2, 1, 0], -1],
  ] as const)
    for (const a of sides) for (const b of sides) rotations.push({ from, sign: [a, b, (parity * a * b) as 1 | -1] });
  // By angle, so that quarter turns about the axes come before the others; the identity first.
  const labels = rotations.map(rotationLabel);
  const rank = (label: string): number => ["i", "90", "180", "120"].findIndex((start) => label.startsWith(start));
  const order = rotations.map((_, i) => i).sort((i, j) => rank(labels[i]) - rank(labels[j]) || (labels[i] < labels[j] ? 1 : -1));
  const middle = (k - 1) / 2;
  const element = (rotation: SignedAxes): Permutation =>
    // The value at the turned place comes from where it was before: the transpose is the inverse.
    build(k ** 3, (n) => {
      const point = [n % k, Math.floor(n / k) % k, Math.floor(n / k ** 2)].map((at) => at - middle);
      const source = [0, 0, 0];
      for (let i = 0; i < 3; i++) source[rotation.from[i]] = rotation.sign[i] * point[i];
      return source.reduceRight((sum, at) => sum * k + at + middle, 0);
    });
  return { name: "S4", elements: order.map((i) => element(rotations[i])), labels: order.map((i) => labels[i]) };
};

/** The first `count` elements of a group, by default half of them (rounded up): a set with a symmetry but no group. */
export const firstElements = (group: PermutationSet, count: number = Math.ceil(group.elements.length / 2)): PermutationSet => {
  const g = group.elements.length;
  checkInteger("firstElements", "count", count, 1, g);
  if (count === g) return group;
  return { name: `${count} of ${group.name}`, elements: group.elements.slice(0, count), labels: group.labels.slice(0, count) };
};
