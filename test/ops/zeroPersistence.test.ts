/** Values by hand, ties and duplicates, gradients, dispatches, data that is wrong, and wrong calls of death times and their loss. */
import { describe, expect, test } from "vitest";
import { apply, intern } from "../../src/apply.ts";
import type { Device } from "../../src/device.ts";
import { ArgumentError, DataError } from "../../src/errors.ts";
import { type Call, elements, FLOOR_LIMITS, type Plan, type Shape, type Spec } from "../../src/op.ts";
import { openDevice } from "../../src/open.ts";
import { densificationLoss, prePostDensificationLoss, zeroPersistence } from "../../src/ops/zeroPersistence/index.ts";
import { backward, forward, lossBackward, loss as lossOp } from "../../src/ops/zeroPersistence/op.ts";
import { STORED_DISTANCES } from "../../src/ops/zeroPersistence/plan.ts";
import type { Tensor } from "../../src/tensor.ts";
import { KINDS, take, withDevice } from "../support/devices.ts";

/** Some numbers in (-1, 1) that repeat nowhere. */
const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1)));

describe.each(KINDS)("on %s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });

  const times = async (points: Tensor, ...rest: [labels?: readonly number[], options?: object]): Promise<[number[], number[]]> => {
    const { deaths, partners } = zeroPersistence(points, ...rest);
    return [await take(deaths), await take(partners)];
  };

  test("a square with a point in its middle, in each metric", async () => {
    using points = device.tensor([0, 0, 2, 0, 0, 2, 2, 2, 1, 1], [5, 2]);
    const middle = [4, 4, 4, 0];
    const root = Math.fround(Math.SQRT2);
    const [l2, partners] = await times(points);
    for (const time of l2) expect(time).toBeCloseTo(root, 6);
    expect(partners).toEqual(middle);
    expect(await times(points, undefined, { metric: "linf" })).toEqual([[1, 1, 1, 1], middle]);
    // Here the sides are as long as the ways to the middle, and edges of lower rows come first.
    expect(await times(points, undefined, { metric: "l1" })).toEqual([
      [2, 2, 2, 2],
      [0, 0, 1, 0],
    ]);
  });

  test("duplicates die at 0, hang on the earliest of their kind, and get no gradient", async () => {
    for (const metric of ["l1", "l2", "linf"] as const) {
      using points = device.tensor([3, 3, 3, 3, 3, 3], [1, 3, 2]);
      points.requiresGrad = true;
      const { deaths, partners } = zeroPersistence(points, undefined, { metric });
      using ones = device.ones([1, 2]);
      deaths.backward(ones);
      expect(await take(deaths)).toEqual([0, 0]);
      expect(await take(partners)).toEqual([0, 0]);
      expect([...((await points.grad?.read()) ?? [])]).toEqual([0, 0, 0, 0, 0, 0]);
      points.grad?.dispose();
    }
  });

  test("for linf the gradient goes to the first coordinate of the largest difference", async () => {
    using points = device.tensor([0, 0, 0, 1, -5, 5], [2, 3]);
    points.requiresGrad = true;
    const { deaths, partners } = zeroPersistence(points, undefined, { metric: "linf" });
    partners.dispose();
    using one = device.ones([1]);
    deaths.backward(one);
    deaths.dispose();
    expect([...((await points.grad?.read()) ?? [])].map((slope) => slope + 0)).toEqual([0, 1, 0, 0, -1, 0]);
    points.grad?.dispose();
  });

  test("labels group what a batch axis groups", async () => {
    const data = numbers(6 * 4 * 3);
    const order = Array.from({ length: 24 }, (_, i) => (7 * i) % 24);
    using batch = device.tensor(data, [6, 4, 3]);
    using mixed = device.tensor(
      order.flatMap((row) => data.slice(3 * row, 3 * row + 3)),
      [24, 3],
    );
    const labels = order.map((row) => Math.floor(row / 4));
    const [grouped] = await times(batch);
    const [deaths, partners] = await times(mixed, labels);
    const rise = (list: number[]): number[] => list.sort((a, b) => a - b);
    for (let cloud = 0; cloud < 6; cloud++) {
      const own = deaths.filter((_, i) => labels[i] === cloud && partners[i] >= 0);
      const want = rise(grouped.slice(3 * cloud, 3 * cloud + 3));
      for (const [i, time] of rise(own).entries()) expect(time).toBeCloseTo(want[i], 5);
    }
  });

  test("a cloud of one or none has no death time, and the loss of none is 0", async () => {
    for (const shape of [
      [3, 1, 2],
      [2, 0, 2],
      [0, 5, 2],
      [1, 2],
    ]) {
      using points = device.zeros(shape);
      const { deaths, partners } = zeroPersistence(points);
      expect(elements(deaths.shape)).toBe(0);
      expect(await take(deaths)).toEqual([]);
      partners.dispose();
      expect(await take(densificationLoss(points, undefined, { beta: 3, reduction: "mean" }))).toEqual([0]);
    }
    using points = device.zeros([3, 2]);
    points.requiresGrad = true;
    const loss = densificationLoss(points, [0, 1, 2], { beta: 3, reduction: "mean", form: "squared" });
    loss.backward();
    expect(await take(loss)).toEqual([0]);
    expect([...((await points.grad?.read()) ?? [])]).toEqual([0, 0, 0, 0, 0, 0]);
    points.grad?.dispose();
  });

  test("forms and reductions of the loss", async () => {
    // Death times 1 and 4.
    using points = device.tensor([0, 1, 5], [3, 1]);
    const of = async (options: object): Promise<number> => (await take(densificationLoss(points, undefined, { beta: 3, ...options })))[0];
    expect(await of({})).toBe(3);
    expect(await of({ reduction: "mean" })).toBe(1.5);
    expect(await of({ form: "squared" })).toBe(5);
    expect(await of({ form: "hinge" })).toBe(1);
    expect(await of({ form: "hinge", reduction: "mean" })).toBe(0.5);
  });

  test("pre and post are weighted, each with its own metric and β", async () => {
    using pre = device.tensor([0, 0, 3, 4], [2, 2]);
    using post = device.tensor([0, 0, 0, 1, 1, 1], [2, 3]);
    const of = async (options: object): Promise<number> => (await take(prePostDensificationLoss(pre, post, [5, 5], { beta: 2, ...options })))[0];
    expect(await of({ metric: "l1" })).toBeCloseTo(0.1 * 3 + 0.9 * 1, 6);
    expect(await of({ metric: "linf", preBeta: 4 })).toBeCloseTo(0.1 * 1 + 0.9 * 1, 6);
    expect(await of({ metric: "l1", weights: [0, 2] })).toBeCloseTo(2, 6);
    expect(await of({ metric: "l1", weights: [0.5, 0] })).toBeCloseTo(1.5, 6);
  });

  test("numbers that are not finite, and labels out of range: DataError at the next read, nothing lost behind it", async () => {
    const finite = "zeroPersistence: expected finite numbers for `points`";
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      using points = device.tensor([0, 1, 2, wrong, 4, 5], [1, 3, 2]);
      points.requiresGrad = true;
      const loss = densificationLoss(points, undefined, { beta: 1 });
      loss.backward();
      await expect(loss.read()).rejects.toThrow(new DataError(`${finite}, but received ${wrong}`));
      for (const tensor of [loss, points.grad]) tensor?.dispose();
    }
    // A cloud of its own.
    using alone = device.tensor([0, 1, Number.NaN], [3, 1]);
    const single = zeroPersistence(alone, [0, 0, 1], { classes: 3 });
    await expect(single.deaths.read()).rejects.toThrow(new DataError(`${finite} and integers in [0, 3) for \`labels\`, but received NaN`));
    for (const tensor of [single.deaths, single.partners]) tensor.dispose();
    for (const wrong of [-1, 2, 2 ** 31 - 1, -(2 ** 31)]) {
      using points = device.tensor([0, 1, 3, 7], [4, 1]);
      points.requiresGrad = true;
      using labels = device.tensor([0, wrong, 0, 1], [4], "int32");
      const { deaths, partners } = zeroPersistence(points, labels, { classes: 2 });
      using ones = device.ones([4]);
      deaths.backward(ones);
      await expect(deaths.read()).rejects.toThrow(new DataError(`${finite} and integers in [0, 2) for \`labels\`, but received ${wrong}`));
      // The others are as they would be without the point.
      expect(await take(deaths)).toEqual([0, 0, 3, 0]);
      expect(await take(partners)).toEqual([-1, -1, 0, -1]);
      expect([...((await points.grad?.read()) ?? [])]).toEqual([-1, 0, 1, 0]);
      points.grad?.dispose();
    }
  });

  test("the loss leaves no buffer behind and, with a gradient, allocates none in steady state", async () => {
    using points = device.tensor(numbers(40 * 3), [40, 3]);
    points.requiresGrad = true;
    const labels = Array.from({ length: 40 }, (_, i) => i % 5);
    const step = async (): Promise<void> => {
      const loss = densificationLoss(points, labels, { beta: 1 });
      loss.backward();
      await take(loss);
      points.grad?.dispose();
      points.grad = undefined;
    };
    await step();
    const live = device.counters.liveBuffers;
    await step();
    expect(device.counters.liveBuffers).toBe(live);
  });
});

test("dispatches: at most three forward and two backward", async () => {
  await using device = await openDevice({ device: "webgpu" });
  const count = (shape: Shape, labels?: readonly number[]): number[] => {
    using points = device.zeros(shape);
    points.requiresGrad = true;
    const before = device.counters.dispatches;
    using loss = densificationLoss(points, labels, { beta: 1 });
    const middle = device.counters.dispatches;
    loss.backward();
    points.grad?.dispose();
    return [middle - before, device.counters.dispatches - middle];
  };
  expect(count([64, 16, 8])).toEqual([3, 2]);
  expect(count([2, 40, 4])).toEqual([3, 2]);
  expect(
    count(
      [60, 3],
      Array.from({ length: 60 }, (_, i) => i % 7),
    ),
  ).toEqual([3, 2]);
});

test("distances that are not stored give the same bits", async () => {
  await using device = await openDevice({ device: "webgpu" });
  /** As if a binding held the points, and not the square of distances. */
  const frugal = { ...forward, plan: (call, limits) => forward.plan(call, { ...limits, bindingBytes: 4 * 270 * 8 }) } satisfies typeof forward;
  const data = numbers(270 * 3).map((x) => Math.round(20 * x) / 4);
  using batch = device.tensor(data, [10, 27, 3]);
  using mixed = device.tensor(data, [270, 3]);
  using labels = device.tensor(Int32Array.from({ length: 270 }, (_, i) => (i * i) % 7));
  for (const metric of ["l1", "l2", "linf"] as const) {
    for (const inputs of [[batch], [mixed, labels]]) {
      const attrs = { metric, labelled: inputs.length > 1, classes: inputs.length > 1 ? 7 : 0 };
      const before = device.counters.dispatches;
      const results = [forward, frugal].map((op) => apply(op, inputs, attrs));
      expect(device.counters.dispatches - before).toBe(3);
      const [want, got] = await Promise.all(results.map((outputs) => Promise.all(outputs.map(take))));
      expect(got).toEqual(want);
    }
  }
  using broken = device.tensor([0, 1, Number.NaN], [1, 3, 1]);
  const tiny = { ...frugal, plan: (call, limits) => forward.plan(call, { ...limits, bindingBytes: 12 }) } satisfies typeof forward;
  const outputs = apply(tiny, [broken], { metric: "l2", labelled: false, classes: 0 });
  await expect(outputs[0].read()).rejects.toThrow("expected finite numbers for `points`, but received NaN");
  for (const output of outputs) output.dispose();
});

describe("the plan", () => {
  const plan = (points: Shape, classes = 0, limits = FLOOR_LIMITS): Plan => {
    const specs = [{ shape: points, dtype: "float32" as const }, ...(classes > 0 ? [{ shape: points.slice(0, 1), dtype: "int32" as const }] : [])];
    return forward.plan(intern(forward, specs, { metric: "l2", labelled: classes > 0, classes }), limits);
  };

  /** The dispatches of the loss, forward and backward. */
  const densification = (points: Shape, classes = 0): number[] => {
    const attrs = { metric: "linf", labelled: classes > 0, classes } as const;
    const form = { form: "absolute", reduction: "sum" } as const;
    const given: Spec = { shape: points, dtype: "float32" };
    const trees = intern(forward, classes > 0 ? [given, { shape: points.slice(0, 1), dtype: "int32" }] : [given], attrs);
    const [deaths, partners, coordinates] = trees.outputs;
    const total = intern(lossOp, [deaths, partners], form);
    const back = [
      intern(lossBackward, [total.outputs[0], deaths, partners, total.outputs[1]], form),
      intern(backward, [deaths, given, deaths, partners, coordinates], attrs),
    ];
    const count = (calls: readonly unknown[]): number =>
      (calls as Call[]).reduce((sum, call) => sum + call.op.plan(call, FLOOR_LIMITS).passes.length, 0);
    return [count([trees, total]), count(back)];
  };

  test("any number of clouds of up to 256 points takes three dispatches forward and two backward", () => {
    for (const clouds of [1, 100, 512, 513, 10000]) {
      for (const size of [2, 255, 256]) {
        const [ahead, back] = densification([clouds, size, 8]);
        expect(ahead).toBeLessThanOrEqual(3);
        expect(back).toBe(2);
      }
    }
    for (const rows of [10, 4096, 4097, 100000]) {
      const [ahead, back] = densification([rows, 8], 400);
      expect(ahead).toBeLessThanOrEqual(3);
      expect(back).toBe(2);
    }
  });

  test("distances are stored as far as one binding and the threshold allow", () => {
    expect(plan([100, 30, 4]).scratch).toEqual([100 * 900]);
    expect(plan([100, 4], 9).scratch).toEqual([10000]);
    expect(plan([100, 30, 4], 0, { ...FLOOR_LIMITS, bindingBytes: 4 * 90000 - 4 }).passes).toHaveLength(1);
    expect(plan([STORED_DISTANCES / 2 ** 12, 4], 9).passes).toHaveLength(2);
    expect(plan([STORED_DISTANCES / 2 ** 12 + 1, 4], 9).passes).toHaveLength(1);
  });

  test("points that do not fit one binding are cut between clouds", () => {
    const { passes } = plan([512, 4, 64], 0, { ...FLOOR_LIMITS, bindingBytes: 4 * 512 * 64 });
    const windows = passes.map(({ bind }) => bind.points.window);
    expect(windows[0]).toEqual({ from: 0, length: 128 * 256 });
    expect(windows.at(-1)).toEqual({ from: 384 * 256, length: 128 * 256 });
  });
});

test("errors", async () => {
  await using device = await openDevice({ device: "reference" });
  const points = device.zeros([4, 2]);
  const fails = (run: () => unknown, text: string): void => {
    expect(run).toThrow(ArgumentError);
    expect(run).toThrow(text);
  };
  const labels = device.tensor([0, 1, 0, 1], [4], "int32");
  fails(() => zeroPersistence([1, 2] as never), "zeroPersistence: expected a tensor for `points`, but received [1, 2]");
  fails(() => zeroPersistence(device.zeros([3])), "expected shape [..., n, d] for `points`, but received [3]");
  fails(() => zeroPersistence(device.zeros([3, 0])), "expected at least one coordinate for `points`, but received [3, 0]");
  fails(() => zeroPersistence(labels), "zeroPersistence: expected dtype float32 for `points`");
  fails(
    () => zeroPersistence(device.zeros([1, 4, 2]), labels, { classes: 2 }),
    "expected shape [N, d] beside labels for `points`, but received [1, 4, 2]",
  );
  fails(() => zeroPersistence(device.zeros([1, 4, 2]), [0, 0, 1, 1]), "expected shape [N, d] beside labels for `points`, but received [1, 4, 2]");
  fails(() => zeroPersistence(points, undefined, { metric: "cosine" as never }), 'expected "l1", "l2" or "linf" for `metric`, but received "cosine"');
  fails(() => zeroPersistence(points, labels), "expected the number of classes beside a tensor of labels for `classes`, but received undefined");
  fails(() => zeroPersistence(points, labels, { classes: 0 }), "expected a positive integer for `classes`, but received 0");
  fails(() => zeroPersistence(points, undefined, { classes: 2 }), "expected labels beside a number of classes for `labels`, but received undefined");
  fails(() => zeroPersistence(points, device.zeros([4]), { classes: 2 }), 'expected dtype int32 for `labels`, but received "float32"');
  fails(() => zeroPersistence(device.zeros([3, 2]), labels, { classes: 2 }), "expected shape [3] for `labels`, but received [4]");
  fails(() => zeroPersistence(points, [0, 1, 0]), "expected 4 labels beside points of shape [4, 2] for `labels`");
  fails(() => zeroPersistence(points, [0, 1, -1, 0]), "expected a non-negative integer for `labels[2]`, but received -1");
  fails(() => zeroPersistence(points, [0, 1, 2, 0], { classes: 2 }), "expected an integer in [0, 2) for `labels[2]`, but received 2");
  fails(() => zeroPersistence(points, [0, 1, 0.5, 0]), "expected a non-negative integer for `labels[2]`, but received 0.5");
  fails(() => zeroPersistence(points, "labels" as never), 'expected an int32 tensor, an Int32Array or an array for `labels`, but received "labels"');
  fails(() => densificationLoss(points, undefined, {} as never), "densificationLoss: expected a finite number for `beta`, but received undefined");
  fails(() => densificationLoss(points, undefined, { beta: Number.NaN }), "densificationLoss: expected a finite number for `beta`, but received NaN");
  fails(
    () => densificationLoss(points, undefined, { beta: 1, form: "l1" as never }),
    'expected "absolute", "squared" or "hinge" for `form`, but received "l1"',
  );
  fails(
    () => densificationLoss(points, undefined, { beta: 1, reduction: "none" as never }),
    'expected "sum" or "mean" for `reduction`, but received "none"',
  );
  const weights = "prePostDensificationLoss: expected two non-negative numbers, one of them positive, for `weights`";
  for (const wrong of [[0, 0], [1], [-1, 2], [Number.NaN, 1], 3])
    fails(() => prePostDensificationLoss(points, points, undefined, { beta: 1, weights: wrong as never }), weights.replace("positive,", "positive"));
  const other = zeroPersistence(points);
  expect(() => other.deaths.dispose()).not.toThrow();
});
