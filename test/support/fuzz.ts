/** Random arguments for public functions: mostly such as a caller would pass, some of them wrong in every way that a caller without types can think of. */
import fc from "fast-check";
import type { Device } from "../../src/device.ts";
import type { DType } from "../../src/op.ts";
import type { Tensor } from "../../src/tensor.ts";
import { testRandom } from "../../src/testing/random.ts";

const FILLS = ["normal", "normal", "normal", "normal", "zero", "huge", "special", "whole"] as const;

/** A tensor among the arguments, before there is a device. */
export interface Sketch {
  readonly sketch: true;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly fill: (typeof FILLS)[number];
  readonly seed: number;
}

const isSketch = (value: unknown): value is Sketch => typeof value === "object" && value !== null && "sketch" in value;

const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1e-40, 3e38];

const fillOf = ({ shape, fill, seed, dtype }: Sketch): number[] => {
  const random = testRandom(seed);
  const count = shape.reduce((product, size) => product * size, 1);
  const whole = dtype === "int32" || dtype === "uint32";
  return Array.from({ length: count }, () => {
    const value = random.normal();
    if (whole || fill === "whole") return Math.abs(Math.round(2 * value));
    if (fill === "zero") return 0;
    if (fill === "huge") return value * 1e30;
    return fill === "special" ? (random.uniform() < 0.3 ? SPECIAL[Math.floor(random.uniform() * SPECIAL.length)] : value) : value;
  });
};

/** The same arguments with tensors in place of sketches; `made` gets every one. */
export const realise = (value: unknown, device: Device, grad: boolean, made: Tensor[]): unknown => {
  if (isSketch(value)) {
    const tensor = device.tensor(fillOf(value), value.shape, value.dtype);
    if (grad && (value.dtype === "float32" || value.dtype === "float16")) tensor.requiresGrad = true;
    made.push(tensor);
    return tensor;
  }
  if (Array.isArray(value)) return value.map((item) => realise(item, device, grad, made));
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, realise(item, device, grad, made)]));
  return value;
};

/** Whether any number of the arguments' tensors is out of the ordinary: results are then not compared. */
export const isOrdinary = (value: unknown): boolean => {
  if (isSketch(value)) return value.fill === "normal" || value.fill === "whole";
  if (typeof value === "number" && Number.isFinite(value)) return value === 0 || (Math.abs(value) > 1e-30 && Math.abs(value) < 1e30);
  if (typeof value === "object" && value !== null) return Object.values(value).every(isOrdinary);
  return true;
};

export const size = fc.oneof({ weight: 12, arbitrary: fc.integer({ min: 1, max: 5 }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 40 }) });

const rarely = <T, U>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<U>): fc.Arbitrary<T | U> =>
  fc.oneof({ weight: 24, arbitrary: usual }, { weight: 1, arbitrary: rare });

/** A tensor of this shape; now and then of another shape or dtype, or of strange numbers. */
export const tensor = (shape: readonly number[], dtype: DType = "float32"): fc.Arbitrary<unknown> =>
  rarely(
    fc.record({
      sketch: fc.constant(true as const),
      shape: rarely(fc.constant(shape), fc.array(size, { maxLength: 4 })),
      dtype: rarely(fc.constant(dtype), fc.constantFrom<DType>("float32", "float16", "int32", "uint32")),
      fill: fc.constantFrom(...FILLS),
      seed: fc.nat(1e6),
    }),
    garbage,
  );

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

/** An object with each of the keys or without it. */
export const options = (entries: Record<string, fc.Arbitrary<unknown>>, required: readonly string[] = []): fc.Arbitrary<unknown> =>
  rarely(fc.record(entries, { requiredKeys: [...required] }), garbage);
