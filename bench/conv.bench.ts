/** Convolutions beside sums over the taps of the kernel, each a product of matrices with a shifted image. */
import { elements } from "../src/op.ts";
import { conv1d, conv2d, conv3d } from "../src/ops/conv/index.ts";
import { add } from "../src/ops/elementwise/index.ts";
import { matmul } from "../src/ops/matmul/index.ts";
import { concat, reshape, slice } from "../src/ops/shape/index.ts";
import type { Tensor } from "../src/tensor.ts";
import type { Bench, BenchCase } from "./harness/bench.ts";

interface Layer {
  /** Of space, all alike. Default 2. */
  readonly axes?: 1 | 2 | 3;
  readonly batch: number;
  readonly channels: number;
  readonly features: number;
  readonly side: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly groups?: number;
  /** The operand whose gradient alone is wanted. Default: both. */
  readonly gradient?: "data" | "weight";
}

/** Zeros of `width` on both sides of an axis. */
const framed = (x: Tensor, axis: number, width: number): Tensor => {
  if (width === 0) return x;
  const shape = x.shape.map((size, i) => (i === axis ? width : size));
  return concat([x.device.zeros(shape), x, x.device.zeros(shape)], axis);
};
/** Every `step`-th of `count` places from `start` on. */
const places = (x: Tensor, axis: number, start: number, count: number, step: number): Tensor =>
  slice(x, { axis, start, end: start + (count - 1) * step + 1, step });

const cube = (axes: number, side: number): number[] => new Array<number>(axes).fill(side);

const tapByTap = (x: Tensor, w: Tensor, padding: number, stride: number, groups: number): Tensor => {
  const [batch, channels, side] = x.shape;
  const [features, share, k] = w.shape;
  const space = x.shape.slice(2).map((_, i) => i + 2);
  const out = Math.floor((side + 2 * padding - k) / stride) + 1;
  const image = space.reduce((framing, axis) => framed(framing, axis, padding), x);
  const kernel = reshape(w, [groups, features / groups, share, k ** space.length]);
  let sum: Tensor | undefined;
  for (let u = 0; u < k ** space.length; u++) {
    const tap = reshape(slice(kernel, { axis: 3, start: u, end: u + 1 }), [groups, features / groups, share]);
    const first = (axis: number): number => Math.floor(u / k ** (space.length + 1 - axis)) % k;
    const shifted = space.reduce((all, axis) => places(all, axis, first(axis), out, stride), image);
    const part = matmul(tap, reshape(shifted, [batch, groups, channels / groups, out ** space.length]));
    sum = sum ? add(sum, part) : part;
  }
  return reshape(sum as Tensor, [batch, features, ...cube(space.length, out)]);
};

const FUSED = [conv1d, conv2d, conv3d];

const layer = (
  { axes = 2, batch, channels, features, side, kernel, stride = 1, groups = 1, gradient }: Layer,
  more: Partial<BenchCase> = {},
): BenchCase => {
  const padding = Math.floor(kernel / 2);
  const out = Math.floor((side + 2 * padding - kernel) / stride) + 1;
  // Taps in the zeros around the image are no work.
  let taps = 0;
  for (let i = 0; i < out; i++) {
    for (let u = 0; u < kernel; u++) taps += i * stride + u >= padding && i * stride + u < side + padding ? 1 : 0;
  }
  const share = channels / groups;
  const operations = 2 * batch * features * share * taps ** axes;
  const [x, w, y] = [
    [batch, channels, ...cube(axes, side)],
    [features, share, ...cube(axes, kernel)],
    [batch, features, ...cube(axes, out)],
  ];
  const fused = FUSED[axes - 1];
  const [read, written] = [elements(x) + elements(w), elements(y)];
  const suffix = `${stride > 1 ? ` stride ${stride}` : ""}${groups > 1 ? ` groups ${groups}` : ""}${gradient ? `, gradient of ${gradient}` : ""}`;
  return {
    name: `conv${axes}d ${channels}-${features} ${cube(axes, kernel).join("x")} ${cube(axes, side).join("x")} B${batch}${suffix}`,
    inputs: [
      { shape: x, gradient: gradient !== "weight" },
      { shape: w, batched: false, gradient: gradient !== "data" },
    ],
    output: y,
    fused: (image, weight) => fused(image, weight, { padding, stride, groups }),
    naive: (image, weight) => tapByTap(image, weight, padding, stride, groups),
    rival: { operation: `conv${axes}d`, padding, stride, groups },
    cost: {
      ...(gradient === undefined && { forward: { operations, bytes: 4 * (read + written) } }),
      "forward+backward": { operations: (gradient ? 2 : 3) * operations, bytes: 4 * ((gradient ? 2 : 3) * read + 2 * written) },
    },
    tolerance: {
      relative: 5e-5,
      reason: "float32 sums of up to 65,536 products in different orders: its square root times the rounding, three times",
    },
    ...more,
  };
};

export const bench: Bench = {
  name: "conv",
  about: "convolutions, beside one product of matrices for every tap",
  cases: [
    layer({ batch: 64, channels: 64, features: 64, side: 32, kernel: 3 }, { scaling: true }),
    layer({ batch: 64, channels: 128, features: 128, side: 16, kernel: 5 }, { scaling: true }),
    layer({ batch: 64, channels: 128, features: 128, side: 16, kernel: 5, gradient: "data" }),
    layer({ batch: 64, channels: 128, features: 128, side: 16, kernel: 5, gradient: "weight" }),
    layer({ batch: 64, channels: 32, features: 64, side: 28, kernel: 5 }),
    layer({ batch: 64, channels: 1, features: 64, side: 28, kernel: 5 }, { scaling: true }),
    layer({ batch: 32, channels: 128, features: 128, side: 28, kernel: 1 }),
    layer({ batch: 32, channels: 128, features: 128, side: 28, kernel: 3, groups: 128 }),
    layer({ batch: 32, channels: 64, features: 128, side: 32, kernel: 3, stride: 2 }),
    layer({ batch: 1, channels: 3, features: 16, side: 8, kernel: 3 }),
    layer({ batch: 1, channels: 3, features: 32, side: 32, kernel: 3 }),
    layer({ batch: 1, channels: 64, features: 64, side: 8, kernel: 3 }),
    layer({ batch: 1, channels: 3, features: 16, side: 8, kernel: 1 }),
    layer({ batch: 1, channels: 16, features: 32, side: 8, kernel: 1 }),
    layer({ batch: 1, channels: 32, features: 32, side: 8, kernel: 1 }),
    layer({ batch: 1, channels: 32, features: 32, side: 8, kernel: 3, groups: 32 }),
    layer({ axes: 1, batch: 1, channels: 16, features: 32, side: 64, kernel: 3 }),
    layer({ axes: 1, batch: 1, channels: 32, features: 32, side: 256, kernel: 3 }),
    layer({ axes: 1, batch: 8, channels: 32, features: 32, side: 256, kernel: 5, stride: 2 }),
    layer({ axes: 3, batch: 1, channels: 3, features: 16, side: 8, kernel: 3 }),
    layer({ axes: 3, batch: 8, channels: 3, features: 16, side: 6, kernel: 3 }),
    layer({ axes: 3, batch: 8, channels: 16, features: 32, side: 12, kernel: 3 }),
    layer({ batch: 8, channels: 16, features: 16, side: 16, kernel: 3 }, { only: "software GPU" }),
    layer({ batch: 256, channels: 256, features: 256, side: 32, kernel: 3 }, { only: "hardware GPU" }),
  ],
};
