/** The weight-sharing layer of the toy problems. */
import { checkNames } from "../errors.ts";
import { linear } from "../ops/matmul/index.ts";
import { reshape } from "../ops/shape/index.ts";
import { allOrNone, scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import { gaussian, type Initializer } from "./init.ts";
import { checkCount } from "./layers.ts";
import { checkGiven, checkMatrices, LearnedMatrices, type LearnedStack, MATRIX_NAMES, type MatrixOptions, matrixOptions } from "./matrices.ts";
import { Module } from "./module.ts";
import { KernelCache } from "./weightSharingConv.ts";

/**
 * The lifting layer without sliding, for signals as long as the kernel: x [B, d] → [B, C·g], responses of C kernels
 * through g − 1 learned matrices and the identity (the paper's toy problems, appendix B). No bias. Kernels start as
 * N(0, deviation²), deviation 0.3 unless told otherwise, logits as U[0, 1).
 *
 * @throws ArgumentError for sizes that are no positive integers, settings out of range, matrices of another shape, and, from `forward`, for another last axis of x.
 * @example
 * ```ts
 * const layer = new WeightSharingLinear(initializer(device, 1), { features: 8, kernels: 3, elements: 4 });
 * layer.forward(device.ones([5, 8])).shape; // => [5, 12]
 * ```
 */
export class WeightSharingLinear extends Module {
  /** [C, 1, d] */
  readonly weight: Tensor;
  readonly matrices: LearnedMatrices;
  readonly #cache = new KernelCache();

  constructor(
    init: Initializer,
    options: MatrixOptions & {
      readonly features: number;
      readonly kernels: number;
      readonly elements: number;
      readonly deviation?: number;
      /** Made before, in place of the layer's own. */
      readonly matrices?: LearnedMatrices;
    },
  ) {
    super();
    const where = "WeightSharingLinear";
    const {
      features,
      kernels,
      elements,
      deviation = 0.3,
      matrices,
    } = checkNames(where, options, [...MATRIX_NAMES, "features", "kernels", "elements", "deviation", "matrices"]);
    for (const [name, value] of Object.entries({ features, kernels, elements })) checkCount(where, name, value);
    if (matrices !== undefined) checkGiven(where, matrices, "matrices", [elements - 1, features, features], options);
    else checkMatrices(where, { ...options, side: features });
    [this.weight, this.matrices] = allOrNone(() => [
      gaussian(init, [kernels, 1, features], deviation),
      matrices ?? new LearnedMatrices(init, { ...matrixOptions(options), elements, side: features }, where),
    ]);
  }

  get stacks(): readonly LearnedStack[] {
    return this.matrices.stacks;
  }

  forward(x: Tensor): Tensor {
    const [, , features] = this.weight.shape;
    return scope(() => {
      const kernel = this.#cache.kernel("WeightSharingLinear", this.matrices, this.weight, { identity: true, dimensions: 1 });
      return linear(x, reshape(kernel, [-1, features]));
    });
  }

  override dispose(): void {
    super.dispose();
    this.#cache.dispose();
  }
}
