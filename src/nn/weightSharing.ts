/** Layers whose symmetry is learned: "Learning Symmetries via Weight-Sharing with Doubly Stochastic Tensors" (arXiv 2412.04594). */
import { checkNames } from "../errors.ts";
import { allOrNone } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import { ExpandedConv, type Padding } from "./expanded.ts";
import { type Initializer, kaimingNormal, kaimingUniform, zeros } from "./init.ts";
import { checkCount } from "./layers.ts";
import {
  checkGiven,
  checkMatrices,
  type FactorisedStacks,
  factorisedSource,
  LearnedMatrices,
  type LearnedStack,
  learnedStacks,
  MATRIX_NAMES,
  type MatrixOptions,
  type MatrixSource,
  matrixOptions,
} from "./matrices.ts";
import type { Dimensions } from "./weightSharingConv.ts";

/** The sizes of a layer, and how its matrices are made. */
export interface WeightSharingOptions extends MatrixOptions {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: number;
  /** Number of group elements g, the identity included. */
  readonly elements: number;
  /** Default 0, which is "valid"; as in `conv2d`. */
  readonly padding?: Padding;
}

/** Matrices that were made before, in place of the layer's own: whoever has the same ones shares what they learn. */
interface GivenMatrices<M> {
  readonly matrices?: M;
}

interface FromGroup {
  /** Size of the incoming group axis. Default `elements`. */
  readonly inElements?: number;
}

type LiftOptions = WeightSharingOptions & GivenMatrices<LearnedMatrices>;
const LIFT_NAMES = [...MATRIX_NAMES, "inChannels", "outChannels", "kernelSize", "elements", "padding", "matrices"] as const;

/** Throws for sizes that are no positive integers; returns the positions of a kernel. */
const checkSizes = (where: string, dimensions: Dimensions, { inChannels, outChannels, kernelSize, elements }: WeightSharingOptions): number => {
  for (const [name, value] of Object.entries({ inChannels, outChannels, kernelSize, elements })) checkCount(where, name, value);
  return kernelSize ** dimensions;
};

/** One stack of matrices that act on all that a canonical kernel has. */
abstract class DenseConv extends ExpandedConv {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly matrices: LearnedMatrices;

  /** @param inElements undefined for lifting */
  constructor(where: string, dimensions: Dimensions, init: Initializer, options: LiftOptions & FromGroup, inElements: number | undefined) {
    const named =
      inElements === undefined
        ? checkNames<LiftOptions, typeof LIFT_NAMES>(where, options, LIFT_NAMES)
        : checkNames(where, options, [...LIFT_NAMES, "inElements"]);
    super(where, dimensions, named.padding);
    const { inChannels, outChannels, kernelSize, elements, matrices } = options;
    const positions = checkSizes(where, dimensions, options);
    if (inElements !== undefined) checkCount(where, "inElements", inElements);
    const side = positions * (inElements ?? 1);
    const sides = new Array<number>(dimensions).fill(kernelSize);
    if (matrices !== undefined) checkGiven(where, matrices, "matrices", [elements - 1, side, side], options);
    else checkMatrices(where, { ...options, side });
    [this.weight, this.bias, this.matrices] = allOrNone(() => [
      inElements === undefined
        ? kaimingNormal(init, [outChannels, inChannels, ...sides], inChannels * side)
        : kaimingUniform(init, [outChannels, inChannels, inElements, ...sides], inChannels * side),
      zeros(init, [outChannels]),
      matrices ?? new LearnedMatrices(init, { ...matrixOptions(options), elements, side }, where),
    ]);
  }

  get stacks(): readonly LearnedStack[] {
    return this.matrices.stacks;
  }

  protected source(): MatrixSource {
    return this.matrices;
  }
}

/** Two stacks, whose products act. */
abstract class FactorisedConv extends ExpandedConv {
  readonly weight: Tensor;
  readonly bias: Tensor;
  /** On the group axis, g_in × g_in; `TiedMatrices` follow from those on the positions. */
  readonly group: FactorisedStacks["group"];
  /** On the positions of a kernel, k² × k². */
  readonly space: LearnedMatrices;

  constructor(where: string, dimensions: Dimensions, init: Initializer, options: WeightSharingOptions & FromGroup & GivenMatrices<FactorisedStacks>) {
    super(where, dimensions, checkNames(where, options, [...LIFT_NAMES, "inElements"]).padding);
    const { inChannels, outChannels, kernelSize, elements, inElements = elements, matrices } = options;
    const side = checkSizes(where, dimensions, options);
    checkCount(where, "inElements", inElements);
    if (matrices !== undefined) {
      checkNames(where, matrices, ["group", "space"], "matrices");
      checkGiven(where, matrices.group, "matrices.group", [elements - 1, inElements, inElements], options);
      checkGiven(where, matrices.space, "matrices.space", [elements - 1, side, side], options);
    } else for (const one of [inElements, side]) checkMatrices(where, { ...options, side: one });
    const sides = new Array<number>(dimensions).fill(kernelSize);
    [this.weight, this.bias, this.group, this.space] = allOrNone(() => [
      kaimingUniform(init, [outChannels, inChannels, inElements, ...sides], inChannels * inElements * side),
      zeros(init, [outChannels]),
      matrices?.group ?? new LearnedMatrices(init, { ...matrixOptions(options), elements, side: inElements }, where),
      matrices?.space ?? new LearnedMatrices(init, { ...matrixOptions(options), elements, side }, where),
    ]);
  }

  get stacks(): readonly LearnedStack[] {
    return learnedStacks("stacks", this.group instanceof LearnedMatrices ? [this.group, this.space] : [this.space]);
  }

  protected source(): MatrixSource {
    return factorisedSource(this);
  }
}

/**
 * Lifting convolution, x [B, Cin, H, W] → [B, Cout, g, H', W']: every kernel is applied as it is and through g − 1
 * learned doubly stochastic k² × k² matrices, shared by all channels. Initial values as in the paper's code: kaiming-normal
 * kernels, logits U[0, 1), zero biases. src/nn/README.md says what the options of the matrices do.
 *
 * @throws ArgumentError for sizes that are no positive integers, settings out of range, matrices of another shape, and, from `forward`, for another shape of x.
 * @example
 * ```ts
 * const layer = new WeightSharingLift2d(initializer(device, 1), { inChannels: 1, outChannels: 2, kernelSize: 3, elements: 4 });
 * layer.matrices.representations.shape; // => [3, 9, 9]
 * layer.forward(device.ones([1, 1, 6, 6])).shape; // => [1, 2, 4, 4, 4]
 * layer.matrices.temperature = 0.5; // sharper matrices from now on
 * ```
 */
export class WeightSharingLift2d extends DenseConv {
  constructor(init: Initializer, options: WeightSharingOptions & GivenMatrices<LearnedMatrices>) {
    super("WeightSharingLift2d", 2, init, options, undefined);
  }
}

/**
 * `WeightSharingLift2d` for signals: x [B, Cin, L] → [B, Cout, g, L'], matrices of side k.
 *
 * @throws ArgumentError as `WeightSharingLift2d`.
 * @example
 * ```ts
 * const layer = new WeightSharingLift1d(initializer(device, 1), { inChannels: 1, outChannels: 2, kernelSize: 3, elements: 4 });
 * layer.matrices.representations.shape; // => [3, 3, 3]
 * layer.forward(device.ones([1, 1, 6])).shape; // => [1, 2, 4, 4]
 * ```
 */
export class WeightSharingLift1d extends DenseConv {
  constructor(init: Initializer, options: WeightSharingOptions & GivenMatrices<LearnedMatrices>) {
    super("WeightSharingLift1d", 1, init, options, undefined);
  }
}

/**
 * `WeightSharingLift2d` for voxels: x [B, Cin, D, H, W] → [B, Cout, g, D', H', W'], matrices of side k³.
 *
 * @throws ArgumentError as `WeightSharingLift2d`.
 * @example
 * ```ts
 * const layer = new WeightSharingLift3d(initializer(device, 1), { inChannels: 1, outChannels: 2, kernelSize: 3, elements: 4 });
 * layer.matrices.representations.shape; // => [3, 27, 27]
 * layer.forward(device.ones([1, 1, 4, 4, 4])).shape; // => [1, 2, 4, 2, 2, 2]
 * ```
 */
export class WeightSharingLift3d extends DenseConv {
  constructor(init: Initializer, options: WeightSharingOptions & GivenMatrices<LearnedMatrices>) {
    super("WeightSharingLift3d", 3, init, options, undefined);
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
 * layer.matrices.representations.shape; // => [3, 36, 36]
 * layer.forward(device.ones([1, 2, 4, 6, 6])).shape; // => [1, 2, 4, 4, 4]
 * ```
 */
export class WeightSharingConv2d extends DenseConv {
  constructor(init: Initializer, options: WeightSharingOptions & FromGroup & GivenMatrices<LearnedMatrices>) {
    super("WeightSharingConv2d", 2, init, options, options?.inElements ?? options?.elements);
  }
}

/**
 * `WeightSharingConv2d` for signals: x [B, Cin, g_in, L] → [B, Cout, g, L'].
 *
 * @throws ArgumentError as `WeightSharingLift2d`.
 * @example
 * ```ts
 * const layer = new WeightSharingConv1d(initializer(device, 1), { inChannels: 2, outChannels: 2, kernelSize: 3, elements: 2 });
 * layer.matrices.representations.shape; // => [1, 6, 6]
 * layer.forward(device.ones([1, 2, 2, 6])).shape; // => [1, 2, 2, 4]
 * ```
 */
export class WeightSharingConv1d extends DenseConv {
  constructor(init: Initializer, options: WeightSharingOptions & FromGroup & GivenMatrices<LearnedMatrices>) {
    super("WeightSharingConv1d", 1, init, options, options?.inElements ?? options?.elements);
  }
}

/**
 * `WeightSharingConv2d` for voxels: x [B, Cin, g_in, D, H, W] → [B, Cout, g, D', H', W'].
 *
 * @throws ArgumentError as `WeightSharingLift2d`.
 * @example
 * ```ts
 * const layer = new WeightSharingConv3d(initializer(device, 1), { inChannels: 2, outChannels: 2, kernelSize: 2, elements: 2 });
 * layer.matrices.representations.shape; // => [1, 16, 16]
 * layer.forward(device.ones([1, 2, 2, 4, 4, 4])).shape; // => [1, 2, 2, 3, 3, 3]
 * ```
 */
export class WeightSharingConv3d extends DenseConv {
  constructor(init: Initializer, options: WeightSharingOptions & FromGroup & GivenMatrices<LearnedMatrices>) {
    super("WeightSharingConv3d", 3, init, options, options?.inElements ?? options?.elements);
  }
}

/**
 * Group convolution whose matrices are products group[g] ⊗ space[g]: g_in × g_in on the group axis, k² × k² on the pixels, learned one by one, with
 * (g − 1)(g_in² + k⁴) logits in place of (g − 1)(g_in k²)². Every true group acts that way; a soft mixture of elements does not in general. Shapes and initial values as
 * `WeightSharingConv2d`. `matrices` that other layers have too make one group of several layers; with `TiedMatrices` it needs nothing on the group axis.
 *
 * @throws ArgumentError as `WeightSharingLift2d`.
 * @example
 * ```ts
 * const [init, shape] = [initializer(device, 1), { inChannels: 2, outChannels: 2, kernelSize: 3, elements: 4 }];
 * const layer = new FactorisedWeightSharingConv2d(init, shape);
 * [layer.group.stack().shape, layer.space.stack().shape]; // => [[3, 4, 4], [3, 9, 9]]
 * layer.forward(device.ones([1, 2, 4, 6, 6])).shape; // => [1, 2, 4, 4, 4]
 *
 * // One group of all layers: 3·9·9 numbers in all.
 * const space = new LearnedMatrices(init, { elements: 4, side: 9 });
 * const lift = new WeightSharingLift2d(init, { ...shape, matrices: space });
 * const conv = new FactorisedWeightSharingConv2d(init, { ...shape, matrices: { space, group: new TiedMatrices(space) } });
 * conv.forward(lift.forward(device.ones([1, 2, 6, 6]))).shape; // => [1, 2, 4, 2, 2]
 * ```
 */
export class FactorisedWeightSharingConv2d extends FactorisedConv {
  constructor(init: Initializer, options: WeightSharingOptions & FromGroup & GivenMatrices<FactorisedStacks>) {
    super("FactorisedWeightSharingConv2d", 2, init, options);
  }
}

/**
 * `FactorisedWeightSharingConv2d` for signals: x [B, Cin, g_in, L] → [B, Cout, g, L'].
 *
 * @throws ArgumentError as `WeightSharingLift2d`.
 * @example
 * ```ts
 * const layer = new FactorisedWeightSharingConv1d(initializer(device, 1), { inChannels: 2, outChannels: 2, kernelSize: 3, elements: 2 });
 * [layer.group.stack().shape, layer.space.stack().shape]; // => [[1, 2, 2], [1, 3, 3]]
 * layer.forward(device.ones([1, 2, 2, 6])).shape; // => [1, 2, 2, 4]
 * ```
 */
export class FactorisedWeightSharingConv1d extends FactorisedConv {
  constructor(init: Initializer, options: WeightSharingOptions & FromGroup & GivenMatrices<FactorisedStacks>) {
    super("FactorisedWeightSharingConv1d", 1, init, options);
  }
}

/**
 * `FactorisedWeightSharingConv2d` for voxels: x [B, Cin, g_in, D, H, W] → [B, Cout, g, D', H', W'].
 *
 * @throws ArgumentError as `WeightSharingLift2d`.
 * @example
 * ```ts
 * const layer = new FactorisedWeightSharingConv3d(initializer(device, 1), { inChannels: 2, outChannels: 2, kernelSize: 2, elements: 2 });
 * [layer.group.stack().shape, layer.space.stack().shape]; // => [[1, 2, 2], [1, 8, 8]]
 * layer.forward(device.ones([1, 2, 2, 4, 4, 4])).shape; // => [1, 2, 2, 3, 3, 3]
 * ```
 */
export class FactorisedWeightSharingConv3d extends FactorisedConv {
  constructor(init: Initializer, options: WeightSharingOptions & FromGroup & GivenMatrices<FactorisedStacks>) {
    super("FactorisedWeightSharingConv3d", 3, init, options);
  }
}
