/** Products of matrices, in float64. */
import { elements, type ReferenceRun, type Shape, strides } from "../../op.ts";
import { broadcastShapes, broadcastStrides, walk } from "../../shapes.ts";

export interface MatmulAttrs extends Record<string, boolean | readonly number[]> {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Batch axes of the result: where it has size 1 (or no axis) and the operands more, the products are summed. */
  readonly batch: readonly number[];
}

export interface MatmulSizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Batch axes of all products, and strides along them into a, b and the result, in elements. */
  readonly batch: Shape;
  readonly a: readonly number[];
  readonly b: readonly number[];
  readonly c: readonly number[];
}

/** What a product of two stored matrices walks over; the stored matrices lie densely behind each other. */
export const matmulSizes = (a: Shape, b: Shape, { transposeA, transposeB, batch }: MatmulAttrs): MatmulSizes => {
  const [m, k] = transposeA ? [a[a.length - 1], a[a.length - 2]] : [a[a.length - 2], a[a.length - 1]];
  const n = transposeB ? b[b.length - 2] : b[b.length - 1];
  const [batchA, batchB] = [a.slice(0, -2), b.slice(0, -2)];
  const all = broadcastShapes("matmul", batchA, batchB);
  const scaled = (own: Shape, matrix: number): number[] => broadcastStrides(own, all).map((stride) => stride * matrix);
  return { m, n, k, batch: all, a: scaled(batchA, m * k), b: scaled(batchB, k * n), c: scaled(batch, m * n) };
};

export const matmul = ({ call, inputs: [a, b, bias], outputs: [c] }: ReferenceRun<MatmulAttrs>): void => {
  const { transposeA, transposeB } = call.attrs;
  const { m, n, k, batch, ...steps } = matmulSizes(call.inputs[0].shape, call.inputs[1].shape, call.attrs);
  for (let i = 0; i < c.length; i++) c[i] = bias ? bias[i % n] : 0;
  walk({ sizes: batch, strides: [steps.a, steps.b, steps.c] }, (atA, atB, atC) => {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let total = 0;
        for (let l = 0; l < k; l++) total += a[atA + (transposeA ? l * m + i : i * k + l)] * b[atB + (transposeB ? j * k + l : l * n + j)];
        c[atC + i * n + j] += total;
      }
    }
  });
};

export const biasBackward = ({ call, inputs: [g], outputs: [d] }: ReferenceRun): void => {
  const { shape } = call.inputs[0];
  const [n] = strides(shape).slice(-2);
  d.fill(0);
  for (let i = 0; i < elements(shape); i++) d[i % n] += g[i];
};
