/** What a module is to readers that know ordinary layers only. */
import type { Tensor } from "../tensor.ts";

/** One ordinary layer on [B, C, …]. Group axes lie side by side in the channels. */
export type PlainLayer =
  /** Weight [Cout, Cin, k, …], stride 1. */
  | { readonly kind: "conv"; readonly weight: Tensor; readonly bias?: Tensor; readonly padding: number | "valid" | "same" }
  /** Mean 0 and variance 1 over all that a sample has. */
  | { readonly kind: "norm"; readonly eps: number }
  | { readonly kind: "relu" }
  /** Windows that do not overlap. */
  | { readonly kind: "maxPool"; readonly size: number }
  /** Mean over positions: [B, C, …] → [B, C] */
  | { readonly kind: "globalMean" }
  /** Weight [out, in]. */
  | { readonly kind: "linear"; readonly weight: Tensor; readonly bias?: Tensor };

/** A module that is a sequence of ordinary layers. */
export interface PlainModule {
  /** The layers in order, with tensors as they are now; those made on the way are the caller's own. */
  plainLayers(): PlainLayer[];
}
