/** Shapes and limits to GPU passes: one workgroup or less per matrix up to a side of 128, several beyond. */
import type { Call, Limits, Plan } from "../../op.ts";
import { type BackwardAttrs, type ForwardAttrs, orient } from "./geometry.ts";
import * as resident from "./plan-resident.ts";
import * as streamed from "./plan-streamed.ts";

export { RESIDENT } from "./plan-resident.ts";
export { LARGE_PANELS } from "./plan-streamed.ts";

/** The plan of the regime that a matrix of this size is in; it depends on nothing else, so that any split of a batch gives the same bits. */
const regime = <A extends ForwardAttrs | BackwardAttrs>(call: Call<A>): typeof resident | typeof streamed => {
  const { n, m } = orient(call.inputs[0].shape, call.attrs.order);
  return Math.max(n, m) <= resident.RESIDENT[resident.RESIDENT.length - 1].n ? resident : streamed;
};

export const forward = (call: Call<ForwardAttrs>, limits: Limits): Plan => regime(call).forward(call, limits);
export const backward = (call: Call<BackwardAttrs>, limits: Limits): Plan => regime(call).backward(call, limits);
export const implicit = (call: Call<BackwardAttrs>, limits: Limits): Plan => regime(call).implicit(call, limits);
