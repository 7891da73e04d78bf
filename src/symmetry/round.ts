/** A learned network with its matrices rounded: the same network with fixed permutations. */
import { identityPermutation, type Permutation } from "../data/permutations.ts";
import { expected } from "../errors.ts";
import { noGrad } from "../gradMode.ts";
import { SymmetricNetwork } from "../nn/convolutions.ts";
import { ExpandedConv } from "../nn/expanded.ts";
import { GroupLinear, PermutedConv } from "../nn/group.ts";
import { initializer } from "../nn/init.ts";
import type { Module } from "../nn/module.ts";
import { WeightSharingLinear } from "../nn/weightSharingLinear.ts";
import { scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import { nearestPermutation, permutationDistance, splitStack } from "./matrices.ts";

export interface RoundedNetwork<M extends Module = Module> {
  /** On the same device, with numbers of its own. */
  readonly network: M;
  /** What the elements do in each layer with matrices, identity first. */
  readonly sets: readonly (readonly Permutation[])[];
  /** Largest Frobenius distance of a matrix to its permutation, per layer: 0 when nothing was rounded. */
  readonly distances: readonly number[];
}

interface RoundedStack {
  readonly set: readonly Permutation[];
  readonly distance: number;
}

/** @param action [g − 1, d, d], or positions [g − 1, d] that are fixed already */
const rounded = async (action: Tensor): Promise<RoundedStack> => {
  const [count, d] = action.shape;
  const values = await action.read();
  const identity = identityPermutation(d);
  if (count === 0) return { set: [identity], distance: 0 };
  if (action.dtype !== "float32") {
    return { set: [identity, ...Array.from({ length: count }, (_, i) => Int32Array.from(values.subarray(i * d, (i + 1) * d)))], distance: 0 };
  }
  const matrices = splitStack("roundNetwork", "network", values as Float32Array, d);
  const elements = matrices.map((matrix) => nearestPermutation(matrix, d));
  return { set: [identity, ...elements], distance: Math.max(...matrices.map((matrix, i) => permutationDistance(matrix, elements[i]))) };
};

const stackOf = async (layer: ExpandedConv | WeightSharingLinear): Promise<RoundedStack> => {
  using action = noGrad(() => scope(() => (layer instanceof ExpandedConv ? layer.action() : layer.matrices.stack()).detach()));
  return rounded(action);
};

/** Every tensor that `to` saves from the one of the same name: parameters, and what batch norms have measured. */
const copyState = async (from: Module, to: Module): Promise<void> => {
  const source = from.namedState();
  for (const [name, tensor] of to.namedState()) {
    const values = await source.get(name)?.read();
    if (values) tensor.device.write(tensor, Float32Array.from(values));
  }
};

const fixedLayer = (layer: ExpandedConv | WeightSharingLinear, { set }: RoundedStack): Module => {
  const { shape, device } = layer.weight;
  const init = initializer(device, 0);
  if (layer instanceof WeightSharingLinear) return new GroupLinear(init, { kernels: shape[0], set });
  const { dimensions, padding } = layer;
  const group = shape.length - 2 > dimensions ? { inElements: shape[2] } : {};
  return new PermutedConv(init, {
    inChannels: shape[1],
    outChannels: shape[0],
    kernelSize: shape[shape.length - 1],
    dimensions,
    padding,
    ...group,
    set,
  });
};

/**
 * The network with every learned matrix replaced by its nearest permutation, as a network of fixed permutations on the same device: kernels are copied into place, without
 * Sinkhorn and without a product. The network that is given stays as it is.
 *
 * Predictions are the same as far as the matrices are sharp. A row of R that differs from its permutation by δ in ℓ1 norm moves a number of the expanded kernel by at most
 * δ·max|w|; with `distances` below 1e-5, answers agree to some 1e-5 of their size.
 *
 * @param network a `DigitNetwork` or `ResidualNetwork` with matrices, or a single layer: `WeightSharingLinear` and every convolution of a learned, factorised, shared or fixed group, in
 * 1D, 2D, 3D. Of other networks, round the layers
 * @throws ArgumentError for another module; DataError when a matrix holds NaN or an infinity.
 * @example
 * ```ts
 * const learned = new DigitNetwork(initializer(device, 1), { kind: "learned", elements: 4 }, { width: 2, kernelSize: 3, layers: 2 });
 * const { network, distances } = await roundNetwork(learned);
 * network.forward(device.ones([1, 1, 6, 6])).shape; // => [1, 10]
 * distances.length; // => 2
 * ```
 */
export const roundNetwork = async <M extends Module>(network: M): Promise<RoundedNetwork<M extends SymmetricNetwork ? M : Module>> => {
  const layers: readonly unknown[] = network instanceof SymmetricNetwork ? network.convolutions : [network];
  const known = layers.filter((layer) => layer instanceof ExpandedConv || layer instanceof WeightSharingLinear);
  if (known.length < layers.length) throw expected("roundNetwork", "a network or a layer with a group", "network", network);
  const stacks: RoundedStack[] = [];
  // One after the other: nothing is under way any more when one of them throws.
  for (const layer of known) stacks.push(await stackOf(layer));
  const sets = stacks.map(({ set }) => set);
  const result: Module =
    network instanceof SymmetricNetwork
      ? network.withSymmetry(initializer(known[0].weight.device, 0), { kind: "permuted", sets })
      : fixedLayer(known[0], stacks[0]);
  try {
    await copyState(network, result.train(network.training));
  } catch (error) {
    result.dispose();
    throw error;
  }
  return { network: result as M extends SymmetricNetwork ? M : Module, sets, distances: stacks.map(({ distance }) => distance) };
};
