import { checkInteger } from "../errors.ts";
import type { TestRandom } from "./cases.ts";

export const checkSeed = (where: string, seed: unknown): void => checkInteger(where, "seed", seed, 0, Number.MAX_SAFE_INTEGER);

/**
 * A small seeded generator for test data (mulberry32); not the library's random numbers, which are an op.
 *
 * @param seed an integer in [0, 2⁵³), of which the lower 32 bits count
 * @throws ArgumentError for another seed
 */
export const testRandom = (seed: number): TestRandom => {
  checkSeed("testRandom", seed);
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return {
    uniform,
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  };
};
