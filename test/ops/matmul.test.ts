/** Published values, vectors, wrong calls, how many kernels run, and that the number of threads changes no bit. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apply } from "../../src/apply.ts";
import { openNative } from "../../src/backends/native/index.ts";
import { openReference } from "../../src/backends/reference/index.ts";
import type { Device } from "../../src/device.ts";
import { ArgumentError } from "../../src/errors.ts";
import { type Call, FLOOR_LIMITS, type Shape } from "../../src/op.ts";
import { deviceOf } from "../../src/open.ts";
import { add, gelu, mul, relu, sigmoid, silu, softplus, tanh } from "../../src/ops/elementwise/index.ts";
import { room } from "../../src/ops/matmul/cases.ts";
import { type Activation, linear, type MatmulOptions, matmul } from "../../src/ops/matmul/index.ts";
import { matmulWith, matmul as op, PLAIN } from "../../src/ops/matmul/op.ts";
import { BUSY_GROUPS, K_STEP, productOf, SPLIT_STEPS } from "../../src/ops/matmul/plan.ts";
import type { MatmulAttrs } from "../../src/ops/matmul/reference.ts";
import { sum } from "../../src/ops/reduce/index.ts";
import { runCase } from "../../src/testing/conformance.ts";

let device: Device;
beforeAll(() => {
  device = deviceOf(openReference());
});
afterAll(() => device.close());

const counting = (...shape: number[]): number[] => Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i);
const call = (a: Shape, b: Shape, { transposeA = false, transposeB = false }: MatmulOptions, batch: Shape): Call<MatmulAttrs> => {
  const inputs = [a, b].map((shape) => ({ shape, dtype: "float32" as const }));
  const attrs = { transposeA, transposeB, batch, ...PLAIN };
  return { op, inputs, outputs: op.outputs(inputs, attrs), attrs };
};

describe("values of NumPy's documentation of matmul", () => {
  test("matrices", async () => {
    const c = matmul(
      device.tensor([
        [1, 0],
        [0, 1],
      ]),
      device.tensor([
        [4, 1],
        [2, 2],
      ]),
    );
    expect([...(await c.read())]).toEqual([4, 1, 2, 2]);
  });
  test("a matrix and a vector, both ways", async () => {
    const [a, v] = [
      device.tensor([
        [1, 0],
        [0, 1],
      ]),
      device.tensor([1, 2]),
    ];
    for (const c of [matmul(a, v), matmul(v, a)]) {
      expect(c.shape).toEqual([2]);
      expect([...(await c.read())]).toEqual([1, 2]);
    }
  });
  test("a batch", async () => {
    const c = matmul(device.tensor(counting(2, 2, 4), [2, 2, 4]), device.tensor(counting(2, 4, 2), [2, 4, 2]));
    expect(c.shape).toEqual([2, 2, 2]);
    expect((await c.read())[3]).toBe(98);
  });
});

describe("vectors", () => {
  test.each([
    [[3], [3], []],
    [[3], [3, 4], [4]],
    [[2, 3], [3], [2]],
    [[5, 2, 3], [3], [5, 2]],
    [[3], [5, 3, 4], [5, 4]],
  ])("%j · %j has shape %j", (a, b, shape) => {
    expect(matmul(device.ones(a), device.ones(b)).shape).toEqual(shape);
  });
  test("a vector has no transpose, and its gradient its shape", async () => {
    const v = device.tensor([1, 2]);
    v.requiresGrad = true;
    const y = matmul(
      v,
      device.tensor([
        [1, 10],
        [100, 1000],
      ]),
      { transposeA: true },
    );
    y.backward(device.tensor([1, 1]));
    expect([...(await y.read())]).toEqual([201, 2010]);
    expect([...((await v.grad?.read()) ?? [])]).toEqual([11, 1100]);
  });
});

test("linear takes any number of axes", async () => {
  const w = device.tensor([
    [1, 0, 0],
    [0, 1, 1],
  ]);
  const y = linear(device.tensor(counting(2, 2, 3), [2, 2, 3]), w, device.tensor([0.5, -1]));
  expect(y.shape).toEqual([2, 2, 2]);
  expect([...(await y.read())]).toEqual([0.5, 2, 3.5, 8, 6.5, 14, 9.5, 20]);
  expect([...(await linear(device.tensor([1, 2, 3]), w).read())]).toEqual([1, 5]);
});

describe("wrong calls", () => {
  const product = (a: number[], b: number[], options?: MatmulOptions) => (): unknown => matmul(device.zeros(a), device.zeros(b), options);
  test.each([
    [product([2, 3], [4, 5]), "matmul: expected equal inner sizes for `a` and `b`, but received 3 of [2, 3] and 4 of [4, 5]"],
    [product([2, 3], [4, 3], { transposeA: true, transposeB: true }), "received 2 of transposed [2, 3] and 3 of transposed [4, 3]"],
    [product([2, 3, 4], [5, 4, 6]), "matmul: expected shapes that broadcast"],
    [product([], [4, 6]), 'matmul: expected at least one axis for `a`, but received "[]"'],
    [() => matmul(device.zeros([2, 2], "int32"), device.zeros([2, 2])), 'matmul: expected dtype float32 or float16 for `a`, but received "int32"'],
    [() => matmul(device.zeros([2, 3]), device.zeros([3, 4]), { bias: device.zeros([3]) }), "matmul: expected shape [4] for `bias`"],
    [
      product([2, 3], [3, 4], { activation: "swish" as never }),
      'matmul: expected one of relu, gelu, sigmoid, tanh, silu, softplus for `activation`, but received "swish"',
    ],
    [() => linear(device.zeros([2, 3]), device.zeros([4, 5])), "linear: expected shape [..., 5] to fit weight [4, 5] for `x`"],
    [() => linear(device.zeros([2, 3]), device.zeros([3])), "linear: expected shape [out, in] for `weight`"],
    [() => linear(device.zeros([2, 3]), device.zeros([4, 3]), device.zeros([3])), "linear: expected shape [4] to fit weight [4, 3] for `bias`"],
  ])("%#", (wrong, message) => {
    expect(wrong).toThrow(ArgumentError);
    expect(wrong).toThrow(message);
  });
});

describe("the product that runs", () => {
  test("a shared weight makes one product of a batch", () => {
    const product = productOf(call([6, 5, 3], [4, 3], { transposeB: true }, [6]));
    expect(product).toMatchObject({ m: 30, n: 4, k: 3, kept: { sizes: [] } });
  });
  test("its gradient is one product with a long inner axis", () => {
    const product = productOf(call([6, 5, 4], [6, 5, 3], { transposeA: true }, []));
    expect(product).toMatchObject({ m: 4, n: 3, k: 30, summed: { sizes: [] } });
  });
  test("k is split only while the result does not keep a GPU busy", () => {
    const k = 2 * SPLIT_STEPS * K_STEP;
    const passes = (columns: number, inner: number): number => op.plan(call([256, inner], [inner, columns * 64], {}, []), FLOOR_LIMITS).passes.length;
    expect(passes(BUSY_GROUPS / 4 - 1, k)).toBe(2);
    expect(passes(BUSY_GROUPS / 4, k)).toBe(1);
    expect(passes(1, k - K_STEP)).toBe(1);
  });
  test("nothing but products and the bias runs, forward and backward", () => {
    const [x, w, b] = [device.ones([2, 3, 4]), device.ones([5, 4]), device.ones([5])];
    for (const leaf of [x, w, b]) leaf.requiresGrad = true;
    const before = device.counters.dispatches;
    const y = linear(x, w, b);
    expect(device.counters.dispatches - before).toBe(1);
    y.backward(device.ones([2, 3, 5]));
    expect(device.counters.dispatches - before).toBe(4);
  });
});

describe("an activation", () => {
  const run = (activation: Activation, recording: boolean): { dispatches: number[]; buffers: number } => {
    const [x, w, b] = [device.ones([2, 3, 4]), device.ones([5, 4]), device.ones([5])];
    for (const leaf of [x, w, b]) leaf.requiresGrad = recording;
    const { dispatches, liveBuffers } = device.counters;
    const y = linear(x, w, b, { activation });
    const forward = device.counters.dispatches - dispatches;
    const buffers = device.counters.liveBuffers - liveBuffers;
    if (recording) y.backward(device.ones([2, 3, 5]));
    const backward = device.counters.dispatches - dispatches - forward;
    for (const tensor of [x, w, b, y]) tensor.dispose();
    return { dispatches: [forward, backward], buffers };
  };
  test("is no kernel of its own forward, and one with the gradient of the bias backward", () => {
    expect(run("relu", true).dispatches).toEqual([1, 3]);
    expect(run("gelu", true).dispatches).toEqual([1, 3]);
  });
  test("keeps what it was applied to only for a gradient that needs it", () => {
    expect(run("gelu", true).buffers).toBe(2);
    expect(run("gelu", false).buffers).toBe(1);
    expect(run("tanh", true).buffers).toBe(1);
  });
  test("is that of the elementwise function of its name", async () => {
    const x = device.tensor([[-2, 1, 0.5]]);
    const weight = device.tensor([
      [1, 1, 0],
      [0, 3, -1],
    ]);
    for (const [activation, f] of Object.entries({ relu, gelu, sigmoid, tanh, silu, softplus })) {
      const want = await f(linear(x, weight)).read();
      expect([...(await linear(x, weight, undefined, { activation: activation as Activation }).read())]).toEqual([...want]);
      expect([...(await matmul(device.tensor([-2, 1, 0.5]), weight, { transposeB: true, activation: activation as Activation }).read())]).toEqual([
        ...want,
      ]);
    }
  });
  test("of a product with a vector takes a bias of one number", async () => {
    const y = matmul(device.tensor([[1, 2]]), device.tensor([3, 4]), { bias: device.tensor([-20]), activation: "relu" });
    expect(y.shape).toEqual([1]);
    expect([...(await y.read())]).toEqual([0]);
  });
  test("whose sums receive a cotangent of their own adds both", async () => {
    const [a, b] = [device.tensor([[0.5]]), device.tensor([[2]])];
    a.requiresGrad = true;
    const { op: kept, attrs } = matmulWith("silu", true);
    const [y, z] = apply(kept, [a, b], { transposeA: false, transposeB: false, batch: [], ...attrs });
    sum(add(y, mul(z, 3))).backward();
    // silu'(1) = σ(1) (1 + 1 − σ(1))
    expect((await a.grad?.read())?.[0]).toBeCloseTo(2 * (0.9276705 + 3), 5);
  });
});

test("any number of threads gives the same bits", async () => {
  const entries = room.cases.filter(({ name }) => /blocks|panels|slim|linear|many small|activation|bias gradient/.test(name));
  expect(entries.length).toBeGreaterThan(10);
  const results: string[][] = [];
  for (const threads of [1, 2, 5]) {
    const native = deviceOf(await openNative({ threads }));
    const list: string[] = [];
    for (const entry of entries) {
      const { outputs, gradients } = await runCase(native, entry);
      for (const values of [...outputs, ...gradients]) list.push(values ? Buffer.from(Float32Array.from(values).buffer).toString("base64") : "none");
    }
    await native.close();
    results.push(list);
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});
