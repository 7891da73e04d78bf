/** What `birkhoff discover` hands to the report: plain values, nothing on a device. */
import type { ClosureResult } from "../analysis/closure.ts";
import type { StackResult } from "../analysis/elements.ts";
import type { PermutationSet } from "../data/permutations.ts";

export interface Curve {
  /** Curves of one panel share axes; panels appear in order of first mention ("Loss", "Accuracy"). */
  readonly panel: string;
  readonly name: string;
  /** Increasing, as long as `values`. */
  readonly steps: ArrayLike<number>;
  /** Values that are not finite leave a gap, as do values ≤ 0 on a log scale. */
  readonly values: ArrayLike<number>;
  /** share: 0 … 1, shown as per cent. Default linear; the panel takes its first curve's. */
  readonly scale?: "linear" | "log" | "share";
}

export interface Snapshot {
  readonly step: number;
  /** [g, d, d] */
  readonly matrices: Float32Array;
}

export interface KernelImages {
  /** [o, g, h, w]: base kernels (one input channel) as each element turns them. */
  readonly values: Float32Array;
  readonly shape: readonly [o: number, g: number, h: number, w: number];
}

export interface LayerReport {
  readonly name: string;
  readonly description?: string;
  /** Side of a matrix. */
  readonly d: number;
  /** How the d positions lie in an image, h·w = d; with it the page shows a letter pushed through each matrix. */
  readonly layout?: readonly [h: number, w: number];
  /** Element 0 is the identity by construction, default true. */
  readonly fixedIdentity?: boolean;
  /** Oldest first, at least one; the last one is the result. More than 25 are thinned out evenly. */
  readonly snapshots: readonly Snapshot[];
  readonly planted?: PermutationSet;
  /** Of the last snapshot. */
  readonly result: StackResult;
  readonly closure: ClosureResult;
  readonly kernels?: KernelImages;
}

export interface NetworkReport {
  readonly name: string;
  readonly parameters: number;
  /** 0 … 1 */
  readonly heldOutAccuracy?: number;
  readonly heldOutLoss?: number;
  readonly equivarianceError?: number;
  /** The network that this report is about. */
  readonly own?: boolean;
}

export interface DiscoverReport {
  readonly title: string;
  /** The command line that was typed. */
  readonly command: string;
  /** One line: which device. */
  readonly device: string;
  /** For people, shown as it is. */
  readonly date: string;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly task: { readonly name: string; readonly description: string };
  readonly curves: readonly Curve[];
  readonly layers: readonly LayerReport[];
  readonly comparison: readonly NetworkReport[];
  readonly notes: readonly string[];
}
