import { elements, type Op, type Scalars, type Shape } from "../../op.ts";
import { type Case, defineCase, EXACT, minimalBytes, type Room, type Tolerance } from "../../testing/cases.ts";
import { ops, random } from "./op.ts";
import { KINDS, type RandomKind } from "./reference.ts";

const TRANSFORMED: Tolerance = { relative: 0, absolute: 1e-5, reason: "what the room promises between devices" };
const SCALED: Tolerance = { relative: 2e-7, absolute: 0, reason: "the numbers are exact, the product and sum with the bounds are rounded" };

interface Source {
  readonly seed?: readonly [number, number];
  readonly stream?: readonly [number, number];
  readonly shift?: number;
  readonly scale?: number;
}

const scalars = ({ seed = [1, 0], stream = [0, 0], shift = 0, scale = 1 }: Source): Scalars => ({
  seed_low: seed[0],
  seed_high: seed[1],
  stream_low: stream[0],
  stream_high: stream[1],
  shift,
  scale,
});

const randomCase = (kind: RandomKind, name: string, shape: Shape, source: Source = {}, more: Partial<Case> = {}): Case =>
  defineCase({
    name: `${kind} ${name}`,
    op: random,
    inputs: [],
    attrs: { kind, shape },
    scalars: scalars(source),
    forward: kind === "bits" ? EXACT : kind === "uniform" ? (source.scale === undefined ? EXACT : SCALED) : TRANSFORMED,
    ...more,
  });

/** Blocks of four, the vectors of every instruction set, a workgroup and their neighbours. */
const counts = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 67, 1023, 1024, 1025, 4099];
const countCases = counts.flatMap((count) => KINDS.map((kind) => randomCase(kind, `${count}`, [count])));
const shapes = KINDS.flatMap((kind) => [[], [0], [3, 0], [2, 3, 5]].map((shape: Shape) => randomCase(kind, shape.join("x") || "scalar", shape)));

const most = 2 ** 32 - 1;
const seeds: readonly Source[] = [
  { seed: [0, 0] },
  { seed: [most, 0] },
  { seed: [0, 2 ** 21 - 1] },
  { seed: [most, most], stream: [most, most] },
  { stream: [1, 0] },
  { stream: [0, 1] },
  { seed: [0x80000000, 0x7fffffff], stream: [2 ** 24 + 1, 0x80000001] },
];
const seedCases = seeds.flatMap((source, i) => KINDS.map((kind) => randomCase(kind, `of seed ${i}`, [37], source)));
const scaled = [
  randomCase("uniform", "in [-3, 5)", [100], { shift: -3, scale: 8 }),
  randomCase("uniform", "in [2, 2)", [100], { shift: 2, scale: 0 }),
  randomCase("normal", "around 3", [100], { shift: 3, scale: 0.5 }),
];

/** Moments of the distributions, within five standard errors of so many samples. */
const moments: Readonly<Record<Exclude<RandomKind, "bits">, { mean: number; variance: number; fourth: number }>> = {
  uniform: { mean: 1 / 2, variance: 1 / 12, fourth: 1 / 80 },
  normal: { mean: 0, variance: 1, fourth: 3 },
  gumbel: { mean: 0.5772156649, variance: Math.PI ** 2 / 6, fourth: (5.4 * Math.PI ** 4) / 36 },
};
const momentCases = (["uniform", "normal", "gumbel"] as const).flatMap((kind) =>
  [1, 2].map((seed) =>
    randomCase(
      kind,
      `moments of seed ${seed}`,
      [20000],
      { seed: [seed, 0] },
      {
        invariants: ({ outputs: [values] }) => {
          const { mean, variance, fourth } = moments[kind];
          const count = values.length;
          const average = (f: (x: number) => number): number => Array.from(values).reduce((total, x) => total + f(x), 0) / count;
          const gotMean = average((x) => x);
          const gotVariance = average((x) => (x - mean) ** 2);
          if (Math.abs(gotMean - mean) > 5 * Math.sqrt(variance / count)) throw new Error(`mean ${gotMean} instead of ${mean}`);
          if (Math.abs(gotVariance - variance) > 5 * Math.sqrt((fourth - variance ** 2) / count))
            throw new Error(`variance ${gotVariance} instead of ${variance}`);
        },
      },
    ),
  ),
);
const bitBalance = randomCase(
  "bits",
  "balance",
  [20000],
  { seed: [3, 0] },
  {
    invariants: ({ outputs: [words] }) => {
      for (let bit = 0; bit < 32; bit++) {
        const ones = Array.from(words).filter((word) => (word >>> bit) % 2 === 1).length;
        if (Math.abs(ones - words.length / 2) > 2.5 * Math.sqrt(words.length)) throw new Error(`bit ${bit} is set ${ones} times of ${words.length}`);
      }
    },
  },
);
const large = KINDS.map((kind) => randomCase(kind, "a million", [1 << 20], {}, { large: true }));

export const cases: readonly Case[] = [...countCases, ...shapes, ...seedCases, ...scaled, ...momentCases, bitBalance, ...large];

export const room: Room = {
  name: "random",
  ops: ops as readonly Op[],
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: 40 * elements(call.outputs[0].shape) }),
};
