/** Means and deviations of the columns of a matrix. */
import type { Dense } from "./matrix.ts";

export interface ColumnStatistics {
  readonly mean: Float64Array;
  /** What centred values are divided by: the deviation, or 1 where there is none. */
  readonly scale: Float64Array;
}

/** A deviation below this share of the mean is rounding errors of a constant. */
const CONSTANT = 1e-12;

/** Mean 0 and scale 1 for "none", the means and scale 1 for "centre", the means and population deviations (divisor n) for "standardise". */
export const columnStatistics = ({ rows, columns, data }: Dense, level: "none" | "centre" | "standardise"): ColumnStatistics => {
  const mean = new Float64Array(columns);
  const scale = new Float64Array(columns).fill(1);
  if (level === "none") return { mean, scale };
  // The second pass corrects the rounding of the first: constants have exactly their mean.
  for (let pass = 0; pass < 2; pass++) {
    const sums = new Float64Array(columns);
    for (let i = 0; i < data.length; i++) sums[i % columns] += data[i] - mean[i % columns];
    for (let j = 0; j < columns; j++) mean[j] += sums[j] / rows;
  }
  if (level === "centre") return { mean, scale };
  const squares = new Float64Array(columns);
  for (let i = 0; i < data.length; i++) squares[i % columns] += (data[i] - mean[i % columns]) ** 2;
  for (let j = 0; j < columns; j++) {
    const deviation = Math.sqrt(squares[j] / rows);
    if (deviation > CONSTANT * Math.abs(mean[j])) scale[j] = deviation;
  }
  return { mean, scale };
};

/** The matrix minus the means of its columns. */
export const centred = (x: Dense): Dense => {
  const { mean } = columnStatistics(x, "centre");
  return { ...x, data: x.data.map((value, i) => value - mean[i % x.columns]) };
};
