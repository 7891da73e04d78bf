/** Initial values, drawn on the host so that every device starts from the same numbers. */
import { createRandom, type Random } from "../data/random.ts";
import { checkDevice, checkShape, Device } from "../device.ts";
import { checkRange, expected } from "../errors.ts";
import { elements, type Shape } from "../op.ts";
import { keep } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import { parameter } from "./module.ts";

/** Hands out one independent sequence of random numbers per parameter, in the order of creation. */
export interface Initializer {
  readonly device: Device;
  readonly next: () => Random;
}

/**
 * Where the layers of a network get their initial values from: hand the same one to each, in order.
 *
 * @param seed an integer in [0, 2³²); the same seed gives the same network on every device
 * @throws ArgumentError for another seed, or what is no device.
 * @example
 * ```ts
 * const first = new Linear(initializer(device, 1), 2, 3);
 * const again = new Linear(initializer(device, 1), 2, 3);
 * await sum(abs(sub(first.weight, again.weight))).item(); // => 0
 * ```
 */
export const initializer = (device: Device, seed: number): Initializer => {
  checkDevice("initializer", device);
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) throw expected("initializer", "an integer in [0, 2^32)", "seed", seed);
  let stream = 0;
  return { device, next: () => createRandom(seed, stream++) };
};

const checked = (init: Initializer): Initializer => {
  if (!(init?.device instanceof Device) || typeof init.next !== "function") throw expected("initializer", "what `initializer` gives", "init", init);
  return init;
};

/** The next sequence of random numbers. */
export const drawn = (init: Initializer): Random => checked(init).next();

/** A tensor that stays as it is. */
export const constants = (init: Initializer, values: Float32Array | Int32Array, shape: Shape): Tensor =>
  keep(checked(init).device.tensor(values, shape));

const filled = (init: Initializer, shape: Shape, draw: (random: Random) => number): Tensor => {
  checkShape("initializer", shape);
  const random = drawn(init);
  const values = Float32Array.from({ length: elements(shape) }, () => draw(random));
  return parameter(init.device.tensor(values, shape));
};

/** Gain of a leaky ReLU of slope √5, which PyTorch's layers use: √(2 / (1 + 5)). */
const GAIN = Math.sqrt(1 / 3);

/** U(−b, b) with b = gain·√(3 / fanIn): `kaiming_uniform_(a=√5)`, PyTorch's default for weights. */
export const kaimingUniform = (init: Initializer, shape: Shape, fanIn: number): Tensor => {
  const bound = GAIN * Math.sqrt(3 / fanIn);
  return filled(init, shape, (random) => bound * (2 * random.uniform() - 1));
};

/** N(0, gain² / fanIn): `kaiming_normal_(a=√5)`. */
export const kaimingNormal = (init: Initializer, shape: Shape, fanIn: number): Tensor => {
  const deviation = GAIN / Math.sqrt(fanIn);
  return filled(init, shape, (random) => deviation * random.normal());
};

/** U[0, 1): how the matrices' logits start in the paper's code. */
export const unitUniform = (init: Initializer, shape: Shape): Tensor => filled(init, shape, (random) => random.uniform());

/** N(0, deviation²). */
export const gaussian = (init: Initializer, shape: Shape, deviation: number): Tensor => {
  checkRange("initializer", "deviation", deviation, 0, Number.MAX_VALUE, "a non-negative number");
  return filled(init, shape, (random) => deviation * random.normal());
};

/** A parameter of zeros; draws no numbers. */
export const zeros = (init: Initializer, shape: Shape): Tensor => parameter(checked(init).device.zeros(shape));

/** A parameter of ones; draws no numbers. */
export const ones = (init: Initializer, shape: Shape): Tensor => parameter(checked(init).device.ones(shape));
