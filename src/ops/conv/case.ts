/** A case from the sizes of its convolution, whichever of the three ops it is for. */
import { elements, type Op } from "../../op.ts";
import { type Case, type CaseInput, defineCase, summed } from "../../testing/cases.ts";
import type { ConvAttrs } from "./geometry.ts";
import { conv, data, weight } from "./op.ts";

/** Of y = conv(x, w). Lists have one entry per axis. */
export interface Sizes {
  /** Which of the three is computed from the others. Default y. */
  readonly result?: "y" | "x" | "w";
  readonly batch?: number;
  /** Of the whole x and y. */
  readonly channels?: number;
  readonly features?: number;
  /** Of x, w and y; the last follows from the padding unless given. */
  readonly size: readonly number[];
  readonly kernel: readonly number[];
  readonly out?: readonly number[];
  readonly stride?: readonly number[];
  /** Before every axis, then after every axis. */
  readonly padding?: readonly number[];
  readonly dilation?: readonly number[];
  readonly groups?: number;
  readonly bias?: boolean;
}

/** Shapes of x, w and y, and the attributes without those of the result. */
const whole = (sizes: Sizes): { x: number[]; w: number[]; y: number[]; attrs: Pick<ConvAttrs, "stride" | "padding" | "dilation" | "groups"> } => {
  const { batch = 2, channels = 1, features = 1, size, kernel, groups = 1 } = sizes;
  const axes = size.length;
  const { stride = size.map(() => 1), padding = [...size, ...size].map(() => 0), dilation = size.map(() => 1) } = sizes;
  const out = size.map((count, axis) => {
    const padded = count + padding[axis] + padding[axis + axes];
    return Math.floor((padded - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis]) + 1;
  });
  return {
    x: [batch, channels, ...size],
    w: [features, channels / groups, ...kernel],
    y: [batch, features, ...(sizes.out ?? out)],
    attrs: { stride, padding: padding.slice(0, axes), dilation, groups },
  };
};

const OPS: Readonly<Record<"x" | "w" | "y", Op<ConvAttrs>>> = { y: conv, x: data, w: weight };

/** Multiplications of a case of which finite differences are taken at the most: they run the float64 loops hundreds of times. */
const MOST_DIFFERENCED = 100_000;

export const sized = (name: string, sizes: Sizes, more: Partial<Case> = {}): Case => {
  const { result = "y", bias = false } = sizes;
  const { x, w, y, attrs } = whole(sizes);
  const taps = elements(w.slice(2));
  // How many products add up to one element of each.
  const terms = { y: w[1] * taps, x: (w[0] / attrs.groups) * taps, w: y[0] * elements(y.slice(2)) };
  const shapes = { y: [x, w], x: [y, w], w: [y, x] }[result];
  const made = { y, x, w }[result];
  const inputs: CaseInput[] = [...shapes, ...(bias && result !== "w" ? [[made[1]]] : [])].map((shape) => ({ shape }));
  return defineCase({
    name,
    op: OPS[result],
    inputs,
    attrs: { ...attrs, size: made.slice(2) },
    forward: summed(terms[result]),
    backward: summed(Math.max(terms.y, terms.x, terms.w)),
    ...(elements(y) * terms.y > MOST_DIFFERENCED && { finiteDifferences: { off: "the same loops as the small cases, and too many of them" } }),
    ...more,
  });
};
