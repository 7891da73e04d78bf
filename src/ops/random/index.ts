import { generate } from "../../apply.ts";
import { checkDevice, checkShape, type Device } from "../../device.ts";
import { checkFinite, checkNames, expected } from "../../errors.ts";
import type { Shape } from "../../op.ts";
import type { Tensor } from "../../tensor.ts";
import { random } from "./op.ts";
import type { RandomKind } from "./reference.ts";

export interface RandomOptions {
  /** A whole number in [0, 2^53). The same seed, stream and shape give the same numbers. */
  readonly seed: number;
  /** Another sequence of the same seed, independent of the others: a step number, for one. A whole number in [0, 2^53). Default 0. */
  readonly stream?: number;
}

export interface UniformOptions extends RandomOptions {
  /** Default 0. */
  readonly low?: number;
  /** Default 1. */
  readonly high?: number;
}

export interface NormalOptions extends RandomOptions {
  /** Default 0. */
  readonly mean?: number;
  /** Standard deviation, at least 0. Default 1. */
  readonly std?: number;
}

const words = (where: string, argument: string, value: number): readonly [number, number] => {
  if (!Number.isSafeInteger(value) || value < 0) throw expected(where, "a whole number in [0, 2^53)", argument, value);
  return [value % 2 ** 32, Math.floor(value / 2 ** 32)];
};

const numbers = (where: string, kind: RandomKind, device: Device, shape: Shape, options: RandomOptions, shift: number, scale: number): Tensor => {
  checkDevice(where, device);
  checkShape(where, shape);
  const [seed_low, seed_high] = words(where, "seed", options.seed);
  const [stream_low, stream_high] = words(where, "stream", options.stream ?? 0);
  return generate(device, random, { kind, shape: [...shape] }, { seed_low, seed_high, stream_low, stream_high, shift, scale })[0];
};

/**
 * Uniform numbers: low + (high − low) · u with u = k / 2^24 in [0, 1), of the upper 24 bits of `randomBits`.
 * u is the same to the last bit on every device. (Rounding can make a result equal to `high` when `low` is not 0.)
 *
 * @throws ArgumentError for a shape, seed or bound that is none, or high below low.
 * @example
 * ```ts
 * const first = uniform(device, [2, 3], { seed: 7, stream: 0, low: -1 });
 * const again = uniform(device, [2, 3], { seed: 7, stream: 0, low: -1 });
 * first.shape; // => [2, 3]
 * await max(abs(sub(first, again))).item(); // => 0
 * uniform(device, [2], { seed: 0.5 }); // throws ArgumentError
 * ```
 */
export const uniform = (device: Device, shape: Shape, options: UniformOptions): Tensor => {
  const where = "uniform";
  const { low = 0, high = 1 } = checkNames(where, options, ["seed", "stream", "low", "high"]);
  checkFinite(where, "low", low);
  checkFinite(where, "high", high);
  if (high < low) throw expected(where, `a number of at least low (${low})`, "high", high);
  return numbers(where, "uniform", device, shape, options, low, high - low);
};

/**
 * Normal numbers by Box and Muller's transform, at most 5.77 standard deviations from the mean; equal to 1e-5 · std on every device.
 *
 * @throws ArgumentError for a shape or seed that is none, or a negative std.
 * @example
 * ```ts
 * const noise = normal(device, [64, 64], { seed: 7, mean: 3, std: 0.02 });
 * await mean(noise).item(); // => 3.00
 * ```
 */
export const normal = (device: Device, shape: Shape, options: NormalOptions): Tensor => {
  const where = "normal";
  const { mean = 0, std = 1 } = checkNames(where, options, ["seed", "stream", "mean", "std"]);
  checkFinite(where, "mean", mean);
  checkFinite(where, "std", std);
  if (std < 0) throw expected(where, "a number of at least 0", "std", std);
  return numbers(where, "normal", device, shape, options, mean, std);
};

/**
 * Standard Gumbel numbers, −log(−log u): the noise of Gumbel-softmax and Gumbel–Sinkhorn. Equal to 1e-5 on every device.
 *
 * @throws ArgumentError for a shape or seed that is none.
 * @example
 * ```ts
 * const noisy = add(device.zeros([4, 4]), gumbel(device, [4, 4], { seed: 1 }));
 * sinkhorn(noisy, { temperature: 0.2 }).shape; // => [4, 4]
 * ```
 */
export const gumbel = (device: Device, shape: Shape, options: RandomOptions): Tensor =>
  numbers("gumbel", "gumbel", device, shape, checkNames("gumbel", options, ["seed", "stream"]), 0, 1);

/**
 * 32 random bits each, uint32, the same on every device: Philox 4×32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405).
 * Elements 4b to 4b + 3 are the words of counter (b, 0, stream) under the key `seed`, so a longer tensor begins as a shorter one does.
 *
 * @throws ArgumentError for a shape or seed that is none.
 * @example await randomBits(device, [2], { seed: 0 }).read(); // => [0x6627e8d5, 0xe169c58d]
 */
export const randomBits = (device: Device, shape: Shape, options: RandomOptions): Tensor =>
  numbers("randomBits", "bits", device, shape, checkNames("randomBits", options, ["seed", "stream"]), 0, 1);
