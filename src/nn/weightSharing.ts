/** Layers whose symmetry is learned: "Learning Symmetries via Weight-Sharing with Doubly Stochastic Tensors" (arXiv 2412.04594). */
import { linear } from "../ops/matmul/index.ts";
import { reshape } from "../ops/shape/index.ts";
import { sinkhorn } from "../ops/sinkhorn/index.ts";
import type { Tensor } from "../tensor.ts";
import { ExpandedConv2d, type LearnedStack, type Padding } from "./expanded.ts";
import { gaussian, type Initializer, kaimingNormal, kaimingUniform, unitUniform, zeros } from "./init.ts";
import { checkCount } from "./layers.ts";
import { Module } from "./module.ts";
import { KernelCache, type Sharing, type SinkhornSettings, sinkhornSettings } from "./weightSharingConv.ts";

export type { LearnedStack } from "./expanded.ts";
export type { SinkhornSettings } from "./weightSharingConv.ts";

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

  constructor(init: Initializer, options: SharedOptions) {
    super("WeightSharingLift2d", options.padding ?? 0, options);
    checkShared("WeightSharingLift2d", options);
    const { inChannels, outChannels, kernelSize: k, elements } = options;
    this.weight = kaimingNormal(init, [outChannels, inChannels, k, k], inChannels * k * k);
    this.bias = zeros(init, [outChannels]);
    this.representations = unitUniform(init, [elements - 1, k * k, k * k]);
  }

  get stacks(): readonly LearnedStack[] {
    return [this];
  }

  stack(): Tensor {
    return sinkhorn(this.representations, this.settings);
  }

  protected sharing(): Sharing {
    return this.representations;
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

  /** @param options `inElements`: size of the incoming group axis; default `elements` */
  constructor(init: Initializer, options: SharedOptions & { readonly inElements?: number }) {
    super("WeightSharingConv2d", options.padding ?? 0, options);
    checkShared("WeightSharingConv2d", options);
    const { inChannels, outChannels, kernelSize: k, elements, inElements = elements } = options;
    checkCount("WeightSharingConv2d", "inElements", inElements);
    const d = inElements * k * k;
    this.weight = kaimingUniform(init, [outChannels, inChannels, inElements, k, k], inChannels * d);
    this.bias = zeros(init, [outChannels]);
    this.representations = unitUniform(init, [elements - 1, d, d]);
  }

  get stacks(): readonly LearnedStack[] {
    return [this];
  }

  stack(): Tensor {
    return sinkhorn(this.representations, this.settings);
  }

  protected sharing(): Sharing {
    return this.representations;
  }
}

/**
 * Group convolution whose matrices are products group[g] ⊗ space[g]: g_in × g_in on the group axis, k² × k² on the pixels, learned one by one, with
 * (g − 1)(g_in² + k⁴) logits in place of (g − 1)(g_in k²)². Every true group acts that way; a soft mixture of elements does not in general. Shapes and initial values as
 * `WeightSharingConv2d`.
 *
 * @throws ArgumentError as `WeightSharingLift2d`.
 * @example
 * ```ts
 * const layer = new FactorisedWeightSharingConv2d(initializer(device, 1), { inChannels: 2, outChannels: 2, kernelSize: 3, elements: 4 });
 * [layer.groupRepresentations.shape, layer.spaceRepresentations.shape]; // => [[3, 4, 4], [3, 9, 9]]
 * layer.forward(device.ones([1, 2, 4, 6, 6])).shape; // => [1, 2, 4, 4, 4]
 * ```
 */
export class FactorisedWeightSharingConv2d extends ExpandedConv2d {
  readonly weight: Tensor;
  readonly bias: Tensor;
  /** Logits on the group axis: [g − 1, g_in, g_in]. */
  readonly groupRepresentations: Tensor;
  /** Logits on the pixels: [g − 1, k², k²]. */
  readonly spaceRepresentations: Tensor;

  /** @param options `inElements`: size of the incoming group axis; default `elements` */
  constructor(init: Initializer, options: SharedOptions & { readonly inElements?: number }) {
    const where = "FactorisedWeightSharingConv2d";
    super(where, options.padding ?? 0, options);
    checkShared(where, options);
    const { inChannels, outChannels, kernelSize: k, elements, inElements = elements } = options;
    checkCount(where, "inElements", inElements);
    this.weight = kaimingUniform(init, [outChannels, inChannels, inElements, k, k], inChannels * inElements * k * k);
    this.bias = zeros(init, [outChannels]);
    this.groupRepresentations = unitUniform(init, [elements - 1, inElements, inElements]);
    this.spaceRepresentations = unitUniform(init, [elements - 1, k * k, k * k]);
  }

  get stacks(): readonly LearnedStack[] {
    return [this.groupRepresentations, this.spaceRepresentations].map((representations) => ({
      representations,
      stack: () => sinkhorn(representations, this.settings),
    }));
  }

  protected sharing(): Sharing {
    return { group: this.groupRepresentations, space: this.spaceRepresentations };
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
  readonly #cache = new KernelCache();

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
    const kernel = this.#cache.kernel("WeightSharingLinear", this.representations, this.weight, { ...this.#sinkhorn, identity: true });
    return linear(x, reshape(kernel, [-1, features]));
  }

  override dispose(): void {
    super.dispose();
    this.#cache.dispose();
  }
}
