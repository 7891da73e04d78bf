/** Gradients through the public function, dispatches, plans in slices and wrong calls. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apply, intern } from "../../src/apply.ts";
import { refusal } from "../../src/backends/webgpu/prepare.ts";
import type { Device } from "../../src/device.ts";
import { type Attrs, type BufferRef, type Call, elements, FLOOR_LIMITS, type Limits, type Op, type Shape, type Spec } from "../../src/op.ts";
import { openDevice } from "../../src/open.ts";
import { sum } from "../../src/ops/reduce/index.ts";
import {
  featureStatistics,
  type RelativeProjectionOptions,
  RunningStatistics,
  relativeProjection,
  relativeTopK,
} from "../../src/ops/relativeProjection/index.ts";
import { backward, columns, project, range, statisticsBackward, statistics as statisticsOp, top } from "../../src/ops/relativeProjection/op.ts";
import type { Tensor } from "../../src/tensor.ts";
import { gradcheck } from "../../src/testing/gradcheck.ts";
import { testRandom } from "../../src/testing/random.ts";
import { take } from "../support/devices.ts";

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

  test("running statistics are constants, covariances too: the gradient is that with the same numbers given", async () => {
    const [rows, own] = tensors();
    using running = new RunningStatistics({ covariance: true });
    running.update(own);
    running.update(rows);
    const { worst } = await gradcheck(
      (u, v) => relativeProjection(u, v, { normalise: "whiten", statistics: running, detachAnchors: false, detachStatistics: false }),
      [rows, own],
      { step: 1e-6 },
    );
    expect(worst).toBeLessThan(1e-6);
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

describe("operands that exceed one binding", () => {
  const float32 = (shape: Shape): Spec => ({ shape, dtype: "float32" });
  const windowOf = (ref: BufferRef, whole: number): { from: number; length: number } => ref.window ?? { from: 0, length: whole };

  test("10⁶ rows on 10⁵ anchors are planned in blocks that fit, each once", () => {
    const [B, K, d] = [1_000_000, 100_000, 768];
    const attrs = { similarity: "cosine", standardised: true } as const;
    const [x, anchors, statistics, y] = [
      [B, d],
      [K, d],
      [2, d],
      [B, K],
    ].map(float32);
    const [ofRows, ofAnchors] = [float32([B]), float32([K])];
    const calls = [
      intern(project("cosine"), [x, anchors, statistics], { ...attrs, through: "given", scale: true }),
      ...(["x", "anchors"] as const).map((side) => intern(backward, [y, x, anchors, statistics, y, ofRows, ofAnchors], { ...attrs, side })),
      intern(top, [x, anchors, statistics], { ...attrs, most: 10 }),
      intern(range, [x, anchors, statistics], { ...attrs, most: 10 }),
      intern(statisticsOp, [x], { scale: true }),
      intern(columns, [x, x, anchors, anchors, statistics], {}),
      intern(statisticsBackward, [statistics, x, statistics, x], { scale: true, onto: true }),
    ];
    for (const call of calls) expect(refusal(call as Call, call.op.plan(call as never, FLOOR_LIMITS), FLOOR_LIMITS)).toBeUndefined();
    const { passes } = calls[0].op.plan(calls[0] as never, FLOOR_LIMITS);
    const blocks = new Set<string>();
    let area = 0;
    for (const { bind, params } of passes) {
      const [rows, own] = [windowOf(bind.x, B * d), windowOf(bind.anchors, K * d)];
      expect(windowOf(bind.y, B * K)).toEqual({ from: (rows.from / d) * K, length: (rows.length / d) * K });
      expect(params).toMatchObject({ rows: rows.length / d, anchors: own.length / d, first: own.from / d, step: K });
      blocks.add(`${rows.from} ${own.from}`);
      area += (rows.length / d) * (own.length / d);
    }
    expect([blocks.size, area]).toEqual([passes.length, B * K]);
  });

  test("blocks give the same bits, and sums over blocks the same numbers", async () => {
    await using device = await openDevice({ device: "webgpu" });
    const [B, K, d] = [150, 140, 9];
    // Holds 64 rows of x, of the anchors and of the result.
    const limits = { bindingBytes: 4 * 64 * 140 };
    const narrow = { bindingBytes: 4 * 64 * 9 };
    const frugal = <A extends Attrs>(op: Op<A>, less: Partial<Limits>): Op<A> => ({ ...op, plan: (call, all) => op.plan(call, { ...all, ...less }) });
    const tensor = (shape: Shape): Tensor =>
      device.tensor(
        Float32Array.from({ length: elements(shape) }, () => random.normal() + 1),
        shape,
      );
    const [x, anchors, dx, danchors, g, wide] = [
      [B, d],
      [K, d],
      [B, d],
      [K, d],
      [B, K],
      [K, 140],
    ].map(tensor);
    const [statistics] = apply(statisticsOp, [x], { scale: true });
    const both = async <A extends Attrs>(
      op: Op<A>,
      less: Partial<Limits>,
      inputs: readonly Tensor[],
      attrs: A,
      dispatches: number,
    ): Promise<number[][][]> => {
      const scalars = op.scalars && Object.fromEntries(op.scalars.map((name) => [name, name === "p" ? 3 : 0.2]));
      const whole = apply(op, inputs, attrs, scalars);
      const before = device.counters.dispatches;
      const parts = apply(frugal(op, less), inputs, attrs, scalars);
      expect(device.counters.dispatches - before).toBe(dispatches);
      return Promise.all([whole, parts].map((outputs) => Promise.all(outputs.map(take))));
    };
    const near = ([want, got]: number[][][]): void => {
      for (const [i, numbers] of want.entries()) {
        const most = Math.max(...numbers.map(Math.abs));
        for (const [j, value] of numbers.entries()) expect(Math.abs(got[i][j] - value)).toBeLessThan(3e-6 * most + 1e-6);
      }
    };
    const attrs = { similarity: "cosine", standardised: true } as const;
    const ofProjection = { ...attrs, through: "given", scale: true } as const;
    const inputs = [x, anchors, statistics];
    const [want, got] = await both(project("cosine"), limits, inputs, ofProjection, 3);
    expect(got).toEqual(want);
    const outputs = apply(project("cosine"), inputs, ofProjection, { p: 3 });
    for (const side of ["x", "anchors"] as const) near(await both(backward, limits, [g, ...inputs, ...outputs], { ...attrs, side }, 3));
    const [all, listed] = await both(top, narrow, inputs, { ...attrs, most: 7 }, 9);
    expect(listed).toEqual(all);
    const [found, again] = await both(range, narrow, inputs, { ...attrs, most: 8 }, 9);
    expect(again).toEqual(found);
    expect(Math.max(...found[2])).toBeGreaterThan(8);
    // Anchors that take several bindings: 64 rows of 140 features, of 64 anchors each.
    const [much, own] = [tensor([70, 140]), wide];
    const plain = { ...ofProjection, standardised: false } as const;
    const [whole, parts] = await both(project("cosine"), limits, [much, own], plain, 6);
    expect(parts).toEqual(whole);
    const results = apply(project("cosine"), [much, own], plain, { p: 2 });
    const cotangent = tensor([70, K]);
    for (const side of ["x", "anchors"] as const)
      near(await both(backward, limits, [cotangent, much, own, ...results], { similarity: "cosine", standardised: false, side }, 6));
    near(await both(statisticsOp, narrow, [x], { scale: true }, 3));
    near(await both(statisticsOp, narrow, [anchors], { scale: false }, 3));
    near(await both(columns, narrow, [dx, x, danchors, anchors, statistics], {}, 3));
    const [exact, spread] = await both(statisticsBackward, narrow, [statistics, x, statistics, dx], { scale: true, onto: true }, 3);
    expect(spread).toEqual(exact);
    for (const each of [x, anchors, dx, danchors, g, wide, statistics, much, cotangent, ...outputs, ...results]) each.dispose();
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
  expect(call({ normalise: "whiten", statistics: new RunningStatistics() })).toThrow(
    `${where} RunningStatistics made with \`covariance: true\` for whitening for \`statistics\`, but received a RunningStatistics object`,
  );
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
  expect(() => running.covariance).toThrow("RunningStatistics: expected true where the covariance is read for `covariance`, but received false");
  const state = await running.stateDict();
  using other = new RunningStatistics({ covariance: true });
  expect(() => other.covariance).toThrow("RunningStatistics: expected an update with rows before");
  await expect(async () => other.stateDict()).rejects.toThrow("RunningStatistics: expected an update with rows before");
  expect(() => other.loadStateDict(state, device)).toThrow("but received one without covariance");
  const column = { dtype: "F64", shape: [4], data: Float64Array.of(1, 1, -1, 1) } as const;
  expect(() => running.loadStateDict(new Map([...state, ["scale", column]]), device)).toThrow(
    'RunningStatistics.loadStateDict: expected finite numbers of at least 0 for `state["scale"]`, but received -1',
  );
  expect(() => running.loadStateDict(new Map([...state, ["scale", { ...column, shape: [2, 2] }]]), device)).toThrow(
    'RunningStatistics.loadStateDict: expected shape [4] for `state["scale"]`',
  );
  // Three rows have no covariance of four features.
  other.update(
    device.tensor(
      Float32Array.from({ length: 12 }, () => random.normal()),
      [3, 4],
    ),
  );
  await expect(relativeProjection(rows, own, { normalise: "whiten", statistics: other }).read()).rejects.toThrow(
    "inverseCholesky: expected a positive definite matrix",
  );
  const shrunken = relativeProjection(rows, own, { normalise: "whiten", statistics: other, shrinkage: 0.1 });
  expect([...(await shrunken.read())].every(Number.isFinite)).toBe(true);
  expect(() => featureStatistics(device.ones([0, 3]))).toThrow("featureStatistics: expected shape [n, d] with at least one row for `rows`");
});
