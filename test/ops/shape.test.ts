/** Shared storage, published values, wrong calls, broken indices, and how many kernels run. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "../../src/backend.ts";
import { openNative } from "../../src/backends/native/index.ts";
import { openReference } from "../../src/backends/reference/index.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import type { Device } from "../../src/device.ts";
import { ArgumentError, DataError } from "../../src/errors.ts";
import { FLOOR_LIMITS } from "../../src/op.ts";
import { deviceOf } from "../../src/open.ts";
import { mul } from "../../src/ops/elementwise/index.ts";
import { concat, expand, flatten, gather, permute, reshape, slice, squeeze, stack, take, transpose, unsqueeze } from "../../src/ops/shape/index.ts";
import { concat as concatOp } from "../../src/ops/shape/op.ts";
import { CONCAT_INPUTS } from "../../src/ops/shape/plan.ts";
import type { Tensor } from "../../src/tensor.ts";

let device: Device;
beforeAll(() => {
  device = deviceOf(openReference());
});
afterAll(() => device.close());

const counting = (...shape: number[]): Tensor =>
  device.tensor(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i),
    shape,
  );
const read = async (x: Tensor | undefined): Promise<number[]> => [...((await x?.read()) ?? [])];

describe("reshape", () => {
  test("copies nothing and runs nothing", async () => {
    const x = counting(2, 3);
    const { dispatches, allocations } = device.counters;
    const views = [reshape(x, [3, -1]), flatten(x), unsqueeze(x, 0), squeeze(unsqueeze(x, 1))];
    expect(views.map(({ shape }) => shape)).toEqual([[3, 2], [6], [1, 2, 3], [2, 3]]);
    expect(device.counters).toMatchObject({ dispatches, allocations });
    for (const y of views) expect(y.storage).toBe(x.storage);
    x.dispose();
    expect(await read(views[0])).toEqual([0, 1, 2, 3, 4, 5]);
  });
  test("frees the memory with its last holder", () => {
    const before = device.counters.liveBuffers;
    const x = counting(4);
    const y = reshape(x, [2, 2]);
    x.dispose();
    expect(device.counters.liveBuffers).toBe(before + 1);
    y.dispose();
    expect(device.counters.liveBuffers).toBe(before);
  });
  test("is differentiated, and sees changes in place", async () => {
    const x = counting(4);
    x.requiresGrad = true;
    const y = reshape(x, [2, 2]);
    const z = mul(y, y);
    z.backward(device.ones([2, 2]));
    expect(x.grad?.shape).toEqual([4]);
    expect(await read(x.grad)).toEqual([0, 2, 4, 6]);
    device.write(x, [9, 9, 9, 9]);
    expect(await read(y)).toEqual([9, 9, 9, 9]);
    const stale = mul(reshape(x, [2, 2]), device.ones([2, 2]));
    device.write(x, [1, 1, 1, 1]);
    expect(() => stale.backward(device.ones([2, 2]))).toThrow("changed in place");
  });
  test("flatten merges the axes it is asked to", () => {
    const x = counting(2, 3, 4, 5);
    expect([flatten(x, 1), flatten(x, 0, 1), flatten(x, -2), flatten(device.tensor(1))].map(({ shape }) => shape)).toEqual([
      [2, 60],
      [6, 4, 5],
      [2, 3, 20],
      [1],
    ]);
  });
});

describe("values of PyTorch's documentation", () => {
  test("gather", async () => {
    const y = gather(
      device.tensor([
        [1, 2],
        [3, 4],
      ]),
      device.tensor(
        [
          [0, 0],
          [1, 0],
        ],
        [2, 2],
        "int32",
      ),
      1,
    );
    expect(await read(y)).toEqual([1, 1, 4, 3]);
  });
  test("transpose", async () => {
    expect(await read(transpose(counting(2, 3), 0, 1))).toEqual([0, 3, 1, 4, 2, 5]);
    expect(permute(counting(2, 3, 5), [2, 0, 1]).shape).toEqual([5, 2, 3]);
  });
  test("expand", async () => {
    expect(await read(expand(device.tensor([[1], [2], [3]]), [-1, 4]))).toEqual([1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
  });
  test("narrow, as slice", async () => {
    const x = device.tensor([
      [1, 2, 3],
      [4, 5, 6],
      [7, 8, 9],
    ]);
    expect(await read(slice(x, { end: 2 }))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await read(slice(x, { axis: 1, start: 1 }))).toEqual([2, 3, 5, 6, 8, 9]);
    expect(await read(slice(x, { axis: -1, start: -1 }))).toEqual([3, 6, 9]);
    expect(await read(slice(x, { axis: 1, step: 2 }))).toEqual([1, 3, 4, 6, 7, 9]);
  });
  test("stack", async () => {
    const x = counting(2, 3);
    expect(stack([x, x], 1).shape).toEqual([2, 2, 3]);
    expect(await read(stack([x, x], 2))).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
  });
});

describe("plain numbers as indices", () => {
  test("take gives rows, gather elements; both are differentiated", async () => {
    const x = counting(3, 2);
    x.requiresGrad = true;
    const rows = take(x, [2, 0, 2]);
    expect(await read(rows)).toEqual([4, 5, 0, 1, 4, 5]);
    rows.backward(device.ones([3, 2]));
    expect(await read(x.grad)).toEqual([1, 1, 0, 0, 2, 2]);
    expect(await read(gather(x, Int32Array.of(1, 0, 1), 1))).toEqual([1, 2, 5]);
  });
  test("no memory is left behind", () => {
    const x = counting(3, 2);
    const before = device.counters.liveBuffers;
    take(x, [0]).dispose();
    gather(x, [0, 1, 0], 1).dispose();
    stack([x, x]).dispose();
    expect(device.counters.liveBuffers).toBe(before);
  });
});

describe("indices on the device that are out of range", () => {
  const opens: readonly (readonly [string, () => Promise<Backend> | Backend])[] = [
    ["reference", openReference],
    ["native", (): Promise<Backend> => openNative()],
    ["webgpu", (): Promise<Backend> => openWebGPU({ allowSoftware: true })],
  ];
  test.each(opens)("%s: the next read tells, and the device goes on", async (_, open) => {
    await using target = deviceOf(await open());
    const x = target.tensor([
      [1, 2],
      [3, 4],
    ]);
    x.requiresGrad = true;
    for (const [index, dtype, came] of [
      [[0, 7], "int32", "7"],
      [[-1, 1], "int32", "-1"],
      [[2, 0], "uint32", "2"],
    ] as const) {
      const y = take(x, target.tensor(index, [2], dtype));
      const error = await y.read().catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(DataError);
      expect((error as Error).message).toContain(`take: expected an integer in [0, 2) for \`indices\`, but received ${came}`);
      y.dispose();
    }
    const bad = gather(x, target.tensor([[0], [2]], [2, 1], "int32"), 1);
    bad.backward(target.ones([2, 1]));
    await expect(target.synchronize()).rejects.toThrow("gather: expected an integer in [0, 2) for `index`, but received 2");
    expect([...((await x.grad?.read()) ?? [])]).toEqual([1, 0, 0, 0]);
  });
});

describe("wrong calls", () => {
  const x = (): Tensor => counting(2, 3);
  test.each([
    [() => reshape(x(), [4, 2]), "reshape: expected a shape with the 6 elements of [2, 3] for `shape`, but received [4, 2]"],
    [() => reshape(x(), [4, -1]), "reshape: expected an array of non-negative integers for `shape`, but received [4, -1]"],
    [() => reshape(x(), [-1, -1]), "reshape: expected at most one size of -1 for `shape`"],
    [() => flatten(x(), 1, 0), "flatten: expected an axis from 1 on for `endAxis`, but received 0"],
    [() => squeeze(x(), 0), "squeeze: expected axes of size 1 of shape [2, 3] for `axes`, but received 0"],
    [() => unsqueeze(x(), 3), "unsqueeze: expected an axis in [-3, 3)"],
    [() => permute(x(), [0, 0]), "permute: expected each axis of shape [2, 3] once for `axes`, but received [0, 0]"],
    [() => permute(x(), [0]), "permute: expected each axis"],
    [() => transpose(x(), 0, 2), "transpose: expected an axis in [-2, 2) of a tensor of rank 2 for `axis1`, but received 2"],
    [() => expand(x(), [4, 3]), "expand"],
    [() => expand(x(), [3]), "expand: expected a shape that [2, 3] broadcasts to for `shape`, but received [3]"],
    [() => concat([]), "concat: expected at least one tensor for `tensors`"],
    [() => concat([x(), counting(2, 4)]), "concat: expected the sizes of [2, 3] on all axes but 0 for `tensors[1]`"],
    [() => concat([x(), device.zeros([2, 3], "int32")]), 'concat: expected dtype float32 as in tensors[0] for `tensors[1]`, but received "int32"'],
    [() => stack([x(), counting(3, 2)]), "stack: expected shape [2, 3] for `tensors[1]`"],
    [() => slice(x(), { axis: 1, start: 4 }), "slice: expected an integer in [0, 3], or negative to count from the end, for `start`, but received 4"],
    [() => slice(x(), { axis: 1, start: 2, end: 1 }), "slice: expected an integer in [2, 3]"],
    [() => slice(x(), { step: 0 }), "slice: expected a positive integer for `step`, but received 0"],
    [() => slice(x(), { start: Number.NaN }), "for `start`, but received NaN"],
    [() => take(x(), [0, 2]), "take: expected an integer in [0, 2) for `indices[1]`, but received 2"],
    [() => take(x(), [0.5]), "for `indices[0]`, but received 0.5"],
    [() => take(x(), x()), 'take: expected dtype int32 or uint32 for `indices`, but received "float32"'],
    [() => gather(x(), [0, 1, 2], 0), "gather: expected an integer in [0, 2) for `index[2]`, but received 2"],
    [() => gather(x(), [0, 1], 0), "gather: expected a multiple of 3 indices for `index`"],
    [
      () => gather(x(), device.zeros([3, 1], "int32"), 1),
      "gather: expected as many axes as [2, 3] for `index`, none longer except axis 1, but received shape [3, 1]",
    ],
  ])("%#", (wrong, message) => {
    expect(wrong).toThrow(ArgumentError);
    expect(wrong).toThrow(message);
  });
});

test("a pass takes as many inputs as there are storage buffers", () => {
  const passes = (count: number): number => {
    const inputs = Array.from({ length: count }, () => ({ shape: [2, 3], dtype: "float32" as const }));
    const attrs = { axis: 0 };
    return concatOp.plan({ op: concatOp, inputs, outputs: concatOp.outputs(inputs, attrs), attrs }, FLOOR_LIMITS).passes.length;
  };
  expect([1, CONCAT_INPUTS, CONCAT_INPUTS + 1, 2 * CONCAT_INPUTS, 2 * CONCAT_INPUTS + 1].map(passes)).toEqual([1, 1, 2, 2, 3]);
});
