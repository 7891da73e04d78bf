/** What a random call comes to on a device. */
import { BirkhoffError } from "../../../src/errors.ts";
import * as files from "../../../src/files.ts";
import * as birkhoff from "../../../src/index.ts";
import { Module } from "../../../src/nn/module.ts";
import { sum } from "../../../src/ops/reduce/index.ts";
import * as symmetry from "../../../src/symmetry/index.ts";
import { Tensor } from "../../../src/tensor.ts";
import * as testing from "../../../src/testing/index.ts";
import { type Context, realise, type Subject } from "./arguments.ts";

interface Fact {
  readonly shape: readonly (number | string)[];
  readonly values: ArrayLike<number>;
  /** Of a layer's or network's parameter: one that cancels, as a bias before batch norm, has the rounding of what it is a sum of, and so the size of the others. */
  readonly gradient?: true;
}

export interface Outcome {
  readonly error?: BirkhoffError;
  readonly facts: readonly Fact[];
}

/** Whoever frees it in the end. */
const isDisposable = (value: object): value is Disposable => Symbol.dispose in value;

/** Tensors in a result. */
const tensorsIn = (value: unknown): Tensor[] => {
  if (value instanceof Tensor) return [value];
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || isDisposable(value)) return [];
  return (value instanceof Map ? [...value.values()] : Object.values(value)).flatMap(tensorsIn);
};

/** Every number of a result; texts as they are. */
const factsOf = async (value: unknown): Promise<Fact[]> => {
  if (value instanceof Tensor) return [{ shape: value.shape, values: await value.read() }];
  if (typeof value === "number") return [{ shape: [], values: [value] }];
  if (ArrayBuffer.isView(value) && "length" in value)
    return [{ shape: [value.length as number], values: Array.from(value as unknown as ArrayLike<number | bigint>, Number) }];
  if (typeof value === "function") return [];
  if (typeof value !== "object" || value === null) return [{ shape: [String(value)], values: [] }];
  if (isDisposable(value)) return [];
  const facts: Fact[] = [];
  for (const [key, item] of value instanceof Map ? value : Object.entries(value))
    facts.push({ shape: [String(key)], values: [] }, ...(await factsOf(item)));
  return facts;
};

/** What the package exports, by what stands before its names: those of the main entry stand alone. */
export const PUBLIC: Readonly<Record<string, object>> = { "": birkhoff, "files/": files, "symmetry/": symmetry, "testing/": testing };

/** Undefined where there is none. */
export const publicFunction = (name: string): ((...args: readonly unknown[]) => unknown) => {
  const from = name.lastIndexOf("/") + 1;
  return (PUBLIC[name.slice(0, from)] as Record<string, (...args: readonly unknown[]) => unknown>)[name.slice(from)];
};

/** Runs the call, with the gradient of its first result where there is one, and frees everything. Whatever is no error of ours is thrown. */
export const outcomeOf = async (
  { device, grad }: Omit<Context, "own">,
  name: string,
  { run = (_, ...args) => publicFunction(name)(...args) }: Subject,
  args: readonly unknown[],
): Promise<Outcome> => {
  const owned = new Set<Disposable>();
  const context: Context = {
    device,
    grad,
    own: (value) => {
      owned.add(value);
      return value;
    },
  };
  try {
    const result = await run(context, ...(realise(args, context) as unknown[]));
    const tensors = tensorsIn(result);
    for (const tensor of tensors) context.own(tensor);
    const [first] = tensors;
    if (grad && first?.node && !first.disposed) {
      using loss = sum(first);
      loss.backward();
    }
    const facts = await factsOf(result);
    for (const made of owned) {
      if (made instanceof Tensor) await made.grad?.read();
      else if (made instanceof Module)
        for (const { grad: gradient } of made.parameters())
          if (gradient) for (const fact of await factsOf(gradient)) facts.push({ ...fact, gradient: true });
    }
    return { facts };
  } catch (error) {
    if (error instanceof BirkhoffError) return { error, facts: [] };
    throw error;
  } finally {
    for (const made of owned) made[Symbol.dispose]();
    // What data broke before the call was over is told by the next read, which is another call's.
    await device.synchronize().catch(() => undefined);
  }
};

const largestOf = (facts: readonly Fact[]): number =>
  facts.reduce((most, { values }) => Array.from(values).reduce((a, b) => (Number.isFinite(b) ? Math.max(a, Math.abs(b)) : a), most), 1);

/** Largest difference of two answers, beside their largest number; what is not finite must be so in both. */
export const difference = (own: Outcome, truth: Outcome): number => {
  let worst = 0;
  const gradients = largestOf(truth.facts.filter(({ gradient }) => gradient));
  for (const [i, fact] of truth.facts.entries()) {
    const others = own.facts[i].values;
    const { values } = fact;
    const largest = fact.gradient ? gradients : largestOf([fact]);
    for (const [k, value] of Array.from(values).entries()) {
      const other = others[k];
      if (Number.isFinite(value) && Number.isFinite(other)) worst = Math.max(worst, Math.abs(value - other) / largest);
      else if (!Object.is(value, other)) worst = Number.POSITIVE_INFINITY;
    }
  }
  return worst;
};
