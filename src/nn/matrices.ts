/** Stacks of matrices that say how the elements of a group act: learned ones, and ones that follow from others. */
import { checkShape } from "../device.ts";
import { ArgumentError, checkFlags, checkNames, checkRange, expected } from "../errors.ts";
import { exp, mul, sub } from "../ops/elementwise/index.ts";
import { expandKernel, type FactorisedMatrices } from "../ops/expandKernel/index.ts";
import { matmul } from "../ops/matmul/index.ts";
import { logsumexp } from "../ops/reduce/index.ts";
import { concat, reshape } from "../ops/shape/index.ts";
import { sinkhorn } from "../ops/sinkhorn/index.ts";
import { MAX_ITERATIONS } from "../ops/sinkhorn/op.ts";
import { scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import { constants, drawn, type Initializer } from "./init.ts";
import { checkCount } from "./layers.ts";
import { Module, parameter } from "./module.ts";
import { checkStart, hostSinkhorn, type MatrixStart, startLogits } from "./start.ts";

export interface SinkhornSettings {
  /** Row and column normalisations per forward pass. Default 20. */
  readonly iterations?: number;
  /** The logits are divided by it. Default 1. */
  readonly temperature?: number;
}

/**
 * What the matrices of logits Θ are:
 *
 * | | R | |
 * |---|---|---|
 * | `"doublyStochastic"` | sinkhorn(Θ / temperature) | rows and columns sum to 1 |
 * | `"rowStochastic"` | softmax(Θ / temperature) of every row | rows sum to 1: every output position takes a mean of inputs (Yeh et al. 2022) |
 * | `"none"` | Θ | any numbers |
 */
export type Constraint = "doublyStochastic" | "rowStochastic" | "none";

export interface MatrixSettings extends SinkhornSettings {
  /** Default `"doublyStochastic"`, the paper's. */
  readonly constraint?: Constraint;
}

export interface MatrixOptions extends MatrixSettings {
  /** Default `{ kind: "uniform" }`, the paper's. Without constraint Θ is the matrix that Sinkhorn makes of these logits, so that all begin alike. */
  readonly start?: MatrixStart;
  /** The matrices stay as they start, and are no parameters. Default false. */
  readonly frozen?: boolean;
}

export const MATRIX_NAMES = ["iterations", "temperature", "constraint", "start", "frozen"] as const satisfies readonly (keyof MatrixOptions)[];

/** What of a layer's or network's options is about its matrices. */
export const matrixOptions = (options: MatrixOptions): MatrixOptions =>
  Object.fromEntries(MATRIX_NAMES.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])));

/** What a layer with learned matrices shows to regularisers, schedules and reports. */
export interface LearnedStack {
  /** Logits of the matrices of the elements after the identity: [g − 1, d, d]. */
  readonly representations: Tensor;
  /** Default `"doublyStochastic"`. */
  readonly constraint?: Constraint;
  /** Of the logits; may change from step to step, nothing is compiled or planned again. */
  temperature?: number;
  /** The matrices, [g − 1, d, d]. */
  stack(): Tensor;
}

/** Internal: where the R of `expandKernel` comes from. */
export interface MatrixSource {
  /** What R is computed from. */
  readonly sources: readonly Tensor[];
  /** Tells apart what different settings make of the same sources. */
  readonly key: string;
  make(): Tensor | FactorisedMatrices;
}

/** Settings with their defaults; throws for those that make no sense. */
export const matrixSettings = (where: string, settings: MatrixSettings): Required<MatrixSettings> => {
  const { iterations = 20, temperature = 1, constraint = "doublyStochastic" } = settings;
  checkCount(where, "iterations", iterations, 1, MAX_ITERATIONS);
  checkTemperature(where, temperature);
  if (!["doublyStochastic", "rowStochastic", "none"].includes(constraint))
    throw expected(where, '"doublyStochastic", "rowStochastic" or "none"', "constraint", constraint);
  return { iterations, temperature, constraint };
};

const checkTemperature = (where: string, temperature: number): void => {
  checkRange(where, "temperature", temperature, Number.MIN_VALUE, Number.MAX_VALUE, "a positive number");
};

export interface MatrixSizes {
  /** Of the group, the identity included, which has no matrix. */
  readonly elements: number;
  /** Of a matrix. */
  readonly side: number;
}

/** Throws for what no stack can be made of. */
export const checkMatrices = (where: string, options: MatrixOptions & MatrixSizes): void => {
  const { elements, side, start = UNIFORM, frozen = false } = options;
  checkCount(where, "elements", elements);
  checkCount(where, "side", side);
  checkFlags(where, { frozen });
  matrixSettings(where, options);
  checkShape(where, [elements - 1, side, side]);
  checkStart(where, start, elements - 1, side);
};

const UNIFORM: MatrixStart = { kind: "uniform" };

/** The matrices of logits [..., d, d]; a tensor of the caller's own. */
export const constrained = (logits: Tensor, { iterations, temperature, constraint }: Required<MatrixSettings>): Tensor => {
  if (constraint === "doublyStochastic") return sinkhorn(logits, { iterations, temperature });
  if (constraint === "none") return reshape(logits, logits.shape);
  return scope(() => {
    const z = mul(logits, 1 / temperature);
    return exp(sub(z, logsumexp(z, -1, { keepDims: true })));
  });
};

/** The stack with the identity in front: [g, d, d]. */
export const withIdentity = (stack: Tensor): Tensor => concat([identityMatrix(stack), stack]);

/** As tall as those of a stack: [1, d, d]. */
export const identityMatrix = ({ device, shape: [, d] }: Tensor): Tensor => {
  const identity = new Float32Array(d * d);
  for (let i = 0; i < d; i++) identity[i * d + i] = 1;
  return device.tensor(identity, [1, d, d]);
};

/**
 * A stack of learned matrices by itself: what every weight-sharing layer has inside, or several together. Layers that are given the same one share the group that it
 * learns, and its numbers are one parameter of the network around them.
 *
 * @throws ArgumentError for sizes that are no positive integers, settings out of range, and more permutations to start from than there are.
 * @example
 * ```ts
 * const init = initializer(device, 1);
 * const matrices = new LearnedMatrices(init, { elements: 4, side: 9, start: { kind: "permutations", sharpness: 0.9 } });
 * const [first, second] = [1, 2].map((inChannels) => new WeightSharingLift2d(init, { inChannels, outChannels: 2, kernelSize: 3, elements: 4, matrices }));
 * matrices.parameterCount; // => 243
 * matrices.temperature = 0.5; // of both layers
 * [first.matrices.temperature, second.matrices.temperature]; // => [0.5, 0.5]
 * ```
 */
export class LearnedMatrices extends Module implements LearnedStack, MatrixSource {
  /** Logits: [elements − 1, side, side]. */
  readonly representations: Tensor;
  readonly #where: string;
  readonly #frozen: boolean;
  #settings: Required<MatrixSettings>;

  /** @param where the caller's name, for errors */
  constructor(init: Initializer, options: MatrixOptions & MatrixSizes, where = "LearnedMatrices") {
    super();
    checkMatrices(where, checkNames(where, options, [...MATRIX_NAMES, "elements", "side"]));
    const { elements, side, start = UNIFORM, frozen = false } = options;
    this.#where = where;
    this.#frozen = frozen;
    this.#settings = matrixSettings(where, options);
    const logits = startLogits(start, elements - 1, side, drawn(init));
    const { constraint, iterations } = this.#settings;
    const values = constants(init, constraint === "none" ? hostSinkhorn(logits, side, iterations) : logits, [elements - 1, side, side]);
    this.representations = frozen ? values : parameter(values);
  }

  /** Whether the matrices stay as they started. */
  get frozen(): boolean {
    return this.#frozen;
  }

  get constraint(): Constraint {
    return this.#settings.constraint;
  }

  get temperature(): number {
    return this.#settings.temperature;
  }

  set temperature(temperature: number) {
    checkTemperature(this.#where, temperature);
    this.#settings = { ...this.#settings, temperature };
  }

  /** Itself, unless it is frozen. */
  get stacks(): readonly LearnedStack[] {
    return this.#frozen ? [] : [this];
  }

  get sources(): readonly Tensor[] {
    return [this.representations];
  }

  get key(): string {
    return JSON.stringify(this.#settings);
  }

  stack(): Tensor {
    return constrained(this.representations, this.#settings);
  }

  /** Internal: for `expandKernel`. */
  make(): Tensor {
    return this.stack();
  }

  /** @param w canonical kernels as `expandKernel` takes them; returns them as every element of the group turns them */
  forward(w: Tensor): Tensor {
    return scope(() => expandKernel(this.stack(), w));
  }

  override namedParameters(): Map<string, Tensor> {
    return this.#frozen ? new Map() : super.namedParameters();
  }

  override dispose(): void {
    this.representations.dispose();
  }
}

/**
 * Matrices on the group axis that follow from those on the pixels, without a parameter. In a group b·a = c exactly where R_b R_a = R_c, and element b sends what stands at a
 * to b·a; so with the overlap of two matrices as likelihood,
 *
 * A[b][c, a] = sinkhorn over (c, a) of ⟨R_c, R_b R_a⟩ / (d · temperature), identity included
 *
 * which is the regular representation of the group when the R are permutations that form one, and soft where they are. Differentiable: what the group axis needs
 * teaches the pixels.
 *
 * @example
 * ```ts
 * const space = new LearnedMatrices(initializer(device, 1), { elements: 4, side: 9 });
 * device.write(space.representations, permutationMatrices(rotationGroup(3).elements.slice(1)).map((entry) => 60 * entry));
 * const [quarter] = await new TiedMatrices(space).stack().read(); // by 90° nothing stays where it is
 * quarter; // => 0.000
 * ```
 */
export class TiedMatrices implements MatrixSource {
  readonly space: LearnedMatrices;
  readonly #settings: Required<SinkhornSettings>;

  /** @param settings `temperature`: of the overlap, which is a share in [0, 1]; default 0.05. `iterations`: default 20 */
  constructor(space: LearnedMatrices, settings: SinkhornSettings = {}) {
    if (!(space instanceof LearnedMatrices)) throw expected("TiedMatrices", "LearnedMatrices", "space", space);
    this.space = space;
    this.#settings = matrixSettings("TiedMatrices", {
      temperature: 0.05,
      ...checkNames("TiedMatrices", settings, ["iterations", "temperature"], "settings"),
    });
  }

  get sources(): readonly Tensor[] {
    return this.space.sources;
  }

  get key(): string {
    const { iterations, temperature } = this.#settings;
    return JSON.stringify([iterations, temperature, this.space.key]);
  }

  /** [g − 1, g, g] */
  stack(): Tensor {
    return scope(() => this.make());
  }

  /** Internal: from matrices on the pixels that were computed already. */
  make(learned: Tensor = this.space.stack()): Tensor {
    const { iterations, temperature } = this.#settings;
    const [count, d] = learned.shape;
    return scope(() => {
      const all = withIdentity(learned);
      const g = count + 1;
      const products = matmul(reshape(learned, [count, 1, d, d]), reshape(all, [1, g, d, d]));
      const overlap = matmul(reshape(all, [g, d * d]), reshape(products, [count, g, d * d]), { transposeB: true });
      return sinkhorn(mul(overlap, 1 / d), { iterations, temperature });
    });
  }
}

/** The two factors of group[g] ⊗ space[g]. */
export interface FactorisedStacks {
  /** On the group axis of a kernel: g_in × g_in. */
  readonly group: LearnedMatrices | TiedMatrices;
  /** On the positions behind it. */
  readonly space: LearnedMatrices;
}

/** Both factors as one R; the matrices on the pixels are computed once where those of the group follow from them. */
export const factorisedSource = ({ group, space }: FactorisedStacks): MatrixSource => ({
  sources: [...new Set([...group.sources, ...space.sources])],
  key: `${group.key} ${space.key}`,
  make: () => {
    const pixels = space.stack();
    return { group: group instanceof TiedMatrices && group.space === space ? group.make(pixels) : group.stack(), space: pixels };
  },
});

/** A layer or its stack, as regularisers, schedules and optimisers take it: several that share matrices count once, those without learned ones not at all. */
export type Regularized = LearnedStack | { readonly stacks: readonly LearnedStack[] };

/** Every stack that is learned among layers, once, in order. */
export const learnedStacks = (where: string, layers: readonly Regularized[]): LearnedStack[] => {
  const stacks = Array.isArray(layers) ? layers.flatMap((layer) => layer?.stacks ?? [layer]) : [undefined];
  if (stacks.some((stack) => typeof stack?.representations?.size !== "number"))
    throw expected(where, "an array of layers with `representations`", "layers", layers);
  const found = new Map<Tensor, LearnedStack>();
  for (const stack of stacks as LearnedStack[]) if (!found.has(stack.representations)) found.set(stack.representations, stack);
  return [...found.values()];
};

/** Throws unless matrices that were made before fit a layer, and nothing is said about them twice. */
export const checkGiven = (
  where: string,
  given: LearnedMatrices | TiedMatrices,
  argument: string,
  wanted: readonly number[],
  options: object,
): void => {
  if (!(given instanceof LearnedMatrices || given instanceof TiedMatrices)) throw expected(where, "LearnedMatrices", argument, given);
  const count = (given instanceof TiedMatrices ? given.space : given).representations.shape[0];
  const shape = given instanceof TiedMatrices ? [count, count + 1, count + 1] : given.representations.shape;
  if (shape.join() !== wanted.join()) throw expected(where, `matrices of shape [${wanted.join(", ")}]`, argument, shape);
  for (const name of MATRIX_NAMES) {
    if ((options as MatrixOptions)[name] !== undefined)
      throw new ArgumentError(`${where}: expected no \`${name}\` beside \`${argument}\`, which have their own, but received it`);
  }
};
