/**
 * Convolution with a kernel that is expanded through a stack of matrices: the part that learned and fixed groups share.
 * The stack says what each group element does to the canonical kernel; the identity comes first and costs nothing.
 */

import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";
import { convolveShared, KernelCache, type Sharing, type SinkhornSettings, sinkhornSettings } from "./weightSharingConv.ts";

export type Padding = number | "valid" | "same";

/** What a layer with learned matrices shows to regularisers and reports. */
export interface LearnedStack {
  /** Logits of the matrices of the elements after the identity: [g − 1, d, d]. */
  readonly representations: Tensor;
  /** The doubly stochastic matrices, [g − 1, d, d]. */
  stack(): Tensor;
}

export abstract class ExpandedConv2d extends Module {
  /** Canonical kernel: [Cout, Cin, k, k] for lifting, [Cout, Cin, g_in, k, k] from a group. */
  abstract readonly weight: Tensor;
  /** One number per output channel, shared by all group elements and positions: [Cout]. */
  abstract readonly bias: Tensor;
  readonly #padding: Padding;
  readonly #settings: Required<SinkhornSettings>;
  readonly #cache = new KernelCache();

  constructor(where: string, padding: Padding, settings: SinkhornSettings = {}) {
    super();
    this.#padding = padding;
    this.#settings = sinkhornSettings(where, settings);
  }

  /** How the elements after the identity act. */
  protected abstract sharing(): Sharing;

  /** The stacks that are learned, if any: two where the matrices are a product. */
  abstract get stacks(): readonly LearnedStack[];

  protected get settings(): Required<SinkhornSettings> {
    return this.#settings;
  }

  /** The kernel of an ordinary convolution: [Cout·g, Cin·g_in, k, k]. Computed anew only when a parameter has changed, or where its gradient is wanted. */
  expandedKernel(): Tensor {
    return this.#cache.kernel(this.constructor.name, this.sharing(), this.weight, { ...this.#settings, identity: true });
  }

  /**
   * @param x [B, Cin, H, W] for lifting, [B, Cin, g_in, H, W] otherwise
   * @returns [B, Cout, g, H', W']
   */
  forward(x: Tensor): Tensor {
    const { bias, weight } = this;
    const options = { ...this.#settings, bias, padding: this.#padding, cache: this.#cache };
    return convolveShared(this.constructor.name, x, this.sharing(), weight, options);
  }

  override dispose(): void {
    super.dispose();
    this.#cache.dispose();
  }
}
