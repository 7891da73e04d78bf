/** The convolutions of a network, each with the symmetry that all of them have. */
import type { Permutation } from "../data/permutations.ts";
import { checkFlags, checkNames, checkObject, expected } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { ExpandedConv } from "./expanded.ts";
import { GroupConv2d, GroupLift2d, PermutedConv } from "./group.ts";
import type { Initializer } from "./init.ts";
import { Conv2d, type Conv2dLayerOptions, checkCount, type Linear } from "./layers.ts";
import {
  type FactorisedStacks,
  LearnedMatrices,
  type LearnedStack,
  learnedStacks,
  type MatrixOptions,
  matrixOptions,
  TiedMatrices,
} from "./matrices.ts";
import { Module } from "./module.ts";
import { FactorisedWeightSharingConv2d, WeightSharingConv2d, WeightSharingLift2d } from "./weightSharing.ts";

/** Which symmetry the layers have: none, learned with so many elements, or fixed. */
export type Symmetry =
  | { readonly kind: "none" }
  /**
   * `factorised`: group layers learn what happens on the group axis and on the pixels one by one. Default false.
   * `shared`: all layers learn one group, in the factorised form: one stack on the pixels, and for the group axis another one ("learned") or what
   * follows from the first ("tied", see `TiedMatrices`). Default false.
   */
  | { readonly kind: "learned"; readonly elements: number; readonly factorised?: boolean; readonly shared?: false | "learned" | "tied" }
  | { readonly kind: "fixed"; readonly group: readonly Permutation[] }
  /** What the elements do in each layer, identity first, as `PermutedConv` takes it: what a learned network is with its matrices rounded. */
  | { readonly kind: "permuted"; readonly sets: readonly (readonly Permutation[])[] };

export type Convolution = Conv2d | ExpandedConv;

/**
 * A network of convolutions with one symmetry: `DigitNetwork` and `ResidualNetwork`.
 *
 * @example
 * ```ts
 * const network: SymmetricNetwork = new ResidualNetwork(initializer(device, 1), { kind: "learned", elements: 4 }, { width: 2, kernelSize: 3, blocks: 1 });
 * network.convolutions.length; // => 3
 * network.learnedStacks().map(({ representations }) => representations.shape[1]); // => [9, 36, 36]
 * network.activations(device.ones([2, 3, 8, 8])).map(({ shape }) => shape[4]); // => [8, 4]
 * ```
 */
export abstract class SymmetricNetwork extends Module {
  /** The last layer, from what was pooled to logits. */
  abstract readonly head: Linear;

  /** In the order in which they follow each other; the first one lifts. */
  abstract get convolutions(): readonly Convolution[];

  /** A network of the same sizes with another symmetry, and with initial values of its own. */
  abstract withSymmetry(init: Initializer, symmetry: Symmetry): SymmetricNetwork;

  /** What comes out behind each stage of the network, [B, C, g, H', W'] each, without symmetry [B, C, H', W']. Throws as `forward`. */
  abstract activations(x: Tensor): Tensor[];

  /** The stacks of matrices that are learned, each once, in the order of the layers; empty in the other networks. */
  learnedStacks(): LearnedStack[] {
    return learnedStacks(
      "learnedStacks",
      this.convolutions.filter((block) => block instanceof ExpandedConv),
    );
  }
}

/** Throws for symmetries of no known kind, and such as are none of so many layers. */
const checkSymmetry = (where: string, symmetry: Symmetry, layers: number): void => {
  const { kind } = checkObject(where, symmetry, "symmetry");
  if (!["none", "learned", "fixed", "permuted"].includes(kind)) throw expected(where, "none, learned, fixed or permuted", "symmetry.kind", kind);
  if (symmetry.kind === "none") checkNames(where, symmetry, ["kind"], "symmetry");
  if (symmetry.kind === "fixed") checkNames(where, symmetry, ["kind", "group"], "symmetry");
  if (symmetry.kind === "permuted") checkNames(where, symmetry, ["kind", "sets"], "symmetry");
  if (symmetry.kind === "learned") {
    const { factorised = false, shared = false } = checkNames(where, symmetry, ["kind", "elements", "factorised", "shared"], "symmetry");
    checkFlags(where, { factorised });
    if (![false, "learned", "tied"].includes(shared)) throw expected(where, 'false, "learned" or "tied"', "shared", shared);
  }
  if (symmetry.kind === "permuted" && !(Array.isArray(symmetry.sets) && symmetry.sets.length === layers && symmetry.sets.every(Array.isArray)))
    throw expected(where, `permutations of ${layers} layers`, "sets", symmetry.sets);
};

/** One group of all layers. */
const sharedGroup = (
  where: string,
  init: Initializer,
  { elements, shared }: Extract<Symmetry, { kind: "learned" }>,
  [{ kernelSize }, ...others]: readonly Conv2dLayerOptions[],
  options: MatrixOptions,
): FactorisedStacks => {
  checkCount(where, "elements", elements);
  checkCount(where, "kernelSize", kernelSize);
  const matrices = matrixOptions(options);
  const space = new LearnedMatrices(init, { ...matrices, elements, side: kernelSize ** 2 }, where);
  // Lifting alone has no group axis on which there is something to learn.
  const tied = shared === "tied" || others.length === 0;
  return { space, group: tied ? new TiedMatrices(space) : new LearnedMatrices(init, { ...matrices, elements, side: elements }, where) };
};

/** How many elements a group axis has behind all layers; 1 without symmetry. */
export const groupOrder = (symmetry: Symmetry): number => {
  if (symmetry.kind === "learned") return symmetry.elements;
  if (symmetry.kind === "permuted") return symmetry.sets[symmetry.sets.length - 1]?.length ?? 1;
  return symmetry.kind === "fixed" ? symmetry.group.length : 1;
};

/**
 * Convolutions that follow each other: the first one lifts, the others go from group to group.
 *
 * @param where the network's name, for errors
 * @param shapes of all, with kernels of one size; channels without the group elements
 */
export const convolutions = (
  where: string,
  init: Initializer,
  symmetry: Symmetry,
  shapes: readonly Conv2dLayerOptions[],
  options: MatrixOptions,
): Convolution[] => {
  checkSymmetry(where, symmetry, shapes.length);
  const shared = symmetry.kind === "learned" && symmetry.shared ? sharedGroup(where, init, symmetry, shapes, options) : undefined;
  return shapes.map((shape, layer) => {
    const lifts = layer === 0;
    if (symmetry.kind === "none") return new Conv2d(init, shape);
    if (symmetry.kind === "fixed") {
      const fixed = { ...shape, group: symmetry.group };
      return lifts ? new GroupLift2d(init, fixed) : new GroupConv2d(init, fixed);
    }
    if (symmetry.kind === "permuted") {
      const inElements = lifts ? {} : { inElements: symmetry.sets[layer - 1].length };
      return new PermutedConv(init, { ...shape, ...inElements, set: symmetry.sets[layer] });
    }
    const { elements } = symmetry;
    if (shared) {
      const given = { ...shape, elements };
      if (lifts) return new WeightSharingLift2d(init, { ...given, matrices: shared.space });
      return new FactorisedWeightSharingConv2d(init, { ...given, matrices: shared });
    }
    const learned = { ...matrixOptions(options), ...shape, elements };
    if (lifts) return new WeightSharingLift2d(init, learned);
    return symmetry.factorised ? new FactorisedWeightSharingConv2d(init, learned) : new WeightSharingConv2d(init, learned);
  });
};
