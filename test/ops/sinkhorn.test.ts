/** Published values, wrong calls, broken data, how many kernels run, and facts about gradients that do not come from the algorithm. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openNative } from "../../src/backends/native/index.ts";
import { openReference } from "../../src/backends/reference/index.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import type { Device } from "../../src/device.ts";
import { zeroGrad } from "../../src/grad.ts";
import { noGrad } from "../../src/gradMode.ts";
import { deviceOf } from "../../src/open.ts";
import { type SinkhornOptions, sinkhorn } from "../../src/ops/sinkhorn/index.ts";
import { RESIDENT } from "../../src/ops/sinkhorn/plan.ts";
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
const column = (values: ArrayLike<number>): number[] => Array.from(values);

describe.each(kinds)("%s", (kind) => {
  test("the example of ot.sinkhorn in POT's documentation", async () => {
    // POT's marginals are halves where ours are ones.
    const published = [0.36552929, 0.13447071, 0.13447071, 0.36552929].map((value) => 2 * value);
    const p = sinkhorn(
      on(kind).tensor([
        [0, -1],
        [-1, 0],
      ]),
    );
    for (const [i, value] of (await p.read()).entries()) expect(value).toBeCloseTo(published[i], 6);
  });

  test("the limit of a 2 × 2 matrix keeps the cross ratio", async () => {
    const [a, b, c, d] = [1.5, 0.25, -0.5, 0.75];
    const odds = Math.exp((a + d - b - c) / 2 / 0.7);
    const p = sinkhorn(
      on(kind).tensor([
        [a, b],
        [c, d],
      ]),
      { iterations: 60, temperature: 0.7 },
    );
    const share = odds / (1 + odds);
    for (const [i, value] of (await p.read()).entries()) expect(value).toBeCloseTo([share, 1 - share, 1 - share, share][i], 6);
  });

  test.each([1, 4, 7, 16, 25, 40, 64, 100, 130])("rows of the gradient sum to 0 at n=%i", async (n) => {
    const device = on(kind);
    const logits = device.tensor(normals(2 * n * n, 2), [2, n, n]);
    logits.requiresGrad = true;
    sinkhorn(logits, { iterations: 7 }).backward(device.tensor(normals(2 * n * n, 1, 5), [2, n, n]));
    const gradient = Float32Array.from((await logits.grad?.read()) ?? []);
    const largest = gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
    for (let row = 0; row < 2 * n; row++) {
      const total = gradient.subarray(row * n, (row + 1) * n).reduce((sum, value) => sum + value, 0);
      expect(Math.abs(total)).toBeLessThanOrEqual(5e-6 * Math.max(1, largest));
    }
    logits.dispose();
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("a logit that is %d is a DataError", async (broken) => {
    for (const n of [3, 20, 64, 130]) {
      const device = on(kind);
      const values = normals(2 * n * n);
      values[n * n + 2] = broken;
      const p = sinkhorn(device.tensor(values, [2, n, n]), { iterations: 3 });
      await expect(p.read()).rejects.toThrow(`sinkhorn: expected finite numbers for \`logits\`, but received ${broken}`);
      const good = sinkhorn(device.tensor([[5]]));
      expect(column(await good.read())).toEqual([1]);
    }
  });

  test("the same bits twice, and for any split of a batch", async () => {
    for (const n of [4, 11, 25, 50]) {
      const device = on(kind);
      const values = normals(19 * n * n, 3);
      const run = async (from: number, to: number): Promise<number[]> => {
        const logits = device.tensor(values.subarray(from * n * n, to * n * n), [to - from, n, n]);
        logits.requiresGrad = true;
        const p = sinkhorn(logits);
        p.backward(device.tensor(values.subarray(from * n * n, to * n * n), [to - from, n, n]));
        return [...(await p.read()), ...((await logits.grad?.read()) ?? [])];
      };
      const whole = await run(0, 19);
      expect(await run(0, 19)).toEqual(whole);
      const [p, gradient] = [whole.slice(0, 19 * n * n), whole.slice(19 * n * n)];
      for (const [from, to] of [
        [0, 1],
        [1, 18],
        [18, 19],
      ]) {
        const part = [...p.slice(from * n * n, to * n * n), ...gradient.slice(from * n * n, to * n * n)];
        expect(await run(from, to)).toEqual(part);
      }
    }
  });
});

test("the number of threads changes no bit", async () => {
  const values = normals(9 * 33 * 33, 2);
  const results: number[][] = [];
  for (const threads of [1, 2, 3]) {
    await using device = deviceOf(await openNative({ threads }));
    const logits = device.tensor(values, [9, 33, 33]);
    logits.requiresGrad = true;
    const p = sinkhorn(logits);
    p.backward(device.tensor(values, [9, 33, 33]));
    results.push([...(await p.read()), ...((await logits.grad?.read()) ?? [])]);
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

test.each(RESIDENT.map(({ n }) => n))("one dispatch each way at n=%i, whatever the temperature", async (n) => {
  const device = on("webgpu");
  const logits = device.tensor(normals(3 * n * n), [3, n, n]);
  logits.requiresGrad = true;
  for (const temperature of [1, 0.5]) {
    const before = device.counters.dispatches;
    const p = sinkhorn(logits, { temperature, iterations: 2 });
    expect(device.counters.dispatches - before).toBe(1);
    p.backward(logits.detach());
    expect(device.counters.dispatches - before).toBe(2);
    zeroGrad([logits]);
    await device.synchronize();
  }
});

test("nothing is recorded where no gradient is wanted", () => {
  const device = on("reference");
  const logits = device.tensor(normals(81), [9, 9]);
  const live = device.counters.liveBuffers;
  const results: Tensor[] = [sinkhorn(logits)];
  expect(device.counters.liveBuffers).toBe(live + 1);
  logits.requiresGrad = true;
  results.push(noGrad(() => sinkhorn(logits)));
  expect(device.counters.liveBuffers).toBe(live + 2);
  results.push(sinkhorn(logits));
  expect(device.counters.liveBuffers).toBe(live + 4);
  for (const result of results) result.dispose();
  expect(device.counters.liveBuffers).toBe(live);
});

test("a plain run is recorded beyond a side of 8 or 24 iterations, and for more than P", () => {
  const device = on("reference");
  const kept = (n: number, options?: Omit<SinkhornOptions, "outputs">): number => {
    const logits = device.tensor(normals(n * n), [n, n]);
    logits.requiresGrad = true;
    const live = device.counters.liveBuffers;
    const result = sinkhorn(logits, options);
    const more = device.counters.liveBuffers - live;
    result.dispose();
    logits.dispose();
    return more;
  };
  expect([kept(3), kept(8), kept(8, { iterations: 24 })]).toEqual([1, 1, 1]);
  expect([kept(9), kept(8, { iterations: 25 }), kept(3, { tolerance: 0.1 }), kept(3, { rho: 1 })]).toEqual([2, 2, 2, 2]);
});

describe("wrong calls", () => {
  const call = (shape: number[], options?: object) => (): unknown => sinkhorn(on("reference").zeros(shape), options);
  test.each([
    [call([3]), "sinkhorn: expected shape [..., n, m] with n and m from 1 to 4096 for `logits`, but received [3]"],
    [call([2, 2], { iteration: 3 }), 'for `options`, but received "iteration"'],
    [call([2, 2], { order: "rows" }), 'sinkhorn: expected one of row, column for `order`, but received "rows"'],
    [call([2, 2], { rho: 0 }), "sinkhorn: expected positive numbers for `rho`, but received 0"],
    [call([2, 2], { tolerance: -1 }), "for `tolerance`, but received -1"],
    [call([2, 2], { checkEvery: 2 }), "sinkhorn: expected a tolerance beside checkEvery for `tolerance`, but received undefined"],
    [call([2, 2], { annealing: { from: 4, factor: 0.1 } }), "for `annealing.factor`, but received 0.1"],
    [call([2, 2], { annealing: { from: 4, factor: 0.9 }, iterations: 5 }), "sinkhorn: expected more iterations than annealing takes to reach 1"],
    [call([2, 2], { outputs: ["Q"] }), 'for `outputs`, but received "Q"'],
    [call([2, 2], { outputs: ["PV"] }), 'sinkhorn: expected a tensor for output "PV" for `V`, but received undefined'],
    [call([2, 2], { eps: 1e-6, order: "row" }), 'where eps is given for `options`, but received "order"'],
    [call([2, 2], { eps: 0 }), "for `eps`, but received 0"],
    [() => sinkhorn(on("reference").zeros([2, 2]), { a: on("reference").ones([2]) }), "sinkhorn: expected masses of both sides or of none for `b`"],
    [
      () => sinkhorn(on("reference").zeros([2, 3]), { a: on("reference").ones([3]), b: on("reference").ones([3]) }),
      "sinkhorn: expected shape [2] for `a`, but received [3]",
    ],
    [() => sinkhorn(on("reference").zeros([2, 2]), { mask: on("reference").ones([2, 2]) }), "sinkhorn: expected dtype int32 or uint32 for `mask`"],
    [call([2, 0, 0]), "for `logits`, but received [2, 0, 0]"],
    [call([1, 4097, 4097]), "for `logits`, but received [1, 4097, 4097]"],
    [call([2, 2], { iterations: 0 }), "sinkhorn: expected an integer from 1 to 100000 for `iterations`, but received 0"],
    [call([2, 2], { iterations: 2.5 }), "for `iterations`, but received 2.5"],
    [call([2, 2], { iterations: Number.NaN }), "for `iterations`, but received NaN"],
    [call([2, 2], { temperature: 0 }), "sinkhorn: expected a number from 1e-30 to 1e+30 for `temperature`, but received 0"],
    [call([2, 2], { temperature: -1 }), "for `temperature`, but received -1"],
    [call([2, 2], { temperature: Number.NaN }), "for `temperature`, but received NaN"],
    [call([2, 2], { temperature: "1" }), 'for `temperature`, but received "1"'],
    [() => sinkhorn(on("reference").zeros([2, 2], "int32")), "sinkhorn: expected dtype float32 or float16 for `logits`, but received"],
    [() => sinkhorn([[1]] as never), "sinkhorn: expected a tensor for `logits`, but received"],
  ] as const)("%#", (run, message) => {
    expect(run).toThrow(message);
    expect(run).toThrow(expect.objectContaining({ code: "ERR_ARGUMENT" }));
  });
});
