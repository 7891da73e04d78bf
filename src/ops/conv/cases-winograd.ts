/** Both sides of what decides whether `native` computes 3×3 kernels by Winograd's transform, and edges of its tiles of 4 × 4 results. */
import type { Case } from "../../testing/cases.ts";
import { type Sizes, sized } from "./case.ts";

const layer = (name: string, sizes: Partial<Sizes> & Pick<Sizes, "size">): Case =>
  sized(name, { batch: 1, channels: 16, features: 16, kernel: [3, 3], padding: [1, 1, 1, 1], ...sizes });

/** 16 channels on both sides, per group. */
const channels = [
  ...[15, 16, 17, 31, 32, 33].flatMap((count, i) => [
    layer(`3x3, ${count} channels`, { channels: count, size: [8, 8 + i] }),
    layer(`3x3, ${count} features`, { features: count, size: [7, 11 + i], bias: true }),
  ]),
  layer("3x3, 49 to 65", { channels: 49, features: 65, size: [4, 4] }),
  layer("3x3, groups 2 of 15", { channels: 30, features: 32, groups: 2, size: [8, 8] }),
  layer("3x3, groups 2 of 16", { channels: 32, features: 32, groups: 2, size: [8, 8], bias: true }),
  layer("3x3, groups 2 of 17 to 35", { batch: 2, channels: 34, features: 70, groups: 2, size: [6, 9], padding: [0, 1, 2, 1], bias: true }),
  layer("3x3, groups 3 of 16 to 18", { channels: 48, features: 54, groups: 3, size: [5, 8], padding: [2, 1, 1, 1] }),
];

/** At most 4/9 of the direct multiplications: sizes below and above that, and odd ones. */
const sizes = [
  ...[
    [1, 1],
    [2, 3],
    [3, 3],
    [3, 4],
    [4, 3],
    [4, 4],
    [5, 4],
    [5, 8],
    [6, 6],
    [7, 7],
    [8, 8],
    [9, 9],
    [9, 10],
    [10, 10],
    [12, 13],
    [3, 40],
    [37, 4],
  ].map((size) => layer(`3x3, ${size.join("x")}`, { size })),
  layer("3x3, without padding", { size: [10, 15], padding: [0, 0, 0, 0] }),
  layer("3x3, results of one tile", { size: [6, 6], padding: [0, 0, 0, 0], bias: true }),
  layer("3x3, one result", { size: [3, 3], padding: [0, 0, 0, 0] }),
  layer("3x3, padding per side", { size: [9, 10], padding: [0, 2, 1, 0], bias: true }),
  layer("3x3, padding per side, larger", { size: [12, 9], padding: [3, 0, 2, 4] }),
  layer("3x3, padding larger than the kernel", { size: [11, 12], padding: [4, 5, 4, 3] }),
  layer("3x3, rows longer than a strip", { size: [6, 71] }),
  layer("3x3, in three axes", { size: [1, 8, 8], kernel: [1, 3, 3], padding: [0, 1, 1, 0, 1, 1] }),
];

const batches = [0, 1, 2, 5].flatMap((batch) => [
  layer(`3x3, batch of ${batch}`, { batch, size: [8, 7], bias: true }),
  layer(`3x3 transposed, batch of ${batch}`, { result: "x", batch, channels: 19, features: 18, size: [8, 7], bias: true }),
]);

const transposed = [
  layer("3x3 transposed, padding that cuts", { result: "x", size: [8, 8], padding: [2, 2, 2, 2], bias: true }),
  layer("3x3 transposed, padding larger than the kernel", { result: "x", size: [8, 8], padding: [4, 3, 3, 5] }),
  layer("3x3 transposed, output padding", { result: "x", size: [12, 12], out: [9, 11], padding: [0, 1, 0, 1] }),
  layer("3x3 transposed, groups 2", { result: "x", channels: 40, features: 34, groups: 2, size: [10, 8], padding: [0, 1, 1, 2], bias: true }),
  layer("3x3 weights, groups 2", { result: "w", batch: 3, channels: 40, features: 34, groups: 2, size: [10, 8], padding: [0, 1, 1, 2] }),
];

/** The weight gradient sums 28 tiles at a time, in parts of at least 128 tiles, for 64 channels and features at most. */
const tiles = [
  ...[3, 4, 5, 6].map((columns) => layer(`3x3 weights, ${7 * columns} tiles`, { result: "w", size: [28, 4 * columns] })),
  ...[16, 17].map((rows) => layer(`3x3 weights, ${15 * rows} tiles`, { result: "w", size: [4 * rows, 60] })),
  layer("3x3 weights, parts across images", { result: "w", batch: 3, size: [32, 41] }),
  ...[64, 65].flatMap((count) => [
    layer(`3x3 weights, ${count} channels`, { result: "w", channels: count, size: [8, 8] }),
    layer(`3x3 weights, ${count} features`, { result: "w", features: count, size: [8, 8] }),
  ]),
  layer("3x3 weights, batch of 0", { result: "w", batch: 0, size: [8, 8] }),
];

export const winograd: readonly Case[] = [...channels, ...sizes, ...batches, ...transposed, ...tiles];
