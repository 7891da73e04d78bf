/** Published values, the composition of elementary ops, wrong calls, broken data, dispatches, bits. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { intern } from "../../src/apply.ts";
import { openNative } from "../../src/backends/native/index.ts";
import { openReference } from "../../src/backends/reference/index.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import type { Device } from "../../src/device.ts";
import { zeroGrad } from "../../src/grad.ts";
import { FLOOR_LIMITS, type Plan, type Spec } from "../../src/op.ts";
import { deviceOf } from "../../src/open.ts";
import { composed } from "../../src/ops/hyperConnection/composed.ts";
import { type HyperConnectionOptions, hyperConnection } from "../../src/ops/hyperConnection/index.ts";
import { backward, forward } from "../../src/ops/hyperConnection/op.ts";
import { sinkhorn } from "../../src/ops/sinkhorn/index.ts";
import type { Tensor } from "../../src/tensor.ts";
import { testRandom } from "../../src/testing/random.ts";

const kinds = ["reference", "native", "webgpu"] as const;
const devices: Partial<Record<(typeof kinds)[number], Device>> = {};
const on = (kind: (typeof kinds)[number]): Device => devices[kind] as Device;
beforeAll(async () => {
  devices.reference = deviceOf(openReference());
  devices.native = deviceOf(await openNative());
  devices.webgpu = deviceOf(await openWebGPU({ allowSoftware: true }));
});
afterAll(async () => {
  for (const device of Object.values(devices)) await device.close();
});

const normals = (count: number, scale = 1, seed = 3): Float32Array => {
  const random = testRandom(seed);
  return Float32Array.from({ length: count }, () => scale * random.normal());
};

interface Operands {
  readonly logits: Tensor;
  readonly scale: Tensor;
  readonly bias: Tensor;
  readonly streams: Tensor;
}
const leaf = (device: Device, values: Float32Array, shape: readonly number[]): Tensor => {
  const tensor = device.tensor(values, shape);
  tensor.requiresGrad = true;
  return tensor;
};
/** `full`: a scale and a bias per matrix. */
const operandsOf = (device: Device, batch: number, n: number, d: number, full: boolean): Operands => ({
  logits: leaf(device, normals(batch * n * n, 2), [batch, n, n]),
  scale: leaf(device, normals(full ? batch : 1, 1, 5), full ? [batch] : []),
  bias: leaf(device, normals((full ? batch : 1) * n * n, 1, 7), full ? [batch, n, n] : [n, n]),
  streams: leaf(device, normals(batch * n * d, 1, 9), [batch, n, d]),
});
const gradientsOf = async (operands: Operands): Promise<number[][]> =>
  Promise.all(Object.values(operands).map(async (tensor: Tensor) => [...((await tensor.grad?.read()) ?? [])]));
const free = (operands: Operands): void => {
  for (const tensor of Object.values(operands)) {
    tensor.grad?.dispose();
    tensor.dispose();
  }
};

const close = (got: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number): void => {
  expect(got.length).toBe(wanted.length);
  const largest = Array.from(wanted).reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  for (let e = 0; e < wanted.length; e++) expect(Math.abs(got[e] - wanted[e]), `number ${e}`).toBeLessThanOrEqual(tolerance * largest);
};

describe.each(kinds)("%s", (kind) => {
  test("two by two by hand", async () => {
    // The softmax of (log 3, 0) is (3/4, 1/4), that of (0, 0) halves; with eps = 1/4 added, columns sum to 7/4 and 5/4, and are divided by 2 and 3/2.
    using logits = on(kind).tensor([
      [Math.log(3), 0],
      [0, 0],
    ]);
    using p = hyperConnection(logits, { iterations: 1, eps: 0.25 });
    close(await p.read(), [1 / 2, 1 / 3, 3 / 8, 1 / 2], 1e-6);
  });

  test("PyTorch's float64 autograd through the same steps, to eight digits", async () => {
    const device = on(kind);
    using logits = leaf(device, Float32Array.of(0.5, -1, 2, 0.25, 1.5, 0, -0.5, 1, -2, 0.75, 1.25, -0.25, 3, -1.5, 0.5, -0.75), [4, 4]);
    using cotangent = device.tensor([1, -2, 0.5, 0, 0.25, 1, -1, 2, -0.5, 0, 1.5, -1, 2, 0.5, -0.25, 1], [4, 4]);
    using p = hyperConnection(logits, { iterations: 10, eps: 1e-6 });
    p.backward(cotangent);
    const shares = [
      0.06893866, 0.10237442, 0.57481435, 0.25399965, 0.1783798, 0.26489112, 0.04491458, 0.51184923, 0.00554746, 0.57749056, 0.26616829, 0.15102029,
      0.74713308, 0.0552429, 0.11410177, 0.08312983,
    ];
    const gradient = [
      0.03889276, -0.14083723, 0.12860987, -0.0266654, -0.26722581, 0.08358747, -0.1161185, 0.29975684, -0.00802881, 0.06356025, 0.18893983,
      -0.24447127, 0.23607487, -0.006227, -0.2012474, -0.02860048,
    ];
    close(await p.read(), shares, 3e-7);
    close((await logits.grad?.read()) ?? [], gradient, 3e-7);
    logits.grad?.dispose();
  });

  test("where no logit is far from the others the limit is that of sinkhorn", async () => {
    using logits = on(kind).tensor(normals(16), [4, 4]);
    using p = hyperConnection(logits, { iterations: 200, eps: 1e-9 });
    using plain = sinkhorn(logits, { iterations: 200 });
    close(await p.read(), await plain.read(), 1e-6);
  });

  test.each([
    [3, false, true],
    [4, true, false],
    [8, false, true],
    [4, false, false],
  ])("the composition of elementary ops, n=%i", async (n, full, streamed) => {
    const device = on(kind);
    const operands = operandsOf(device, 5, n, 6, full);
    const { logits, scale, bias } = operands;
    const options: HyperConnectionOptions = {
      iterations: 4,
      eps: 1e-4,
      temperature: 0.7,
      scale,
      bias,
      ...(streamed && { streams: operands.streams }),
    };
    const results: number[][][] = [];
    for (const form of [hyperConnection, composed]) {
      using y = form(logits, options);
      using cotangent = device.tensor(normals(y.size, 1, 11), y.shape);
      y.backward(cotangent);
      results.push([[...(await y.read())], ...(await gradientsOf(operands))]);
      zeroGrad(Object.values(operands));
    }
    for (const [i, values] of results[1].entries()) close(results[0][i], values, 5e-6);
    free(operands);
  });

  test("the composition serves larger matrices, and frees what it makes", async () => {
    const device = on(kind);
    const live = device.counters.liveBuffers;
    using logits = device.tensor(normals(2 * 144), [2, 12, 12]);
    using p = composed(logits, { iterations: 3 });
    expect(device.counters.liveBuffers).toBe(live + 2);
    const values = await p.read();
    for (let j = 0; j < 12; j++) {
      const column = Array.from({ length: 12 }, (_, i) => values[i * 12 + j]).reduce((a, b) => a + b);
      expect(Math.abs(column - 1)).toBeLessThan(5e-6);
    }
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "%d among the logits, scales or biases is a DataError",
    async (broken) => {
      const device = on(kind);
      for (const d of [0, 5]) {
        for (const [position, named] of [
          ["logits", "`logits`, `scale` and `bias`"],
          ["scale", "`logits`, `scale` and `bias`"],
          ["bias", "`logits`, `scale` and `bias`"],
          ["alone", "`logits`"],
        ]) {
          const values = { logits: normals(3 * 16), scale: normals(3), bias: normals(3 * 16) };
          values[position === "alone" ? "logits" : (position as keyof typeof values)][2] = broken;
          using logits = device.tensor(values.logits, [3, 4, 4]);
          using scale = device.tensor(values.scale, [3]);
          using bias = device.tensor(values.bias, [3, 4, 4]);
          using streams = device.tensor(normals(3 * 4 * 5), [3, 4, 5]);
          const y = hyperConnection(logits, { ...(position !== "alone" && { scale, bias }), ...(d > 0 && { streams }) });
          await expect(y.read()).rejects.toThrow(`hyperConnection: expected finite numbers for ${named}, but received ${broken}`);
          y.dispose();
        }
      }
      using fine = device.tensor([[5]]);
      using one = hyperConnection(fine);
      close(await one.read(), [1], 1e-5);
    },
  );

  test.each([
    [4, 0],
    [4, 70],
    [7, 0],
    [7, 9],
  ])("the same bits twice, and for any split of a batch, n=%i d=%i", async (n, d) => {
    const device = on(kind);
    const count = 67;
    const all = operandsOf(device, count, n, Math.max(1, d), true);
    const data = await Promise.all(Object.values(all).map((tensor: Tensor) => tensor.read()));
    const cotangent = normals(count * n * (d || n), 1, 13);
    free(all);
    /** Per matrix: results, then the gradient of each operand. */
    const run = async (from: number, to: number): Promise<Float32Array[]> => {
      const part = to - from;
      const piece = (values: ArrayLike<number>): Float32Array => {
        const step = values.length / count;
        return Float32Array.from(values).subarray(from * step, to * step);
      };
      const operands: Operands = {
        logits: leaf(device, piece(data[0]), [part, n, n]),
        scale: leaf(device, piece(data[1]), [part]),
        bias: leaf(device, piece(data[2]), [part, n, n]),
        streams: leaf(device, piece(data[3]), [part, n, Math.max(1, d)]),
      };
      const { logits, scale, bias, streams } = operands;
      using y = hyperConnection(logits, { scale, bias, ...(d > 0 && { streams }) });
      using g = device.tensor(piece(cotangent), y.shape);
      y.backward(g);
      const results = [Float32Array.from(await y.read()), ...(await gradientsOf(operands)).map((values) => Float32Array.from(values))];
      free(operands);
      return results;
    };
    const whole = await run(0, count);
    expect(await run(0, count)).toEqual(whole);
    for (const [from, to] of [
      [0, 1],
      [1, 18],
      [18, 66],
      [66, 67],
    ]) {
      const wanted = whole.map((values) => values.subarray((from * values.length) / count, (to * values.length) / count));
      expect(await run(from, to)).toEqual(wanted);
    }
  });
});

test("the number of threads changes no bit", async () => {
  const results: number[][][] = [];
  for (const threads of [1, 2, 3]) {
    await using device = deviceOf(await openNative({ threads }));
    const operands = operandsOf(device, 300, 4, 33, false);
    const { logits, ...rest } = operands;
    using y = hyperConnection(logits, rest);
    y.backward(operands.streams.detach());
    results.push([[...(await y.read())], ...(await gradientsOf(operands))]);
    free(operands);
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

describe("dispatches", () => {
  /** Forward, and backward, of a call with these operands. */
  const count = (pick: (operands: Operands) => HyperConnectionOptions, full: boolean): [number, number] => {
    const device = on("webgpu");
    const operands = operandsOf(device, 3, 4, 8, full);
    const before = device.counters.dispatches;
    const y = hyperConnection(operands.logits, { iterations: 2, ...pick(operands) });
    const forward = device.counters.dispatches - before;
    using cotangent = device.tensor(normals(y.size), y.shape);
    y.backward(cotangent);
    const backward = device.counters.dispatches - before - forward;
    y.dispose();
    free(operands);
    return [forward, backward];
  };

  test("one each way without parameters", () => {
    expect(count(() => ({}), false)).toEqual([1, 1]);
    expect(count(({ streams }) => ({ streams }), false)).toEqual([1, 1]);
  });
  test("one more sums the gradient of a shared parameter", () => {
    expect(count(({ scale, streams }) => ({ scale, streams }), false)).toEqual([1, 2]);
    expect(count(({ bias, streams }) => ({ bias, streams }), false)).toEqual([1, 2]);
  });
  test("one sum serves both, and two copies take them apart", () => {
    expect(count(({ scale, bias, streams }) => ({ scale, bias, streams }), false)).toEqual([1, 4]);
  });
  test("nothing is summed for parameters per matrix", () => {
    expect(count(({ scale, streams }) => ({ scale, streams }), true)).toEqual([1, 1]);
    expect(count(({ bias, streams }) => ({ bias, streams }), true)).toEqual([1, 1]);
    expect(count(({ scale, bias, streams }) => ({ scale, bias, streams }), true)).toEqual([1, 3]);
  });
});

describe("the plan of a batch that does not fit one binding", () => {
  const spec = (...shape: number[]): Spec => ({ shape, dtype: "float32" });
  const attrs = { iterations: 2, scale: true, bias: true, streams: true };
  const windows = ({ passes }: Plan, name: string): unknown => passes.map(({ bind }) => bind[name].window);
  const cut = (size: number) => [0, 1, 2].map((slice) => ({ from: slice * 64 * size, length: (slice < 2 ? 64 : 22) * size }));
  // 64 matrices with four streams of 100 features fit, 128 do not.
  const limits = { ...FLOOR_LIMITS, bindingBytes: 4 * 4 * 100 * 100 };

  test("cuts what is per matrix, and leaves alone what is shared", () => {
    const operands = [spec(150, 4, 4), spec(150), spec(4, 4), spec(150, 4, 100)];
    const plan = forward.plan(intern(forward, operands, attrs), limits);
    for (const [name, size] of Object.entries({ logits: 16, scale: 1, streams: 400, y: 400 })) expect(windows(plan, name)).toEqual(cut(size));
    expect(windows(plan, "bias")).toEqual([undefined, undefined, undefined]);

    const wanted = { ...attrs, logitsGradient: false, scaleGradient: true, biasGradient: true, streamsGradient: true };
    const back = backward.plan(intern(backward, [...operands, spec(150, 4, 100)], wanted), limits);
    for (const [name, size] of Object.entries({ logits: 16, gradient: 400, parameters: 17, dstreams: 400 }))
      expect(windows(back, name)).toEqual(cut(size));
    expect(windows(back, "dlogits")).toEqual([undefined, undefined, undefined]);
  });

  test("one that fits is one dispatch", () => {
    const operands = [spec(100, 4, 4), spec(), spec(100, 4, 4), spec(100, 4, 100)];
    expect(forward.plan(intern(forward, operands, attrs), limits).passes).toHaveLength(1);
    expect(forward.plan(intern(forward, [spec(101, 4, 4), spec(), spec(101, 4, 4), spec(101, 4, 100)], attrs), limits).passes).toHaveLength(2);
  });
});

test("nothing is kept for the backward pass but the operands", () => {
  const device = on("reference");
  const operands = operandsOf(device, 2, 4, 3, false);
  const live = device.counters.liveBuffers;
  const { logits, ...rest } = operands;
  const y = hyperConnection(logits, rest);
  expect(device.counters.liveBuffers).toBe(live + 1);
  y.dispose();
  expect(device.counters.liveBuffers).toBe(live);
  free(operands);
});

describe("wrong calls", () => {
  const zeros = (shape: readonly number[], dtype: "float32" | "int32" = "float32"): Tensor => on("reference").zeros(shape, dtype);
  const call =
    (shape: readonly number[], options: (() => object) | object = {}) =>
    (): unknown =>
      hyperConnection(zeros(shape), typeof options === "function" ? options() : options);
  test.each([
    [call([4]), "hyperConnection: expected shape [..., n, m] with n and m from 1 to 8 for `logits`, but received [4]"],
    [call([2, 9, 9]), "for `logits`, but received [2, 9, 9]"],
    [call([2, 0, 4]), "for `logits`, but received [2, 0, 4]"],
    [call([4, 4], { iterations: 0 }), "hyperConnection: expected an integer from 1 to 10000 for `iterations`, but received 0"],
    [call([4, 4], { iterations: 10_001 }), "for `iterations`, but received 10001"],
    [call([4, 4], { iterations: 1.5 }), "for `iterations`, but received 1.5"],
    [call([4, 4], { eps: 0 }), "hyperConnection: expected a number from 1e-12 to 1 for `eps`, but received 0"],
    [call([4, 4], { eps: Number.NaN }), "for `eps`, but received NaN"],
    [call([4, 4], { eps: 2 }), "for `eps`, but received 2"],
    [call([4, 4], { temperature: 0 }), "hyperConnection: expected a number from 1e-30 to 1e+30 for `temperature`, but received 0"],
    [call([4, 4], { temperature: "1" }), 'for `temperature`, but received "1"'],
    [call([4, 4], { scale: 2 }), "hyperConnection: expected a tensor for `scale`, but received 2"],
    [call([3, 4, 4], () => ({ scale: zeros([4]) })), "hyperConnection: expected shape [] or [3] for `scale`, but received [4]"],
    [call([3, 4, 4], () => ({ scale: zeros([3], "int32") })), 'hyperConnection: expected dtype float32 for `scale`, but received "int32"'],
    [call([3, 4, 4], () => ({ bias: zeros([3, 4]) })), "hyperConnection: expected shape [4, 4] or [3, 4, 4] for `bias`, but received [3, 4]"],
    [call([4, 4], () => ({ bias: zeros([4]) })), "hyperConnection: expected shape [4, 4] for `bias`, but received [4]"],
    [call([3, 4, 2], () => ({ streams: zeros([3, 4, 9]) })), "hyperConnection: expected shape [3, 2, d] for `streams`, but received [3, 4, 9]"],
    [call([4, 4], () => ({ streams: zeros([4]) })), "hyperConnection: expected shape [4, d] for `streams`, but received [4]"],
    [() => hyperConnection(zeros([4, 4], "int32")), 'hyperConnection: expected dtype float32 for `logits`, but received "int32"'],
    [() => hyperConnection([[1]] as never), "hyperConnection: expected a tensor for `logits`, but received [[1]]"],
  ] as const)("%#", (run, message) => {
    expect(run).toThrow(message);
    expect(run).toThrow(expect.objectContaining({ code: "ERR_ARGUMENT" }));
  });
});
