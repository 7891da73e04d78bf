/** What the shapes of a call say. */
import { elements, type Shape } from "../../op.ts";

export type ExpandAttrs = {
  /** Whether group element 0 is the identity, which R leaves out. */
  readonly identity: boolean;
};

/** `matrices` in R, `elements` of the group, `kernels` = cout·cin canonical ones of d numbers. */
export interface Sizes {
  readonly matrices: number;
  readonly elements: number;
  readonly cout: number;
  readonly cin: number;
  readonly kernels: number;
  readonly d: number;
}

/** d = p·s: p positions on the group axis, s behind it. */
export interface FactorSizes extends Sizes {
  readonly p: number;
  readonly s: number;
}

export const sizesOf = ([matrices]: Shape, [cout, cin, ...rest]: Shape, identity: boolean): Sizes => ({
  matrices,
  elements: matrices + (identity ? 1 : 0),
  cout,
  cin,
  kernels: cout * cin,
  d: elements(rest),
});

export const factorSizesOf = (group: Shape, space: Shape, w: Shape, identity: boolean): FactorSizes => ({
  ...sizesOf(group, w, identity),
  p: group[1],
  s: space[1],
});
