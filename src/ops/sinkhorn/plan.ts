/** Shapes and limits to GPU passes: plain runs of tiny matrices, one workgroup or less per matrix up to a side of 128, several beyond. */
import type { Call, Limits, Plan } from "../../op.ts";
import { inSlices } from "../../slices.ts";
import { type BackwardAttrs, type ForwardAttrs, isTiny, orient, type TinyAttrs } from "./geometry.ts";
import * as resident from "./plan-resident.ts";
import * as streamed from "./plan-streamed.ts";
import * as tiny from "./plan-tiny.ts";

export { RESIDENT } from "./plan-resident.ts";

/** The regime of runs that are not tiny. It depends on the size of a matrix alone, so that any split of a batch gives the same bits. */
const regime = (call: Call<ForwardAttrs> | Call<BackwardAttrs>): typeof resident | typeof streamed => {
  const { n, m } = orient(call.inputs[0].shape, call.attrs.order);
  return Math.max(n, m) <= resident.RESIDENT[resident.RESIDENT.length - 1].n ? resident : streamed;
};

/** Axes of one operand; all others are vectors. */
const MATRICES = ["logits", "matrix", "mask", "gradient"];
const ranks = (first: readonly string[], operands: string) => ({
  inputs: [...first, ...operands.split(" ")].map((name) => (MATRICES.includes(name) ? 2 : 1)),
  outputs: [2, 1],
});

export const forward = (call: Call<ForwardAttrs>, limits: Limits): Plan =>
  inSlices(call, limits, ranks(["logits"], call.attrs.operands), isTiny(call.inputs[0].shape, call.attrs) ? tiny.forward : regime(call).forward);
export const backward = (call: Call<BackwardAttrs>, limits: Limits): Plan =>
  inSlices(call, limits, ranks(["matrix", "record"], call.attrs.operands), regime(call).backward);
export const tinyBackward = (call: Call<TinyAttrs>, limits: Limits): Plan => inSlices(call, limits, { inputs: [2, 2], outputs: [2] }, tiny.backward);
export const implicit = (call: Call<BackwardAttrs>, limits: Limits): Plan =>
  inSlices(call, limits, ranks(["matrix", "record"], call.attrs.operands), regime(call).implicit);
