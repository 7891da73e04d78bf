/** How alike two spaces are in which the same inputs were embedded, whatever their dimensions: CKA and SVCCA. */
import { checkFlags, checkNames, checkRange, DataError, expected } from "../errors.ts";
import { squaredDistance } from "./distance.ts";
import { dot, multiplyByTransposed, multiplyTransposed, squaredNorm, svd } from "./linalg.ts";
import { checkMatrix, checkPaired, type Dense, dense, type HostMatrix } from "./matrix.ts";
import { centred } from "./standardise.ts";

export interface CkaOptions {
  /** Whether HSIC is estimated without bias, which the plain estimate has where there are not many more rows than columns. Needs 4 rows. Default false. */
  readonly unbiased?: boolean;
}

const checkUnbiased = (where: string, { unbiased = false }: CkaOptions): boolean => {
  checkFlags(where, { unbiased });
  return unbiased;
};

/** A space whose points are all the same has no structure to compare. */
const requireSpread = (where: string, argument: string, x: Dense): void => {
  if (x.data.every((value) => value === 0))
    throw new DataError(`${where}: expected at least two different rows for \`${argument}\`, but all are the same`);
};

/** Both spaces checked and centred; HSIC, and what is made of it, does not change by that. */
const checkSpaces = (where: string, x: HostMatrix, y: HostMatrix, least: number): readonly [Dense, Dense] => {
  const [a, b] = [checkMatrix(where, "x", x), checkMatrix(where, "y", y)];
  checkPaired(where, a, b);
  if (a.rows < least) throw expected(where, `at least ${least} rows`, "x", a.rows);
  return [centred(a), centred(b)];
};

/** The same, of more than one point each. */
const spreadSpaces = (where: string, x: HostMatrix, y: HostMatrix, least: number): readonly [Dense, Dense] => {
  const spaces = checkSpaces(where, x, y, least);
  requireSpread(where, "x", spaces[0]);
  requireSpread(where, "y", spaces[1]);
  return spaces;
};

/** tr(XXᵀYYᵀ) = ‖XᵀY‖², by the smaller of both ways. */
const crossNorm = (x: Dense, y: Dense): number => {
  if (x.columns * y.columns <= x.rows ** 2) return squaredNorm(multiplyTransposed(x, y));
  return dot(multiplyByTransposed(x, x).data, multiplyByTransposed(y, y).data);
};

const rowNorms = ({ rows, columns, data }: Dense): Float64Array =>
  Float64Array.from({ length: rows }, (_, i) => dot(data, data, i * columns, i * columns, columns));

/** HSIC of centred spaces with linear kernels. */
const hsic = (x: Dense, y: Dense, unbiased: boolean): number => {
  const n = x.rows;
  const trace = crossNorm(x, y);
  if (!unbiased) return trace / (n - 1) ** 2;
  // With the diagonals of K = XXᵀ and L = YYᵀ set to 0. Rows of K sum to 0, since X is centred, so those of K̃ to −Kᵢᵢ.
  const [k, l] = [rowNorms(x), rowNorms(y)];
  const diagonal = dot(k, l);
  const [sumK, sumL] = [k, l].map((values) => values.reduce((sum, value) => sum + value, 0));
  return (trace - diagonal + (sumK * sumL) / ((n - 1) * (n - 2)) - (2 * diagonal) / (n - 2)) / (n * (n - 3));
};

/**
 * The Hilbert–Schmidt independence criterion with linear kernels: biased, tr(KHLH)/(n − 1)² (Gretton et al. 2005), or the unbiased HSIC₁ of Song et al. (2012), which
 * averages over batches without bias, as the minibatch CKA of Nguyen et al. (2021) does. In float64, O(n·d·d') or O(n²·(d + d')), whichever is less.
 *
 * @param x [n, d], @param y [n, d']: the same n inputs
 * @throws ArgumentError for different numbers of rows, fewer than 2 (4 without bias), and values that are not finite.
 * @example
 * ```ts
 * const x = { shape: [4, 1], data: Float32Array.of(1, 2, 3, 4) };
 * linearHsic(x, x); // => 2.777778
 * linearHsic(x, x, { unbiased: true }); // => 2.166667
 * ```
 */
export const linearHsic = (x: HostMatrix, y: HostMatrix, options: CkaOptions = {}): number => {
  const unbiased = checkUnbiased("linearHsic", checkNames("linearHsic", options, ["unbiased"]));
  const [a, b] = checkSpaces("linearHsic", x, y, unbiased ? 4 : 2);
  return hsic(a, b, unbiased);
};

/**
 * Linear centred kernel alignment, HSIC(x, y) / √(HSIC(x, x)·HSIC(y, y)) (Kornblith et al. 2019, arXiv:1905.00414): 1 for spaces that are equal up to a rotation, one scale
 * and a translation; about 0 for unrelated ones, which the biased estimate says only with many more rows than columns. In float64.
 *
 * @param x [n, d], @param y [n, d']: the same n inputs
 * @returns in [0, 1]; the unbiased estimate may be a little below 0. NaN where an unbiased estimate of a space with itself is not positive.
 * @throws ArgumentError for different numbers of rows, fewer than 2 (4 without bias), and values that are not finite; DataError when all rows of a space are the same.
 * @example
 * ```ts
 * const x = { shape: [4, 2], data: Float32Array.of(1, 0, 0, 1, -1, 0, 0, -2) };
 * const turned = { shape: [4, 2], data: Float32Array.of(0, 3, -3, 0, 0, -3, 6, 0) };
 * linearCka(x, turned); // => 1.000000
 * linearCka(x, turned, { unbiased: true }); // => 1.000000
 * ```
 */
export const linearCka = (x: HostMatrix, y: HostMatrix, options: CkaOptions = {}): number => {
  const unbiased = checkUnbiased("linearCka", checkNames("linearCka", options, ["unbiased"]));
  const [a, b] = spreadSpaces("linearCka", x, y, unbiased ? 4 : 2);
  // Scales cancel; taken out first, nothing overflows.
  const [u, v] = [a, b].map(unitScale);
  return hsic(u, v, unbiased) / Math.sqrt(hsic(u, u, unbiased) * hsic(v, v, unbiased));
};

const unitScale = (x: Dense): Dense => {
  const largest = x.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return { ...x, data: x.data.map((value) => value / largest) };
};

export interface RbfCkaOptions extends CkaOptions {
  /** σ of the kernel over the median distance of two rows, positive. Default 1. */
  readonly bandwidth?: number;
}

/** exp(−‖xᵢ − xⱼ‖²/(2σ²)), [n, n], σ in medians of the distances. */
const rbfGram = (where: string, argument: string, x: Dense, bandwidth: number): Float64Array => {
  const n = x.rows;
  const gram = new Float64Array(n * n).fill(1);
  const squares = new Float64Array((n * (n - 1)) / 2);
  let count = 0;
  for (let i = 1; i < n; i++) for (let j = 0; j < i; j++) squares[count++] = squaredDistance(x, i, x, j);
  const sorted = squares.slice().sort();
  // As NumPy's: the mean of the two in the middle where there is none.
  const median = (Math.sqrt(sorted[(count - 1) >> 1]) + Math.sqrt(sorted[count >> 1])) / 2;
  if (median === 0)
    throw new DataError(`${where}: expected \`${argument}\` to have more than half of its pairs of rows apart, but their median distance is 0`);
  count = 0;
  for (let i = 1; i < n; i++)
    for (let j = 0; j < i; j++) gram[i * n + j] = gram[j * n + i] = Math.exp(-squares[count++] / (2 * (bandwidth * median) ** 2));
  return gram;
};

/** In place, so that rows and columns sum to 0: HKH, or without bias the U-centring of Székely and Rizzo (2014, arXiv:1310.2926), whose diagonal is 0. */
const centreGram = (gram: Float64Array, n: number, unbiased: boolean): Float64Array => {
  if (unbiased) for (let i = 0; i < n; i++) gram[i * n + i] = 0;
  const sums = Float64Array.from({ length: n }, (_, i) => gram.subarray(i * n, (i + 1) * n).reduce((sum, value) => sum + value, 0));
  const total = sums.reduce((sum, value) => sum + value, 0);
  const [row, all] = unbiased ? [n - 2, (n - 1) * (n - 2)] : [n, n * n];
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) gram[i * n + j] = unbiased && i === j ? 0 : gram[i * n + j] - (sums[i] + sums[j]) / row + total / all;
  return gram;
};

/**
 * Centred kernel alignment with kernels exp(−‖a − b‖²/(2σ²)) in place of the linear ones of `linearCka` (Kornblith et al. 2019, section 3, σ a multiple of the median distance): it
 * sees what is near what, and less of the few directions of largest variance. Without bias by U-centred kernels, which is HSIC₁ of Song et al. (2012). In float64, O(n²·(d + d'))
 * and 16·n² bytes.
 *
 * @param x [n, d], @param y [n, d']: the same n inputs
 * @returns in [0, 1], 1 for spaces that are equal up to a rotation, one scale and a translation; the unbiased estimate may be a little below 0. NaN where an unbiased estimate of a
 * space with itself is not positive.
 * @throws ArgumentError for different numbers of rows, fewer than 2 (4 without bias), a bandwidth that is not positive, and values that are not finite; DataError where half of the
 * pairs of rows are the same.
 * @example
 * ```ts
 * const x = { shape: [4, 1], data: Float32Array.of(1, 2, 4, 8) };
 * rbfCka(x, { shape: [4, 1], data: Float32Array.of(-2, -4, -8, -16) }); // => 1.000000
 * rbfCka(x, { shape: [4, 1], data: Float32Array.of(8, 1, 4, 2) }); // => 0.314417
 * ```
 */
export const rbfCka = (x: HostMatrix, y: HostMatrix, options: RbfCkaOptions = {}): number => {
  const { bandwidth = 1 } = checkNames("rbfCka", options, ["bandwidth", "unbiased"]);
  const unbiased = checkUnbiased("rbfCka", options);
  checkRange("rbfCka", "bandwidth", bandwidth, Number.MIN_VALUE, Number.MAX_VALUE, "a positive number");
  const [a, b] = spreadSpaces("rbfCka", x, y, unbiased ? 4 : 2);
  const gram = (argument: string, space: Dense): Float64Array =>
    centreGram(rbfGram("rbfCka", argument, unitScale(space), bandwidth), a.rows, unbiased);
  const [k, l] = [gram("x", a), gram("y", b)];
  return dot(k, l) / Math.sqrt(dot(k, k) * dot(l, l));
};

export interface SvccaOptions {
  /** Share of the variance that the directions kept in each space explain, in (0, 1]. Default 0.99. */
  readonly variance?: number;
}

export interface Svcca {
  /** Mean of `correlations`. */
  readonly similarity: number;
  /** Canonical correlations, largest first: as many as the smaller of both spaces has directions. */
  readonly correlations: Float64Array;
  /** Directions kept in x and in y. */
  readonly directions: readonly [number, number];
}

/** Orthonormal coordinates [n, k] of the rows in the k directions that explain the share. */
const principal = (x: Dense, variance: number): Dense => {
  const { u, values } = svd(unitScale(x));
  const total = values.reduce((sum, value) => sum + value ** 2, 0);
  let kept = 0;
  // Within rounding, so that all of the variance is not one direction of noise more.
  for (let sum = 0; kept < values.length && sum < (variance - 1e-12) * total; kept++) sum += values[kept] ** 2;
  const result = dense(u.rows, kept);
  for (let i = 0; i < u.rows; i++) for (let j = 0; j < kept; j++) result.data[i * kept + j] = u.data[i * u.columns + j];
  return result;
};

/**
 * Singular vector canonical correlation analysis (Raghu et al. 2017, arXiv:1706.05806): canonical correlations between the leading principal directions of two spaces. It
 * does not change under any invertible linear map of what is kept, so it says 1 where CKA still sees differences of scale. In float64.
 *
 * @param x [n, d], @param y [n, d']: the same n inputs; with n not far above d and d' correlations are high for any two spaces
 * @throws ArgumentError for different numbers of rows, fewer than 2, a share out of range, and values that are not finite; DataError when all rows of a space are the same.
 * @example
 * ```ts
 * const x = { shape: [4, 1], data: Float32Array.of(1, 2, 3, 4) };
 * const y = { shape: [4, 2], data: Float32Array.of(-1, 5, -2, 5, -3, 5, -4, 5) };
 * const { similarity, directions } = svcca(x, y);
 * similarity; // => 1.000000
 * directions; // => [1, 1]
 * ```
 */
export const svcca = (x: HostMatrix, y: HostMatrix, options: SvccaOptions = {}): Svcca => {
  const { variance = 0.99 } = checkNames("svcca", options, ["variance"]);
  checkRange("svcca", "variance", variance, Number.MIN_VALUE, 1, "a share in (0, 1]");
  const [a, b] = spreadSpaces("svcca", x, y, 2);
  const [u, v] = [principal(a, variance), principal(b, variance)];
  const correlations = svd(multiplyTransposed(u, v)).values.map((value) => Math.min(1, value));
  const similarity = correlations.reduce((sum, value) => sum + value, 0) / correlations.length;
  return { similarity, correlations, directions: [u.columns, v.columns] };
};
