import { type Call, elements, type Op } from "../../op.ts";
import { type Case, constant, EXACT, integers, minimalBytes, type Room, summed } from "../../testing/cases.ts";
import { type Sizes, sized } from "./case.ts";
import { combined } from "./cases-combined.ts";
import { patches } from "./cases-patches.ts";
import { shapes } from "./cases-shapes.ts";
import { winograd } from "./cases-winograd.ts";
import { conv, data, ops } from "./op.ts";

/** Around every vector width and tile of rows, as features and as channels; widths around the native tile of pixels. */
const widths = [1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33].flatMap((count, i) => [
  sized(`${count} features`, { channels: 2, features: count, size: [4, 5 + i], kernel: [3, 2], bias: true }),
  sized(`${count} channels`, { channels: count, features: 3, size: [5, 12 + i], kernel: [2, 3], padding: [1, 1, 1, 1] }),
]);
const tiles = [
  ...[63, 64, 65].map((count) =>
    sized(`${count} features and channels`, { batch: 1, channels: count, features: count, size: [4, 4], kernel: [2, 2] }),
  ),
  ...[127, 128, 129].map((count) =>
    sized(`${count} pixels`, { batch: 1, channels: 2, features: 5, size: [1, count], kernel: [3, 1], padding: [1, 0, 1, 0] }),
  ),
];

/** One term below, at and above what one split of the weight gradient sums, and several splits. */
const splits = [255, 256, 257, 512, 530].map((pixels) =>
  sized(`${pixels} output pixels`, { batch: 1, channels: 2, features: 5, size: [1, pixels + 2], kernel: [1, 3] }),
);

/** Without images: kernels of every path that read or write what is not there, and gradients of weights that are sums of nothing. */
const unbatched: readonly Sizes[] = [
  { channels: 6, features: 6, size: [21], kernel: [7], stride: [3], dilation: [2], padding: [2, 0], groups: 6 },
  { channels: 3, features: 5, size: [4, 5], kernel: [1, 1] },
  { channels: 4, features: 10, size: [7, 9], kernel: [2, 5], stride: [2, 3], padding: [1, 1, 1, 1], groups: 2 },
  { channels: 2, features: 3, size: [4, 5, 6], kernel: [2, 3, 4], dilation: [1, 2, 1], padding: [0, 2, 1, 1, 2, 2] },
];
const empty = [
  ...unbatched.flatMap((sizes) =>
    (["y", "x", "w"] as const).map((result) =>
      sized(`empty batch, ${sizes.size.length}d ${result}, kernel ${sizes.kernel}`, { ...sizes, result, batch: 0, bias: true }),
    ),
  ),
  sized("image without rows in padding", { channels: 2, features: 4, size: [0, 5], kernel: [2, 2], padding: [1, 0, 1, 0], bias: true }),
];

const counting = (name: string, sizes: Sizes, check: (value: number, index: number) => boolean): Case =>
  sized(name, sizes, {
    inputs: sized(name, sizes).inputs.map(({ shape }, i) => ({ shape, fill: i === 0 ? integers(9) : constant(1) })),
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
  sized("64 to 64, 3x3", { batch: 1, channels: 64, features: 64, size: [32, 32], kernel: [3, 3], padding: [1, 1, 1, 1], bias: true }),
  sized("128 to 128, 5x5", { batch: 1, channels: 128, features: 128, size: [9, 14], kernel: [5, 5], padding: [2, 2, 2, 2] }),
  sized("pointwise layer", { batch: 3, channels: 70, features: 90, size: [20, 20], kernel: [1, 1], bias: true }),
  sized("volume", { batch: 2, channels: 9, features: 20, size: [10, 12, 14], kernel: [3, 3, 3], padding: [1, 1, 1, 1, 1, 1] }),
  sized("sequence", { batch: 2, channels: 33, features: 40, size: [700], kernel: [7], padding: [3, 3] }),
  sized("transposed layer", {
    result: "x",
    batch: 2,
    channels: 24,
    features: 36,
    size: [40, 40],
    kernel: [4, 4],
    stride: [2, 2],
    padding: [1, 1, 1, 1],
    bias: true,
  }),
  sized("lifting layer", { batch: 8, channels: 1, features: 32, size: [28, 28], kernel: [5, 5] }),
  sized("group layer", { batch: 4, channels: 32, features: 32, size: [16, 16], kernel: [5, 5], bias: true }),
  sized("group layer, 12 to 8", { batch: 4, channels: 32, features: 32, size: [12, 12], kernel: [5, 5] }),
  sized("wide layer, same", { batch: 2, channels: 48, features: 80, size: [13, 16], kernel: [5, 5], padding: [2, 2, 2, 2] }),
  sized("large image", { batch: 1, channels: 3, features: 20, size: [130, 150], kernel: [3, 3], padding: [1, 1, 1, 1] }),
  sized("large image, stride 2", { batch: 1, channels: 20, features: 17, size: [90, 61], kernel: [3, 3], stride: [2, 2], padding: [1, 1, 1, 1] }),
  // What the native kernels cut in several pieces: columns of phases, planes and channels of the weight gradient.
  sized("wide image, stride 2", { result: "x", channels: 20, features: 8, size: [3, 1600], kernel: [3, 3], stride: [2, 2], padding: [1, 1, 1, 1] }),
  sized("wide image, stride 3", { result: "x", channels: 20, features: 6, size: [2, 1603], kernel: [2, 4], stride: [1, 3], padding: [0, 2, 0, 2] }),
  sized("volume in bands", { batch: 1, channels: 16, features: 8, size: [34, 12, 14], kernel: [3, 3, 3], padding: [1, 1, 1, 1, 1, 1] }),
  sized("many channels and splits", {
    batch: 8,
    channels: 70,
    features: 130,
    size: [17, 17],
    kernel: [2, 2],
    stride: [2, 2],
    padding: [1, 0, 1, 0],
  }),
  sized("large image, depthwise", { batch: 2, channels: 40, features: 40, size: [80, 70], kernel: [5, 5], groups: 40, padding: [2, 2, 2, 2] }),
].map((entry) => ({ ...entry, large: true, finiteDifferences: { off: "the same loops as the small cases, and too many of them" } }));

export const cases: readonly Case[] = [
  ...shapes.map(([name, sizes]) => sized(name, sizes)),
  ...combined,
  ...winograd,
  ...patches,
  ...widths,
  ...tiles,
  ...splits,
  ...empty,
  ...invariants,
  ...large,
];

/** One product per element of y and of a feature's kernel, whichever of the three is computed. */
const products = ({ op, inputs, outputs }: Call): number => {
  const [y, w] = op === (conv as Op) ? [outputs[0], inputs[1]] : op === (data as Op) ? inputs : [inputs[0], outputs[0]];
  return elements(y.shape) * elements(w.shape.slice(1));
};

export const room: Room = {
  name: "conv",
  ops,
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: 2 * products(call) }),
};
