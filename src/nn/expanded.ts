/**
 * Convolution with a kernel that is expanded through a stack of matrices: the part that learned and fixed groups share.
 * The stack says what each group element does to the canonical kernel; the identity comes first and costs nothing.
 */

import { mul } from "../ops/elementwise/index.ts";
import { reshape } from "../ops/shape/index.ts";
import { scope } from "../scope.ts";
import { Tensor } from "../tensor.ts";
import type { LearnedStack, MatrixSource } from "./matrices.ts";
import { Module } from "./module.ts";
import { everyElement, type PlainLayer, type PlainModule } from "./plain.ts";
import { convolveShared, type Dimensions, KernelCache } from "./weightSharingConv.ts";

export type Padding = number | "valid" | "same";

export abstract class ExpandedConv extends Module implements PlainModule {
  /** Canonical kernel: [Cout, Cin, k, …] for lifting, [Cout, Cin, g_in, k, …] from a group. */
  abstract readonly weight: Tensor;
  /** One number per output channel, shared by all group elements and positions: [Cout]. */
  abstract readonly bias: Tensor;
  readonly #where: string;
  readonly #padding: Padding;
  readonly #dimensions: Dimensions;
  readonly #cache = new KernelCache();

  constructor(where: string, dimensions: Dimensions, padding: Padding = 0) {
    super();
    this.#where = where;
    this.#dimensions = dimensions;
    this.#padding = padding;
  }

  get padding(): Padding {
    return this.#padding;
  }

  /** Axes of the images. */
  get dimensions(): Dimensions {
    return this.#dimensions;
  }

  /** How the elements after the identity act. */
  protected abstract source(): MatrixSource;

  /** The stacks that are learned, if any: two where the matrices are a product. */
  abstract get stacks(): readonly LearnedStack[];

  /** What the elements after the identity do to a canonical kernel as a whole, products multiplied out: [g − 1, d, d], or int32 positions [g − 1, d] of a fixed group. */
  action(): Tensor {
    return scope(() => {
      const R = this.source().make();
      if (R instanceof Tensor) return R.dtype === "float32" ? R : R.detach();
      const [count, p] = R.group.shape;
      const s = R.space.shape[1];
      return reshape(mul(reshape(R.group, [count, p, 1, p, 1]), reshape(R.space, [count, 1, s, 1, s])), [count, p * s, p * s]);
    });
  }

  /** The kernel of an ordinary convolution: [Cout·g, Cin·g_in, k, …]. Computed anew only when a parameter has changed, or where its gradient is wanted. */
  expandedKernel(): Tensor {
    return this.#cache.kernel(this.#where, this.source(), this.weight, { identity: true, dimensions: this.#dimensions });
  }

  /**
   * @param x [B, Cin, H, W] for lifting, [B, Cin, g_in, H, W] otherwise; one or three axes in place of two in 1D and 3D
   * @returns [B, Cout, g, H', W']
   */
  forward(x: Tensor): Tensor {
    const { bias, weight } = this;
    const options = { bias, padding: this.#padding, dimensions: this.#dimensions, cache: this.#cache };
    return convolveShared(this.#where, x, this.source(), weight, options);
  }

  /** One convolution: [B, Cin·g_in, …] → [B, Cout·g, …] */
  plainLayers(): PlainLayer[] {
    const weight = this.expandedKernel();
    const [channels] = this.bias.shape;
    const group = weight.shape[0] / channels;
    return [{ kind: "conv", weight, bias: everyElement(this.bias, group), padding: this.#padding }];
  }

  override dispose(): void {
    super.dispose();
    this.#cache.dispose();
  }
}
