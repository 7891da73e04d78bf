/** The product of invariances: every aggregation against its formula in plain numbers, gradients, training, and wrong calls. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createRandom } from "../src/data/random.ts";
import type { Device } from "../src/device.ts";
import { valueAndGrad } from "../src/grad.ts";
import { noGrad } from "../src/gradMode.ts";
import { initializer } from "../src/nn/init.ts";
import { type Aggregation, ProductOfInvariances } from "../src/nn/invariances.ts";
import { openDevice } from "../src/open.ts";
import { square, sub } from "../src/ops/elementwise/index.ts";
import { mean } from "../src/ops/reduce/index.ts";
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

const ALL: readonly Aggregation[] = ["concat", "sum", "mlpSum", "weighted", "attention"];
const [N, B, K] = [3, 4, 5];
const make = (aggregation: Aggregation): ProductOfInvariances =>
  new ProductOfInvariances(initializer(device, 2), { spaces: N, anchors: K, aggregation });
const numbers = (size: number, seed = 1): Float64Array => {
  const random = createRandom(seed);
  return Float64Array.from({ length: size }, () => random.normal());
};
/** Parameters away from their simple starting values. */
const stir = (module: ProductOfInvariances): void => {
  for (const [i, tensor] of module.parameters().entries()) device.write(tensor, numbers(tensor.size, 50 + i));
};
const input = (seed = 1): Tensor => device.tensor(numbers(N * B * K, seed), [N, B, K]);

type Row = number[];
const dot = (a: Row, b: Row): number => a.reduce((sum, value, i) => sum + value * b[i], 0);
const norm = (x: Row, gain: Row, shift: Row): Row => {
  const average = x.reduce((a, b) => a + b, 0) / x.length;
  const deviation = Math.sqrt(x.reduce((sum, value) => sum + (value - average) ** 2, 0) / x.length + 1e-5);
  return x.map((value, i) => ((value - average) / deviation) * gain[i] + shift[i]);
};
const softmax = (x: Row): Row => {
  const total = x.reduce((sum, value) => sum + Math.exp(value), 0);
  return x.map((value) => Math.exp(value) / total);
};
const total = (rows: Row[]): Row => rows.reduce((a, b) => a.map((value, i) => value + b[i]));

/** The formulas, one sample at a time. */
const formula = (aggregation: Aggregation, values: Map<string, Float64Array>, x: Float64Array): number[] => {
  const p = (name: string, from: number, size: number): Row => [...(values.get(name) ?? []).slice(from, from + size)];
  const matrix = (name: string, from: number, v: Row): Row => v.map((_, i) => dot(p(name, from + i * K, K), v));
  const linear = (name: string, v: Row): Row => matrix(`head.${name}.weight`, 0, v).map((value, i) => value + p(`head.${name}.bias`, i, 1)[0]);
  return Array.from({ length: B }, (_, b) => {
    const spaces = Array.from({ length: N }, (_, n) => [...x.slice((n * B + b) * K, (n * B + b + 1) * K)]);
    const z = spaces.map((row, n) => norm(row, p("normalisation.gain", n * K, K), p("normalisation.shift", n * K, K)));
    if (aggregation === "concat") return z.flat();
    if (aggregation === "sum") return total(z);
    if (aggregation === "mlpSum")
      return total(z.map((row, n) => matrix("head.weight", n * K * K, row).map((value, i) => Math.tanh(value + p("head.bias", n * K + i, 1)[0]))));
    if (aggregation === "weighted") {
      const weights = softmax(p("head.logits", 0, N));
      return total(z.map((row, n) => row.map((value) => weights[n] * value)));
    }
    const [q, k, v] = ["query", "key", "value"].map((name) => z.map((row) => linear(name, row)));
    const attended = q.map((row) => {
      const weights = softmax(k.map((other) => dot(row, other) / Math.sqrt(K)));
      return total(v.map((other, n) => other.map((value) => weights[n] * value)));
    });
    const gain = p("head.normalisation.gain", 0, K);
    return total(attended.map((row) => norm(linear("output", row), gain, p("head.normalisation.shift", 0, K))));
  }).flat();
};

describe.each(ALL)("%s", (aggregation) => {
  test("is its formula", async () => {
    using product = make(aggregation);
    stir(product);
    using x = input();
    using y = noGrad(() => scope(() => product.forward(x)));
    expect(y.shape).toEqual([B, product.features]);
    const values = new Map(
      await Promise.all([...product.namedParameters()].map(async ([name, tensor]) => [name, await tensor.readFloat64()] as const)),
    );
    const [got, want] = [await y.readFloat64(), formula(aggregation, values, await x.readFloat64())];
    expect(want.length).toBe(got.length);
    for (const [i, value] of want.entries()) expect(got[i]).toBeCloseTo(value, 10);
  });

  test("has gradients that agree with finite differences", async () => {
    using product = make(aggregation);
    stir(product);
    using x = input();
    x.requiresGrad = true;
    const { passed, worst } = await gradcheck(() => product.forward(x), [x, ...product.parameters()], { samples: 12 });
    expect(passed, `worst ${worst}`).toBe(true);
  });

  test("does not see the scale and offset of a space, and takes a list", async () => {
    using product = make(aggregation);
    using x = input();
    const list = Array.from({ length: N }, (_, n) => device.tensor(numbers(N * B * K).subarray(n * B * K, (n + 1) * B * K), [B, K]));
    using moved = device.tensor(
      numbers(N * B * K).map((value, i) => (i < B * K ? 1000 * value - 30 : value)),
      [N, B, K],
    );
    const results = noGrad(() => scope(() => [product.forward(x), product.aggregate(list), product.forward(moved)]));
    const [a, b, c] = await Promise.all(results.map((tensor) => tensor.readFloat64()));
    for (const [i, value] of a.entries()) {
      expect(b[i]).toBe(value);
      // eps of the layer norm, 1e-5 beside a variance of about 1.
      expect(Math.abs(c[i] - value)).toBeLessThan(1e-3);
    }
    for (const tensor of [...results, ...list]) tensor.dispose();
  });
});

describe.each(["native", "webgpu"] as const)("on %s", (kind) => {
  let other: Device;
  withDevice(kind, (opened) => {
    other = opened;
  });
  /** Values, then gradients of the parameters and of x under a fixed cotangent. */
  const everything = async (on: Device, aggregation: Aggregation): Promise<number[]> => {
    using product = new ProductOfInvariances(initializer(on, 2), { spaces: N, anchors: K, aggregation });
    using x = on.tensor(numbers(N * B * K), [N, B, K]);
    using weights = on.tensor(numbers(B * product.features, 3), [B, product.features]);
    x.requiresGrad = true;
    const { value, gradients } = valueAndGrad(() => mean(square(sub(product.forward(x), weights))), [x, ...product.parameters()]);
    const read = await Promise.all([value, ...gradients].map((tensor) => tensor.read()));
    for (const tensor of [value, ...gradients]) tensor.dispose();
    return read.flatMap((values) => [...values]);
  };
  test.each(ALL)("%s has the values and gradients of the reference", async (aggregation) => {
    const [got, want] = [await everything(other, aggregation), await everything(device, aggregation)];
    expect(got.length).toBe(want.length);
    // float32 through some ten sums of at most 15 terms, of size about 1.
    for (const [i, value] of want.entries()) expect(Math.abs(got[i] - value)).toBeLessThan(1e-5 * Math.max(1, Math.abs(value)));
  });
});

test("what is learned: parameters by name", () => {
  const names = (aggregation: Aggregation): string[] => {
    using product = make(aggregation);
    return [...product.namedParameters().keys()].filter((name) => name.startsWith("head"));
  };
  expect(names("concat")).toEqual([]);
  expect(names("sum")).toEqual([]);
  expect(names("mlpSum")).toEqual(["head.weight", "head.bias"]);
  expect(names("weighted")).toEqual(["head.logits"]);
  expect(names("attention").length).toBe(10);
});

test("weights find the space that matters", async () => {
  using product = make("weighted");
  using x = input();
  using target = noGrad(() => scope(() => product.normalisation.forward(x)));
  using wanted = device.tensor((await target.readFloat64()).slice(B * K, 2 * B * K), [B, K]);
  const weights = [...product.namedParameters()].filter(([name]) => name === "head.logits").map(([, tensor]) => tensor);
  using optimizer = new AdamW(weights, { lr: 0.1, weightDecay: 0 });
  for (let step = 0; step < 100; step++) {
    const { value, gradients } = valueAndGrad(() => mean(square(sub(product.forward(x), wanted))), weights);
    optimizer.step(gradients);
    for (const tensor of [value, ...gradients]) tensor.dispose();
  }
  const logits = await weights[0].read();
  expect(logits[1] - Math.max(logits[0], logits[2])).toBeGreaterThan(3);
});

test("frees what it makes", async () => {
  for (const aggregation of ALL) {
    const before = device.counters.liveBuffers;
    {
      using product = make(aggregation);
      using x = input();
      noGrad(() => product.forward(x)).dispose();
    }
    expect(device.counters.liveBuffers).toBe(before);
  }
});

test("wrong calls say what was expected", () => {
  const build = (options: object) => () => new ProductOfInvariances(initializer(device, 0), { spaces: 2, anchors: 3, ...options });
  expect(build({ spaces: 0 })).toThrow(/ProductOfInvariances: expected an integer of at least 1 for `spaces`, but received 0/);
  expect(build({ anchors: 0 })).toThrow(/an integer of at least 2 for `anchors`, but received 0/);
  expect(build({ anchors: 1 })).toThrow(/an integer of at least 2 for `anchors`, but received 1/);
  expect(build({ aggregation: "max" })).toThrow(/one of concat, sum, mlpSum, weighted, attention for `aggregation`, but received "max"/);
  using product = build({})();
  scope(() => {
    expect(() => product.forward(device.zeros([2, 3]))).toThrow(/shape \[2, B, 3\] for `x`, but received \[2, 3\]/);
    expect(() => product.forward(device.zeros([3, 1, 3]))).toThrow(/shape \[2, B, 3\] for `x`/);
    expect(() => product.aggregate([device.zeros([1, 3])])).toThrow(/an array of 2 tensors for `spaces`, but received 1/);
    expect(() => product.aggregate([device.zeros([1, 3]), device.zeros([2, 3])])).toThrow(/shape \[1, 3\] for `spaces\[1\]`, but received \[2, 3\]/);
    expect(() => product.aggregate([device.zeros([1, 4]), device.zeros([1, 3])])).toThrow(/shape \[B, 3\] for `spaces\[0\]`/);
  });
});
