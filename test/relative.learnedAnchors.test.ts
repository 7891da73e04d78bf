/** Learned anchors: gradients against finite differences, training that lowers what it should, anchors that stay parallel. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createRandom } from "../src/data/random.ts";
import type { Device } from "../src/device.ts";
import { valueAndGrad } from "../src/grad.ts";
import { initializer } from "../src/nn/init.ts";
import { anchorCoverage, anchorDiversity, LearnedAnchors, mixtureEntropy, mixtureOverlap } from "../src/nn/learnedAnchors.ts";
import { openDevice } from "../src/open.ts";
import { add, mul } from "../src/ops/elementwise/index.ts";
import { sum } from "../src/ops/reduce/index.ts";
import { AdamW } from "../src/optim.ts";
import { scope } from "../src/scope.ts";
import type { Tensor } from "../src/tensor.ts";
import { gradcheck } from "../src/testing/gradcheck.ts";
import { withDevice } from "./support/devices.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice({ device: "reference" });
});
afterAll(async () => {
  await device.close();
});

const random = (shape: readonly number[], seed: number): Tensor => {
  const numbers = createRandom(seed);
  const tensor = device.tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => numbers.normal()),
    shape,
  );
  tensor.requiresGrad = true;
  return tensor;
};

describe("gradients", () => {
  test("of every loss agree with finite differences", async () => {
    using anchors = random([4, 3], 1);
    using points = random([9, 3], 2);
    using weights = device.tensor(
      Float32Array.from({ length: 12 }, (_, i) => 0.1 + (i % 5) / 20),
      [3, 4],
    );
    weights.requiresGrad = true;
    for (const check of [
      () => gradcheck(anchorCoverage, [anchors, points]),
      () => gradcheck((a) => anchorDiversity(a), [anchors]),
      () => gradcheck(mixtureEntropy, [weights]),
      () => gradcheck(mixtureOverlap, [weights]),
    ])
      expect((await check()).passed).toBe(true);
  });
  test("reach the logits through the mixtures", async () => {
    using mixtures = new LearnedAnchors(initializer(device, 1), { anchors: 3, points: 6 });
    using x = random([6, 2], 3);
    const { passed } = await gradcheck(() => mixtures.forward(x), [mixtures.logits, x]);
    expect(passed).toBe(true);
  });
});

describe("mixtures", () => {
  test("are convex, and begin with half of their weight at one point", async () => {
    using mixtures = new LearnedAnchors(initializer(device, 5), { anchors: 4, points: 50, temperature: 0.7 });
    using weights = mixtures.weights();
    const values = Float64Array.from(await weights.read());
    for (let k = 0; k < 4; k++) {
      const row = values.subarray(k * 50, (k + 1) * 50);
      expect(row.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
      expect(Math.max(...row)).toBeCloseTo(0.5, 6);
      expect(Math.min(...row)).toBeGreaterThan(0);
    }
    const places = [0, 1, 2, 3].map((k) => values.subarray(k * 50, (k + 1) * 50).reduce((best, value, i, row) => (value > row[best] ? i : best), 0));
    expect(new Set(places).size).toBe(4);
  });

  test("learn to cover clusters, and give parallel anchors in a rotated space", async () => {
    const numbers = createRandom(9);
    const clusters = [0, 0, 8, 0, 0, 8, 8, 8];
    const data = Float32Array.from({ length: 160 }, (_, i) => clusters[2 * (Math.floor(i / 2) % 4) + (i % 2)] + 0.2 * numbers.normal());
    using x = device.tensor(data, [80, 2]);
    // All begin in the first two clusters.
    using mixtures = new LearnedAnchors(initializer(device, 1), { anchors: 4, points: 80, indices: [0, 4, 1, 5] });
    using optimizer = new AdamW(mixtures.parameters(), { lr: 0.05, weightDecay: 0 });
    const loss = (): Tensor => {
      const weights = mixtures.weights();
      return add(anchorCoverage(mixtures.forward(x), x), mul(add(mixtureEntropy(weights), mixtureOverlap(weights)), 0.05));
    };
    const losses: number[] = [];
    for (let step = 0; step < 150; step++) {
      const { value, gradients } = valueAndGrad(loss, mixtures.parameters());
      losses.push(await value.item());
      optimizer.step(gradients);
      for (const tensor of [value, ...gradients]) tensor.dispose();
    }
    expect(losses[149]).toBeLessThan(losses[0] / 4);
    using covered = scope(() => anchorCoverage(mixtures.forward(x), x).detach());
    expect(await covered.item()).toBeLessThan(0.7);
    // y = (−x₂, x₁): the same weights give the rotated anchors.
    using y = device.tensor(
      data.map((_, i) => (i % 2 === 0 ? -data[i + 1] : data[i - 1])),
      [80, 2],
    );
    const [a, b] = await Promise.all(scope(() => [mixtures.forward(x).detach(), mixtures.forward(y).detach()]).map((tensor) => tensor.read()));
    for (let k = 0; k < 4; k++) {
      expect(b[2 * k]).toBeCloseTo(-a[2 * k + 1], 4);
      expect(b[2 * k + 1]).toBeCloseTo(a[2 * k], 4);
    }
  });

  test("losses at their ends", async () => {
    using points = device.tensor([
      [1000, 0],
      [1003, 4],
    ]);
    const values = scope(() => [
      anchorCoverage(points, points).detach(),
      anchorDiversity(points).detach(),
      mixtureEntropy(device.full([3, 8], 1 / 8)).detach(),
      mixtureOverlap(device.full([3, 8], 1 / 8)).detach(),
    ]);
    const [coverage, diversity, entropy, overlap] = await Promise.all(values.map((tensor) => tensor.item()));
    expect(coverage).toBeCloseTo(0, 5);
    expect(diversity).toBeCloseTo(-5, 5);
    expect(entropy).toBeCloseTo(Math.log(8), 6);
    expect(overlap).toBeCloseTo(1 / 8, 6);
    for (const tensor of values) tensor.dispose();
  });
});

describe.each(["native", "webgpu"] as const)("on %s", (kind) => {
  let other: Device;
  withDevice(kind, (opened) => {
    other = opened;
  });
  test("losses and gradients are those of the reference", async () => {
    const everything = async (on: Device): Promise<number[]> => {
      const numbers = createRandom(4);
      using mixtures = new LearnedAnchors(initializer(on, 3), { anchors: 5, points: 20 });
      using x = on.tensor(
        Float32Array.from({ length: 80 }, () => numbers.normal()),
        [20, 4],
      );
      const { value, gradients } = valueAndGrad(() => {
        const [weights, anchors] = [mixtures.weights(), mixtures.forward(x)];
        const far = add(anchorCoverage(anchors, x), mul(anchorDiversity(anchors), 0.3));
        return add(far, add(mixtureEntropy(weights), mixtureOverlap(weights)));
      }, mixtures.parameters());
      const read = await Promise.all([value, ...gradients].map((tensor) => tensor.read()));
      for (const tensor of [value, ...gradients]) tensor.dispose();
      return read.flatMap((values) => [...values]);
    };
    const [got, want] = [await everything(other), await everything(device)];
    // float32: distances about 2 from sums of four squares.
    for (const [i, value] of want.entries()) expect(Math.abs(got[i] - value)).toBeLessThan(1e-5);
  });
});

test("wrong calls say what was expected", () => {
  const make = (options: object) => () => new LearnedAnchors(initializer(device, 0), { anchors: 2, points: 3, ...options });
  expect(make({ anchors: 0 })).toThrow(/LearnedAnchors: expected an integer of at least 1 for `anchors`, but received 0/);
  expect(make({ anchors: 4 })).toThrow(/at most 3 anchors, one per point, for `anchors`, but received 4/);
  expect(make({ temperature: 0 })).toThrow(/a positive number for `temperature`/);
  expect(make({ indices: [0] })).toThrow(/2 indices for `indices`, but received \[0\]/);
  expect(make({ indices: [0, 3] })).toThrow(/integers in \[0, 2\] for `indices`, but received 3/);
  scope(() => {
    expect(() => make({})().forward(device.zeros([4, 2]))).toThrow(/shape \[3, d\] for `x`, but received \[4, 2\]/);
    expect(() => anchorCoverage(device.zeros([2, 3]), device.zeros([2, 4]))).toThrow(/shape \[n, 3\] like the anchors for `points`/);
    expect(() => anchorDiversity(device.zeros([1, 3]))).toThrow(/a matrix of at least 2 rows for `anchors`/);
    expect(() => mixtureEntropy(sum(device.zeros([2])))).toThrow(/a matrix of at least 1 row for `weights`/);
  });
});
