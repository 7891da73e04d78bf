import type { HostTensor, StateDict } from "../data/safetensors.ts";
import { type LoadOptions, type LoadResult, loadState, saveState } from "../data/stateDict.ts";
import { checkFlags } from "../errors.ts";
import { keep } from "../scope.ts";
import { checkTensor, Tensor } from "../tensor.ts";

/**
 * Something with parameters: a layer or a network. Parameters are its public fields that are tensors, and those of the
 * modules among its fields, also in arrays, in the order of the fields. Constants live in private fields.
 *
 * @example
 * ```ts
 * class Network extends Module {
 *   readonly hidden: Linear;
 *   readonly scale: Tensor;
 *   constructor(init: Initializer) {
 *     super();
 *     this.hidden = new Linear(init, 2, 3);
 *     this.scale = parameter(init.device.ones([3]));
 *   }
 *   forward(x: Tensor): Tensor {
 *     return mul(relu(this.hidden.forward(x)), this.scale);
 *   }
 * }
 * const network = new Network(initializer(device, 1));
 * [...network.namedParameters().keys()]; // => ["hidden.weight", "hidden.bias", "scale"]
 * network.forward(device.ones([4, 2])).shape; // => [4, 3]
 * const bytes = encodeSafetensors(await network.stateDict());
 * new Network(initializer(device, 2)).loadStateDict(decodeSafetensors(bytes).tensors).missingKeys; // => []
 * ```
 */
export abstract class Module implements Disposable {
  #training = true;

  /** The layer's output; shapes stand at each layer. */
  abstract forward(x: Tensor): Tensor;

  /** Whether it learns: `BatchNorm` and `Dropout` do something else in training than afterwards; nothing else here does. */
  get training(): boolean {
    return this.#training;
  }

  /**
   * Says to it and to every module inside whether they learn, which they do from the start; as in PyTorch.
   *
   * @throws ArgumentError for what is neither true nor false.
   */
  train(mode = true): this {
    checkFlags("train", { mode });
    for (const module of this.modules()) module.#training = mode;
    return this;
  }

  /** `train(false)`. */
  eval(): this {
    return this.train(false);
  }

  /** Itself and every module among its fields and theirs, also in arrays, each once. */
  modules(): Module[] {
    const found = new Set<Module>();
    const collect = (value: unknown): void => {
      if (Array.isArray(value)) for (const item of value) collect(item);
      if (!(value instanceof Module) || found.has(value)) return;
      found.add(value);
      for (const field of Object.values(value)) collect(field);
    };
    collect(this);
    return [...found];
  }

  /** Every parameter with its path, such as `blocks.0.weight`; one that several modules share once, where it comes first. */
  namedParameters(): Map<string, Tensor> {
    return namedTensors(this, (module) => module.namedParameters());
  }

  /** What `stateDict` saves: the parameters, and tensors that were drawn at the start and stay as they are. */
  namedState(): Map<string, Tensor> {
    return namedTensors(this, (module) => module.namedState());
  }

  /** Every parameter, in the order of `namedParameters`. */
  parameters(): Tensor[] {
    return [...this.namedParameters().values()];
  }

  /** Number of values in all parameters. */
  get parameterCount(): number {
    return this.parameters().reduce((count, { size }) => count + size, 0);
  }

  /**
   * The values of every parameter by name, frozen ones too, for `encodeSafetensors` and `loadStateDict`. float32 as F32; as F64 on the reference device, which keeps that many bits.
   *
   * @throws StateError when disposed; otherwise as `read`.
   */
  stateDict(): Promise<StateDict> {
    return saveState(this.namedState());
  }

  /**
   * Writes values into the parameters of the same names. Nothing is written when anything does not fit.
   *
   * @param options `strict`: whether names that are missing or too many are errors. Default true
   * @returns names that are missing and names that nothing asked for, as PyTorch's `load_state_dict`
   * @throws ArgumentError for another shape, values that are no floats, and, when strict, for names that do not meet; StateError when disposed.
   */
  loadStateDict(state: ReadonlyMap<string, HostTensor>, options?: LoadOptions): LoadResult {
    return loadState("loadStateDict", this.namedState(), state, options);
  }

  /** Frees the parameters, also those that other modules share, and what the modules among its fields hold besides. */
  dispose(): void {
    const free = (value: unknown): void => {
      if (value instanceof Tensor || value instanceof Module) value.dispose();
      else if (Array.isArray(value)) for (const item of value) free(item);
    };
    for (const value of Object.values(this)) free(value);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The tensors among the fields of a module, and those that `inner` gives of the modules among them, also in arrays. */
const namedTensors = (module: Module, inner: (module: Module) => Map<string, Tensor>): Map<string, Tensor> => {
  const found = new Map<string, Tensor>();
  const seen = new Set<Tensor>();
  const add = (tensor: Tensor, path: string): void => {
    if (!seen.has(tensor)) found.set(path, tensor);
    seen.add(tensor);
  };
  const collect = (value: unknown, path: string): void => {
    if (value instanceof Tensor) add(value, path);
    else if (value instanceof Module) for (const [name, tensor] of inner(value)) add(tensor, `${path}.${name}`);
    else if (Array.isArray(value)) for (const [i, item] of value.entries()) collect(item, `${path}.${i}`);
  };
  for (const [name, value] of Object.entries(module)) collect(value, name);
  return found;
};

/**
 * Marks a leaf as trainable and takes it out of the current scope: the module owns it.
 *
 * @throws ArgumentError for another dtype than float32; StateError for the result of an operation.
 * @example parameter(device.zeros([3])).requiresGrad; // => true
 */
export const parameter = (tensor: Tensor): Tensor => {
  checkTensor("parameter", "tensor", tensor);
  tensor.requiresGrad = true;
  return keep(tensor);
};
