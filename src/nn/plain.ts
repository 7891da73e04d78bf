/** What a module is to readers that know ordinary layers only. */
import { expand, reshape } from "../ops/shape/index.ts";
import { scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";

/** One ordinary layer on [B, C, …]. Group axes lie side by side in the channels. */
export type PlainLayer =
  /** Weight [Cout, Cin, k, …], stride 1. */
  | { readonly kind: "conv"; readonly weight: Tensor; readonly bias?: Tensor; readonly padding: number | "valid" | "same" }
  /** Mean 0 and variance 1 over all that a sample has in each of `groups` equal runs of channels, one after the other. Default 1: over all that it has. */
  | { readonly kind: "norm"; readonly groups?: number; readonly eps: number }
  /** weight·(x − mean) / √(variance + eps) + bias, a number of each for every channel: batch norm as it evaluates. */
  | {
      readonly kind: "batchNorm";
      readonly weight: Tensor;
      readonly bias: Tensor;
      readonly mean: Tensor;
      readonly variance: Tensor;
      readonly eps: number;
    }
  | { readonly kind: "relu" }
  /** Windows that do not overlap. */
  | { readonly kind: "maxPool"; readonly size: number }
  /** Mean over positions: [B, C, …] → [B, C] */
  | { readonly kind: "globalMean" }
  /** Weight [out, in]. */
  | { readonly kind: "linear"; readonly weight: Tensor; readonly bias?: Tensor }
  /** What the layers make of x, plus what those of the shortcut make of it; without any, x itself. */
  | { readonly kind: "residual"; readonly layers: readonly PlainLayer[]; readonly shortcut: readonly PlainLayer[] };

/** A number per channel for each of its g group elements: [C] → [C·g]. */
export const everyElement = (values: Tensor, g: number): Tensor => {
  const [channels] = values.shape;
  return scope(() => reshape(expand(reshape(values, [channels, 1]), [channels, g]), [channels * g]));
};

/** A module that is a sequence of ordinary layers. */
export interface PlainModule {
  /** The layers in order, with tensors as they are now; those made on the way are the caller's own. */
  plainLayers(): PlainLayer[];
}
