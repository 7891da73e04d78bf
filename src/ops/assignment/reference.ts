import { elements, type ReferenceRun, type Shape } from "../../op.ts";

/** [..., rows, columns] seen as [batch, rows, columns]. */
export const split = (shape: Shape): { readonly batch: number; readonly rows: number; readonly columns: number } => {
  const [rows, columns] = shape.slice(-2);
  return { batch: elements(shape.slice(0, -2)), rows, columns };
};

/** scores [..., n, m] -> columns [..., n]: all entries from the largest on, each assigned when its row and column still are free. */
export const greedy = ({ call, inputs: [scores], outputs: [result], fault }: ReferenceRun): void => {
  const { batch, rows, columns } = split(call.inputs[0].shape);
  result.fill(-1);
  for (let b = 0; b < batch; b++) {
    const matrix = scores.subarray(b * rows * columns, (b + 1) * rows * columns);
    for (const score of matrix) if (Number.isNaN(score)) fault(score);
    // Sorting is stable, and − 0 equals 0: of equals the first stays first.
    const order = Array.from(matrix.keys()).sort((i, j) => (matrix[i] < matrix[j] ? 1 : matrix[i] > matrix[j] ? -1 : 0));
    const taken = new Uint8Array(columns);
    for (const i of order) {
      const [row, column] = [Math.floor(i / columns), i % columns];
      if (result[b * rows + row] >= 0 || taken[column] !== 0) continue;
      result[b * rows + row] = column;
      taken[column] = 1;
    }
  }
};

export interface MatrixAttrs extends Record<string, number> {
  readonly columns: number;
}

/** assignment [..., n] -> hard matrices [..., n, columns]: row i is 1 at its column, and 0 everywhere when that is −1. */
export const matrix = ({ call, inputs: [assignment], outputs: [result], fault }: ReferenceRun<MatrixAttrs>): void => {
  const { columns } = call.attrs;
  result.fill(0);
  for (const [i, column] of assignment.entries()) {
    if (column < -1 || column >= columns) fault(column);
    else if (column >= 0) result[i * columns + column] = 1;
  }
};
