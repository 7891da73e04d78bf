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
  | {
      readonly kind: "batchNorm";
      readonly weight: HostTensor;
      readonly bias: HostTensor;
      readonly mean: HostTensor;
      readonly variance: HostTensor;
      readonly eps: number;
    }
  | { readonly kind: "residual"; readonly layers: readonly HostLayer[]; readonly shortcut: readonly HostLayer[] }
  | Exclude<PlainLayer, { readonly kind: "conv" | "linear" | "batchNorm" | "residual" }>;

export interface PlainNetwork {
  readonly layers: readonly HostLayer[];
  /**
   * Weights and biases as PyTorch names those of `torch.nn.Sequential`: `0.weight`, `0.bias`, `4.weight`, …, `running_mean` and `running_var` of batch norms, and what stands in a
   * residual as `3.layers.0.weight` and `3.shortcut.0.weight`.
   */
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
  if (layer.kind === "residual") {
    const [layers, shortcut] = await Promise.all([layer.layers, layer.shortcut].map((list) => Promise.all(list.map(toHostLayer))));
    return { kind: "residual", layers, shortcut };
  }
  if (layer.kind === "batchNorm") {
    const [weight, bias, mean, variance] = await Promise.all([layer.weight, layer.bias, layer.mean, layer.variance].map(host));
    return { kind: "batchNorm", weight, bias, mean, variance, eps: layer.eps };
  }
  if (layer.kind !== "conv" && layer.kind !== "linear") return layer;
  const [weight, bias] = await Promise.all([host(layer.weight), layer.bias && host(layer.bias)]);
  return layer.kind === "linear"
    ? { kind: "linear", weight, bias }
    : { kind: "conv", weight, bias, pads: padsOf(layer.padding, weight.shape.slice(2)) };
};

/** The layers without their numbers, which go into `tensors`, their names behind `prefix`. */
const factsOf = (layers: readonly HostLayer[], tensors: StateDict, prefix = ""): object[] =>
  layers.map((layer, i) => {
    const name = `${prefix}${i}`;
    if (layer.kind === "residual") {
      const { layers, shortcut } = layer;
      return { kind: layer.kind, layers: factsOf(layers, tensors, `${name}.layers.`), shortcut: factsOf(shortcut, tensors, `${name}.shortcut.`) };
    }
    if (layer.kind === "batchNorm") {
      const { kind, eps, weight, bias, mean, variance } = layer;
      const named = { weight, bias, running_mean: mean, running_var: variance };
      for (const [part, tensor] of Object.entries(named)) tensors.set(`${name}.${part}`, tensor);
      return { kind, channels: weight.shape[0], eps };
    }
    if (layer.kind !== "conv" && layer.kind !== "linear") return layer;
    tensors.set(`${name}.weight`, layer.weight);
    if (layer.bias) tensors.set(`${name}.bias`, layer.bias);
    const [outputs, inputs, ...kernelSize] = layer.weight.shape;
    const common = { kind: layer.kind, inputs, outputs, bias: layer.bias !== undefined };
    return layer.kind === "conv" ? { ...common, kernelSize, pads: layer.pads } : common;
  });

/**
 * The network as ordinary convolutions, norms, activations, pools and linear maps, with its kernels expanded: group axes lie side by side in the channels, [B, C·g, H, W], and the
 * mean over a group at the end is part of the linear map behind it.
 *
 * Modules say themselves what they are (`plainLayers`), as they evaluate: `DigitNetwork`, `ResidualNetwork`, `Conv2d`, `Linear`, `BatchNorm`, and the layers of learned and fixed groups do.
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
  return { layers, tensors, architecture: JSON.stringify(factsOf(layers, tensors)) };
};
