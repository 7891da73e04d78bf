/** Layers whose symmetry is learned: "Learning Symmetries via Weight-Sharing with Doubly Stochastic Tensors" (arXiv 2412.04594). */
import { expected } from "../errors.ts";
import { expandKernel } from "../ops/expandKernel/index.ts";
import { linear } from "../ops/matmul/index.ts";
import { reshape } from "../ops/shape/index.ts";
import { sinkhorn } from "../ops/sinkhorn/index.ts";
import type { Tensor } from "../tensor.ts";
import { ExpandedConv2d, type Padding } from "./expanded.ts";
import { gaussian, type Initializer, kaimingNormal, kaimingUniform, unitUniform, zeros } from "./init.ts";
import { checkCount } from "./layers.ts";
import { Module } from "./module.ts";

export interface SinkhornSettings {
  /** Row and column normalisations per forward pass. Default 20. */
  readonly iterations?: number;
  /** The logits are divided by it. Default 1. */
  readonly temperature?: number;
}

/** What a layer with learned matrices shows to regularisers and reports. */
export interface LearnedStack {
  /** Logits of the matrices of the elements after the identity: [g − 1, d, d]. */
  readonly representations: Tensor;
  /** The doubly stochastic matrices, [g − 1, d, d]. */
  stack(): Tensor;
}

interface SharedOptions extends SinkhornSettings {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: number;
  /** Number of group elements g, the identity included. */
  readonly elements: number;
  /** Default 0, which is "valid"; as in `conv2d`. */
  readonly padding?: Padding;
}

const checkShared = (where: string, { inChannels, outChannels, kernelSize, elements }: SharedOptions): void => {
  for (const [name, value] of Object.entries({ inChannels, outChannels, kernelSize, elements })) checkCount(where, name, value);
};

const sinkhornSettings = (where: string, { iterations = 20, temperature = 1 }: SinkhornSettings): Required<SinkhornSettings> => {
  checkCount(where, "iterations", iterations);
  if (!(temperature > 0 && Number.isFinite(temperature))) throw expected(where, "a positive number", "temperature", temperature);
  return { iterations, temperature };
};

/**
 * Lifting convolution, x [B, Cin, H, W] → [B, Cout, g, H', W']: every kernel is applied as it is and through g − 1
 * learned doubly stochastic k² × k² matrices, shared by all channels. Initial values as in the paper's code: kaiming-normal
 * kernels, logits U[0, 1), zero biases.
 *
 * @throws ArgumentError for sizes that are no positive integers, and, from `forward`, for another shape of x.
 * @example
 * ```ts
 * const layer = new WeightSharingLift2d(initializer(device, 1), { inChannels: 1, outChannels: 2, kernelSize: 3, elements: 4 });
 * layer.representations.shape; // => [3, 9, 9]
 * layer.forward(device.ones([1, 1, 6, 6])).shape; // => [1, 2, 4, 4, 4]
 * ```
 */
export class WeightSharingLift2d extends ExpandedConv2d implements LearnedStack {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly representations: Tensor;
  readonly #sinkhorn: Required<SinkhornSettings>;

  constructor(init: Initializer, options: SharedOptions) {
    super(options.padding ?? 0);
    checkShared("WeightSharingLift2d", options);
    const { inChannels, outChannels, kernelSize: k, elements } = options;
    this.weight = kaimingNormal(init, [outChannels, inChannels, k, k], inChannels * k * k);
    this.bias = zeros(init, [outChannels]);
    this.representations = unitUniform(init, [elements - 1, k * k, k * k]);
    this.#sinkhorn = sinkhornSettings("WeightSharingLift2d", options);
  }

  stack(): Tensor {
    return sinkhorn(this.representations, this.#sinkhorn);
  }
}

/**
 * Group convolution, x [B, Cin, g_in, H, W] → [B, Cout, g, H', W'], whose g − 1 learned matrices act on group axis and
 * pixels at once (d = g_in·k², group axis outermost). Initial values: kaiming-uniform kernels, logits U[0, 1), zero biases.
 *
 * @throws ArgumentError as `WeightSharingLift2d`.
 * @example
 * ```ts
 * const layer = new WeightSharingConv2d(initializer(device, 1), { inChannels: 2, outChannels: 2, kernelSize: 3, elements: 4 });
 * layer.representations.shape; // => [3, 36, 36]
 * layer.forward(device.ones([1, 2, 4, 6, 6])).shape; // => [1, 2, 4, 4, 4]
 * ```
 */
export class WeightSharingConv2d extends ExpandedConv2d implements LearnedStack {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly representations: Tensor;
  readonly #sinkhorn: Required<SinkhornSettings>;

  /** @param options `inElements`: size of the incoming group axis; default `elements` */
  constructor(init: Initializer, options: SharedOptions & { readonly inElements?: number }) {
    super(options.padding ?? 0);
    checkShared("WeightSharingConv2d", options);
    const { inChannels, outChannels, kernelSize: k, elements, inElements = elements } = options;
    checkCount("WeightSharingConv2d", "inElements", inElements);
    const d = inElements * k * k;
    this.weight = kaimingUniform(init, [outChannels, inChannels, inElements, k, k], inChannels * d);
    this.bias = zeros(init, [outChannels]);
    this.representations = unitUniform(init, [elements - 1, d, d]);
    this.#sinkhorn = sinkhornSettings("WeightSharingConv2d", options);
  }

  stack(): Tensor {
    return sinkhorn(this.representations, this.#sinkhorn);
  }
}

/**
 * The lifting layer without sliding, for signals as long as the kernel: x [B, d] → [B, C·g], responses of C kernels
 * through g − 1 learned matrices and the identity (the paper's toy problems, appendix B). No bias. Kernels start as
 * N(0, deviation²), deviation 0.3 unless told otherwise, logits as U[0, 1).
 *
 * @throws ArgumentError for sizes that are no positive integers, and, from `forward`, for another last axis of x.
 * @example
 * ```ts
 * const layer = new WeightSharingLinear(initializer(device, 1), { features: 8, kernels: 3, elements: 4 });
 * layer.forward(device.ones([5, 8])).shape; // => [5, 12]
 * ```
 */
export class WeightSharingLinear extends Module implements LearnedStack {
  /** [C, 1, d] */
  readonly weight: Tensor;
  readonly representations: Tensor;
  readonly #sinkhorn: Required<SinkhornSettings>;

  constructor(
    init: Initializer,
    options: SinkhornSettings & { readonly features: number; readonly kernels: number; readonly elements: number; readonly deviation?: number },
  ) {
    super();
    const { features, kernels, elements, deviation = 0.3 } = options;
    for (const [name, value] of Object.entries({ features, kernels, elements })) checkCount("WeightSharingLinear", name, value);
    this.weight = gaussian(init, [kernels, 1, features], deviation);
    this.representations = unitUniform(init, [elements - 1, features, features]);
    this.#sinkhorn = sinkhornSettings("WeightSharingLinear", options);
  }

  stack(): Tensor {
    return sinkhorn(this.representations, this.#sinkhorn);
  }

  forward(x: Tensor): Tensor {
    const [, , features] = this.weight.shape;
    return linear(x, reshape(expandKernel(this.stack(), this.weight), [-1, features]));
  }
}
