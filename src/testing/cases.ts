/** One table per room drives the forward test, the backward test, the gradient check, the guard test and the bench. */
import { checkSpec } from "../device.ts";
import { checkFinite, checkInteger, checkObject, expected } from "../errors.ts";
import { type Attrs, type Call, type DType, ELEMENT_BYTES, elements, type Op, type Scalars, type Shape, type Spec } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { checkEntry, checkList, checkNotNegative, checkNumber } from "./checks.ts";

/** A deterministic source of test data. */
export interface TestRandom {
  /** [0, 1) */
  uniform(): number;
  normal(): number;
}

/** Gives element `index` of `count`. */
export type Fill = (random: TestRandom, index: number, count: number) => number;

/** N(0, scale²): the default. Throws ArgumentError for what is no finite number. */
export const normal = (scale = 1): Fill => {
  checkFinite("normal", "scale", scale);
  return (random) => scale * random.normal();
};
/** U[low, high). Throws ArgumentError for what is no finite number. */
export const uniform = (low: number, high: number): Fill => {
  checkFinite("uniform", "low", low);
  checkFinite("uniform", "high", high);
  return (random) => low + (high - low) * random.uniform();
};
/** Integers from [0, count). Throws ArgumentError for a count that is none. */
export const integers = (count: number): Fill => {
  checkInteger("integers", "count", count, 0, 2 ** 32);
  return (random) => Math.floor(random.uniform() * count);
};
/** The same value everywhere. Throws ArgumentError for what is no number. */
export const constant = (value: number): Fill => {
  checkNumber("constant", "value", value);
  return () => value;
};
/** Values at least 0.05 apart in scrambled order: for ops with kinks or arg-max, where finite differences must not cross a tie. */
export const distinct: Fill = (_, index, count) => 0.05 * ((index * 2654435761) % Math.max(1, count)) - 0.025 * count + 0.0125 + 1e-6 * index;
/** These values in turn, from the first again when they are used up. Throws ArgumentError for an empty list, and for what is no number. */
export const values = (list: readonly number[]): Fill => {
  if (!Array.isArray(list) || list.length === 0) throw expected("values", "at least one number", "list", list);
  for (const [i, value] of list.entries()) checkNumber("values", `list[${i}]`, value);
  return (_, index) => list[index % list.length];
};

/**
 * Sizes at which a kernel may go wrong: none, one, and one below, at and above each threshold.
 *
 * @throws ArgumentError for a threshold that is no size
 * @example around(64, 256); // => [0, 1, 63, 64, 65, 255, 256, 257]
 */
export const around = (...thresholds: readonly number[]): number[] => {
  for (const [i, threshold] of thresholds.entries()) checkInteger("around", `thresholds[${i}]`, threshold, 0, 2 ** 31);
  return [...new Set([0, 1, ...thresholds.flatMap((threshold) => [threshold - 1, threshold, threshold + 1])])]
    .filter((size) => size >= 0)
    .sort((a, b) => a - b);
};

export interface CaseInput {
  readonly shape: Shape;
  readonly dtype?: DType;
  readonly fill?: Fill;
  /** Whether to differentiate with respect to it; default: float32 and float16 inputs. */
  readonly gradient?: boolean;
}

/** |got − want| ≤ absolute + relative · max|want|, elementwise. Every tolerance has a reason. */
export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
  readonly reason: string;
}

/** Rounding of float32 in a handful of operations per element. */
export const ROUNDING: Tolerance = { relative: 4e-7, absolute: 1e-37, reason: "a few float32 roundings (half an ulp is 6e-8) per element" };
/** Results that are copied, not computed. */
export const EXACT: Tolerance = { relative: 0, absolute: 0, reason: "elements are copied" };
/** A sum of `terms` float32 products in any order: error grows like √terms of one rounding, with a margin of 4. Throws ArgumentError for a number below 0. */
export const summed = (terms: number): Tolerance => {
  checkNotNegative("summed", "terms", terms);
  return {
    relative: 4e-7 + 2.4e-7 * Math.sqrt(Math.max(1, terms)),
    absolute: 1e-6,
    reason: `float32 sums of ${terms} terms in any order`,
  };
};

export interface Case {
  /** Unique within its room; says what is special about it. */
  readonly name: string;
  readonly op: Op;
  readonly inputs: readonly CaseInput[];
  /** As the op's own function passes them: others are refused. */
  readonly attrs: Attrs;
  readonly scalars?: Scalars;
  readonly forward: Tolerance;
  /** Of every gradient; default: `forward`. */
  readonly backward?: Tolerance;
  /** What is compared and differentiated instead of the op's outputs: parts of them, made by other ops. */
  readonly view?: (outputs: readonly Tensor[]) => readonly Tensor[];
  /** Outputs (of `view`, where there is one) that are compared and receive cotangents; default: all. */
  readonly outputs?: readonly number[];
  /** Off where finite differences cannot be taken, with the reason; or its own step and tolerance. */
  readonly finiteDifferences?: { readonly off: string } | { readonly step?: number; readonly tolerance?: number };
  /** Facts about the result that do not come from the algorithm: throws when one does not hold. Values are those of the device under test. */
  readonly invariants?: (run: {
    readonly inputs: readonly ArrayLike<number>[];
    readonly outputs: readonly ArrayLike<number>[];
    readonly call: Call;
  }) => void;
  /** Too slow for a software GPU: run on native and reference only, unless the adapter is hardware. */
  readonly large?: boolean;
  /** Too slow to compile for a software GPU at every change: there it runs in `npm run test:full`. */
  readonly slow?: boolean;
}

export interface Room {
  /** The folder's name. */
  readonly name: string;
  readonly ops: readonly Op[];
  readonly cases: readonly Case[];
  /** Least bytes moved and operations done by a forward call, for benches. */
  cost(call: Call): { readonly bytes: number; readonly operations: number };
}

/**
 * Types a case's attributes against its op, and gives it back.
 *
 * @throws ArgumentError for a part that is missing or none, and for names that are none of a case
 */
export const defineCase = <A extends Attrs>(entry: Omit<Case, "op" | "attrs"> & { readonly op: Op<A>; readonly attrs: A }): Case =>
  checkEntry("defineCase", entry as unknown as Case);

/** Inputs and outputs once each: the least any kernel can move. Throws ArgumentError for what is no call. */
export const minimalBytes = (call: Call): number => {
  const { inputs, outputs } = checkObject("minimalBytes", call, "call");
  for (const [argument, specs] of Object.entries({ inputs, outputs })) {
    checkList("minimalBytes", `call.${argument}`, specs);
    for (const [i, spec] of specs.entries()) checkSpec("minimalBytes", spec, `call.${argument}[${i}]`);
  }
  return [...inputs, ...outputs].reduce((bytes: number, { shape, dtype }: Spec) => bytes + ELEMENT_BYTES[dtype] * elements(shape), 0);
};
