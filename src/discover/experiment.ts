/** What the trainer and the report need to know of a task: both generated signals and real images provide it. */
import type { MatrixSet } from "../data/interpolated.ts";
import type { PermutationSet } from "../data/permutations.ts";
import type { LearnedStack } from "../nn/matrices.ts";
import type { Module } from "../nn/module.ts";
import type { LayerReport } from "../report/types.ts";
import type { EquivarianceRow } from "../symmetry/equivariance.ts";
import type { Tensor } from "../tensor.ts";
import type { NetworkKind, NetworkSettings } from "./configuration.ts";

/** What the learned matrices of one layer do as a whole, and what was planted there. */
export interface LearnedLayer {
  readonly name: string;
  readonly layer: Pick<LearnedStack, "stack">;
  /** Side of its matrices. */
  readonly d: number;
  /** How the d positions are laid out for people, [rows, columns], where they fill a rectangle. */
  readonly layout?: readonly [number, number];
  /**
   * The planted elements, identity first, or undefined when none is known. `matched`: which planted element each learned
   * element of the layer before stands for, since a group layer sees its input's elements in that order.
   */
  planted(matched: readonly (number | undefined)[]): PermutationSet | undefined;
  /** What the matrices could be mixtures of, and which mixtures they should become: weights [g, elements of the set]. */
  readonly base?: { readonly set: MatrixSet; readonly weights: ArrayLike<number> };
  /** Kernels of one input channel as each element turns them, [kernels·g, …] with the two axes of `layout` last; where people can read them. */
  kernels?(): Tensor;
  /** Whether the task says which element is which. */
  readonly indexed: boolean;
}

/** A network to train. */
export interface Contender {
  readonly name: string;
  /** "learned" is what the job is about; the others are there to compare. */
  readonly kind: NetworkKind;
  readonly network: Module;
  /** The map from what was pooled to logits, where there is one. */
  readonly head?: Module;
  readonly layers: readonly LearnedLayer[];
  /** What the matrices are learned by: one per layer, two where they are products, fewer where layers share them, none where they are frozen. */
  readonly stacks: readonly LearnedStack[];
}

/** Data of one seed, and what networks see of them. */
export interface Experiment {
  readonly name: string;
  /** One sentence for people. */
  readonly description: string;
  readonly stepsPerEpoch: number;
  /** A network for these data with the initial values of the seed. The caller frees it. */
  contender(settings: NetworkSettings): Contender;
  /** Puts the batch of a step on the device: a function of the seed and the step alone, whichever came before. */
  feed(step: number): void;
  /** Loss of a network on that batch: a scalar. Runs inside a scope. */
  loss(network: Module): Tensor;
  /** Share of held-out examples that the network gets right; `limit`: look at no more than so many. */
  heldOutAccuracy(contender: Contender, limit?: number): Promise<number>;
  /** Relative change of the output when the input is transformed as planted and the output transformed back; undefined when nothing is planted. */
  equivarianceError(contender: Contender): Promise<number | undefined>;
  /** Of images: equivariance errors behind each layer under rotations; `layers` are what the contender's learned layers became. */
  layerEquivariance?(contender: Contender, layers: readonly LayerReport[]): Promise<EquivarianceRow[]>;
  dispose(): void;
}
