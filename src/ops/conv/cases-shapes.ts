/** Shapes with something special about them. */
import type { Sizes } from "./case.ts";

const planes: readonly (readonly [string, Sizes])[] = [
  ["one pixel", { size: [1, 1], kernel: [1, 1], bias: true }],
  ["1x1 kernel", { channels: 5, features: 7, size: [4, 9], kernel: [1, 1], bias: true }],
  ["kernel as large as the image", { channels: 2, features: 3, size: [4, 5], kernel: [4, 5] }],
  ["3x3", { channels: 3, features: 4, size: [6, 7], kernel: [3, 3], bias: true }],
  ["2x2, same", { channels: 2, features: 3, size: [5, 4], kernel: [2, 2], padding: [0, 0, 1, 1] }],
  ["4x6, same", { channels: 2, features: 3, size: [7, 8], kernel: [4, 6], padding: [1, 2, 2, 3], bias: true }],
  ["7x5, padding 3 2", { channels: 2, features: 5, size: [9, 6], kernel: [7, 5], padding: [3, 2, 3, 2] }],
  ["padding larger than the kernel", { channels: 2, features: 2, size: [3, 2], kernel: [2, 3], padding: [4, 5, 4, 5] }],
  ["image of one pixel in padding", { channels: 3, features: 2, size: [1, 1], kernel: [3, 3], padding: [1, 1, 1, 1] }],
  ["padding on one side", { channels: 2, features: 3, size: [5, 6], kernel: [3, 2], padding: [2, 0, 0, 3] }],
  ["stride 2", { channels: 3, features: 4, size: [9, 8], kernel: [3, 3], stride: [2, 2], padding: [1, 1, 1, 1], bias: true }],
  ["stride 3 2, kernel smaller than the stride", { channels: 2, features: 4, size: [11, 9], kernel: [2, 1], stride: [3, 2] }],
  ["stride 1 3, pixels that no tap reads", { channels: 4, features: 5, size: [5, 13], kernel: [2, 5], stride: [1, 3], padding: [0, 1, 0, 1] }],
  ["stride 2 with 5x5", { channels: 4, features: 4, size: [12, 15], kernel: [5, 5], stride: [2, 2], padding: [2, 2, 2, 2] }],
  ["dilation 2", { channels: 3, features: 4, size: [8, 9], kernel: [3, 3], dilation: [2, 2], bias: true }],
  [
    "dilation 2 1, stride 1 2, padding 2 1",
    { channels: 2, features: 4, size: [9, 10], kernel: [3, 2], dilation: [2, 1], stride: [1, 2], padding: [2, 1, 2, 1] },
  ],
  ["dilation 2, stride 2", { channels: 4, features: 5, size: [11, 10], kernel: [3, 3], dilation: [2, 2], stride: [2, 2], padding: [1, 2, 1, 2] }],
  ["dilation 2, stride 3", { channels: 4, features: 4, size: [13, 12], kernel: [4, 3], dilation: [2, 2], stride: [3, 3], padding: [3, 1, 3, 1] }],
  ["dilation 3, stride 2, a row wide", { channels: 4, features: 4, size: [1, 40], kernel: [1, 4], dilation: [1, 3], stride: [1, 2] }],
  ["a column", { channels: 2, features: 4, size: [40, 1], kernel: [5, 1], padding: [2, 0, 2, 0], bias: true }],
  ["groups 2", { channels: 6, features: 8, size: [6, 5], kernel: [3, 3], groups: 2, padding: [1, 1, 1, 1], bias: true }],
  ["groups 3 of 1 to 5", { channels: 3, features: 15, size: [6, 5], kernel: [2, 3], groups: 3 }],
  ["groups 2 of 5 to 1", { channels: 10, features: 2, size: [6, 5], kernel: [2, 3], groups: 2 }],
  [
    "groups 2, stride 2, dilation 2",
    { channels: 8, features: 10, size: [9, 11], kernel: [3, 2], groups: 2, stride: [2, 2], dilation: [2, 2], padding: [2, 1, 2, 1] },
  ],
  ["depthwise", { channels: 5, features: 5, size: [7, 9], kernel: [3, 3], groups: 5, padding: [1, 1, 1, 1], bias: true }],
  ["depthwise of 17, stride 2", { channels: 17, features: 17, size: [9, 12], kernel: [3, 5], groups: 17, stride: [2, 2], padding: [1, 2, 1, 2] }],
  [
    "depthwise times 2, dilation 2, stride 1 3",
    { channels: 9, features: 18, size: [9, 15], kernel: [3, 3], groups: 9, stride: [1, 3], dilation: [2, 2] },
  ],
  ["depthwise, taps that miss the image", { channels: 3, features: 3, size: [2, 2], kernel: [5, 5], groups: 3, padding: [3, 4, 3, 4] }],
  ["groups 2 of 33 to 17", { channels: 66, features: 34, size: [4, 5], kernel: [2, 2], groups: 2 }],
  ["one feature of many channels", { channels: 35, features: 1, size: [6, 7], kernel: [3, 3] }],
  [
    "many features of one channel, stride 2 3",
    { channels: 1, features: 18, size: [9, 14], kernel: [3, 4], stride: [2, 3], padding: [1, 2, 1, 2], bias: true },
  ],
  ["many features of one channel, dilation 2", { channels: 1, features: 20, size: [7, 21], kernel: [2, 3], dilation: [2, 2], padding: [0, 2, 0, 2] }],
  [
    "groups 2 of 17 to 1, stride 1 2",
    { channels: 34, features: 2, size: [5, 9], kernel: [3, 3], groups: 2, stride: [1, 2], padding: [1, 1, 1, 1], bias: true },
  ],
  ["stride larger than the image", { channels: 5, features: 6, size: [3, 4], kernel: [2, 2], stride: [7, 5], padding: [1, 2, 1, 2] }],
  ["stride 4 with the kernel's size", { channels: 5, features: 6, size: [8, 12], kernel: [4, 4], stride: [4, 4] }],
  ["1x1 kernel over 129 channels", { batch: 1, channels: 129, features: 5, size: [3, 7], kernel: [1, 1] }],
  ["kernel wider than a tile", { channels: 2, features: 5, size: [2, 40], kernel: [1, 29], padding: [0, 3, 0, 3] }],
  ["rows longer than a band", { batch: 1, channels: 1, features: 9, size: [2, 1601], kernel: [2, 3], padding: [0, 1, 0, 1] }],
  ["batch of one, 29 pixels wide", { batch: 1, channels: 4, features: 9, size: [3, 29], kernel: [3, 3], padding: [1, 1, 1, 1] }],
  ["batch of 3", { batch: 3, channels: 4, features: 4, size: [7, 7], kernel: [5, 3], bias: true }],
];

/** One axis, three axes, and what pointwise and depthwise kernels do by themselves. */
const axes: readonly (readonly [string, Sizes])[] = [
  ["1d, one element", { size: [1], kernel: [1], bias: true }],
  ["1d, 7 taps, same", { channels: 3, features: 5, size: [19], kernel: [7], padding: [3, 3], bias: true }],
  ["1d, causal", { channels: 4, features: 4, size: [21], kernel: [4], dilation: [2], padding: [6, 0] }],
  ["1d, stride 3, groups 2", { channels: 4, features: 6, size: [23], kernel: [5], stride: [3], padding: [2, 1], groups: 2 }],
  [
    "1d, depthwise, stride 2, dilation 2",
    { channels: 6, features: 6, size: [30], kernel: [6], stride: [2], dilation: [2], padding: [5, 5], groups: 6 },
  ],
  ["1d, 129 elements", { channels: 3, features: 4, size: [131], kernel: [3] }],
  ["3d, 1x1x1", { channels: 5, features: 6, size: [2, 3, 5], kernel: [1, 1, 1], bias: true }],
  ["3d, 3x3x3, same", { channels: 3, features: 4, size: [3, 4, 5], kernel: [3, 3, 3], padding: [1, 1, 1, 1, 1, 1], bias: true }],
  ["3d, kernel as large as the image", { channels: 2, features: 5, size: [2, 3, 4], kernel: [2, 3, 4] }],
  [
    "3d, stride 2 1 3, dilation 1 2 1",
    { channels: 4, features: 5, size: [7, 6, 11], kernel: [3, 2, 4], stride: [2, 1, 3], dilation: [1, 2, 1], padding: [1, 0, 2, 0, 1, 1] },
  ],
  [
    "3d, stride 2, dilation 3, depth alone",
    { channels: 4, features: 4, size: [11, 1, 1], kernel: [3, 1, 1], stride: [2, 1, 1], dilation: [3, 1, 1] },
  ],
  ["3d, depthwise", { channels: 5, features: 5, size: [4, 5, 6], kernel: [3, 2, 3], padding: [1, 0, 1, 1, 1, 1], groups: 5, bias: true }],
  [
    "3d, depthwise times 2, stride 2",
    { channels: 3, features: 6, size: [5, 6, 9], kernel: [2, 3, 3], stride: [2, 2, 2], padding: [1, 1, 1, 1, 1, 1], groups: 3 },
  ],
  [
    "3d, groups 2, image smaller than the padding",
    { channels: 8, features: 10, size: [1, 2, 1], kernel: [3, 3, 5], padding: [2, 2, 3, 2, 1, 4], groups: 2 },
  ],
  ["pointwise over quads of pixels", { channels: 6, features: 9, size: [4, 6], kernel: [1, 1], bias: true }],
  ["pointwise over quads, more than a tile", { batch: 3, channels: 17, features: 20, size: [6, 10], kernel: [1, 1] }],
  ["pointwise over pixels that are no quads", { channels: 18, features: 5, size: [3, 7], kernel: [1, 1] }],
  ["pointwise, groups 2, in 3d", { channels: 8, features: 12, size: [2, 2, 4], kernel: [1, 1, 1], groups: 2, bias: true }],
  ["pointwise, depthwise", { channels: 6, features: 6, size: [5, 4], kernel: [1, 1], groups: 6 }],
  ["pointwise with stride", { channels: 5, features: 8, size: [8, 8], kernel: [1, 1], stride: [2, 2] }],
];

/** The transposed convolution: x is computed, and has a bias. */
const transposed: readonly (readonly [string, Sizes])[] = [
  ["transposed, 1d", { result: "x", channels: 3, features: 4, size: [12], kernel: [4], bias: true }],
  [
    "transposed, stride 2, kernel 4",
    { result: "x", channels: 4, features: 5, size: [8, 10], kernel: [4, 4], stride: [2, 2], padding: [1, 1, 1, 1], bias: true },
  ],
  ["transposed, stride 3, output padding 2 1", { result: "x", channels: 5, features: 3, size: [12, 11], kernel: [3, 3], stride: [3, 3], bias: true }],
  [
    "transposed, dilation 3, output padding past the stride",
    { result: "x", channels: 4, features: 4, size: [12, 9], kernel: [3, 2], out: [4, 5], dilation: [3, 2], bias: true },
  ],
  [
    "transposed, padding that cuts everything but a pixel",
    { result: "x", channels: 2, features: 5, size: [1, 1], kernel: [3, 3], padding: [2, 1, 0, 1], bias: true },
  ],
  ["transposed, groups 2", { result: "x", channels: 8, features: 6, size: [7, 9], kernel: [3, 2], stride: [2, 1], groups: 2, bias: true }],
  [
    "transposed, depthwise, stride 2",
    { result: "x", channels: 5, features: 5, size: [9, 14], kernel: [4, 4], stride: [2, 2], groups: 5, bias: true },
  ],
  [
    "transposed, 3d, stride 2",
    { result: "x", channels: 4, features: 3, size: [5, 6, 7], kernel: [3, 2, 3], stride: [2, 2, 2], padding: [1, 0, 1, 1, 0, 0], bias: true },
  ],
  ["transposed, empty batch", { result: "x", batch: 0, channels: 4, features: 3, size: [5, 6], kernel: [3, 2], bias: true }],
  // Rows next to each other, columns apart, and only one of these.
  ...[1, 2, 5, 8].map((channels): readonly [string, Sizes] => [
    `transposed, one column of stride 2, ${channels} channels`,
    { result: "x", batch: 20, channels, features: 6, size: [5, 1], kernel: [2, 1], stride: [1, 2], bias: true },
  ]),
  [
    "image of one column, stride 3",
    { batch: 17, channels: 5, features: 12, size: [7, 1], kernel: [3, 2], stride: [1, 3], dilation: [1, 2], padding: [1, 3, 1, 0] },
  ],
  ["weight gradient as an op", { result: "w", channels: 4, features: 5, size: [6, 7], kernel: [3, 2], stride: [1, 2], padding: [1, 0, 1, 1] }],
  ["weight gradient as an op, depthwise, 3d", { result: "w", channels: 3, features: 3, size: [3, 4, 5], kernel: [2, 3, 1], groups: 3 }],
];

export const shapes: readonly (readonly [string, Sizes])[] = [...planes, ...axes, ...transposed];
