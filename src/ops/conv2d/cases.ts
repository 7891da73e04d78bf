import { elements, type Op } from "../../op.ts";
import { type Case, constant, defineCase, EXACT, integers, minimalBytes, type Room, summed } from "../../testing/cases.ts";
import { type ConvAttrs, type Geometry, geometry } from "./geometry.ts";
import { conv2d, ops } from "./op.ts";

interface Sizes {
  readonly batch?: number;
  /** Of the whole input and output. */
  readonly channels?: number;
  readonly features?: number;
  readonly size: readonly [number, number];
  readonly kernel: readonly [number, number];
  readonly stride?: readonly [number, number];
  /** Top, left, bottom, right. */
  readonly padding?: readonly [number, number, number, number];
  readonly dilation?: readonly [number, number];
  readonly groups?: number;
  readonly bias?: boolean;
}

const attrsOf = ({ stride = [1, 1], padding = [0, 0, 0, 0], dilation = [1, 1], groups = 1 }: Sizes): ConvAttrs => ({
  stride,
  padding,
  dilation,
  groups,
});

const shapesOf = ({ batch = 2, channels = 1, features = 1, size, kernel, groups = 1, bias = false }: Sizes): number[][] => [
  [batch, channels, ...size],
  [features, channels / groups, ...kernel],
  ...(bias ? [[features]] : []),
];

const longest = (g: Geometry): number => {
  const taps = g.kernel[0] * g.kernel[1];
  return Math.max(g.features * taps, g.channels * taps, g.batch * g.out[0] * g.out[1]);
};

const sized = (name: string, sizes: Sizes, more: Partial<Case> = {}): Case => {
  const shapes = shapesOf(sizes);
  const attrs = attrsOf(sizes);
  const g = geometry(shapes[0], shapes[1], attrs);
  const forward = summed(g.channels * g.kernel[0] * g.kernel[1]);
  return defineCase({ name, op: conv2d, inputs: shapes.map((shape) => ({ shape })), attrs, forward, backward: summed(longest(g)), ...more });
};

const geometries: readonly (readonly [string, Sizes])[] = [
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

/** Around every vector width and tile of rows, as features and as channels; widths around the native tile of pixels. */
const widths = [1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33].flatMap((count, i) => [
  sized(`${count} features`, { channels: 2, features: count, size: [4, 5 + i], kernel: [3, 2], bias: true }),
  sized(`${count} channels`, { channels: count, features: 3, size: [5, 12 + i], kernel: [2, 3], padding: [1, 1, 1, 1] }),
]);
const tiles = [63, 64, 65].map((count) =>
  sized(`${count} features and channels`, { batch: 1, channels: count, features: count, size: [4, 4], kernel: [2, 2] }),
);

/** One term below, at and above what one split of the weight gradient sums, and several splits. */
const splits = [255, 256, 257, 512, 530].map((pixels) =>
  sized(`${pixels} output pixels`, { batch: 1, channels: 2, features: 5, size: [1, pixels + 2], kernel: [1, 3] }),
);

const empty = [
  sized("empty batch", { batch: 0, channels: 2, features: 5, size: [4, 5], kernel: [3, 3], bias: true }),
  sized("empty batch, few features", { batch: 0, channels: 2, features: 2, size: [4, 5], kernel: [3, 3], groups: 2, bias: true }),
  sized("image without rows in padding", { channels: 2, features: 4, size: [0, 5], kernel: [2, 2], padding: [1, 0, 1, 0], bias: true }),
];

const counting = (name: string, sizes: Sizes, check: (value: number, index: number) => boolean): Case =>
  sized(name, sizes, {
    inputs: shapesOf(sizes).map((shape, i) => ({ shape, fill: i === 0 ? integers(9) : constant(1) })),
    forward: EXACT,
    backward: summed(1000),
    invariants: ({ outputs }) => {
      for (let i = 0; i < outputs[0].length; i++) if (!check(outputs[0][i], i)) throw new Error(`${name}: output ${i} is ${outputs[0][i]}`);
    },
  });

/** Facts that do not come from the algorithm. */
const invariants = [
  counting(
    "sums of small integers are exact",
    { channels: 4, features: 8, size: [9, 9], kernel: [3, 3] },
    (value) => Number.isInteger(value) && value >= 0 && value <= 4 * 9 * 8,
  ),
  sized(
    "taps are counted at the border",
    { batch: 1, channels: 3, features: 5, size: [3, 3], kernel: [3, 3], padding: [1, 1, 1, 1] },
    {
      inputs: [
        { shape: [1, 3, 3, 3], fill: constant(1) },
        { shape: [5, 3, 3, 3], fill: constant(1) },
      ],
      forward: EXACT,
      invariants: ({ outputs }) => {
        const want = [4, 6, 4, 6, 9, 6, 4, 6, 4];
        for (let i = 0; i < 45; i++) if (outputs[0][i] !== 3 * want[i % 9]) throw new Error(`output ${i} is ${outputs[0][i]}`);
      },
    },
  ),
];

/** The layers of the network for images of 28 x 28, and shapes that other libraries are compared on. */
const large = [
  sized("lifting layer", { batch: 8, channels: 1, features: 32, size: [28, 28], kernel: [5, 5] }),
  sized("group layer", { batch: 4, channels: 32, features: 32, size: [16, 16], kernel: [5, 5], bias: true }),
  sized("group layer, 12 to 8", { batch: 4, channels: 32, features: 32, size: [12, 12], kernel: [5, 5] }),
  sized("wide layer, same", { batch: 2, channels: 48, features: 80, size: [13, 16], kernel: [5, 5], padding: [2, 2, 2, 2] }),
  sized("large image", { batch: 1, channels: 3, features: 20, size: [130, 150], kernel: [3, 3], padding: [1, 1, 1, 1] }),
  sized("large image, stride 2", { batch: 1, channels: 20, features: 17, size: [90, 61], kernel: [3, 3], stride: [2, 2], padding: [1, 1, 1, 1] }),
  sized("large image, depthwise", { batch: 2, channels: 40, features: 40, size: [80, 70], kernel: [5, 5], groups: 40, padding: [2, 2, 2, 2] }),
].map((entry) => ({ ...entry, large: true, finiteDifferences: { off: "the same loops as the small cases, and too many of them" } }));

export const cases: readonly Case[] = [
  ...geometries.map(([name, sizes]) => sized(name, sizes)),
  ...widths,
  ...tiles,
  ...splits,
  ...empty,
  ...invariants,
  ...large,
];

export const room: Room = {
  name: "conv2d",
  ops: ops as readonly Op[],
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: 2 * elements(call.outputs[0].shape) * elements(call.inputs[1].shape.slice(1)) }),
};
