/** What `sinkhorn` takes, and the checks that do not depend on a device. */
import { checkFinite, checkNames, checkRange, expected } from "../../errors.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";

/** What `sinkhorn` can return; see `SinkhornOptions.outputs`. */
export type SinkhornOutput = "P" | "logP" | "f" | "g" | "error" | "iterations" | "cost" | "PV" | "PTV";

export interface SinkhornAnnealing {
  /** Temperature of the first iteration, above `temperature`. */
  readonly from: number;
  /** Every iteration's temperature is the one before times this, from 0.25 to below 1, until `temperature` is reached. */
  readonly factor: number;
}

export interface SinkhornNoise {
  /** Seed and stream of the counter-based generator: the same ones give the same noise. Whole numbers in [0, 2^53). */
  readonly seed: number;
  /** Default 0. */
  readonly stream?: number;
  /** Default 1. */
  readonly scale?: number;
}

export interface SinkhornOptions {
  /** Pairs of half-steps, 1 to 100,000. Default 20. With `tolerance`, the most there may be. */
  readonly iterations?: number;
  /** The logits are divided by it; small values make P sharp. A number from 1e-30 to 1e30, or a tensor: [] or the batch's shape, which gets a gradient. Default 1. */
  readonly temperature?: number | Tensor;
  /** Which side is normalised first; the other one is met exactly in the end. Default "row". */
  readonly order?: "row" | "column";
  /** Masses of the rows, [n] or [..., n], at least 0; a row without mass is left out. Needs `b`, of the same total. */
  readonly a?: Tensor;
  /** Masses of the columns, [m] or [..., m]. */
  readonly b?: Tensor;
  /** Masses where `a` and `b` are not given: 1 for a row and n/m for a column ("doublyStochastic", the default), or 1/n and 1/m ("uniform"). */
  readonly marginals?: "doublyStochastic" | "uniform";
  /** int32 or uint32, [n, m] or [..., n, m]: entries where it is 0 are 0 in P. Logits there may be anything. */
  readonly mask?: Tensor;
  /** int32 [2] or [..., 2]: rows and columns that a matrix really has; what is beyond them is 0 in P. */
  readonly sizes?: Tensor;
  /** Potentials to start from, of the side that is normalised last: g₀ [m] or [..., m], or f₀ [n] or [..., n] for order "column". Default 0. */
  readonly start?: Tensor;
  /** A matrix stops as soon as its error is at most this. Default: all iterations run. */
  readonly tolerance?: number;
  /** Iterations between two looks at the error. Default 10. */
  readonly checkEvery?: number;
  /** Strength of the KL penalty that replaces the constraint on rows and columns, in units of the logits: one number, or [rows, columns]. Infinity (default): met exactly. */
  readonly rho?: number | readonly [number, number];
  /** A temperature schedule. */
  readonly annealing?: SinkhornAnnealing;
  /** Score of a slack row and column ("dustbin") that are added behind the last: a number or a tensor of shape []. P is [..., n + 1, m + 1] then. */
  readonly slack?: number | Tensor;
  /** Gumbel noise, added to the logits. */
  readonly noise?: SinkhornNoise;
  /**
   * DeepSeek's arithmetic for hyper-connections: softmax + eps, then divisions by sums + eps, columns last (see `hyperConnection`, which fuses it with
   * scale, bias and P · V for sides up to 8). Goes with iterations, temperature, scale ([] or the batch's shape), bias, V and the outputs "P" and "PV" alone. From 1e-12. Default: none.
   */
  readonly eps?: number;
  /** The logits are multiplied with it first: a tensor that broadcasts to them. */
  readonly scale?: Tensor;
  /** Added to scale · logits: a tensor that broadcasts to them. */
  readonly bias?: Tensor;
  /** Gradients of the iterations as they were run ("exact", the default), of the fixed point they approach ("implicit"), or none. */
  readonly backward?: "exact" | "implicit" | "none";
  /** float32 [m, d] or [..., m, d] for output "PV"; with n rows for "PTV". */
  readonly V?: Tensor;
  /** float32 [n, m] or [..., n, m] for output "cost". */
  readonly C?: Tensor;
  /**
   * What to return, keyed by name; without it, the result is P itself.
   * "P" [..., n, m]; "logP", the same with −1e30 for entries that are 0; "f" [..., n] and "g" [..., m], the potentials: P = exp(logits / temperature + f + g), −1e30 without mass;
   * "error" [...], Σ |row sum − a| of the result (of columns for order "column"); "iterations" [...], how many ran, float32;
   * "cost" [...], Σ C ∘ P; "PV" P · V and "PTV" Pᵀ · V. Where "P" is not wanted it is not stored, for the gradients neither.
   */
  readonly outputs?: readonly SinkhornOutput[];
}

const OUTPUTS: readonly SinkhornOutput[] = ["P", "logP", "f", "g", "error", "iterations", "cost", "PV", "PTV"];
const NAMES = [
  "iterations",
  "temperature",
  "order",
  "a",
  "b",
  "marginals",
  "mask",
  "sizes",
  "start",
  "tolerance",
  "checkEvery",
  "rho",
  "annealing",
  "slack",
  "noise",
  "eps",
  "scale",
  "bias",
  "backward",
  "V",
  "C",
  "outputs",
] as const;

/** What goes with `eps`. */
const WITH_EPS: readonly string[] = ["iterations", "temperature", "eps", "scale", "bias", "V", "outputs"];

const where = "sinkhorn";
export const COLDEST = 1e-30;
export const HOTTEST = 1e30;

const oneOf = <T extends string>(argument: string, value: T, choices: readonly T[]): void => {
  if (!choices.includes(value)) throw expected(where, `one of ${choices.join(", ")}`, argument, value);
};
const inRange = (argument: string, value: unknown, low: number, high: number): number => checkRange(where, argument, value, low, high);

/** Throws ArgumentError for what no device would need to see. */
export const checkOptions = (options: SinkhornOptions): void => {
  checkNames(where, options, NAMES);
  if (options.eps !== undefined) {
    for (const name of Object.keys(options)) {
      if (!WITH_EPS.includes(name)) throw expected(where, `only ${WITH_EPS.join(", ")} where eps is given`, "options", name);
    }
    inRange("eps", options.eps, 1e-12, 1);
  }
  const {
    temperature = 1,
    order = "row",
    marginals = "doublyStochastic",
    backward = "exact",
    outputs,
    tolerance,
    checkEvery,
    annealing,
    noise,
  } = options;
  if (typeof temperature !== "object") inRange("temperature", temperature, COLDEST, HOTTEST);
  oneOf("order", order, ["row", "column"]);
  oneOf("marginals", marginals, ["doublyStochastic", "uniform"]);
  oneOf("backward", backward, ["exact", "implicit", "none"]);
  for (const name of ["a", "b", "mask", "sizes", "start", "scale", "bias", "V", "C"] as const)
    if (options[name] !== undefined) checkTensor(where, name, options[name]);
  for (const name of ["temperature", "slack"] as const) if (typeof options[name] === "object") checkTensor(where, name, options[name]);
  if ((options.a === undefined) !== (options.b === undefined)) {
    const missing = options.a === undefined ? "a" : "b";
    throw expected(where, "masses of both sides or of none", missing, options[missing]);
  }
  if (tolerance !== undefined) inRange("tolerance", tolerance, 0, HOTTEST);
  if (checkEvery !== undefined && !(Number.isInteger(checkEvery) && checkEvery >= 1))
    throw expected(where, "a positive integer", "checkEvery", checkEvery);
  if (checkEvery !== undefined && tolerance === undefined) throw expected(where, "a tolerance beside checkEvery", "tolerance", tolerance);
  for (const value of [options.rho ?? []].flat()) {
    checkRange(where, "rho", value, Number.MIN_VALUE, Number.POSITIVE_INFINITY, "positive numbers");
    if (typeof temperature === "object") throw expected(where, "a number where rho is given", "temperature", temperature);
  }
  if (annealing !== undefined) {
    if (typeof temperature === "object") throw expected(where, "a number where annealing is given", "temperature", temperature);
    if (options.start !== undefined) throw expected(where, "no start where annealing is given", "start", options.start);
    checkNames(where, annealing, ["from", "factor"], "annealing");
    inRange("annealing.from", annealing.from, temperature, HOTTEST);
    if (!(annealing.factor >= 0.25 && annealing.factor < 1))
      throw expected(where, "a number from 0.25 to below 1", "annealing.factor", annealing.factor);
  }
  if (typeof options.slack !== "object" && options.slack !== undefined && !Number.isFinite(options.slack)) {
    throw expected(where, "a finite number or a tensor of shape []", "slack", options.slack);
  }
  if (options.slack !== undefined && options.sizes !== undefined) {
    throw expected(where, "no sizes where slack is given (masses of 0 leave rows and columns out)", "sizes", options.sizes);
  }
  if (noise !== undefined) {
    const { scale = 1 } = checkNames(where, noise, ["seed", "stream", "scale"], "noise");
    checkFinite(where, "noise.scale", scale);
  }
  if (outputs !== undefined) {
    if (!Array.isArray(outputs) || outputs.length === 0) throw expected(where, `an array of ${OUTPUTS.join(", ")}`, "outputs", outputs);
    for (const name of outputs) {
      oneOf("outputs", name, OUTPUTS);
      const operand = ({ cost: "C", PV: "V", PTV: "V" } as const)[name as string];
      if (operand && options[operand] === undefined) throw expected(where, `a tensor for output "${name}"`, operand, undefined);
    }
  }
};
