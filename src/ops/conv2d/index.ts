import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import type { Tensor } from "../../tensor.ts";
import { conv2d as op } from "./op.ts";

/** One number for both axes, or height and width. */
export type Pair = number | readonly [number, number];

export interface Conv2dOptions {
  /** Added to every output channel: [features]. */
  readonly bias?: Tensor;
  /** Default 1. */
  readonly stride?: Pair;
  /** Zeros around the input, default 0. "valid" is 0; "same" keeps height and width and needs stride 1. */
  readonly padding?: Pair | "valid" | "same";
  /** Distance between the taps of the kernel, default 1. */
  readonly dilation?: Pair;
  /** Input and output channels are split into this many groups that do not see each other, default 1. */
  readonly groups?: number;
}

const pair = (value: Pair, least: number, argument: string): [number, number] => {
  const list = typeof value === "number" ? [value, value] : value;
  if (!Array.isArray(list) || list.length !== 2 || !list.every((entry) => Number.isSafeInteger(entry) && entry >= least && entry < 2 ** 24)) {
    throw expected("conv2d", `a whole number of at least ${least}, or two for height and width`, argument, value);
  }
  return [list[0], list[1]];
};

/** Top, left, bottom, right. */
const edges = (w: Tensor, padding: Pair | "valid" | "same", stride: Pair, dilation: readonly number[]): number[] => {
  if (padding === "valid") return [0, 0, 0, 0];
  if (padding !== "same") {
    if (typeof padding === "string") throw expected("conv2d", '"valid", "same", a number or two', "padding", padding);
    const sides = pair(padding, 0, "padding");
    return [...sides, ...sides];
  }
  if (pair(stride, 1, "stride").some((step) => step !== 1)) throw expected("conv2d", 'stride 1 with padding "same"', "stride", stride);
  const totals = [0, 1].map((axis) => dilation[axis] * ((w.shape[axis + 2] ?? 1) - 1));
  return [...totals.map((total) => Math.floor(total / 2)), ...totals.map((total) => Math.ceil(total / 2))];
};

/**
 * Two-dimensional cross-correlation with PyTorch's semantics, differentiable in x, w and bias.
 *
 * y[n, o, i, j] = bias[o] + Σ x[n, c, i·stride + u·dilation − padding, j·stride + v·dilation − padding] · w[o, c, u, v]
 *
 * @param x [batch, channels, height, width]; an empty batch is allowed
 * @param w [features, channels / groups, kernel height, kernel width]
 * @returns [batch, features, height', width'] with height' = ⌊(height + padding − dilation·(kernel − 1) − 1) / stride⌋ + 1
 * (padding of both sides). "same" pads dilation·(kernel − 1) in all, and the odd one at the end.
 * @throws ArgumentError for wrong ranks, dtypes or channels, negative or fractional options, a kernel larger than the
 * padded input, "same" with a stride.
 * @see https://pytorch.org/docs/stable/generated/torch.nn.functional.conv2d.html
 * @example
 * ```ts
 * const x = device.ones([2, 1, 6, 6]);
 * const w = device.ones([4, 1, 3, 3]);
 * conv2d(x, w, { bias: device.zeros([4]), padding: "same" }).shape; // => [2, 4, 6, 6]
 * const y = conv2d(x, w, { stride: 3 });
 * y.shape; // => [2, 4, 2, 2]
 * (await y.read())[0]; // => 9
 * conv2d(x, w, { groups: 2 }); // throws ArgumentError
 * ```
 */
export const conv2d = (x: Tensor, w: Tensor, options: Conv2dOptions = {}): Tensor => {
  const { bias, stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  if (!Number.isSafeInteger(groups) || groups < 1) throw expected("conv2d", "a whole number of at least 1", "groups", groups);
  for (const [argument, value] of Object.entries({ x, w })) {
    if (!Array.isArray(value?.shape)) throw expected("conv2d", "a tensor", argument, value);
  }
  const steps = pair(dilation, 1, "dilation");
  const attrs = { stride: pair(stride, 1, "stride"), padding: edges(w, padding, stride, steps), dilation: steps, groups };
  return apply(op, bias === undefined ? [x, w] : [x, w, bias], attrs)[0];
};
