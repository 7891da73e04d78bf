/** Published values, running statistics, dispatch counts and messages of the normalisations. */
import { describe, expect, test } from "vitest";
import type { Device } from "../../src/device.ts";
import { openDevice } from "../../src/open.ts";
import { mul } from "../../src/ops/elementwise/index.ts";
import { batchNorm, instanceNorm, layerNorm } from "../../src/ops/norm/index.ts";
import { PART_TERMS } from "../../src/ops/norm/plan.ts";
import { scope } from "../../src/scope.ts";
import type { Tensor } from "../../src/tensor.ts";
import { KINDS, withDevice } from "../support/devices.ts";

const near = async (tensor: Tensor, want: readonly number[], digits = 5): Promise<void> => {
  const got = [...(await tensor.read())];
  expect(got.length).toBe(want.length);
  for (const [i, value] of want.entries()) expect(got[i], `element ${i}`).toBeCloseTo(value, digits);
};

describe.each(KINDS)("on %s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });

  test("layerNorm of 1, 2, 3, 4", async () => {
    using x = device.tensor([[1, 2, 3, 4]]);
    using weight = device.tensor([2, 2, 2, 2]);
    using bias = device.tensor([0, 0, 0, 1]);
    using plain = layerNorm(x, 4);
    await near(plain, [-1.3416354, -0.4472118, 0.4472118, 1.3416354]);
    using y = layerNorm(x, [4], { weight, bias });
    await near(y, [-2.6832709, -0.8944236, 0.8944236, 3.6832709]);
  });

  test("layerNorm over two axes is layerNorm of the flattened ones", async () => {
    const values = Array.from({ length: 24 }, (_, i) => Math.sin(i));
    using x = device.tensor(values, [2, 3, 4]);
    using flat = device.tensor(values, [2, 12]);
    using a = layerNorm(x, [3, 4]);
    using b = layerNorm(flat, 12);
    expect(a.shape).toEqual([2, 3, 4]);
    await near(a, [...(await b.read())]);
  });

  test("instanceNorm is layerNorm of each channel", async () => {
    const values = Array.from({ length: 24 }, (_, i) => Math.cos(i * i));
    using x = device.tensor(values, [2, 3, 2, 2]);
    using flat = device.tensor(values, [6, 4]);
    using a = instanceNorm(x);
    using b = layerNorm(flat, 4);
    await near(a, [...(await b.read())]);
  });

  test("batchNorm tracks with the unbiased variance and evaluates with what it tracked", async () => {
    using x = device.tensor([1, 10, 2, 20, 3, 30, 4, 40], [4, 2]);
    using runningMean = device.zeros([2]);
    using runningVar = device.ones([2]);
    using y = batchNorm(x, { runningMean, runningVar, training: true });
    await near(y, [-1.3416354, -1.3416407, -0.4472118, -0.4472136, 0.4472118, 0.4472136, 1.3416354, 1.3416407]);
    // PyTorch: 0.9 · 0 + 0.1 · 2.5 and 0.9 · 1 + 0.1 · 5/3; the second channel is ten times the first.
    await near(runningMean, [0.25, 2.5]);
    await near(runningVar, [0.9 + 1 / 6, 0.9 + 100 / 6], 4);
    using z = batchNorm(x, { runningMean, runningVar });
    await near(
      z,
      [1, 2, 3, 4].flatMap((v) => [(v - 0.25) / Math.sqrt(0.9 + 1 / 6 + 1e-5), (10 * v - 2.5) / Math.sqrt(0.9 + 100 / 6 + 1e-5)]),
    );
    using other = batchNorm(x, { runningMean, runningVar, training: true, momentum: 1 });
    expect(other.shape).toEqual([4, 2]);
    await near(runningMean, [2.5, 25]);
    await near(runningVar, [5 / 3, 500 / 3], 3);
  });

  test("an empty batch leaves the running statistics as they are", async () => {
    using x = device.zeros([0, 2, 3]);
    using runningMean = device.tensor([1, 2]);
    using runningVar = device.tensor([3, 4]);
    using y = batchNorm(x, { runningMean, runningVar, training: true });
    expect(y.shape).toEqual([0, 2, 3]);
    await near(runningMean, [1, 2]);
    await near(runningVar, [3, 4]);
  });

  test("training twice before backward, as gradient accumulation does", async () => {
    using x = device.tensor([1, 2, 4, 8], [4, 1]);
    using weight = device.ones([1]);
    weight.requiresGrad = true;
    using runningMean = device.zeros([1]);
    using runningVar = device.ones([1]);
    scope(() => {
      const a = batchNorm(x, { runningMean, runningVar, weight, training: true });
      const b = batchNorm(x, { runningMean, runningVar, weight, training: true });
      mul(a, b).backward(x);
    });
    // d/dw Σ x_i (w x̂_i)² = 2 Σ x_i x̂_i²
    const scaled = [1, 2, 4, 8].map((v) => ((v - 3.75) / Math.sqrt(7.1875 + 1e-5)) ** 2 * v);
    await near(weight.grad as Tensor, [2 * scaled.reduce((a, b) => a + b)], 3);
  });
});

test("dispatches", async () => {
  await using device = await openDevice({ device: "webgpu" });
  const count = (run: () => Tensor): number => {
    const before = device.counters.dispatches;
    run().dispose();
    return device.counters.dispatches - before;
  };
  using rows = device.ones([4, PART_TERMS]);
  using long = device.ones([2, PART_TERMS + 1]);
  using images = device.ones([2, 3, 4, 4]);
  using runningMean = device.zeros([3]);
  using runningVar = device.ones([3]);
  expect(count(() => layerNorm(rows, PART_TERMS))).toBe(1);
  expect(count(() => layerNorm(long, PART_TERMS + 1))).toBe(2);
  expect(count(() => instanceNorm(images))).toBe(1);
  expect(count(() => batchNorm(images, { training: true }))).toBe(1);
  expect(count(() => batchNorm(images, { runningMean, runningVar, training: true }))).toBe(2);
  expect(count(() => batchNorm(images, { runningMean, runningVar }))).toBe(1);
});

test("errors", async () => {
  await using device = await openDevice({ device: "reference" });
  const x = device.zeros([2, 3, 4]);
  const [three, four] = [device.zeros([3]), device.zeros([4])];
  expect(() => layerNorm(x, [3])).toThrow(
    "layerNorm: expected the sizes of the last axes of `x` (shape [2, 3, 4]) for `normalizedShape`, but received [3]",
  );
  expect(() => layerNorm(x, [])).toThrow("for `normalizedShape`, but received []");
  expect(() => layerNorm(x, [1, 2, 3, 4])).toThrow("for `normalizedShape`");
  expect(() => layerNorm(x, 4, { weight: three })).toThrow("layerNorm: expected shape [4] for `weight`, but received [3]");
  expect(() => layerNorm(x, 4, { bias: device.zeros([4], "int32") })).toThrow("layerNorm: expected a float32 tensor for `bias`");
  expect(() => layerNorm(x, 4, { eps: 0 })).toThrow("layerNorm: expected a positive float32 number for `eps`, but received 0");
  expect(() => layerNorm(x, 4, { eps: Number.NaN })).toThrow("for `eps`, but received NaN");
  expect(() => layerNorm(device.zeros([]), [1])).toThrow("layerNorm: expected a tensor of at least one axis for `x`, but received []");
  expect(() => instanceNorm(device.zeros([2, 3]))).toThrow(
    "instanceNorm: expected shape [N, C, ...] with at least three axes for `x`, but received [2, 3]",
  );
  expect(() => instanceNorm(device.zeros([2, 3, 1]))).toThrow("instanceNorm: expected more than one value per channel and sample for `x`");
  expect(() => instanceNorm(x, { weight: four })).toThrow("instanceNorm: expected shape [3] for `weight`, but received [4]");
  expect(() => batchNorm(three)).toThrow("batchNorm: expected shape [N, C, ...] with at least two axes for `x`, but received [3]");
  expect(() => batchNorm(x)).toThrow("batchNorm: expected a tensor (or `training: true`) for `runningMean`, but received undefined");
  expect(() => batchNorm(x, { runningMean: three, training: true })).toThrow("batchNorm: expected `runningMean` and `runningVar` together");
  expect(() => batchNorm(x, { runningMean: three, runningVar: four })).toThrow("batchNorm: expected shape [3] for `runningVar`, but received [4]");
  expect(() => batchNorm(x, { runningMean: three, runningVar: three, training: true })).toThrow(
    "batchNorm: expected memory of its own for `runningVar`",
  );
  expect(() => batchNorm(device.zeros([1, 3]), { training: true })).toThrow(
    "batchNorm: expected more than one value per channel in training for `x`",
  );
  expect(() => batchNorm(x, { training: true, momentum: 1.5 })).toThrow("batchNorm: expected a number in [0, 1] for `momentum`, but received 1.5");
  const learned = device.zeros([3]);
  learned.requiresGrad = true;
  expect(() => batchNorm(x, { runningMean: learned, runningVar: three })).toThrow(
    "batchNorm: expected a tensor without requiresGrad for `runningMean`",
  );
  await using other = await openDevice({ device: "reference" });
  expect(() => layerNorm(x, 4, { weight: other.zeros([4]) })).toThrow("expected tensors of one device");
});
