import type { ReferenceRun } from "../../op.ts";

export const KINDS = ["bits", "uniform", "normal", "gumbel"] as const;
export type RandomKind = (typeof KINDS)[number];

export interface RandomAttrs extends Readonly<Record<string, number | boolean | string | readonly number[]>> {
  readonly kind: RandomKind;
  readonly shape: readonly number[];
}

export type Words = readonly [number, number, number, number];

const ROUNDS = 10;
const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57] as const;
/** Added to the key from round to round: the golden ratio and √3 − 1. */
const WEYL = [0x9e3779b9, 0xbb67ae85] as const;

/** Upper 32 bits of a 64-bit product, by halves of 16 bits. */
const multiplyHigh = (a: number, b: number): number => {
  const [a1, a0, b1, b0] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  return a1 * b1 + Math.floor(middle / 65536) + ((((middle & 0xffff) + a0 * b1) / 65536) >>> 0);
};

/** Philox 4×32-10: four random words from a counter and a key (Salmon, Moraes, Dror and Shaw 2011, doi:10.1145/2063384.2063405). */
export const philox = (counter: Words, key: readonly [number, number]): Words => {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const [high0, low0] = [multiplyHigh(MULTIPLIERS[0], c0), Math.imul(MULTIPLIERS[0], c0) >>> 0];
    const [high1, low1] = [multiplyHigh(MULTIPLIERS[1], c2), Math.imul(MULTIPLIERS[1], c2) >>> 0];
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    [k0, k1] = [(k0 + WEYL[0]) >>> 0, (k1 + WEYL[1]) >>> 0];
  }
  return [c0, c1, c2, c3];
};

/** Of the 24 upper bits: [0, 1). */
const fraction = (word: number): number => (word >>> 8) * 2 ** -24;

/** Box and Muller (1958): two normal numbers from two words; the first is taken into (0, 1]. */
const boxMuller = (first: number, second: number): readonly [number, number] => {
  const radius = Math.sqrt(-2 * Math.log(fraction(first) + 2 ** -24));
  const angle = 2 * Math.PI * fraction(second);
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
};

/** Of the 23 upper bits, taken to the middle of their interval: neither logarithm sees 0. */
const gumbel = (word: number): number => -Math.log(-Math.log((2 * (word >>> 9) + 1) * 2 ** -24));

const values = (kind: RandomKind, words: Words): readonly number[] => {
  switch (kind) {
    case "bits":
      return words;
    case "uniform":
      return words.map(fraction);
    case "normal":
      return [...boxMuller(words[0], words[1]), ...boxMuller(words[2], words[3])];
    default:
      return words.map(gumbel);
  }
};

/** Elements 4b to 4b + 3 come from counter (b, 0, stream) under the key `seed`. */
export const generate = ({ call, scalars, outputs: [y] }: ReferenceRun<RandomAttrs>): void => {
  const { kind } = call.attrs;
  const { seed_low, seed_high, stream_low, stream_high, shift, scale } = scalars;
  for (let i = 0; i < y.length; i += 4) {
    const block = values(kind, philox([i / 4, 0, stream_low, stream_high], [seed_low, seed_high]));
    for (let k = 0; k < 4 && i + k < y.length; k++) y[i + k] = kind === "bits" ? block[k] : shift + scale * block[k];
  }
};
