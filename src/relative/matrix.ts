/** Matrices on the host: what the host side of relative representations takes and gives. */
import { checkInteger, expected } from "../errors.ts";

/**
 * A matrix in the host's memory, row-major: `decodeNpy` gives such objects, and `device.tensor(data, shape)` takes their parts.
 *
 * @example
 * ```ts
 * const points: HostMatrix = { shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) };
 * device.tensor(points.data, points.shape).shape; // => [2, 3]
 * ```
 */
export interface HostMatrix {
  /** [rows, columns] */
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array;
}

/** Internal: a matrix that was checked, or computed here, in float64. */
export interface Dense {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

/** The distance of 1 to the next number of the type that the values came in: what is smaller, relative to the largest, may be rounding errors. */
export const roundingOf = ({ data }: HostMatrix): number => (data instanceof Float32Array ? 2 ** -23 : 2 ** -52);

export const dense = (rows: number, columns: number, data: Float64Array = new Float64Array(rows * columns)): Dense => ({ rows, columns, data });

export const hostMatrix = ({ rows, columns, data }: Dense): HostMatrix => ({ shape: [rows, columns], data });

/** Squares of what is larger, and sums of many, might overflow. */
const LARGEST = 1e150;

/** Throws unless `value` is a matrix of finite numbers with at least one row and one column; returns it in float64 (a copy). */
export const checkMatrix = (where: string, argument: string, value: HostMatrix): Dense => {
  const { shape, data } = value ?? {};
  if (!(data instanceof Float32Array || data instanceof Float64Array))
    throw expected(where, "a matrix { shape: [rows, columns], data: Float32Array or Float64Array }", argument, data === undefined ? value : data);
  if (!Array.isArray(shape) || shape.length !== 2 || !shape.every((size) => Number.isInteger(size) && size > 0))
    throw expected(where, "shape [rows, columns] with at least one of each", argument, shape);
  const [rows, columns] = shape as [number, number];
  if (data.length !== rows * columns) throw expected(where, `${rows}·${columns} values`, argument, data.length);
  for (let i = 0; i < data.length; i++) {
    if (!(Math.abs(data[i]) <= LARGEST))
      throw expected(where, `finite numbers of at most ${LARGEST}`, argument, `${data[i]} in row ${Math.floor(i / columns)}, column ${i % columns}`);
  }
  return dense(rows, columns, Float64Array.from(data));
};

/** Throws unless both have as many rows: rows of the same number belong together. */
export const checkPaired = (where: string, x: { readonly rows: number }, y: { readonly rows: number }): void => {
  if (x.rows !== y.rows) throw expected(where, `${x.rows} rows like \`x\``, "y", `${y.rows} rows`);
};

/** Throws for names that are no options: a misspelt one would be ignored. */
export const checkChoice = (where: string, argument: string, value: string, choices: readonly string[]): void => {
  if (!choices.includes(value)) throw expected(where, `one of ${choices.join(", ")}`, argument, value);
};

/** Labels as whole numbers from 0, as many as there are rows. */
export const checkLabels = (where: string, argument: string, labels: ArrayLike<number>, count?: number): Int32Array => {
  if (typeof labels?.length !== "number" || typeof labels === "string") throw expected(where, "an array of labels", argument, labels);
  if (count !== undefined && labels.length !== count) throw expected(where, `${count} labels`, argument, labels.length);
  return Int32Array.from({ length: labels.length }, (_, i) => {
    const label = labels[i];
    if (!Number.isInteger(label) || label < 0 || label >= 2 ** 31)
      throw expected(where, "whole numbers from 0", argument, `${String(label)} at position ${i}`);
    return label;
  });
};

/**
 * Rows by number, in the given order: the anchors themselves from the indices that a selection gives.
 *
 * @throws ArgumentError for a matrix that is none or not finite, and indices that are no rows of it.
 * @example
 * ```ts
 * const points = { shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) };
 * takeRows(points, [2, 0]).data; // => [5, 6, 1, 2]
 * takeRows(points, [3]); // throws ArgumentError
 * ```
 */
export const takeRows = (matrix: HostMatrix, indices: ArrayLike<number>): HostMatrix => {
  const { rows, columns } = checkMatrix("takeRows", "matrix", matrix);
  if (typeof indices?.length !== "number") throw expected("takeRows", "an array of row numbers", "indices", indices);
  const data = matrix.data instanceof Float64Array ? new Float64Array(indices.length * columns) : new Float32Array(indices.length * columns);
  for (let i = 0; i < indices.length; i++) {
    checkInteger("takeRows", "indices", indices[i], 0, rows - 1);
    data.set(matrix.data.subarray(indices[i] * columns, (indices[i] + 1) * columns), i * columns);
  }
  return { shape: [indices.length, columns], data };
};
