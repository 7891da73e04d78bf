/** Weights of the paper's own layers (van der Linden et al. 2024), as its code lays them out, in ours. */
import type { HostTensor, StateDict } from "../data/safetensors.ts";
import { ArgumentError, expected } from "../errors.ts";
import type { ExpandedConv } from "../nn/expanded.ts";
import { showShape } from "../op.ts";

/** Under which names ours stand, and what one of ours looks like there. */
const PAPER: Readonly<Record<string, { readonly name: string; shape(own: readonly number[]): readonly number[] }>> = {
  // The canonical kernel is flat there, group axis outermost, as here.
  weight: { name: "weight", shape: ([cout, cin, ...rest]) => [cout, cin, rest.reduce((product, size) => product * size, 1)] },
  bias: { name: "bias", shape: ([cout]) => [cout, 1, 1, 1] },
  "matrices.representations": { name: "representations", shape: (own) => own },
};

/**
 * Loads what `WSLiftConv2d` or `WSConv2d` of the paper's code keep in their state dict, with the identity fixed (`fix_identity`, as in all of its configurations), into a
 * `WeightSharingLift2d` or `WeightSharingConv2d`: `representations` [g − 1, d, d], logits; `weight` [Cout, Cin, d] with d = k² or g·k²; `bias` [Cout, 1, 1, 1]. Row n of a matrix
 * says where the value at n comes from, there and here. Linear maps have the same layout in both: `loadStateDict`.
 *
 * @param state what a file or `torch.save` by way of safetensors holds
 * @param prefix of the layer's names, with its last dot. Default none
 * @throws ArgumentError for a layer without dense learned matrices, names that are missing, and other shapes; nothing is written then.
 * @example
 * ```ts
 * const layer = new WeightSharingLift2d(initializer(device, 1), { inChannels: 1, outChannels: 1, kernelSize: 1, elements: 2 });
 * const one = (shape: number[], value: number) => ({ dtype: "F32", shape, data: Float32Array.of(value) }) as const;
 * const state = new Map([["lift.weight", one([1, 1, 1], 2)], ["lift.bias", one([1, 1, 1, 1], 3)], ["lift.representations", one([1, 1, 1], 0)]]);
 * loadPaperState(layer, state, "lift.");
 * await layer.weight.read(); // => [2]
 * ```
 */
export const loadPaperState = (layer: ExpandedConv, state: ReadonlyMap<string, HostTensor>, prefix = ""): void => {
  const where = "loadPaperState";
  const own = layer?.namedState?.();
  const names = own && [...own.keys()];
  if (names === undefined || names.length !== 3 || !names.every((name) => Object.hasOwn(PAPER, name)))
    throw expected(where, "a WeightSharingLift2d or WeightSharingConv2d", "layer", layer);
  if (!(state instanceof Map)) throw expected(where, "a Map of tensors by name", "state", state);
  if (typeof prefix !== "string") throw expected(where, "a string", "prefix", prefix);
  const ours: StateDict = new Map();
  for (const [name, { shape }] of own as Map<string, { readonly shape: readonly number[] }>) {
    const paper = PAPER[name];
    const key = `${prefix}${paper.name}`;
    const value = (state as ReadonlyMap<string, HostTensor>).get(key);
    if (value === undefined) throw expected(where, `a tensor called ${JSON.stringify(key)}`, "state", [...state.keys()]);
    const wanted = paper.shape(shape);
    if (!Array.isArray(value?.shape)) throw expected(where, "a tensor of a file", `state[${JSON.stringify(key)}]`, value);
    if (showShape(value.shape) !== showShape(wanted)) {
      const whole = paper.name === "representations" && value.shape.length === 3 && value.shape[0] === wanted[0] + 1;
      const received = `${showShape(value.shape)}${whole ? ", whose first element is learned too: this layer keeps it the identity" : ""}`;
      throw new ArgumentError(`${where}: expected shape ${showShape(wanted)} for \`state[${JSON.stringify(key)}]\`, but received ${received}`);
    }
    ours.set(name, { ...value, shape: [...shape] });
  }
  layer.loadStateDict(ours);
};
