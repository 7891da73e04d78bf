/** Distances of rows, the same for every selection and every neighbourhood. */
import { type Dense, dense } from "./matrix.ts";

/** How points are compared: by ‖a − b‖, or by direction alone. */
export type PointMetric = "euclidean" | "cosine";
export const POINT_METRICS: readonly PointMetric[] = ["euclidean", "cosine"];

/** Rows of length 1, so that ‖a − b‖² = 2 − 2·cos(a, b) orders them by cosine. Rows of zeros have no direction, and stay. */
export const unitRows = ({ rows, columns, data }: Dense): Dense => {
  const result = dense(rows, columns, data.slice());
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    // The largest entry first: squares neither overflow nor vanish.
    const row = result.data.subarray(i * columns, (i + 1) * columns);
    const largest = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (largest === 0) continue;
    for (const value of row) sum += (value / largest) ** 2;
    const norm = Math.sqrt(sum);
    for (let k = 0; k < columns; k++) row[k] = row[k] / largest / norm;
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
