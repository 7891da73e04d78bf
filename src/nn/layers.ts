/** The ordinary layers that networks need beside the group layers. */
import { expected } from "../errors.ts";
import { conv2d } from "../ops/conv2d/index.ts";
import { linear } from "../ops/matmul/index.ts";
import type { Tensor } from "../tensor.ts";
import { type Initializer, kaimingUniform, zeros } from "./init.ts";
import { Module } from "./module.ts";

/** Throws unless `value` is a whole number of at least `low`. */
export const checkCount = (where: string, argument: string, value: number, low = 1): void => {
  if (!Number.isInteger(value) || value < low) throw expected(where, `an integer of at least ${low}`, argument, value);
};

/** y = x·weightᵀ + bias for x [..., inFeatures]. Weights start as PyTorch's, biases at 0. */
export class Linear extends Module {
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
}

export interface Conv2dLayerOptions {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: number;
  readonly padding?: number | "valid" | "same";
}

/** Plain 2D convolution, x [B, inChannels, H, W]. Weights start as PyTorch's, biases at 0. */
export class Conv2d extends Module {
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
}
