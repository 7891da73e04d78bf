/** Few channels per group: `native` reads them as rows of pixels, one per tap, up to four channels and from eight features on. */
import type { Case } from "../../testing/cases.ts";
import { type Sizes, sized } from "./case.ts";

const PADDED = [1, 1, 1, 1];

/** What decides, and the edges of tiles of features and of terms. */
const counts = [
  ...[1, 2, 3, 4, 5].flatMap((channels, i) => [
    sized(`few: ${channels} channels`, { channels, features: 9 + i, size: [5, 6 + i], kernel: [3, 3], padding: PADDED, bias: true }),
    sized(`few: transposed, ${channels} channels`, {
      result: "x",
      channels,
      features: 12 + i,
      size: [6 + i, 5],
      kernel: [2, 3],
      padding: PADDED,
      bias: true,
    }),
    sized(`few: weights, ${channels} channels`, { result: "w", channels, features: 10 + i, size: [5, 7 + i], kernel: [3, 2], padding: PADDED }),
  ]),
  ...[7, 8, 9, 13, 14, 15, 28, 29].map((features) =>
    sized(`few: ${features} features`, { channels: 1, features, size: [7, 5], kernel: [3, 3], padding: PADDED, bias: true }),
  ),
];

/** Pixels of a row and of a band around the vectors, with every way that taps are apart. */
const rows = [1, 2, 15, 16, 17, 31, 32, 33, 47].flatMap((columns, i) => [
  sized(`few: ${columns} columns`, { channels: 1 + (i % 3), features: 8, size: [3, columns], kernel: [2, 3], padding: [1, 2, 0, 1], bias: true }),
  sized(`few: one row of ${columns}`, { channels: 2, features: 9, size: [1, columns + 4], kernel: [1, 5], stride: [1, 1 + (i % 3)] }),
]);

const spacings: readonly (readonly [string, Partial<Sizes> & Pick<Sizes, "size" | "kernel">])[] = [
  ["stride 2", { size: [9, 12], kernel: [3, 3], stride: [2, 2], padding: PADDED }],
  ["stride 3 of 2 taps", { size: [10, 11], kernel: [2, 2], stride: [3, 3], padding: [0, 1, 1, 0] }],
  ["stride 2, dilation 2", { size: [11, 13], kernel: [3, 2], stride: [2, 2], dilation: [2, 2], padding: [2, 1, 0, 2] }],
  ["stride 3, dilation 2", { size: [12, 17], kernel: [2, 3], stride: [1, 3], dilation: [1, 2], padding: [1, 2, 1, 2] }],
  ["dilation 3", { size: [9, 10], kernel: [3, 3], dilation: [3, 2], padding: [3, 2, 3, 2] }],
  ["padding larger than the kernel", { size: [3, 4], kernel: [2, 2], padding: [3, 4, 4, 3] }],
  ["padding after the image alone", { size: [5, 4], kernel: [3, 3], padding: [0, 0, 2, 2] }],
  ["unread rows and columns", { size: [8, 9], kernel: [3, 3], stride: [4, 4] }],
  ["a kernel as large as the image", { size: [5, 6], kernel: [5, 6] }],
  ["groups 3", { size: [6, 5], kernel: [3, 3], padding: PADDED, groups: 3, channels: 6, features: 27 }],
  ["one axis", { size: [37], kernel: [5], padding: [2, 2] }],
  ["three axes", { size: [4, 5, 6], kernel: [2, 3, 3], padding: [1, 1, 1, 0, 1, 1] }],
  ["three axes, strides and dilations", { size: [6, 7, 8], kernel: [2, 2, 3], stride: [2, 1, 2], dilation: [2, 2, 1], padding: [1, 0, 1, 1, 1, 1] }],
];
const spaced = spacings.flatMap(([name, sizes]) =>
  (["y", "x", "w"] as const).map((result) => sized(`few: ${name}, to ${result}`, { channels: 2, features: 9, bias: true, ...sizes, result })),
);

/** Several bands: patches of 128 KiB, or fewer images than threads; and parts of the batch of weights. */
const bands = [
  sized("few: bands of rows", { batch: 1, channels: 3, features: 8, size: [40, 37], kernel: [5, 5], padding: [2, 2, 2, 2], bias: true }),
  sized("few: bands of rows, stride 2", {
    batch: 1,
    channels: 3,
    features: 8,
    size: [47, 50],
    kernel: [7, 7],
    stride: [2, 2],
    padding: [3, 3, 3, 3],
  }),
  sized("few: rows larger than a band", { batch: 1, channels: 4, features: 8, size: [4, 1400], kernel: [3, 3], padding: PADDED }),
  // One below and one above what a row of patches may take.
  ...[52_427, 52_432].map((columns) => sized(`few: a row of ${columns}`, { batch: 1, channels: 1, features: 8, size: [columns], kernel: [4] })),
  sized("few: rows far apart", { batch: 1, channels: 1, features: 8, size: [300, 130], kernel: [3, 1], dilation: [130, 1], stride: [1, 32] }),
  ...[0, 1, 15, 16, 17, 33].map((batch) =>
    sized(`few: batch of ${batch}`, { batch, channels: 1, features: 9, size: [4, 5], kernel: [3, 3], padding: PADDED, bias: true }),
  ),
];

export const patches: readonly Case[] = [...counts, ...rows, ...spaced, ...bands];
