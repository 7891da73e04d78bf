/** The sizes of a convolution, named once for the shape rules, the reference and the plan. */
import type { Call, Shape } from "../../op.ts";

/** What the three ops share. Lists have one entry per spatial axis, outermost first. */
export interface ConvAttrs extends Record<string, number | readonly number[]> {
  readonly stride: readonly number[];
  /** Before the first element of each axis. What comes after the last one follows from `size`, and may be negative: then elements stay unread. */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
  /** Spatial sizes of the op's result, which those of its inputs leave open. */
  readonly size: readonly number[];
}

/** One, two or three spatial axes as three: those that are missing come first, with a size of 1. */
export interface Geometry {
  readonly batch: number;
  readonly groups: number;
  /** Input and output channels of one group. */
  readonly channels: number;
  readonly features: number;
  /** Of x, w and y. */
  readonly size: readonly number[];
  readonly kernel: readonly number[];
  readonly out: readonly number[];
  readonly stride: readonly number[];
  readonly start: readonly number[];
  readonly dilation: readonly number[];
}

const AXES = 3;
const padAxes = (list: readonly number[], filler: number): number[] => [...new Array<number>(AXES - list.length).fill(filler), ...list];

/** Of y[n, o, i] = Σ x[n, c, i·stride + u·dilation − padding] · w[o, c, u], whichever of the three is computed from the others. */
export const geometry = (x: Shape, w: Shape, y: Shape, { stride, padding, dilation, groups }: ConvAttrs): Geometry => ({
  batch: x[0],
  groups,
  channels: w[1],
  features: w[0] / groups,
  size: padAxes(x.slice(2), 1),
  kernel: padAxes(w.slice(2), 1),
  out: padAxes(y.slice(2), 1),
  stride: padAxes(stride, 1),
  start: padAxes(padding, 0),
  dilation: padAxes(dilation, 1),
});

type ConvCall = Pick<Call<ConvAttrs>, "inputs" | "outputs" | "attrs">;

export const ofForward = ({ inputs: [x, w], outputs: [y], attrs }: ConvCall): Geometry => geometry(x.shape, w.shape, y.shape, attrs);
export const ofData = ({ inputs: [y, w], outputs: [x], attrs }: ConvCall): Geometry => geometry(x.shape, w.shape, y.shape, attrs);
export const ofWeight = ({ inputs: [y, x], outputs: [w], attrs }: ConvCall): Geometry => geometry(x.shape, w.shape, y.shape, attrs);
