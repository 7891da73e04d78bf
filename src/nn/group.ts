/** Layers of a fixed finite group: the exact baseline that the learned layers are measured against. */
import { cayleyTable, checkPermutations, equalPermutations, identityPermutation, inverted, type Permutation } from "../data/permutations.ts";
import { ArgumentError, checkNames, expected } from "../errors.ts";
import { expandKernel } from "../ops/expandKernel/index.ts";
import { linear } from "../ops/matmul/index.ts";
import { reshape } from "../ops/shape/index.ts";
import { allOrNone, scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import { ExpandedConv, type Padding } from "./expanded.ts";
import { constants, gaussian, type Initializer, kaimingNormal, kaimingUniform, zeros } from "./init.ts";
import { checkCount } from "./layers.ts";
import type { LearnedStack, MatrixSource } from "./matrices.ts";
import { Module } from "./module.ts";
import type { Dimensions } from "./weightSharingConv.ts";

/** Throws unless the permutations move `side` positions each, by default equally many, and begin with the identity. Returns the number of positions. */
const checkSet = (where: string, set: readonly Permutation[], side?: number, argument = "set"): number => {
  const [{ length }] = checkPermutations(where, argument, set, side);
  if (!equalPermutations(set[0], identityPermutation(length))) throw expected(where, "the identity as first element", argument, set);
  return length;
};

/** Throws unless the permutations move `length` positions each, begin with the identity and are closed under composition. Returns the Cayley table. */
const checkGroup = (where: string, group: readonly Permutation[], length?: number): Int32Array => {
  checkSet(where, group, length, "group");
  const table = cayleyTable(group);
  if (table.includes(-1))
    throw new ArgumentError(
      `${where}: expected permutations closed under composition for \`group\`, but a product of two of the ${group.length} is not among them`,
    );
  return table;
};

/**
 * The regular representation on group axis and pixels: element b sends (a, n) to (b·a, ρ_b n), as permutations of g·k² positions.
 *
 * @param group permutations of k² positions; identity first, closed under composition
 * @returns one permutation per element, in the same order
 * @throws ArgumentError for a list that is no such group.
 * @example
 * ```ts
 * const twisted = shiftTwist(rotationGroup(3).elements);
 * twisted.length; // => 4
 * twisted[1].length; // => 36
 * ```
 */
export const shiftTwist = (group: readonly Permutation[]): Permutation[] => {
  const table = checkGroup("shiftTwist", group);
  const [{ length }] = group;
  const g = group.length;
  const inverses = group.map((element) => group.findIndex((other) => equalPermutations(other, inverted(element))));
  return group.map((element, b) =>
    Int32Array.from({ length: g * length }, (_, at) => {
      const [a, n] = [Math.floor(at / length), at % length];
      return table[inverses[b] * g + a] * length + element[n];
    }),
  );
};

/** Where each row of the elements after the identity has its 1: [g − 1, d]. */
const positions = (init: Initializer, elements: readonly Permutation[]): Tensor =>
  constants(init, Int32Array.from(elements.slice(1).flatMap((element) => [...element])), [elements.length - 1, elements[0].length]);

interface GroupOptions {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: number;
  /** What each element does to the k² pixels of a kernel; identity first, closed under composition. */
  readonly group: readonly Permutation[];
  /** Default 0, which is "valid"; as in `conv2d`. */
  readonly padding?: Padding;
}

const checkGroupOptions = (where: string, options: GroupOptions): GroupOptions => {
  const { inChannels, outChannels, kernelSize, group } = checkNames(where, options, ["inChannels", "outChannels", "kernelSize", "group", "padding"]);
  for (const [name, value] of Object.entries({ inChannels, outChannels, kernelSize })) checkCount(where, name, value);
  checkGroup(where, group, kernelSize ** 2);
  return options;
};

abstract class FixedConv extends ExpandedConv {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly #positions: Tensor;

  /** @param make positions of the elements, weight and bias */
  constructor(where: string, dimensions: Dimensions, padding: Padding | undefined, make: () => readonly [Tensor, Tensor, Tensor]) {
    super(where, dimensions, padding);
    [this.#positions, this.weight, this.bias] = allOrNone(make);
  }

  get stacks(): readonly LearnedStack[] {
    return [];
  }

  protected source(): MatrixSource {
    return { sources: [this.#positions], key: "", make: () => this.#positions };
  }

  override dispose(): void {
    super.dispose();
    this.#positions.dispose();
  }
}

/**
 * Lifting convolution of a fixed group: x [B, Cin, H, W] → [B, Cout, g, H', W'] (Cohen and Welling 2016, arXiv:1602.07576).
 * Kaiming-normal kernels, zero biases.
 *
 * @throws ArgumentError for sizes that are no positive integers and a group that does not move k² pixels, does not begin with the
 * identity or is not closed; `forward` throws for another shape of x.
 * @example
 * ```ts
 * const options = { inChannels: 1, outChannels: 2, kernelSize: 3, group: rotationGroup(3).elements };
 * const layer = new GroupLift2d(initializer(device, 1), options);
 * layer.forward(device.ones([1, 1, 6, 6])).shape; // => [1, 2, 4, 4, 4]
 * ```
 */
export class GroupLift2d extends FixedConv {
  constructor(init: Initializer, options: GroupOptions) {
    const { inChannels, outChannels, kernelSize: k, group } = checkGroupOptions("GroupLift2d", options);
    super("GroupLift2d", 2, options.padding, () => [
      positions(init, group),
      kaimingNormal(init, [outChannels, inChannels, k, k], inChannels * k * k),
      zeros(init, [outChannels]),
    ]);
  }
}

/**
 * Group convolution of a fixed group: x [B, Cin, g, H, W] → [B, Cout, g, H', W']. Kaiming-uniform kernels, zero biases.
 *
 * @throws ArgumentError as `GroupLift2d`.
 * @example
 * ```ts
 * const options = { inChannels: 2, outChannels: 3, kernelSize: 3, group: rotationGroup(3).elements };
 * const layer = new GroupConv2d(initializer(device, 1), options);
 * layer.weight.shape; // => [3, 2, 4, 3, 3]
 * layer.forward(device.ones([1, 2, 4, 6, 6])).shape; // => [1, 3, 4, 4, 4]
 * ```
 */
export class GroupConv2d extends FixedConv {
  constructor(init: Initializer, options: GroupOptions) {
    const { inChannels, outChannels, kernelSize: k, group } = checkGroupOptions("GroupConv2d", options);
    super("GroupConv2d", 2, options.padding, () => [
      positions(init, shiftTwist(group)),
      kaimingUniform(init, [outChannels, inChannels, group.length, k, k], inChannels * group.length * k * k),
      zeros(init, [outChannels]),
    ]);
  }
}

export interface PermutedConvOptions {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: number;
  /** Axes of the images. Default 2. */
  readonly dimensions?: Dimensions;
  /** Size of the incoming group axis; default: none, which is lifting. */
  readonly inElements?: number;
  /** What each element does to the positions of a kernel, inElements·k² of them with the group axis outermost; identity first, not necessarily a group. */
  readonly set: readonly Permutation[];
  /** Default 0, which is "valid"; as in `conv2d`. */
  readonly padding?: Padding;
}

/**
 * Lifting or group convolution through known permutations, which need be no group: what a learned layer is with its matrices rounded, and the layer of a fixed group for signals
 * (x [B, Cin, L] or [B, Cin, g_in, L]) and voxels. Kaiming-uniform kernels, zero biases.
 *
 * @throws ArgumentError for sizes that are no positive integers, a set that is empty, does not begin with the identity or does not fit the kernel; `forward` throws for another
 * shape of x.
 * @example
 * ```ts
 * const set = rotationGroup(3).elements.slice(0, 2); // not closed
 * const layer = new PermutedConv(initializer(device, 1), { inChannels: 1, outChannels: 2, kernelSize: 3, set });
 * layer.forward(device.ones([1, 1, 6, 6])).shape; // => [1, 2, 2, 4, 4]
 *
 * // Signals, forwards and backwards: lifted, then from group to group, where shiftTwist says what happens on the group axis as well.
 * const group = [Int32Array.of(0, 1, 2), Int32Array.of(2, 1, 0)];
 * const init = initializer(device, 1);
 * const lift = new PermutedConv(init, { inChannels: 1, outChannels: 2, kernelSize: 3, dimensions: 1, set: group });
 * const conv = new PermutedConv(init, { inChannels: 2, outChannels: 2, kernelSize: 3, dimensions: 1, inElements: 2, set: shiftTwist(group) });
 * conv.forward(lift.forward(device.ones([1, 1, 8]))).shape; // => [1, 2, 2, 4]
 *
 * // Voxels under the 24 rotations of a cube.
 * const cube = new PermutedConv(init, { inChannels: 1, outChannels: 2, kernelSize: 3, dimensions: 3, set: cubeGroup(3).elements });
 * cube.forward(device.ones([1, 1, 4, 4, 4])).shape; // => [1, 2, 24, 2, 2, 2]
 * ```
 */
export class PermutedConv extends FixedConv {
  constructor(init: Initializer, options: PermutedConvOptions) {
    const where = "PermutedConv";
    const {
      inChannels,
      outChannels,
      kernelSize,
      dimensions = 2,
      inElements,
      set,
      padding,
    } = checkNames(where, options, ["inChannels", "outChannels", "kernelSize", "dimensions", "inElements", "set", "padding"]);
    for (const [name, value] of Object.entries({ inChannels, outChannels, kernelSize, inElements: inElements ?? 1 })) checkCount(where, name, value);
    if (![1, 2, 3].includes(dimensions)) throw expected(where, "1, 2 or 3", "dimensions", dimensions);
    const side = kernelSize ** dimensions * (inElements ?? 1);
    checkSet(where, set, side);
    const sides = new Array<number>(dimensions).fill(kernelSize);
    const group = inElements === undefined ? [] : [inElements];
    super(where, dimensions, padding, () => [
      positions(init, set),
      kaimingUniform(init, [outChannels, inChannels, ...group, ...sides], inChannels * side),
      zeros(init, [outChannels]),
    ]);
  }
}

/**
 * Responses of C kernels through known matrices, x [B, d] → [B, C·g]: `WeightSharingLinear` with nothing to learn about the symmetry.
 *
 * @throws ArgumentError for an empty set, a number of kernels that is no positive integer, and, from `forward`, for another last axis of x.
 * @example
 * ```ts
 * const layer = new GroupLinear(initializer(device, 1), { kernels: 3, set: cyclicGroup(4).elements });
 * layer.forward(device.ones([5, 4])).shape; // => [5, 12]
 * ```
 */
export class GroupLinear extends Module {
  /** [C, 1, d] */
  readonly weight: Tensor;
  readonly #positions: Tensor;

  /** @param options `set`: permutations of the d positions, identity first; need not be closed. `deviation` of the kernels: default 0.3 */
  constructor(init: Initializer, options: { readonly kernels: number; readonly set: readonly Permutation[]; readonly deviation?: number }) {
    super();
    const where = "GroupLinear";
    const { kernels, set, deviation = 0.3 } = checkNames(where, options, ["kernels", "set", "deviation"]);
    checkCount(where, "kernels", kernels);
    const side = checkSet(where, set);
    [this.weight, this.#positions] = allOrNone(() => [gaussian(init, [kernels, 1, side], deviation), positions(init, set)]);
  }

  forward(x: Tensor): Tensor {
    const [, , features] = this.weight.shape;
    return scope(() => linear(x, reshape(expandKernel(this.#positions, this.weight), [-1, features])));
  }

  override dispose(): void {
    super.dispose();
    this.#positions.dispose();
  }
}
