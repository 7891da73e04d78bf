/** What a bench is: plain data. Nothing in this folder names an op; `bench/<room>.bench.ts` does. */
import type { DType, Shape } from "../../src/op.ts";
import type { Tensor } from "../../src/tensor.ts";
import type { Fill } from "../../src/testing/cases.ts";

/** A training step is forward, backward and a step of AdamW, to which the inputs that want a gradient are parameters. */
const PASSES = ["forward", "forward+backward", "training step"] as const;
export type Pass = (typeof PASSES)[number];

/** An operation as a function of the case's inputs. */
export type Form = (...inputs: readonly Tensor[]) => Tensor;

export interface BenchInput {
  readonly shape: Shape;
  /** Default float32. Rivals get the same numbers as float32. */
  readonly dtype?: DType;
  /** Default N(0, 1). */
  readonly fill?: Fill;
  /** Whether passes that differentiate do so with respect to it. Default true. */
  readonly gradient?: boolean;
  /** Whether axis 0 is the batch, as it is the output's. Default true; false for weights. */
  readonly batched?: boolean;
}

/** What a pass has to do at the least, on paper. */
export interface Cost {
  /** Multiply-adds count as two. */
  readonly operations: number;
  /** Every input read once, every result written once. */
  readonly bytes: number;
}

/** Of the passes without an optimiser. */
export type Costs = Readonly<Record<Exclude<Pass, "training step">, Cost>>;

export interface BenchCase {
  /** The name under which rivals and documents know it; unique among all benches. */
  readonly name: string;
  readonly inputs: readonly BenchInput[];
  /** Shape of the result, and so of the cotangent. Axis 0 is the batch where any input is batched. */
  readonly output: Shape;
  readonly fused: Form;
  /** The same mathematics out of elementary operations. */
  readonly naive: Form;
  /** What rivals are asked to run: an operation of their list, with its numbers. Without it they are not asked. */
  readonly rival?: { readonly operation: string; readonly [parameter: string]: number | string };
  readonly cost: Readonly<Partial<Record<Pass, Cost>>>;
  /** Largest difference between any two sides that counts as equal, relative to the tensor's largest entry. */
  readonly tolerance: { readonly relative: number; readonly reason: string };
  /** Whether it is also run on one thread. Default false. */
  readonly scaling?: boolean;
  /** Run by one kind of device alone: too small to say anything about hardware, or too large for anything else. Default: by all. */
  readonly only?: "hardware GPU" | "software GPU";
}

export interface Bench {
  /** What `birkhoff bench` calls it. */
  readonly name: string;
  /** One line for `--list`. */
  readonly about: string;
  readonly cases: readonly BenchCase[];
}

export const passesOf = ({ cost }: BenchCase): Pass[] => PASSES.filter((pass) => cost[pass] !== undefined);

/** One side of a race. */
export interface Contestant {
  readonly name: string;
  /** Runs `steps` steps in a row; gives the milliseconds until the last one has finished. */
  run(pass: Pass, steps: number): Promise<number>;
  /** The result of one step and, with a backward pass, the gradients of the inputs that want one, in their order. Of a training step: those that it would begin with. */
  results(pass: Pass): Promise<readonly ArrayLike<number>[]>;
  /** What one step in steady state asks of a GPU; readbacks are left out. */
  counts?(pass: Pass): Promise<StepCounts>;
}

export interface StepCounts {
  readonly dispatches: number;
  readonly submits: number;
  /** Allocations of a step in steady state. */
  readonly newBuffers: number;
  /** Of all buffers that kernels are given to read and write, once per dispatch. */
  readonly bytes: number;
}
