/** The optimisers against an independent transcription of PyTorch's documentation, by hand at the first step, and their manners. */
import { describe, expect, test } from "vitest";
import type { Device } from "../src/device.ts";
import { openDevice } from "../src/open.ts";
import { add, mul } from "../src/ops/elementwise/index.ts";
import { AdamW, chained, constant, cosine, cyclicLinear, linearWarmup, type Optimizer, SGD, scheduleLr, stepDecay } from "../src/optim.ts";
import { scope } from "../src/scope.ts";
import type { Tensor } from "../src/tensor.ts";
import { KINDS, withDevice } from "./support/devices.ts";

const SHAPES = [[3, 5], [7], [], [2, 2, 2], [33]];
const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Some numbers in (-1, 1) that repeat nowhere. */
const numbers = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.fround(Math.sin(12.9898 * (i + 1) + 78.233 * seed) * 0.99));

interface Twin {
  readonly p: number[];
  readonly first: number[];
  readonly second: number[];
  t: number;
}
const twin = (p: readonly number[]): Twin => ({ p: [...p], first: p.map(() => 0), second: p.map(() => 0), t: 0 });

/** torch.optim.AdamW, the algorithm box of its documentation. */
const adamwStep = (w: Twin, g: readonly number[], lr: number, [b1, b2]: readonly [number, number], eps: number, decay: number): void => {
  w.t++;
  for (const i of w.p.keys()) {
    w.p[i] -= lr * decay * w.p[i];
    w.first[i] = b1 * w.first[i] + (1 - b1) * g[i];
    w.second[i] = b2 * w.second[i] + (1 - b2) * g[i] ** 2;
    w.p[i] -= (lr * (w.first[i] / (1 - b1 ** w.t))) / (Math.sqrt(w.second[i] / (1 - b2 ** w.t)) + eps);
  }
};

/** torch.optim.SGD, the algorithm box of its documentation, with dampening 0. */
const sgdStep = (w: Twin, g: readonly number[], lr: number, momentum: number, decay: number, nesterov: boolean): void => {
  w.t++;
  for (const i of w.p.keys()) {
    let d = g[i] + decay * w.p[i];
    if (momentum !== 0) {
      w.first[i] = w.t > 1 ? momentum * w.first[i] + d : d;
      d = nesterov ? d + momentum * w.first[i] : w.first[i];
    }
    w.p[i] -= lr * d;
  }
};

const parametersOf = (device: Device): Tensor[] =>
  SHAPES.map((shape, k) => {
    const parameter = device.tensor(numbers(size(shape), k), shape);
    parameter.requiresGrad = true;
    return parameter;
  });

const disposeAll = (tensors: readonly (Tensor | undefined)[]): void => {
  for (const tensor of tensors) tensor?.dispose();
};

describe.each(KINDS)("on %s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });

  const near = async (tensor: Tensor, want: readonly number[]): Promise<void> => {
    const got = [...(await tensor.read())];
    for (const [i, value] of want.entries()) expect(got[i], `element ${i}`).toBeCloseTo(value, 5);
    expect(got.length).toBe(want.length);
  };

  /** Ten steps with gradients that change, compared after each with the twins. */
  const follow = async (
    make: (parameters: readonly Tensor[]) => Optimizer,
    step: (w: Twin, g: readonly number[], k: number) => void,
    skip?: (t: number, k: number) => boolean,
  ): Promise<void> => {
    const parameters = parametersOf(device);
    const twins = SHAPES.map((shape, k) => twin(numbers(size(shape), k)));
    using optimizer = make(parameters);
    for (let t = 0; t < 10; t++) {
      const gradients = SHAPES.map((shape, k) => (skip?.(t, k) ? undefined : device.tensor(numbers(size(shape), 100 + 10 * t + k), shape)));
      optimizer.step(gradients);
      for (const [k, shape] of SHAPES.entries()) if (gradients[k]) step(twins[k], numbers(size(shape), 100 + 10 * t + k), k);
      disposeAll(gradients);
      for (const [k, parameter] of parameters.entries()) await near(parameter, twins[k].p);
    }
    disposeAll(parameters);
  };

  test("AdamW follows PyTorch", () =>
    follow(
      (parameters) => new AdamW(parameters, { lr: 0.02, betas: [0.8, 0.97], eps: 1e-6, weightDecay: 0.1 }),
      (w, g) => adamwStep(w, g, 0.02, [0.8, 0.97], 1e-6, 0.1),
    ));

  test("AdamW's defaults are PyTorch's", () =>
    follow(
      (parameters) => new AdamW(parameters),
      (w, g) => adamwStep(w, g, 1e-3, [0.9, 0.999], 1e-8, 1e-2),
    ));

  test("AdamW counts the steps of each parameter by itself", () =>
    follow(
      (parameters) => new AdamW(parameters, { lr: 0.05 }),
      (w, g) => adamwStep(w, g, 0.05, [0.9, 0.999], 1e-8, 1e-2),
      (t, k) => (t + k) % 3 === 0,
    ));

  test("AdamW with groups", () =>
    follow(
      (parameters) =>
        new AdamW([{ parameters: parameters.slice(0, 2) }, { parameters: parameters.slice(2), lr: 0.03, weightDecay: 0 }], {
          lr: 0.01,
          weightDecay: 0.2,
        }),
      (w, g, k) => adamwStep(w, g, k < 2 ? 0.01 : 0.03, [0.9, 0.999], 1e-8, k < 2 ? 0.2 : 0),
    ));

  test.each([
    { momentum: 0, weightDecay: 0, nesterov: false },
    { momentum: 0, weightDecay: 0.1, nesterov: false },
    { momentum: 0.9, weightDecay: 0.1, nesterov: false },
    { momentum: 0.9, weightDecay: 0.1, nesterov: true },
  ])("SGD follows PyTorch with %o", (options) =>
    follow(
      (parameters) => new SGD(parameters, { lr: 0.05, ...options }),
      (w, g) => sgdStep(w, g, 0.05, options.momentum, options.weightDecay, options.nesterov),
    ),
  );

  test("first steps by hand", async () => {
    using p = device.tensor([1, -2]);
    p.requiresGrad = true;
    using g = device.tensor([0.5, 4]);
    // 1 · (1 − 0.1 · 0.01) − 0.1 · 0.5 / 0.5, and likewise; the size of a gradient does not matter at the first step.
    using adamw = new AdamW([p], { lr: 0.1, weightDecay: 0.01 });
    adamw.step([g]);
    await near(p, [0.899, -2.098]);
    device.write(p, [1, -2]);
    // d = (0.5 + 0.1 · 1, 4 − 0.1 · 2); p − 0.1 · 1.9 · d
    using sgd = new SGD([p], { lr: 0.1, momentum: 0.9, weightDecay: 0.1, nesterov: true });
    sgd.step([g]);
    await near(p, [1 - 0.19 * 0.6, -2 - 0.19 * 3.8]);
  });

  test("uses grad, skips frozen parameters and those without a gradient", async () => {
    const [a, b, c] = [device.tensor([1, 2]), device.tensor([3]), device.tensor([4])];
    for (const parameter of [a, b, c]) parameter.requiresGrad = true;
    using optimizer = new SGD([a, b, c], { lr: 0.5 });
    using weights = device.tensor([1, 1]);
    scope(() => {
      mul(add(mul(a, a), mul(b, a)), weights).backward(weights);
    });
    b.requiresGrad = false;
    optimizer.step();
    await near(a, [1 - 0.5 * 5, 2 - 0.5 * 7]);
    await near(b, [3]);
    await near(c, [4]);
    expect(optimizer.state[0].steps).toEqual([1, 0, 0]);
    optimizer.zeroGrad();
    expect([a.grad, b.grad, c.grad]).toEqual([undefined, undefined, undefined]);
    optimizer.step();
    await near(a, [1 - 0.5 * 5, 2 - 0.5 * 7]);
    disposeAll([a, b, c]);
  });

  test("clips by the norm over all groups", async () => {
    const [a, b] = [device.tensor([0, 0]), device.tensor([0])];
    for (const parameter of [a, b]) parameter.requiresGrad = true;
    using optimizer = new SGD([{ parameters: [a] }, { parameters: [b], lr: 2 }], { lr: 1 });
    const gradients = [device.tensor([3, 4]), device.tensor([12])];
    optimizer.step(gradients, { clipNorm: 1.3 });
    await near(a, [-0.3, -0.4]);
    await near(b, [-2.4]);
    expect(await optimizer.gradientNorm?.item()).toBeCloseTo(13, 4);
    optimizer.step(gradients, { clipNorm: 100 });
    await near(a, [-3.3, -4.4]);
    await near(gradients[0], [3, 4]);
    disposeAll([a, b, ...gradients]);
  });

  test("lr may change at every step", async () => {
    using p = device.tensor([1]);
    p.requiresGrad = true;
    using g = device.tensor([1]);
    using optimizer = new SGD([p], { lr: 0.5 });
    const setLr = scheduleLr(optimizer, stepDecay(1, 0.5));
    for (let step = 0; step < 3; step++) {
      setLr(step);
      optimizer.step([g]);
    }
    await near(p, [1 - 0.5 - 0.25 - 0.125]);
  });

  test("a checkpoint resumes exactly, and the state outlives scopes", async () => {
    const run = async (restart: boolean): Promise<number[]> => {
      using p = device.tensor([1, 2, 3]);
      p.requiresGrad = true;
      let optimizer = scope(() => new AdamW([p], { lr: 0.1 }));
      for (let t = 0; t < 6; t++) {
        using g = device.tensor(numbers(3, t));
        if (restart && t === 3) {
          const [{ values, steps }] = optimizer.state;
          const [saved, counts] = [await values.read(), [...steps]];
          optimizer.dispose();
          optimizer = new AdamW([p], { lr: 0.1 });
          device.write(optimizer.state[0].values, saved);
          for (const [i, count] of counts.entries()) optimizer.state[0].steps[i] = count;
        }
        scope(() => {
          optimizer.step([g], { clipNorm: 1 });
        });
      }
      optimizer.dispose();
      optimizer.dispose();
      return [...(await p.read())];
    };
    expect(await run(true)).toEqual(await run(false));
  });
});

test("a step in steady state allocates nothing", async () => {
  await using device = await openDevice({ device: "native" });
  const parameters = parametersOf(device);
  using optimizer = new AdamW(parameters);
  const gradients = SHAPES.map((shape) => device.ones(shape));
  const counts: number[] = [];
  for (let t = 0; t < 50; t++) {
    optimizer.step(gradients, { clipNorm: 1 });
    if (t % 5 === 4) {
      await device.synchronize();
      counts.push(device.counters.allocations);
    }
  }
  expect(counts.at(-1)).toBe(counts[1]);
});

test("dispatches", async () => {
  await using device = await openDevice({ device: "webgpu" });
  const parameters = Array.from({ length: 8 }, () => device.ones([5]));
  const gradients = parameters.map((parameter) => {
    parameter.requiresGrad = true;
    return device.ones([5]);
  });
  const count = (run: () => void): number => {
    const before = device.counters.dispatches;
    run();
    return device.counters.dispatches - before;
  };
  using optimizer = new AdamW(parameters);
  expect(
    count(() => optimizer.step(gradients)),
    "three parameters a dispatch",
  ).toBe(3);
  expect(
    count(() => optimizer.step(gradients, { clipNorm: 1 })),
    "seven gradients a dispatch of the norm, and its end",
  ).toBe(3 + 2 + 1);
});

test("schedules", () => {
  const at = (schedule: (step: number) => number, steps: readonly number[]): number[] => steps.map((step) => Math.round(1e6 * schedule(step)) / 1e6);
  expect(at(constant(), [0, 9])).toEqual([1, 1]);
  expect(at(stepDecay(3, 0.1), [0, 2, 3, 5, 6])).toEqual([1, 1, 0.1, 0.1, 0.01]);
  expect(at(cosine(4, 0.2), [0, 2, 4, 9])).toEqual([1, 0.6, 0.2, 0.2]);
  expect(at(linearWarmup(4, 0), [0, 1, 4, 9])).toEqual([0, 0.25, 1, 1]);
  expect(at(cyclicLinear(16, 2), [0, 3, 6, 7, 8, 11, 15, 16, 99])).toEqual([0, 0.5, 1, 1, 0, 0.5, 1, 1, 1]);
  expect(at(cyclicLinear(6, 4, 1), [0, 1, 2, 3])).toEqual([0, 0.666667, 0.333333, 0]);
  expect(() => cyclicLinear(10, 0)).toThrow("cyclicLinear: expected a positive integer for `cycles`, but received 0");
  expect(() => cyclicLinear(10, 2, 0)).toThrow("cyclicLinear: expected a number in (0, 1] for `ratio`, but received 0");
  expect(at(chained([linearWarmup(2, 0), cosine(2)], [2]), [0, 1, 2, 3, 4])).toEqual([0, 0.5, 1, 0.5, 0]);
  expect(() => cosine(0)).toThrow("cosine: expected a positive integer for `steps`, but received 0");
  expect(() => stepDecay(2, Number.NaN)).toThrow("stepDecay: expected a non-negative number for `factor`, but received NaN");
  expect(() => chained([], [])).toThrow("chained: expected at least one schedule");
  expect(() => chained([constant(), constant(), constant()], [5, 5])).toThrow("chained: expected rising steps for `milestones`");
  expect(() => chained([constant()], [5])).toThrow("chained: expected 0 steps for `milestones`");
});

test("errors", async () => {
  await using device = await openDevice({ device: "reference" });
  await using other = await openDevice({ device: "reference" });
  const p = device.tensor([1, 2]);
  p.requiresGrad = true;
  const make =
    (options: object): (() => unknown) =>
    () =>
      new AdamW([p], options);
  expect(() => new AdamW([])).toThrow("AdamW: expected at least one parameter for `parameters`, but received []");
  expect(() => new SGD([{ parameters: [] }])).toThrow("SGD: expected at least one parameter for `parameters[0].parameters`");
  expect(make({ lr: -1 })).toThrow("AdamW: expected a non-negative number for `lr`, but received -1");
  expect(make({ lr: Number.NaN })).toThrow("AdamW: expected a non-negative number for `lr`, but received NaN");
  expect(make({ betas: [0.9, 1] })).toThrow("AdamW: expected two numbers in [0, 1) for `betas`, but received [0.9, 1]");
  expect(make({ eps: -1 })).toThrow("for `eps`, but received -1");
  expect(make({ weightDecay: Number.POSITIVE_INFINITY })).toThrow("for `weightDecay`, but received Infinity");
  expect(() => new SGD([p], { momentum: -0.1 })).toThrow("for `momentum`, but received -0.1");
  expect(() => new SGD([p], { nesterov: true })).toThrow("SGD: expected a positive number, since `nesterov` is set, for `momentum`, but received 0");
  expect(() => new SGD([p, p])).toThrow("SGD: expected each parameter once for `parameters[1]`");
  expect(() => new SGD([p, p.detach()])).toThrow("SGD: expected each parameter once for `parameters[1]`");
  expect(() => new SGD([mul(p, 2)])).toThrow("SGD: expected a leaf tensor for `parameters[0]`, but received the result of an operation");
  expect(() => new SGD([device.tensor([1], [1], "int32")])).toThrow("SGD: expected dtype float32 for `parameters[0]`, but received");
  expect(() => new SGD([p, other.tensor([1])])).toThrow("SGD: expected parameters of one device");
  expect(() => new SGD([{ parameters: [p], lr: -2 }])).toThrow("SGD: expected a non-negative number for `lr`, but received -2");
  const optimizer = new SGD([p], { lr: 1 });
  const [group] = optimizer.groups;
  expect(() => {
    group.lr = Number.NaN;
  }).toThrow("SGD: expected a non-negative number for `lr`, but received NaN");
  expect(() => optimizer.step([])).toThrow("SGD: expected 1 gradients, one per parameter, for `gradients`, but received");
  expect(() => optimizer.step([device.tensor([1])])).toThrow("SGD: expected shape [2] for `gradients[0]`, but received [1]");
  expect(() => optimizer.step([other.tensor([1, 2])])).toThrow("SGD: expected tensors of one device");
  expect(() => optimizer.step([p])).toThrow("SGD: expected memory of its own for `gradients[0]`");
  expect(() => optimizer.step(undefined, { clipNorm: -1 })).toThrow("SGD: expected a non-negative number for `clipNorm`, but received -1");
  const gone = device.tensor([1, 2]);
  gone.dispose();
  expect(() => optimizer.step([gone])).toThrow("SGD: expected a live tensor");
  expect([...(await p.read())], "nothing changed").toEqual([1, 2]);
  optimizer.dispose();
  expect(() => optimizer.step()).toThrow("SGD: expected a live optimiser");
});
