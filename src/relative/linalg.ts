/**
 * Dense linear algebra in float64 for up to a thousand columns: products and the singular value decomposition. Everything that the baselines and measures need (least
 * squares, ridge, pseudo-inverse, Procrustes, canonical correlations) is a product of its factors.
 */
import { DataError } from "../errors.ts";
import { type Dense, dense } from "./matrix.ts";

export const transposed = ({ rows, columns, data }: Dense): Dense => {
  const result = dense(columns, rows);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result.data[j * rows + i] = data[i * columns + j];
  return result;
};

/** Σ a[i]·b[i] over `length` entries; four sums, so that additions need not wait for one another. */
export const dot = (a: Float64Array, b: Float64Array, from = 0, other = 0, length: number = a.length): number => {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    s0 += a[from + i] * b[other + i];
    s1 += a[from + i + 1] * b[other + i + 1];
    s2 += a[from + i + 2] * b[other + i + 2];
    s3 += a[from + i + 3] * b[other + i + 3];
  }
  for (; i < length; i++) s0 += a[from + i] * b[other + i];
  return s0 + s1 + (s2 + s3);
};

/** a · b */
export const multiply = (a: Dense, b: Dense): Dense => {
  const result = dense(a.rows, b.columns);
  const n = b.columns;
  for (let i = 0; i < a.rows; i++) {
    for (let k = 0; k < a.columns; k++) {
      const factor = a.data[i * a.columns + k];
      if (factor === 0) continue;
      for (let j = 0, to = i * n, from = k * n; j < n; j++) result.data[to + j] += factor * b.data[from + j];
    }
  }
  return result;
};

/** aᵀ · b */
export const multiplyTransposed = (a: Dense, b: Dense): Dense => multiply(transposed(a), b);

/** a · bᵀ */
export const multiplyByTransposed = (a: Dense, b: Dense): Dense => {
  const result = dense(a.rows, b.rows);
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < b.rows; j++) result.data[i * b.rows + j] = dot(a.data, b.data, i * a.columns, j * a.columns, a.columns);
  return result;
};

/** Σ a² */
export const squaredNorm = ({ data }: Dense): number => dot(data, data);

export interface Decomposition {
  /** [rows, n] with orthonormal columns, n = min(rows, columns). */
  readonly u: Dense;
  /** n values, largest first. */
  readonly values: Float64Array;
  /** [columns, n] with orthonormal columns: a = u · diag(values) · vᵀ. */
  readonly v: Dense;
}

/** Householder's reflector 1 − scale·v·vᵀ that makes x[0..length) a multiple of the first unit vector: v replaces x. No cancellation, whatever the sign of x₀. */
const reflector = (x: Float64Array, at: number, length: number): { readonly scale: number; readonly first: number } => {
  const norm = Math.sqrt(dot(x, x, at, at, length));
  if (norm === 0) return { scale: 0, first: 0 };
  const first = x[at] > 0 ? -norm : norm;
  x[at] -= first;
  return { scale: -1 / (first * x[at]), first };
};

const subtract = (x: Float64Array, at: number, factor: number, v: Float64Array, from: number, length: number): void => {
  for (let i = 0; i < length; i++) x[at + i] -= factor * v[from + i];
};

const reflect = (x: Float64Array, at: number, scale: number, v: Float64Array, from: number, length: number): void => {
  if (scale !== 0) subtract(x, at, scale * dot(v, x, from, at, length), v, from, length);
};

interface Bidiagonal {
  readonly diagonal: Float64Array;
  /** One above the diagonal. */
  readonly above: Float64Array;
  readonly leftScales: Float64Array;
  readonly rightScales: Float64Array;
  /** Row k: the reflector of columns k + 1 and on. Those of rows lie in what was the matrix. */
  readonly right: Float64Array;
}

/** Reflections from both sides (Golub and Kahan 1965). `columns` holds the columns of an m×n matrix, m ≥ n, as rows; the left reflectors replace it. */
const bidiagonalize = ({ rows: n, columns: m, data }: Dense): Bidiagonal => {
  const result = {
    diagonal: new Float64Array(n),
    above: new Float64Array(n),
    leftScales: new Float64Array(n),
    rightScales: new Float64Array(n),
    right: new Float64Array(n * n),
  };
  const { right } = result;
  const sums = new Float64Array(m);
  for (let k = 0; k < n; k++) {
    const left = reflector(data, k * m + k, m - k);
    result.diagonal[k] = left.first;
    result.leftScales[k] = left.scale;
    for (let j = k + 1; j < n; j++) reflect(data, j * m + k, left.scale, data, k * m + k, m - k);
    if (k + 1 >= n) continue;
    for (let j = k + 1; j < n; j++) right[k * n + j] = data[j * m + k];
    const { scale, first } = reflector(right, k * n + k + 1, n - k - 1);
    result.above[k] = first;
    result.rightScales[k] = scale;
    if (scale === 0) continue;
    sums.fill(0, k + 1);
    for (let j = k + 1; j < n; j++) subtract(sums, k + 1, -scale * right[k * n + j], data, j * m + k + 1, m - k - 1);
    for (let j = k + 1; j < n; j++) subtract(data, j * m + k + 1, right[k * n + j], sums, k + 1, m - k - 1);
  }
  return result;
};

/** Rows i and j of a square matrix become (c·rᵢ + s·rⱼ, c·rⱼ − s·rᵢ). */
const rotate = ({ data, columns }: Dense, i: number, j: number, c: number, s: number): void => {
  for (let p = i * columns, q = j * columns, end = p + columns; p < end; p++, q++) {
    const a = data[p];
    const b = data[q];
    data[p] = c * a + s * b;
    data[q] = c * b - s * a;
  }
};

const EPSILON = 2 ** -52;
/** Two steps per value are usual. */
const MAX_STEPS_PER_VALUE = 60;

/** The implicit QR step with Wilkinson's shift on places p … q of a bidiagonal matrix (Golub and Van Loan, algorithm 8.6.1); `left` and `right` take its rotations. */
const chase = (d: Float64Array, e: Float64Array, p: number, q: number, left: Dense, right: Dense): void => {
  const before = q - 1 > p ? e[q - 2] : 0;
  const [t11, t12, t22] = [d[q - 1] ** 2 + before ** 2, d[q - 1] * e[q - 1], d[q] ** 2 + e[q - 1] ** 2];
  const half = (t11 - t22) / 2;
  const shift = t22 - t12 ** 2 / (half + (half < 0 ? -1 : 1) * Math.hypot(half, t12));
  let y = d[p] ** 2 - shift;
  let z = d[p] * e[p];
  for (let k = p; k < q; k++) {
    let r = Math.hypot(y, z);
    let [c, s] = r === 0 ? [1, 0] : [y / r, z / r];
    if (k > p) e[k - 1] = r;
    y = c * d[k] + s * e[k];
    e[k] = c * e[k] - s * d[k];
    z = s * d[k + 1];
    d[k + 1] *= c;
    rotate(right, k, k + 1, c, s);
    r = Math.hypot(y, z);
    [c, s] = r === 0 ? [1, 0] : [y / r, z / r];
    d[k] = r;
    y = c * e[k] + s * d[k + 1];
    d[k + 1] = c * d[k + 1] - s * e[k];
    e[k] = y;
    if (k + 1 < q) {
      z = s * e[k + 1];
      e[k + 1] *= c;
    }
    rotate(left, k, k + 1, c, s);
  }
};

/** A 0 at place i of the diagonal: what stands beside it (i < q) or above it (i = q) is rotated away, and the block falls apart. */
const split = (d: Float64Array, e: Float64Array, p: number, q: number, i: number, left: Dense, right: Dense): void => {
  let f = i < q ? e[i] : e[q - 1];
  const [rotated, first, step] = i < q ? [left, i + 1, 1] : [right, q - 1, -1];
  e[i < q ? i : q - 1] = 0;
  for (let j = first; f !== 0 && (step > 0 ? j <= q : j >= p); j += step) {
    const r = Math.hypot(d[j], f);
    const [c, s] = [d[j] / r, f / r];
    d[j] = r;
    const next = step > 0 ? j : j - 1;
    const reaches = step > 0 ? j < q : j > p;
    f = reaches ? -s * e[next] : 0;
    if (reaches) e[next] *= c;
    rotate(rotated, j, i, c, s);
  }
};

/** Makes a bidiagonal matrix diagonal. */
const diagonalize = (d: Float64Array, e: Float64Array, left: Dense, right: Dense): void => {
  const n = d.length;
  const norm = Math.max(...d.map((value, i) => Math.abs(value) + Math.abs(e[i])));
  let q = n - 1;
  for (let steps = 0; q > 0; steps++) {
    if (steps > MAX_STEPS_PER_VALUE * n) throw new DataError("svd: expected the iteration to converge, but it did not");
    for (let i = 0; i < q; i++) if (Math.abs(e[i]) <= EPSILON * (Math.abs(d[i]) + Math.abs(d[i + 1]))) e[i] = 0;
    if (e[q - 1] === 0) {
      q--;
      continue;
    }
    let p = q - 1;
    while (p > 0 && e[p - 1] !== 0) p--;
    let zero = p;
    while (zero <= q && Math.abs(d[zero]) > EPSILON * norm) zero++;
    if (zero <= q) {
      d[zero] = 0;
      split(d, e, p, q, zero, left, right);
    } else chase(d, e, p, q, left, right);
  }
};

export const identity = (n: number): Dense => {
  const result = dense(n, n);
  for (let i = 0; i < n; i++) result.data[i * n + i] = 1;
  return result;
};

/**
 * Thin singular value decomposition a = u · diag(values) · vᵀ by Golub, Kahan and Reinsch; u and v have orthonormal columns also where values are 0. About 4mn² + 10n³
 * multiplications and additions. Values are exact to some ε·values[0].
 */
export const svd = (a: Dense): Decomposition => {
  if (a.rows < a.columns) {
    const { u, values, v } = svd(transposed(a));
    return { u: v, values, v: u };
  }
  const { rows: m, columns: n } = a;
  // Entries of at most 1: no square overflows, and what underflows is nothing beside the largest.
  const largest = a.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const columns = transposed(a);
  for (let i = 0; i < columns.data.length; i++) columns.data[i] /= largest;
  const { diagonal, above, leftScales, rightScales, right } = bidiagonalize(columns);
  const [x, y] = [identity(n), identity(n)];
  diagonalize(diagonal, above, x, y);

  const rank = Array.from(diagonal, (_, i) => i).sort((i, j) => Math.abs(diagonal[j]) - Math.abs(diagonal[i]) || i - j);
  const u = dense(m, n);
  const v = dense(n, n);
  const column = new Float64Array(m);
  for (const [to, from] of rank.entries()) {
    const sign = diagonal[from] < 0 ? -1 : 1;
    column.fill(0, n);
    for (let i = 0; i < n; i++) column[i] = sign * x.data[from * n + i];
    for (let k = n - 1; k >= 0; k--) reflect(column, k, leftScales[k], columns.data, k * m + k, m - k);
    for (let i = 0; i < m; i++) u.data[i * n + to] = column[i];
    const row = y.data.subarray(from * n, (from + 1) * n);
    for (let k = n - 2; k >= 0; k--) reflect(row, k + 1, rightScales[k], right, k * n + k + 1, n - k - 1);
    for (let i = 0; i < n; i++) v.data[i * n + to] = row[i];
  }
  return { u, values: Float64Array.from(rank, (i) => Math.abs(diagonal[i]) * largest), v };
};

/**
 * An orthogonal matrix, each as likely as any other (Haar): the Q of a matrix of normal numbers whose R has a positive diagonal, by reflections of ever longer vectors (Stewart 1980).
 *
 * @param normal draws standard normal numbers, n·(n + 1)/2 of them
 */
export const randomOrthogonal = (n: number, normal: () => number): Dense => {
  const result = dense(n, n);
  const v = new Float64Array(n);
  for (let k = n - 1; k >= 0; k--) {
    for (let i = k; i < n; i++) v[i] = normal();
    const { scale, first } = reflector(v, k, n - k);
    result.data[k * (n + 1)] = first < 0 ? -1 : 1;
    for (let i = k; i < n; i++) reflect(result.data, i * n + k, scale, v, k, n - k);
  }
  return result;
};

/** How many singular values are more than rounding errors of the largest: NumPy's and MATLAB's rule, `epsilon` being that of the type that the matrix came in. */
export const numericalRank = (values: Float64Array, rows: number, columns: number, epsilon = EPSILON): number =>
  values.filter((value) => value > Math.max(rows, columns) * epsilon * values[0]).length;

/**
 * v · diag(filter) · uᵀ · b for a = u · diag · vᵀ: with filter = 1/value the least-squares solution of a·x ≈ b that is smallest, with value/(value² + λ) that of ridge regression.
 */
export const filtered = ({ u, v }: Decomposition, filter: ArrayLike<number>, b: Dense): Dense => {
  const projected = multiplyTransposed(u, b);
  for (let i = 0; i < projected.rows; i++) for (let j = 0; j < projected.columns; j++) projected.data[i * projected.columns + j] *= filter[i];
  return multiply(v, projected);
};

/** 1/value where it counts, 0 beyond the rank. */
export const inverseFilter = (values: Float64Array, rows: number, columns: number, epsilon = EPSILON): Float64Array => {
  const rank = numericalRank(values, rows, columns, epsilon);
  return values.map((value, i) => (i < rank ? 1 / value : 0));
};
