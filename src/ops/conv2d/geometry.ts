/** The sizes of a convolution, named once for the shape rules, the reference and the plan. */
import type { Shape } from "../../op.ts";

export interface ConvAttrs extends Record<string, number | readonly number[]> {
  /** Per axis: height, width. */
  readonly stride: readonly number[];
  /** Top, left, bottom, right. */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
}

export interface DataAttrs extends ConvAttrs {
  /** Height and width of the gradient: the stride hides how large the input was. */
  readonly size: readonly number[];
}

export interface WeightAttrs extends ConvAttrs {
  /** Height and width of the kernel. */
  readonly kernel: readonly number[];
}

export interface Geometry {
  readonly batch: number;
  readonly groups: number;
  /** Input and output channels of one group. */
  readonly channels: number;
  readonly features: number;
  /** Input, kernel and output: height, width. */
  readonly size: readonly number[];
  readonly kernel: readonly number[];
  readonly out: readonly number[];
  readonly stride: readonly number[];
  /** Top, left. */
  readonly start: readonly number[];
  readonly dilation: readonly number[];
}

/** Output size along one axis: below 1 when the kernel does not fit. */
const outSize = (axis: number, size: number, kernel: number, { stride, padding, dilation }: ConvAttrs): number =>
  Math.floor((size + padding[axis] + padding[axis + 2] - dilation[axis] * (kernel - 1) - 1) / stride[axis]) + 1;

export const geometry = (x: Shape, w: Shape, attrs: ConvAttrs): Geometry => ({
  batch: x[0],
  groups: attrs.groups,
  channels: w[1],
  features: w[0] / attrs.groups,
  size: [x[2], x[3]],
  kernel: [w[2], w[3]],
  out: [outSize(0, x[2], w[2], attrs), outSize(1, x[3], w[3], attrs)],
  stride: attrs.stride,
  start: [attrs.padding[0], attrs.padding[1]],
  dilation: attrs.dilation,
});
