/** Convolutions beside sums over the taps of the kernel, each a product of matrices with a shifted image. */
import { elements } from "../src/op.ts";
import { conv2d } from "../src/ops/conv/index.ts";
import { add } from "../src/ops/elementwise/index.ts";
import { matmul } from "../src/ops/matmul/index.ts";
import { concat, reshape, slice } from "../src/ops/shape/index.ts";
import type { Tensor } from "../src/tensor.ts";
import type { Bench, BenchCase } from "./harness/bench.ts";

interface Layer {
  readonly batch: number;
  readonly channels: number;
  readonly features: number;
  readonly side: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly groups?: number;
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

const tapByTap = (x: Tensor, w: Tensor, padding: number, stride: number, groups: number): Tensor => {
  const [batch, channels, side] = x.shape;
  const [features, share, k] = w.shape;
  const out = Math.floor((side + 2 * padding - k) / stride) + 1;
  const image = framed(framed(x, 2, padding), 3, padding);
  const kernel = reshape(w, [groups, features / groups, share, k * k]);
  let sum: Tensor | undefined;
  for (let u = 0; u < k; u++) {
    for (let v = 0; v < k; v++) {
      const tap = reshape(slice(kernel, { axis: 3, start: u * k + v, end: u * k + v + 1 }), [groups, features / groups, share]);
      const shifted = places(places(image, 2, u, out, stride), 3, v, out, stride);
      const part = matmul(tap, reshape(shifted, [batch, groups, channels / groups, out * out]));
      sum = sum ? add(sum, part) : part;
    }
  }
  return reshape(sum as Tensor, [batch, features, out, out]);
};

const layer = ({ batch, channels, features, side, kernel, stride = 1, groups = 1 }: Layer, more: Partial<BenchCase> = {}): BenchCase => {
  const padding = Math.floor(kernel / 2);
  const out = Math.floor((side + 2 * padding - kernel) / stride) + 1;
  // Taps in the zeros around the image are no work.
  let taps = 0;
  for (let i = 0; i < out; i++) {
    for (let u = 0; u < kernel; u++) taps += i * stride + u >= padding && i * stride + u < side + padding ? 1 : 0;
  }
  const share = channels / groups;
  const operations = 2 * batch * features * share * taps * taps;
  const [x, w, y] = [
    [batch, channels, side, side],
    [features, share, kernel, kernel],
    [batch, features, out, out],
  ];
  const [read, written] = [elements(x) + elements(w), elements(y)];
  const suffix = `${stride > 1 ? ` stride ${stride}` : ""}${groups > 1 ? ` groups ${groups}` : ""}`;
  return {
    name: `conv2d ${channels}-${features} ${kernel}x${kernel} ${side}x${side} B${batch}${suffix}`,
    inputs: [{ shape: x }, { shape: w, batched: false }],
    output: y,
    fused: (image, weight) => conv2d(image, weight, { padding, stride, groups }),
    naive: (image, weight) => tapByTap(image, weight, padding, stride, groups),
    rival: { operation: "conv2d", padding, stride, groups },
    cost: {
      forward: { operations, bytes: 4 * (read + written) },
      "forward+backward": { operations: 3 * operations, bytes: 4 * (3 * read + 2 * written) },
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
    layer({ batch: 64, channels: 32, features: 64, side: 28, kernel: 5 }),
    layer({ batch: 64, channels: 1, features: 64, side: 28, kernel: 5 }, { scaling: true }),
    layer({ batch: 32, channels: 128, features: 128, side: 28, kernel: 1 }),
    layer({ batch: 32, channels: 128, features: 128, side: 28, kernel: 3, groups: 128 }),
    layer({ batch: 32, channels: 64, features: 128, side: 32, kernel: 3, stride: 2 }),
    layer({ batch: 1, channels: 3, features: 16, side: 8, kernel: 3 }),
    layer({ batch: 1, channels: 3, features: 32, side: 32, kernel: 3 }),
    layer({ batch: 1, channels: 64, features: 64, side: 8, kernel: 3 }),
    layer({ batch: 8, channels: 16, features: 16, side: 16, kernel: 3 }, { only: "software GPU" }),
    layer({ batch: 256, channels: 256, features: 256, side: 32, kernel: 3 }, { only: "hardware GPU" }),
  ],
};
