/** Distances of rows, the same for every selection and every neighbourhood. */
import { type Dense, dense } from "./matrix.ts";

/** How points are compared: by ‖a − b‖, or by direction alone. */
export type PointMetric = "euclidean" | "cosine";
export const POINT_METRICS: readonly PointMetric[] = ["euclidean", "cosine"];

/** ‖row‖ₚ = largest · rest, with powers of entries of at most 1: they neither overflow nor vanish. Both are 0 for zeros. */
const normOf = (row: Float64Array, p: number): { readonly largest: number; readonly rest: number } => {
  const largest = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (largest === 0) return { largest, rest: 0 };
  if (p === Number.POSITIVE_INFINITY) return { largest, rest: 1 };
  let sum = 0;
  for (const value of row) sum += p === 2 ? (value / largest) ** 2 : (Math.abs(value) / largest) ** p;
  return { largest, rest: p === 2 ? Math.sqrt(sum) : sum ** (1 / p) };
};

const rowsOf = ({ rows, columns, data }: Dense): Float64Array[] =>
  Array.from({ length: rows }, (_, i) => data.subarray(i * columns, (i + 1) * columns));

/** ‖row‖ₚ of every row: (Σ|x|^p)^(1/p), the largest entry for p = Infinity. */
export const rowNorms = (x: Dense, p: number): number[] =>
  rowsOf(x).map((row) => {
    const { largest, rest } = normOf(row, p);
    return largest * rest;
  });

/** Rows of norm 1; for p = 2 so that ‖a − b‖² = 2 − 2·cos(a, b) orders them by cosine. Rows of zeros have no direction, and stay. */
export const unitRows = ({ rows, columns, data }: Dense, p = 2): Dense => {
  const result = dense(rows, columns, data.slice());
  for (const row of rowsOf(result)) {
    const { largest, rest } = normOf(row, p);
    if (largest > 0) for (let k = 0; k < columns; k++) row[k] = row[k] / largest / rest;
  }
  return result;
};

/** What is compared by Euclidean distance stands for the metric. */
export const comparable = (points: Dense, metric: PointMetric): Dense => (metric === "cosine" ? unitRows(points) : points);

/** ‖row i of a − row j of b‖², by differences, so that equal rows have distance 0. */
export const squaredDistance = (a: Dense, i: number, b: Dense, j: number): number => {
  const x = a.data;
  const y = b.data;
  const end = (i + 1) * a.columns;
  let p = i * a.columns;
  let q = j * b.columns;
  // Four sums, so that additions need not wait for one another.
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  for (; p + 3 < end; p += 4, q += 4) {
    const d0 = x[p] - y[q];
    const d1 = x[p + 1] - y[q + 1];
    const d2 = x[p + 2] - y[q + 2];
    const d3 = x[p + 3] - y[q + 3];
    s0 += d0 * d0;
    s1 += d1 * d1;
    s2 += d2 * d2;
    s3 += d3 * d3;
  }
  for (; p < end; p++, q++) s0 += (x[p] - y[q]) ** 2;
  return s0 + s1 + (s2 + s3);
};
