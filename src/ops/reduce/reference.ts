import { elements, type ReferenceRun, type Shape, strides } from "../../op.ts";
import { collapse, walk } from "../../shapes.ts";

export const KINDS = ["sum", "mean", "max", "min", "logsumexp"] as const;
export type ReduceKind = (typeof KINDS)[number];

export interface ReduceAttrs extends Readonly<Record<string, number | boolean | string | readonly number[]>> {
  readonly kind: ReduceKind;
  /** Distinct, non-negative, in rising order. */
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}
export interface ArgmaxAttrs extends Readonly<Record<string, number | boolean | string | readonly number[]>> {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}
export interface BackwardAttrs extends Readonly<Record<string, number | boolean | string | readonly number[]>> {
  readonly kind: ReduceKind;
  readonly axes: readonly number[];
  /** Of x: sum and mean bring no tensor of that shape along. */
  readonly shape: readonly number[];
}

/** The shape of x without the summed axes, or with size 1 in their place. */
export const reducedShape = (shape: Shape, axes: readonly number[], keepDims: boolean): number[] =>
  keepDims ? shape.map((size, axis) => (axes.includes(axis) ? 1 : size)) : shape.filter((_, axis) => !axes.includes(axis));

/** x in the fewest axes, each either kept or summed over, with the step in the result: 0 along the summed ones. */
export const splitAxes = (shape: Shape, axes: readonly number[]): { sizes: readonly number[]; steps: readonly number[]; own: readonly number[] } => {
  const kept = strides(reducedShape(shape, axes, true));
  const {
    sizes,
    strides: [own, steps],
  } = collapse(shape, [strides(shape), kept.map((step, axis) => (axes.includes(axis) ? 0 : step))]);
  return { sizes, steps, own };
};

/** Calls `visit` with every place of x and the place of the result that it belongs to, in x's order. */
const visitAll = (shape: Shape, axes: readonly number[], visit: (x: number, y: number) => void): void => {
  const { sizes, steps, own } = splitAxes(shape, axes);
  if (elements(shape) > 0) walk({ sizes, strides: [own, steps] }, visit);
};

export const termsOf = (shape: Shape, axes: readonly number[]): number => axes.reduce((product, axis) => product * shape[axis], 1);

/** y, and for max and min the number of entries that attain it. */
export const forward = ({ call, inputs: [x], outputs: [y, ties] }: ReferenceRun<ReduceAttrs>): void => {
  const { kind, axes } = call.attrs;
  const [{ shape }] = call.inputs;
  if (kind === "sum" || kind === "mean") {
    const terms = termsOf(shape, axes);
    y.fill(0);
    visitAll(shape, axes, (i, o) => {
      y[o] += x[i];
    });
    if (kind === "mean") for (let o = 0; o < y.length; o++) y[o] /= terms;
    return;
  }
  const sign = kind === "min" ? -1 : 1;
  y.fill(-sign * Number.POSITIVE_INFINITY);
  visitAll(shape, axes, (i, o) => {
    if (Number.isNaN(x[i]) || sign * x[i] > sign * y[o]) y[o] = x[i];
  });
  if (kind === "logsumexp") {
    const sums = new Float64Array(y.length);
    visitAll(shape, axes, (i, o) => {
      sums[o] += x[i] === y[o] ? 1 : Math.exp(x[i] - y[o]);
    });
    for (let o = 0; o < y.length; o++) y[o] = sums[o] === 0 ? Number.NEGATIVE_INFINITY : y[o] + Math.log(sums[o]);
    return;
  }
  ties.fill(0);
  visitAll(shape, axes, (i, o) => {
    if (x[i] === y[o] || (Number.isNaN(x[i]) && Number.isNaN(y[o]))) ties[o]++;
  });
};

/** Where the largest entry of each row stands, counted along the axes in row-major order; NaN is larger than all, the first of equals wins. */
export const argmax = ({ call, inputs: [x], outputs: [y] }: ReferenceRun<ArgmaxAttrs>): void => {
  const most = new Float64Array(y.length);
  const seen = new Int32Array(y.length);
  visitAll(call.inputs[0].shape, call.attrs.axes, (i, o) => {
    const place = seen[o]++;
    if (place === 0 || x[i] > most[o] || (Number.isNaN(x[i]) && !Number.isNaN(most[o]))) {
      most[o] = x[i];
      y[o] = place;
    }
  });
};

/** What one unit of the result's gradient brings to an entry of x. */
const factor = (kind: ReduceKind, terms: number, x: number, y: number, ties: number): number => {
  switch (kind) {
    case "sum":
      return 1;
    case "mean":
      return 1 / terms;
    case "logsumexp":
      return y === Number.NEGATIVE_INFINITY ? 0 : Math.exp(x - y);
    default:
      return Number.isNaN(y) ? Number.NaN : x === y ? 1 / ties : 0;
  }
};

/** Inputs g; then x and y where the kind needs them; then the ties of max and min. */
export const backward = ({ call, inputs: [g, x, y, ties], outputs: [dx] }: ReferenceRun<BackwardAttrs>): void => {
  const { kind, axes, shape } = call.attrs;
  const terms = termsOf(shape, axes);
  visitAll(shape, axes, (i, o) => {
    dx[i] = g[o] * factor(kind, terms, x?.[i] ?? 0, y?.[o] ?? 0, ties?.[o] ?? 1);
  });
};
