/** Random numbers on the host, for shuffles and generated data. What runs on a device has its own generator. */
import { expected } from "../errors.ts";

/** An independent sequence of random numbers; the same (seed, stream) always gives the same one. */
export interface Random {
  /** An integer in [0, 2³²). */
  uint32(): number;
  /** Uniform in [0, 1), a multiple of 2⁻³². */
  uniform(): number;
  /** Standard normal. */
  normal(): number;
  /** An integer in [0, below), without bias; `below` is at most 2³². */
  integer(below: number): number;
  /** Another sequence of the same seed; its numbers do not depend on how many were drawn here. */
  stream(stream: number): Random;
}

const TWO_32 = 2 ** 32;

/**
 * Mixes three 32-bit words into one.
 *
 * The permutation `pcg3d` of M. Jarzynski and M. Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020: a linear
 * congruential step per word, then two rounds of cross-multiplication around a shift.
 */
const mix = (seed: number, stream: number, counter: number): number => {
  let x = (Math.imul(seed, 1664525) + 1013904223) | 0;
  let y = (Math.imul(stream, 1664525) + 1013904223) | 0;
  let z = (Math.imul(counter, 1664525) + 1013904223) | 0;
  x = (x + Math.imul(y, z)) | 0;
  y = (y + Math.imul(z, x)) | 0;
  z = (z + Math.imul(x, y)) | 0;
  x ^= x >>> 16;
  y ^= y >>> 16;
  z ^= z >>> 16;
  x = (x + Math.imul(y, z)) | 0;
  y = (y + Math.imul(z, x)) | 0;
  z = (z + Math.imul(x, y)) | 0;
  return (x ^ (z >>> 15)) >>> 0;
};

const checkWord = (argument: string, value: number): void => {
  if (!Number.isInteger(value) || value < 0 || value >= TWO_32) throw expected("createRandom", "an integer in [0, 2^32)", argument, value);
};

/**
 * A counter-based generator: number `i` of a sequence is a hash of (seed, stream, i), so sequences need no state but
 * their position and different streams do not overlap.
 *
 * Quality: good enough for shuffles and synthetic data (moments, serial and cross-stream correlation are tested);
 * a sequence repeats after 2³² draws; not for cryptography. Normals are Box–Muller pairs, so |z| stays below 6.7.
 *
 * @param seed an integer in [0, 2³²)
 * @param stream an integer in [0, 2³²), default 0
 * @throws ArgumentError for a seed or stream outside that range
 * @example
 * ```ts
 * const random = createRandom(1);
 * const order = shuffle(range(10), random.stream(7));
 * order.toSorted(); // => [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
 * ```
 */
export const createRandom = (seed: number, stream = 0): Random => {
  checkWord("seed", seed);
  checkWord("stream", stream);
  let counter = 0;
  let spare: number | undefined;
  const uint32 = (): number => {
    const word = mix(seed, stream, counter);
    counter = (counter + 1) >>> 0;
    return word;
  };
  const uniform = (): number => uint32() / TWO_32;
  return {
    uint32,
    uniform,
    normal: () => {
      if (spare !== undefined) {
        const value = spare;
        spare = undefined;
        return value;
      }
      // 1 − u lies in (0, 1], where the logarithm is finite.
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      const angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    },
    integer: (below) => {
      if (!Number.isInteger(below) || below < 1 || below > TWO_32) throw expected("integer", "an integer in [1, 2^32]", "below", below);
      // Words past the last whole multiple of `below` would favour small results.
      const limit = TWO_32 - (TWO_32 % below);
      let word = uint32();
      while (word >= limit) word = uint32();
      return word % below;
    },
    stream: (other) => createRandom(seed, other),
  };
};

/** The integers 0 … count − 1. */
export const range = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);

/** Shuffles in place (Fisher–Yates) and returns `values`. */
export const shuffle = <T extends Int32Array | Float32Array | unknown[]>(values: T, random: Random): T => {
  const list: { [index: number]: unknown } = values;
  for (let i = values.length - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    const value = list[i];
    list[i] = list[j];
    list[j] = value;
  }
  return values;
};

/**
 * `count` different integers of 0 … from − 1, in random order.
 *
 * @throws ArgumentError when `count` exceeds `from`
 */
export const choice = (from: number, count: number, random: Random): Int32Array => {
  if (!Number.isInteger(count) || count < 0 || count > from) throw expected("choice", `an integer in [0, ${from}]`, "count", count);
  const pool = range(from);
  for (let i = 0; i < count; i++) {
    const j = i + random.integer(from - i);
    const value = pool[i];
    pool[i] = pool[j];
    pool[j] = value;
  }
  return pool.slice(0, count);
};
