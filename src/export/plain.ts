/** A trained network as a sequence of ordinary layers: what others can read. Whatever a network shares, learns or fixes about its kernels is expanded into them. */
import type { HostTensor, StateDict } from "../data/safetensors.ts";
import { toHost } from "../data/stateDict.ts";
import { expected } from "../errors.ts";
import { noGrad } from "../gradMode.ts";
import type { PlainLayer, PlainModule } from "../nn/plain.ts";
import { scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";

/** A layer whose numbers are on the host. */
export type HostLayer =
  | {
      readonly kind: "conv";
      readonly weight: HostTensor;
      readonly bias: HostTensor | undefined;
      /** Zeros before and behind every axis of the images. */
      readonly pads: readonly (readonly [number, number])[];
    }
  | { readonly kind: "linear"; readonly weight: HostTensor; readonly bias: HostTensor | undefined }
  | Exclude<PlainLayer, { readonly kind: "conv" | "linear" }>;

export interface PlainNetwork {
  readonly layers: readonly HostLayer[];
  /** Weights and biases as PyTorch names those of `torch.nn.Sequential`: `0.weight`, `0.bias`, `4.weight`, … */
  readonly tensors: StateDict;
  /** The layers without their numbers, as JSON: with the tensors, all that a reader needs. */
  readonly architecture: string;
}

/** float32, whatever the device computes in. */
const host = async (tensor: Tensor): Promise<HostTensor> => {
  const { shape, data } = await toHost(tensor);
  return { dtype: "F32", shape, data: Float32Array.from(data as Float32Array) };
};

/** As `conv2d` pads: "same" puts the odd one at the end. */
const padsOf = (padding: number | "valid" | "same", kernel: readonly number[]): [number, number][] =>
  kernel.map((size) => {
    if (padding === "same") return [Math.floor((size - 1) / 2), Math.ceil((size - 1) / 2)];
    const both = padding === "valid" ? 0 : padding;
    return [both, both];
  });

const toHostLayer = async (layer: PlainLayer): Promise<HostLayer> => {
  if (layer.kind !== "conv" && layer.kind !== "linear") return layer;
  const [weight, bias] = await Promise.all([host(layer.weight), layer.bias && host(layer.bias)]);
  return layer.kind === "linear"
    ? { kind: "linear", weight, bias }
    : { kind: "conv", weight, bias, pads: padsOf(layer.padding, weight.shape.slice(2)) };
};

/**
 * The network as ordinary convolutions, norms, activations, pools and linear maps, with its kernels expanded: group axes lie side by side in the channels, [B, C·g, H, W], and the
 * mean over a group at the end is part of the linear map behind it.
 *
 * Modules say themselves what they are (`plainLayers`): `DigitNetwork`, `Conv2d`, `Linear`, and the layers of learned and fixed groups do.
 *
 * @throws ArgumentError for a module that does not; otherwise as `read`.
 * @example
 * ```ts
 * const symmetry = { kind: "fixed", group: rotationGroup(3).elements } as const;
 * const network = new DigitNetwork(initializer(device, 1), symmetry, { width: 2, kernelSize: 3, layers: 1 });
 * const { layers, tensors } = await toPlain(network);
 * layers.map(({ kind }) => kind); // => ["conv", "norm", "relu", "globalMean", "linear"]
 * tensors.get("0.weight")?.shape; // => [8, 1, 3, 3]
 * ```
 */
export const toPlain = async (network: PlainModule): Promise<PlainNetwork> => {
  if (typeof network?.plainLayers !== "function") throw expected("toPlain", "a module with `plainLayers`", "network", network);
  const pending: Promise<HostLayer>[] = [];
  // Reads are ordered before whatever happens to the tensors' memory next, so what was made on the way can go at once.
  scope(() => noGrad(() => pending.push(...network.plainLayers().map(toHostLayer))));
  const layers = await Promise.all(pending);
  const tensors: StateDict = new Map();
  const facts = layers.map((layer, i) => {
    if (layer.kind !== "conv" && layer.kind !== "linear") return layer;
    tensors.set(`${i}.weight`, layer.weight);
    if (layer.bias) tensors.set(`${i}.bias`, layer.bias);
    const [outputs, inputs, ...kernelSize] = layer.weight.shape;
    const common = { kind: layer.kind, inputs, outputs, bias: layer.bias !== undefined };
    return layer.kind === "conv" ? { ...common, kernelSize, pads: layer.pads } : common;
  });
  return { layers, tensors, architecture: JSON.stringify(facts) };
};
