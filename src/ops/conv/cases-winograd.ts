/** Both sides of what decides whether `native` computes 3×3 and 5×5 kernels by Winograd's transform, and edges of its tiles of 4×4 and 2×2 results. */
import type { Case } from "../../testing/cases.ts";
import { type Sizes, sized } from "./case.ts";

type Some = Partial<Sizes> & Pick<Sizes, "size">;
const layer = (kernel: 3 | 5, name: string, sizes: Some): Case => {
  const around = (kernel - 1) / 2;
  return sized(`${kernel}x${kernel}${name}`, {
    batch: 1,
    channels: 16,
    features: 16,
    kernel: [kernel, kernel],
    padding: [around, around, around, around],
    ...sizes,
  });
};

const ofKernel = (kernel: 3 | 5): readonly Case[] => {
  const of = (name: string, sizes: Some): Case => layer(kernel, name, sizes);
  const wide = kernel + 1;

  /** 16 channels on both sides, per group. */
  const channels = [
    ...[15, 16, 17, 31, 32, 33].flatMap((count, i) => [
      of(`, ${count} channels`, { channels: count, size: [8, 8 + i] }),
      of(`, ${count} features`, { features: count, size: [7, 11 + i], bias: true }),
    ]),
    of(", 49 to 65", { channels: 49, features: 65, size: [4, 4] }),
    of(", groups 2 of 15", { channels: 30, features: 32, groups: 2, size: [8, 8] }),
    of(", groups 2 of 16", { channels: 32, features: 32, groups: 2, size: [8, 8], bias: true }),
    of(", groups 2 of 17 to 35", { batch: 2, channels: 34, features: 70, groups: 2, size: [6, 9], padding: [0, 1, 2, 1], bias: true }),
    of(", groups 3 of 16 to 18", { channels: 48, features: 54, groups: 3, size: [5, 8], padding: [2, 1, 1, 1] }),
  ];

  /** At most half of the direct multiplications, or three quarters from 32 channels on: sizes below and above that, and odd ones. */
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
    ].map((size) => of(`, ${size.join("x")}`, { size })),
    ...[3, 4, 5, 6, 7].flatMap((side) =>
      [31, 32].map((channels) => of(`, ${side}x${side} of ${channels}`, { channels, features: 32, size: [side, side] })),
    ),
    of(", without padding", { size: [10, 15], padding: [0, 0, 0, 0] }),
    of(", results of one tile", { size: [6, 6], padding: [0, 0, 0, 0], bias: true }),
    of(", one result", { size: [kernel, kernel], padding: [0, 0, 0, 0] }),
    of(", padding per side", { size: [9, 10], padding: [0, 2, 1, 0], bias: true }),
    of(", padding per side, larger", { size: [12, 9], padding: [3, 0, 2, 4] }),
    of(", padding larger than the kernel", { size: [11, 12], padding: [wide, wide + 1, wide, kernel] }),
    of(", rows longer than a strip", { size: [6, 71] }),
    of(", in three axes", { size: [1, 8, 8], kernel: [1, kernel, kernel], padding: [0, 1, 1, 0, 1, 1] }),
  ];

  const batches = [0, 1, 2, 5].flatMap((batch) => [
    of(`, batch of ${batch}`, { batch, size: [8, 7], bias: true }),
    of(` transposed, batch of ${batch}`, { result: "x", batch, channels: 19, features: 18, size: [8, 7], bias: true }),
  ]);

  const transposed = [
    of(" transposed, padding that cuts", { result: "x", size: [8, 8], padding: [2, 2, 2, 2], bias: true }),
    of(" transposed, padding larger than the kernel", { result: "x", size: [8, 8], padding: [wide, kernel, kernel, wide + 1] }),
    of(" transposed, output padding", { result: "x", size: [12, 12], out: [12 - kernel, 14 - kernel], padding: [0, 1, 0, 1] }),
    of(" transposed, groups 2", { result: "x", channels: 40, features: 34, groups: 2, size: [10, 8], padding: [0, 1, 1, 2], bias: true }),
    of(" weights, groups 2", { result: "w", batch: 3, channels: 40, features: 34, groups: 2, size: [10, 8], padding: [0, 1, 1, 2] }),
  ];

  /** The weight gradient sums 28 tiles at a time, in parts of at least 128 tiles, for 64 channels and features at most. */
  const side = 7 - kernel;
  const tiles = [
    ...[3, 4, 5, 6].map((columns) => of(` weights, ${7 * columns} tiles`, { result: "w", size: [7 * side, side * columns] })),
    ...[16, 17].map((rows) => of(` weights, ${15 * rows} tiles`, { result: "w", size: [side * rows, 15 * side] })),
    of(" weights, parts across images", { result: "w", batch: 3, size: [8 * side, 10 * side + 1] }),
    ...[64, 65].flatMap((count) => [
      of(` weights, ${count} channels`, { result: "w", channels: count, size: [8, 8] }),
      of(` weights, ${count} features`, { result: "w", features: count, size: [8, 8] }),
    ]),
    of(" weights, batch of 0", { result: "w", batch: 0, size: [8, 8] }),
  ];
  return [...channels, ...sizes, ...batches, ...transposed, ...tiles];
};

export const winograd: readonly Case[] = [...ofKernel(3), ...ofKernel(5)];
