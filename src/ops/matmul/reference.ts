/** Products of matrices, in float64. */
import type { ReferenceRun, Shape } from "../../op.ts";
import { broadcastShapes, broadcastStrides, walk } from "../../shapes.ts";
import { type Activation, UNARY } from "../elementwise/reference.ts";

export interface MatmulAttrs extends Record<string, boolean | string | readonly number[]> {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Batch axes of the result: where it has size 1 (or no axis) and the operands more, the products are summed. */
  readonly batch: readonly number[];
  readonly activation: Activation | "none";
  /** Whether output 1 is what the activation is applied to. */
  readonly keeps: boolean;
}

/** The sizes of a product depend on these alone. */
export type ShapeAttrs = Pick<MatmulAttrs, "transposeA" | "transposeB" | "batch">;

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
export const matmulSizes = (a: Shape, b: Shape, { transposeA, transposeB, batch }: ShapeAttrs): MatmulSizes => {
  const [m, k] = transposeA ? [a[a.length - 1], a[a.length - 2]] : [a[a.length - 2], a[a.length - 1]];
  const n = transposeB ? b[b.length - 2] : b[b.length - 1];
  const [batchA, batchB] = [a.slice(0, -2), b.slice(0, -2)];
  const all = broadcastShapes("matmul", batchA, batchB);
  const scaled = (own: Shape, matrix: number): number[] => broadcastStrides(own, all).map((stride) => stride * matrix);
  return { m, n, k, batch: all, a: scaled(batchA, m * k), b: scaled(batchB, k * n), c: scaled(batch, m * n) };
};

export const matmul = ({ call, inputs: [a, b, bias], outputs: [c, z] }: ReferenceRun<MatmulAttrs>): void => {
  const { transposeA, transposeB, activation } = call.attrs;
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
  z?.set(c);
  if (activation !== "none") c.set(c.map(UNARY[activation].value));
};

export interface BiasAttrs extends Record<string, string> {
  readonly activation: Activation | "none";
}

/** Sums of the columns of d: of g itself, or through the derivative of an activation, with d the second output. */
export const biasBackward = ({ call, inputs: [g, saved], outputs: [sums, d] }: ReferenceRun<BiasAttrs>): void => {
  const { activation } = call.attrs;
  const n = call.outputs[0].shape[0];
  sums.fill(0);
  for (let i = 0; i < g.length; i++) {
    const part = activation === "none" ? g[i] : g[i] * UNARY[activation].derivative(saved[i]);
    sums[i % n] += part;
    if (d) d[i] = part;
  }
};
