/** Random arguments for public functions: mostly such as a caller would pass, some of them wrong in every way that a caller without types can think of. */
import fc from "fast-check";
import type { Device } from "../../../src/device.ts";
import type { DType } from "../../../src/op.ts";
import { Tensor } from "../../../src/tensor.ts";
import { testRandom } from "../../../src/testing/random.ts";

/** Where a call happens, and who frees what it makes. */
export interface Context {
  readonly device: Device;
  /** Whether the tensors among the arguments want gradients. */
  readonly grad: boolean;
  /** Frees it when the call is over. */
  own<T extends Disposable>(value: T): T;
}

/** What calls are made of. */
export interface Subject {
  readonly args: Arguments;
  /** What it comes to, all of whose numbers are compared: tensors, typed arrays, objects of these. Default: the public function of the name. */
  run?(context: Context, ...args: readonly unknown[]): unknown;
  /** Devices differ in what they can do: their answers are not compared. */
  readonly differs?: true;
  /** It takes no device, so that one answer is enough. */
  readonly host?: true;
}

/** The same, marked as what takes no device. */
export const hosted = (subjects: Readonly<Record<string, Subject>>): Record<string, Subject> =>
  Object.fromEntries(Object.entries(subjects).map(([name, subject]) => [name, { ...subject, host: true }]));

export type Arguments = fc.Arbitrary<readonly unknown[]>;

/** An argument that takes a device, before there is one. */
export class Sketch {
  readonly label: string;
  readonly make: (context: Context) => unknown;
  /** Whether its numbers are of ordinary size: results of others are not compared. */
  readonly ordinary: boolean;

  constructor(label: string, make: (context: Context) => unknown, ordinary = true) {
    this.label = label;
    this.make = make;
    this.ordinary = ordinary;
  }

  toString(): string {
    return this.label;
  }
}

/** The same arguments with what their sketches stand for. */
export const realise = (value: unknown, context: Context): unknown => {
  if (value instanceof Sketch) {
    const made = value.make(context);
    return made instanceof Tensor ? context.own(made) : made;
  }
  if (Array.isArray(value)) return value.map((item) => realise(item, context));
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, realise(item, context)]));
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, realise(item, context)]));
  return value;
};

/**
 * Whether all numbers among the arguments are of ordinary size. One that makes a singular matrix regular, as shrinkage does, magnifies rounding by its inverse: of three digits to
 * compare, a float32 of 24 bits has none left below 2^-14, and matrices of some rows lose a few bits more.
 */
export const isOrdinary = (value: unknown): boolean => {
  if (value instanceof Sketch) return value.ordinary;
  if (typeof value === "number" && Number.isFinite(value)) return value === 0 || (Math.abs(value) > 2 ** -10 && Math.abs(value) < 1e30);
  if (typeof value === "object" && value !== null) return Object.values(value).every(isOrdinary);
  return true;
};

const FILLS = ["normal", "normal", "normal", "normal", "zero", "huge", "special", "whole"] as const;
type Fill = (typeof FILLS)[number];

const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1e-40, 3e38];

export const filled = (count: number, fill: Fill, seed: number, dtype: DType = "float32"): number[] => {
  const random = testRandom(seed);
  const integers = dtype === "int32" || dtype === "uint32";
  return Array.from({ length: count }, () => {
    const value = random.normal();
    if (integers || fill === "whole") return Math.abs(Math.round(2 * value));
    if (fill === "zero") return 0;
    if (fill === "huge") return value * 1e30;
    return fill === "special" ? (random.uniform() < 0.3 ? SPECIAL[Math.floor(random.uniform() * SPECIAL.length)] : value) : value;
  });
};

const isFloat = (dtype: DType): boolean => dtype === "float32" || dtype === "float16";

const sketched = (shape: readonly number[], dtype: DType, fill: Fill, seed: number, leaf: boolean): Sketch =>
  new Sketch(
    `${leaf ? "leaf" : "tensor"}([${shape.join()}], ${dtype}, ${fill}, ${seed})`,
    ({ device, grad }) => {
      const count = shape.reduce((product, length) => product * length, 1);
      const made = device.tensor(filled(count, fill, seed, dtype), shape, dtype);
      if ((grad || leaf) && isFloat(dtype)) made.requiresGrad = true;
      return made;
    },
    fill === "normal" || fill === "whole",
  );

export const size = fc.oneof({ weight: 12, arbitrary: fc.integer({ min: 1, max: 5 }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 40 }) });

export const rarely = <T, U>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<U>): fc.Arbitrary<T | U> =>
  fc.oneof({ weight: 40, arbitrary: usual }, { weight: 1, arbitrary: rare });

/** A tensor of this shape; now and then of another shape or dtype, or of strange numbers. */
export const tensor = (shape: readonly number[], dtype: DType = "float32", leaf = false): fc.Arbitrary<unknown> =>
  rarely(
    fc
      .tuple(
        rarely(fc.constant(shape), fc.array(size, { maxLength: 4 })),
        rarely(fc.constant(dtype), fc.constantFrom<DType>("float32", "float16", "int32", "uint32")),
        fc.constantFrom(...FILLS),
        fc.nat(1e6),
      )
      .map(([of, kind, fill, seed]) => sketched(of, kind, fill, seed, leaf)),
    garbage,
  );

/** A parameter of this shape, or what is none. */
export const leaf = (shape: readonly number[]): fc.Arbitrary<unknown> => tensor(shape, "float32", true);

/** What is no sensible argument of anything. */
export const garbage: fc.Arbitrary<unknown> = fc.constantFrom(
  undefined,
  null,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  -1,
  -0,
  0,
  0.5,
  1e-320,
  1e300,
  2 ** 31,
  2 ** 53,
  "",
  "relu",
  "1",
  true,
  [],
  [-1],
  [0.5],
  [Number.NaN],
  [1, 2, 3, 4, 5, 6, 7, 8, 9],
  {},
  { length: 3 },
  10n,
  Symbol.iterator,
  () => 1,
  new Float32Array(3),
  new Date(0),
);

/** One of these values, or, now and then, none of them. */
export const among = (...values: readonly unknown[]): fc.Arbitrary<unknown> => rarely(fc.constantFrom(...values), garbage);
export const whole = (min: number, max: number): fc.Arbitrary<unknown> => rarely(fc.integer({ min, max }), garbage);
export const real = (min: number, max: number): fc.Arbitrary<unknown> => rarely(fc.double({ min, max, noNaN: true }), garbage);

/** An object with the required keys and up to three others: more of them seldom fit each other. */
export const options = (entries: Record<string, fc.Arbitrary<unknown>>, required: readonly string[] = []): fc.Arbitrary<unknown> =>
  rarely(
    fc
      .subarray(
        Object.keys(entries).filter((key) => !required.includes(key)),
        { maxLength: Math.min(3, Object.keys(entries).length - required.length) },
      )
      .chain((some) => fc.record(Object.fromEntries([...required, ...some].map((key) => [key, entries[key]])))),
    garbage,
  );

/** Sizes first, since those of several arguments go together. */
export const sized = (count: number, make: (...sizes: number[]) => readonly fc.Arbitrary<unknown>[]): Arguments =>
  fc.array(size, { minLength: count, maxLength: count }).chain((sizes) => fc.tuple(...make(...sizes)));

/** The device itself. */
export const device: fc.Arbitrary<unknown> = rarely(fc.constant(new Sketch("device", (context) => context.device)), garbage);
