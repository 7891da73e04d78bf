/** The ordinary layers that networks need beside the group layers. */
import { expected } from "../errors.ts";
import { conv2d } from "../ops/conv/index.ts";
import { linear } from "../ops/matmul/index.ts";
import type { Tensor } from "../tensor.ts";
import { type Initializer, kaimingUniform, zeros } from "./init.ts";
import { Module } from "./module.ts";
import type { PlainLayer, PlainModule } from "./plain.ts";

/** Throws unless `value` is a whole number of at least `low`. */
export const checkCount = (where: string, argument: string, value: number, low = 1): void => {
  if (!Number.isInteger(value) || value < low) throw expected(where, `an integer of at least ${low}`, argument, value);
};

/**
 * y = x·weightᵀ + bias, from x [..., inFeatures] to [..., outFeatures]. Weights start as PyTorch's, biases at 0.
 *
 * @throws ArgumentError for sizes that are no positive integers, and from `forward` for another last axis of x.
 * @example
 * ```ts
 * const layer = new Linear(initializer(device, 1), 8, 3);
 * layer.forward(device.ones([5, 8])).shape; // => [5, 3]
 * layer.parameterCount; // => 27
 * ```
 */
export class Linear extends Module implements PlainModule {
  /** [outFeatures, inFeatures] */
  readonly weight: Tensor;
  /** [outFeatures] */
  readonly bias: Tensor;

  constructor(init: Initializer, inFeatures: number, outFeatures: number) {
    super();
    checkCount("Linear", "inFeatures", inFeatures);
    checkCount("Linear", "outFeatures", outFeatures);
    this.weight = kaimingUniform(init, [outFeatures, inFeatures], inFeatures);
    this.bias = zeros(init, [outFeatures]);
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }

  plainLayers(): PlainLayer[] {
    return [{ kind: "linear", weight: this.weight, bias: this.bias }];
  }
}

export interface Conv2dLayerOptions {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: number;
  /** Default 0, which is "valid"; as in `conv2d`. */
  readonly padding?: number | "valid" | "same";
}

/**
 * Plain 2D convolution, from x [B, inChannels, H, W] to [B, outChannels, H', W'], stride 1. Weights start as PyTorch's, biases at 0.
 *
 * @throws ArgumentError for sizes that are no positive integers; `forward` throws as `conv2d`.
 * @example
 * ```ts
 * const layer = new Conv2d(initializer(device, 1), { inChannels: 1, outChannels: 4, kernelSize: 3, padding: "same" });
 * layer.forward(device.ones([2, 1, 8, 8])).shape; // => [2, 4, 8, 8]
 * ```
 */
export class Conv2d extends Module implements PlainModule {
  /** [outChannels, inChannels, k, k] */
  readonly weight: Tensor;
  /** [outChannels] */
  readonly bias: Tensor;
  readonly #padding: number | "valid" | "same";

  constructor(init: Initializer, { inChannels, outChannels, kernelSize, padding = 0 }: Conv2dLayerOptions) {
    super();
    checkCount("Conv2d", "inChannels", inChannels);
    checkCount("Conv2d", "outChannels", outChannels);
    checkCount("Conv2d", "kernelSize", kernelSize);
    this.weight = kaimingUniform(init, [outChannels, inChannels, kernelSize, kernelSize], inChannels * kernelSize ** 2);
    this.bias = zeros(init, [outChannels]);
    this.#padding = padding;
  }

  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, { bias: this.bias, padding: this.#padding });
  }

  plainLayers(): PlainLayer[] {
    return [{ kind: "conv", weight: this.weight, bias: this.bias, padding: this.#padding }];
  }
}
