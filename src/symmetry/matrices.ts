/** How close a matrix is to a permutation, and to which. Matrices are row-major [d, d]; row n of a permutation has its 1 at p[n]. */
import type { Permutation } from "../data/permutations.ts";
import { DataError, expected } from "../errors.ts";
import { largestAssignment } from "../ops/assignment/jonkerVolgenant.ts";

/** Any host array of numbers. */
export type Values = Float32Array | Float64Array;

const checkMatrix = (where: string, matrix: Values, rows: number, columns: number): void => {
  if (matrix.length !== rows * columns || matrix.length === 0) throw expected(where, `${rows}·${columns} values`, "matrix", matrix);
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
  checkMatrix("assign", scores, rows, columns);
  if (!scores.every(Number.isFinite)) throw new DataError("assign: expected finite scores for `scores`, but received NaN or an infinity");
  return largestAssignment(scores, rows, columns);
};

/**
 * The permutation π that maximises Σ_n R[n, π(n)]. It is also the one nearest in Frobenius norm, because
 * ‖R − P‖² = ‖R‖² + d − 2⟨R, P⟩.
 *
 * @throws ArgumentError for a wrong length, DataError for entries that are not finite
 */
export const nearestPermutation = (matrix: Values, d: number): Permutation => assign(matrix, d, d);

/** Column of the largest entry in each row, the first one when several are equal. */
export const rowArgmax = (matrix: Values, d: number): Int32Array => {
  checkMatrix("rowArgmax", matrix, d, d);
  return Int32Array.from({ length: d }, (_, row) => {
    let best = 0;
    for (let column = 1; column < d; column++) if (matrix[row * d + column] > matrix[row * d + best]) best = column;
    return best;
  });
};

/** Share of rows, 0 … 1, whose largest entry is where `permutation` has its 1. */
export const rowAgreement = (matrix: Values, permutation: Permutation): number => {
  const d = permutation.length;
  const argmax = rowArgmax(matrix, d);
  return argmax.reduce((hits, column, row) => hits + Number(column === permutation[row]), 0) / d;
};

/** Mean of R[n, p[n]] over the rows: the weight that the matrix gives to `permutation`. */
export const permutationMass = (matrix: Values, permutation: Permutation): number => {
  const d = permutation.length;
  checkMatrix("permutationMass", matrix, d, d);
  return permutation.reduce((sum, column, row) => sum + matrix[row * d + column], 0) / d;
};

/** Frobenius distance ‖R − P‖ to a permutation; from the uniform matrix it is √(d − 1). */
export const permutationDistance = (matrix: Values, permutation: Permutation): number => {
  const d = permutation.length;
  checkMatrix("permutationDistance", matrix, d, d);
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

/**
 * Mean over the rows of −Σ_m R[n, m] log R[n, m], in nats: 0 for a permutation, log d for the uniform matrix; NaN for a matrix whose entries are no shares (below 0 or above 1),
 * of which there is no entropy.
 */
export const rowEntropy = (matrix: Values, d: number): number => {
  checkMatrix("rowEntropy", matrix, d, d);
  if (!holdsShares(matrix)) return Number.NaN;
  let sum = 0;
  for (const p of matrix) if (p > 0) sum -= p * Math.log(p);
  return sum / d;
};

/** `rowEntropy` divided by log d: 0 for a permutation, 1 for the uniform matrix (0 when d is 1). */
export const relativeRowEntropy = (matrix: Values, d: number): number => (d === 1 ? 0 : rowEntropy(matrix, d) / Math.log(d));
