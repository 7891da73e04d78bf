/** Gradients through the public function, dispatches, plans in slices and wrong calls. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { intern } from "../../src/apply.ts";
import type { Device } from "../../src/device.ts";
import { FLOOR_LIMITS, input, output, type Plan, type Shape, type Spec } from "../../src/op.ts";
import { openDevice } from "../../src/open.ts";
import { sum } from "../../src/ops/reduce/index.ts";
import {
  featureStatistics,
  type RelativeProjectionOptions,
  RunningStatistics,
  relativeProjection,
  relativeTopK,
} from "../../src/ops/relativeProjection/index.ts";
import { backward, project, top } from "../../src/ops/relativeProjection/op.ts";
import type { Tensor } from "../../src/tensor.ts";
import { gradcheck } from "../../src/testing/gradcheck.ts";
import { testRandom } from "../../src/testing/random.ts";

const random = testRandom(5);

describe("gradients through the public function", () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice({ device: "reference" });
  });
  afterAll(() => device.close());
  const tensors = (): readonly [Tensor, Tensor] => {
    const [rows, own] = [
      [6, 4],
      [7, 4],
    ].map((shape) => {
      const tensor = device.tensor(
        Float64Array.from({ length: shape[0] * shape[1] }, () => random.normal() + 0.5),
        shape,
      );
      tensor.requiresGrad = true;
      return tensor;
    });
    return [rows, own];
  };
  const similarities = ["cosine", "angular", "inner", "scaledInner", "l1", "l2", "linf"] as const;
  const all: readonly RelativeProjectionOptions[] = (["anchors", "batch"] as const).flatMap((statistics) =>
    [false, true].flatMap((detachStatistics): RelativeProjectionOptions[] => [
      ...(["centre", "standardise"] as const).flatMap((normalise) =>
        similarities.map((similarity) => ({ similarity, normalise, statistics, detachStatistics })),
      ),
      { similarity: "cosine", normalise: "whiten", statistics, detachStatistics, ...(statistics === "batch" ? { shrinkage: 0.2 } : {}) },
      { similarity: "mahalanobis", statistics, detachStatistics, shrinkage: 0.1 },
      { similarity: "changeOfBasis", normalise: "standardise", statistics, detachStatistics },
    ]),
  );
  for (const options of all.filter(({ detachStatistics }) => detachStatistics === false)) {
    test(JSON.stringify(options), async () => {
      const { worst } = await gradcheck((u, v) => relativeProjection(u, v, { ...options, detachAnchors: false }), tensors(), { step: 1e-6 });
      expect(worst).toBeLessThan(1e-6);
    });
  }

  test("statistics of a user's own", async () => {
    const [rows, own] = tensors();
    const mean = device.tensor([0.1, -0.2, 0.3, 0]);
    const scale = device.tensor([1, 2, 0.5, 1.5]);
    for (const tensor of [mean, scale]) tensor.requiresGrad = true;
    const { worst } = await gradcheck(
      (u, v, mean, scale) =>
        relativeProjection(u, v, { normalise: "standardise", statistics: { mean, scale }, detachAnchors: false, detachStatistics: false }),
      [rows, own, mean, scale],
    );
    expect(worst).toBeLessThan(1e-6);
  });

  test("detached statistics are constants: the gradient is that with the same numbers given", async () => {
    const [rows, own] = tensors();
    const gradients = async (options: RelativeProjectionOptions): Promise<number[][]> => {
      const y = relativeProjection(rows, own, { normalise: "standardise", detachAnchors: false, ...options });
      sum(y).backward();
      const result = await Promise.all([rows, own].map(async ({ grad }) => [...((await grad?.readFloat64()) ?? [])]));
      for (const tensor of [rows, own]) {
        tensor.grad?.dispose();
        tensor.grad = undefined;
      }
      return result;
    };
    const { mean, scale } = featureStatistics(own.detach());
    const want = await gradients({ statistics: { mean, scale: scale as Tensor } });
    const got = await gradients({});
    got.flat().forEach((value, i) => {
      expect(value).toBeCloseTo(want.flat()[i], 12);
    });
  });

  test("anchors are constants unless asked for", () => {
    const [rows, own] = tensors();
    sum(relativeProjection(rows, own, { normalise: "standardise", detachStatistics: false })).backward();
    expect(rows.grad).toBeDefined();
    expect(own.grad).toBeUndefined();
  });
});

test("dispatches", async () => {
  await using device = await openDevice({ device: "webgpu" });
  const [rows, own] = [device.ones([70, 40]), device.ones([33, 40])];
  const cotangent = device.ones([70, 33]);
  const count = (options: RelativeProjectionOptions): [number, number] => {
    for (const tensor of [rows, own]) tensor.requiresGrad = true;
    const start = device.counters.dispatches;
    const y = relativeProjection(rows, own, { detachAnchors: false, ...options });
    const middle = device.counters.dispatches;
    y.backward(cotangent);
    y.dispose();
    for (const tensor of [rows, own]) {
      tensor.grad?.dispose();
      tensor.grad = undefined;
    }
    return [middle - start, device.counters.dispatches - middle];
  };
  expect(count({})).toEqual([1, 2]);
  expect(count({ similarity: "l1" })).toEqual([1, 2]);
  expect(count({ detachAnchors: true })).toEqual([1, 1]);
  expect(count({ normalise: "standardise" })).toEqual([2, 2]);
  expect(count({ normalise: "standardise", detachStatistics: false })).toEqual([2, 4]);
  expect(count({ normalise: "standardise", detachStatistics: false, statistics: "batch" })).toEqual([2, 4]);
});

describe("plans of rows that exceed one binding", () => {
  const float32 = (shape: Shape): Spec => ({ shape, dtype: "float32" });
  const rows = 3 * 43690; // of 768 features; 128 MiB hold 43,690 of them
  const covered = (plan: Plan, name: string): number => {
    let next = 0;
    for (const { bind } of plan.passes) {
      const window = (bind[name] as { window?: { from: number; length: number } }).window;
      expect(window?.from).toBe(next);
      expect(4 * (window?.length ?? 0)).toBeLessThanOrEqual(FLOOR_LIMITS.bindingBytes);
      next += window?.length ?? 0;
    }
    return next;
  };

  test("go over the rows once, and leave anchors and statistics alone", () => {
    const op = project("cosine");
    const attrs = { similarity: "cosine", standardised: true, through: "given", scale: true } as const;
    const plan = op.plan(
      intern(
        op,
        [
          [rows, 768],
          [512, 768],
          [2, 768],
        ].map(float32),
        attrs,
      ),
      FLOOR_LIMITS,
    );
    expect(plan.passes.length).toBeGreaterThan(3);
    expect([covered(plan, "x"), covered(plan, "y"), covered(plan, "norms_of_x")]).toEqual([rows * 768, rows * 512, rows]);
    for (const { bind } of plan.passes) expect([bind.anchors, bind.statistics, bind.norms_of_anchors]).toEqual([input(1), input(2), output(2)]);
  });

  test("the gradient of x, and the largest similarities", () => {
    const attrs = { similarity: "cosine", standardised: false, side: "x" } as const;
    const specs = [[rows, 512], [rows, 768], [512, 768], [rows, 512], [rows], [512]].map(float32);
    const plan = backward.plan(intern(backward, specs, attrs), FLOOR_LIMITS);
    for (const [name, size] of [
      ["g", 512],
      ["own", 768],
      ["y", 512],
      ["own_norms", 1],
      ["out", 768],
    ] as const)
      expect(covered(plan, name)).toBe(rows * size);
    const largest = top.plan(
      intern(
        top,
        [
          [rows, 768],
          [512, 768],
        ].map(float32),
        { similarity: "l1", standardised: false, most: 5 },
      ),
      FLOOR_LIMITS,
    );
    for (const [name, size] of [
      ["x", 768],
      ["values", 5],
      ["places", 5],
    ] as const)
      expect(covered(largest, name)).toBe(rows * size);
  });
});

test("errors", async () => {
  await using device = await openDevice({ device: "reference" });
  const [rows, own] = [device.ones([3, 4]), device.ones([2, 4])];
  const call = (options: unknown) => () => relativeProjection(rows, own, options as RelativeProjectionOptions);
  const where = "relativeProjection: expected";
  expect(() => relativeProjection(rows, device.ones([0, 4]))).toThrow(`${where} at least one anchor for \`anchors\`, but received "[0, 4]"`);
  expect(() => relativeProjection(rows, device.ones([2, 5]))).toThrow(`${where} shape [K, 4] to fit x [3, 4] for \`anchors\`, but received "[2, 5]"`);
  expect(() => relativeProjection(device.ones([4]), own)).toThrow(`${where} shape [B, d] for \`x\`, but received "[4]"`);
  expect(() => relativeProjection(rows, device.zeros([2, 4], "int32"))).toThrow(`${where} dtype float32 for \`anchors\`, but received "int32"`);
  // @ts-expect-error: a tensor, not its values
  expect(() => relativeProjection([1], own)).toThrow(`${where} a tensor for \`x\`, but received [1]`);
  expect(call({ similarity: "cos" })).toThrow('for `similarity`, but received "cos"');
  expect(call({ normalise: "std" })).toThrow(`${where} one of none, centre, standardise, whiten for \`normalise\`, but received "std"`);
  expect(call({ similarity: "lp" })).toThrow(`${where} a number of at least 1 for \`p\`, but received undefined`);
  expect(call({ similarity: "lp", p: 0.5 })).toThrow("for `p`, but received 0.5");
  expect(call({ p: 2 })).toThrow(`${where} nothing with similarity cosine for \`p\`, but received 2`);
  expect(call({ statistics: "train" })).toThrow(
    `${where} "anchors", "batch", { mean, scale } or RunningStatistics for \`statistics\`, but received "train"`,
  );
  expect(call({ normalise: "whiten" })).toThrow(
    `${where} more than d = 4 rows for whitening without shrinkage for \`anchors\`, but received "[2, 4]"`,
  );
  expect(call({ similarity: "mahalanobis", statistics: "batch" })).toThrow('for `x`, but received "[3, 4]"');
  expect(call({ similarity: "mahalanobis", normalise: "centre" })).toThrow(
    `${where} "whiten" or nothing with similarity mahalanobis for \`normalise\``,
  );
  expect(call({ shrinkage: 0.1 })).toThrow(`${where} 0 where nothing is inverted for \`shrinkage\`, but received 0.1`);
  expect(call({ normalise: "whiten", shrinkage: 2 })).toThrow(`${where} a number in [0, 1] for \`shrinkage\`, but received 2`);
  expect(call({ normalise: "standardise", statistics: { mean: device.ones([4]) } })).toThrow(
    `${where} a tensor for \`statistics.scale\`, but received undefined`,
  );
  expect(call({ normalise: "centre", statistics: { mean: device.ones([3]) } })).toThrow(
    `${where} shape [4] for \`statistics.mean\`, but received "[3]"`,
  );
  expect(call({ normalise: "whiten", statistics: { mean: device.ones([4]) } })).toThrow("for `statistics.whitening`, but received undefined");
  expect(call({ normalise: "whiten", statistics: new RunningStatistics() })).toThrow("for `statistics`, but received a RunningStatistics object");
  expect(call({ normalise: "standardise", statistics: new RunningStatistics() })).toThrow("RunningStatistics: expected an update with rows before");
  expect(call({ detachAnchors: 1 })).toThrow(`${where} true or false for \`detachAnchors\`, but received 1`);
  expect(() => relativeTopK(rows, own, 3)).toThrow("relativeTopK: expected an integer in [1, 2] for `k`, but received 3");
  expect(() => relativeTopK(rows, own, 1.5)).toThrow("for `k`, but received 1.5");
  expect(() => relativeTopK(rows, own, 1, { similarity: "changeOfBasis" })).toThrow(
    "relativeTopK: expected a similarity, not coefficients for `similarity`",
  );
  expect(() => relativeTopK(rows, own, 1, { p: 3 })).toThrow("relativeTopK: expected nothing with similarity cosine for `p`");
  expect(call(null)).toThrow(`${where} an object for \`options\`, but received null`);
  expect(() => relativeProjection(device.ones([0, 4]), own, { normalise: "centre", statistics: "batch" })).toThrow(
    `${where} at least one row for its statistics`,
  );
  expect(() => new RunningStatistics({ momentum: 0 })).toThrow("RunningStatistics: expected a number in (0, 1] for `momentum`, but received 0");
  using running = new RunningStatistics();
  running.update(rows);
  expect(() => running.update(device.ones([2, 3]))).toThrow('RunningStatistics.update: expected shape [n, 4] for `rows`, but received "[2, 3]"');
  expect(() => featureStatistics(device.ones([0, 3]))).toThrow("featureStatistics: expected shape [n, d] with at least one row for `rows`");
});
