/** How close a matrix is to a permutation, and to which. Matrices are row-major [d, d]; row n of a permutation has its 1 at p[n]. */
import { checkPermutation, type Permutation } from "../data/permutations.ts";
import { DataError, expected } from "../errors.ts";
import { largestAssignment } from "../ops/assignment/jonkerVolgenant.ts";

/** Any host array of numbers. */
export type Values = Float32Array | Float64Array;

/** Beyond float32; of what is smaller, products of matrices and their squares are finite in float64. */
const TOO_LARGE = 2 ** 128;

/** Numbers as they came; throws for what holds none, and for what is not finite. */
const checkValues = (where: string, argument: string, values: unknown): Values => {
  if (!(values instanceof Float32Array || values instanceof Float64Array)) throw expected(where, "a Float32Array or Float64Array", argument, values);
  for (let i = 0; i < values.length; i++) {
    if (!(Math.abs(values[i]) < TOO_LARGE))
      throw new DataError(`${where}: expected finite numbers below 2^128 for \`${argument}\`, but received ${values[i]} at position ${i}`);
  }
  return values;
};

const checkSide = (where: string, argument: string, side: unknown): void => {
  if (!Number.isInteger(side) || (side as number) < 1) throw expected(where, "a positive integer", argument, side);
};

/** A matrix [d, d] as it came; throws for another. */
const checkMatrix = (where: string, matrix: Values, d: number): Values => {
  checkSide(where, "d", d);
  if (checkValues(where, "matrix", matrix).length !== d * d) throw expected(where, `${d}·${d} values`, "matrix", matrix);
  return matrix;
};

/** Views of the matrices of a stack [g, d, d]; throws for what is none. */
export const splitStack = (where: string, argument: string, stack: Values, d: number, side = "d"): Values[] => {
  checkSide(where, side, d);
  const size = d * d;
  const { length } = checkValues(where, argument, stack);
  if (length === 0 || length % size !== 0) throw expected(where, `a positive multiple of ${d}·${d} values`, argument, stack);
  return Array.from({ length: length / size }, (_, i) => stack.subarray(i * size, (i + 1) * size));
};

/**
 * The one-to-one assignment with the largest total score (Jonker–Volgenant): result[row] is the column given to `row`,
 * −1 for a row that goes without because there are more rows than columns.
 *
 * @param scores row-major [rows, columns]
 * @throws ArgumentError for a wrong length, DataError for scores that are not finite
 * @example
 * ```ts
 * assign(Float64Array.of(1, 5, 2, 9), 2, 2); // => [0, 1]
 * ```
 */
export const assign = (scores: Values, rows: number, columns: number): Int32Array => {
  checkSide("assign", "rows", rows);
  checkSide("assign", "columns", columns);
  if (checkValues("assign", "scores", scores).length !== rows * columns) throw expected("assign", `${rows}·${columns} values`, "scores", scores);
  return largestAssignment(scores, rows, columns);
};

/**
 * The permutation π that maximises Σ_n R[n, π(n)]. It is also the one nearest in Frobenius norm, because
 * ‖R − P‖² = ‖R‖² + d − 2⟨R, P⟩.
 *
 * @throws ArgumentError for a wrong length, DataError for entries that are not finite
 * @example nearestPermutation(Float32Array.of(0.2, 0.8, 0.7, 0.3), 2); // => [1, 0]
 */
export const nearestPermutation = (matrix: Values, d: number): Permutation => largestAssignment(checkMatrix("nearestPermutation", matrix, d), d, d);

const argmaxOf = (matrix: Values, d: number): Int32Array =>
  Int32Array.from({ length: d }, (_, row) => {
    let best = 0;
    for (let column = 1; column < d; column++) if (matrix[row * d + column] > matrix[row * d + best]) best = column;
    return best;
  });

/** Share of rows whose largest entry is in the given column, in none for −1. Checks nothing. */
export const agreementOf = (matrix: Values, columns: Int32Array): number =>
  argmaxOf(matrix, columns.length).reduce((hits, column, row) => hits + Number(column === columns[row]), 0) / columns.length;

/** `permutationMass` of what was checked. */
export const massOf = (matrix: Values, permutation: Permutation): number =>
  permutation.reduce((sum, column, row) => sum + matrix[row * permutation.length + column], 0) / permutation.length;

/**
 * Column of the largest entry in each row, the first one when several are equal.
 *
 * @throws ArgumentError for a wrong length, DataError for entries that are not finite
 * @example rowArgmax(Float32Array.of(0.2, 0.8, 0.4, 0.6), 2); // => [1, 1]
 */
export const rowArgmax = (matrix: Values, d: number): Int32Array => argmaxOf(checkMatrix("rowArgmax", matrix, d), d);

/**
 * Share of rows, 0 … 1, whose largest entry is where `permutation` has its 1.
 *
 * @throws ArgumentError for what is no permutation and a matrix of another size, DataError for entries that are not finite
 * @example rowAgreement(Float32Array.of(0.2, 0.8, 0.4, 0.6), Int32Array.of(1, 0)); // => 0.5
 */
export const rowAgreement = (matrix: Values, permutation: Permutation): number => {
  const { length } = checkPermutation("rowAgreement", "permutation", permutation);
  return agreementOf(checkMatrix("rowAgreement", matrix, length), permutation);
};

/**
 * Mean of R[n, p[n]] over the rows: the weight that the matrix gives to `permutation`.
 *
 * @throws ArgumentError for what is no permutation and a matrix of another size, DataError for entries that are not finite
 * @example permutationMass(Float32Array.of(0.2, 0.8, 0.4, 0.6), Int32Array.of(1, 0)); // => 0.6
 */
export const permutationMass = (matrix: Values, permutation: Permutation): number => {
  const { length } = checkPermutation("permutationMass", "permutation", permutation);
  return massOf(checkMatrix("permutationMass", matrix, length), permutation);
};

/**
 * Frobenius distance ‖R − P‖ to a permutation; from the uniform matrix it is √(d − 1).
 *
 * @throws ArgumentError for what is no permutation and a matrix of another size, DataError for entries that are not finite
 * @example permutationDistance(Float32Array.of(0.5, 0.5, 0.5, 0.5), Int32Array.of(1, 0)); // => 1
 */
export const permutationDistance = (matrix: Values, permutation: Permutation): number => {
  const { length: d } = checkPermutation("permutationDistance", "permutation", permutation);
  checkMatrix("permutationDistance", matrix, d);
  let sum = 0;
  for (let row = 0; row < d; row++) {
    for (let column = 0; column < d; column++) sum += (matrix[row * d + column] - Number(permutation[row] === column)) ** 2;
  }
  return Math.sqrt(sum);
};

/** How far an entry may be from [0, 1] by rounding. */
const SLACK = 1e-3;

/** Whether all entries are shares, as those of stochastic matrices are, and those of matrices without constraint are not. */
export const holdsShares = (matrix: Values): boolean => matrix.every((value) => value >= -SLACK && value <= 1 + SLACK);

const entropyOf = (matrix: Values, d: number): number => {
  if (!holdsShares(matrix)) return Number.NaN;
  let sum = 0;
  for (const p of matrix) if (p > 0) sum -= p * Math.log(p);
  return sum / d;
};

/**
 * Mean over the rows of −Σ_m R[n, m] log R[n, m], in nats: 0 for a permutation, log d for the uniform matrix; NaN for a matrix whose entries are no shares (below 0 or above 1),
 * of which there is no entropy.
 *
 * @throws ArgumentError for a wrong length, DataError for entries that are not finite
 * @example rowEntropy(Float32Array.of(0.5, 0.5, 0, 1), 2); // => 0.3466
 */
export const rowEntropy = (matrix: Values, d: number): number => entropyOf(checkMatrix("rowEntropy", matrix, d), d);

/**
 * `rowEntropy` divided by log d: 0 for a permutation, 1 for the uniform matrix (0 when d is 1).
 *
 * @throws ArgumentError for a wrong length, DataError for entries that are not finite
 * @example relativeRowEntropy(Float32Array.of(0.5, 0.5, 0, 1), 2); // => 0.5
 */
export const relativeRowEntropy = (matrix: Values, d: number): number => {
  const entropy = entropyOf(checkMatrix("relativeRowEntropy", matrix, d), d);
  return d === 1 ? 0 : entropy / Math.log(d);
};
