/** Opening devices, making and reading tensors, and what bad input says. */
import { describe, expect, test } from "vitest";
import { ArgumentError, StateError } from "../src/errors.ts";
import { parameter } from "../src/nn/module.ts";
import { groupPool } from "../src/nn/networks.ts";
import { openDevice } from "../src/open.ts";
import { add, div } from "../src/ops/elementwise/index.ts";
import { linear, matmul } from "../src/ops/matmul/index.ts";
import { flatten, slice, squeeze, stack, take, unsqueeze } from "../src/ops/shape/index.ts";

describe("openDevice", () => {
  test("without a name never takes a software GPU and says why", async () => {
    await using device = await openDevice();
    expect(device.info.software && device.kind === "webgpu").toBe(false);
    if (device.kind !== "webgpu") expect(device.rejected[0]).toMatch(/^webgpu: /);
  });

  test("refuses unknown kinds and contradictions", async () => {
    await expect(openDevice({ device: "cuda" as never })).rejects.toThrow(
      'openDevice: expected webgpu, native or reference for `device`, but received "cuda"',
    );
    await expect(openDevice("native" as never)).rejects.toThrow(/an object for `options`, but received "native"/);
    await expect(openDevice({ device: "native", gpuDevice: {} as never })).rejects.toThrow(ArgumentError);
    await expect(openDevice({ device: "native", threads: Number.NaN })).rejects.toThrow(/`threads`, but received NaN/);
  });
});

describe.each(["reference", "native"] as const)("%s", (kind) => {
  test("tensor: shapes from nesting, -1, dtypes from arrays", async () => {
    await using device = await openDevice({ device: kind });
    const x = device.tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(x.shape).toEqual([2, 3]);
    expect([...(await x.read())]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(device.tensor(new Float32Array(6), [-1, 2]).shape).toEqual([3, 2]);
    expect(device.tensor(Int32Array.of(1)).dtype).toBe("int32");
    expect(device.tensor(Uint32Array.of(4294967295)).dtype).toBe("uint32");
    expect(await device.tensor(7).item()).toBe(7);
    expect(device.zeros([0, 3]).size).toBe(0);
    expect(await device.tensor(new Float64Array([0.1])).read()).toEqual(Float32Array.of(0.1));
  });

  test.each([
    [[1, 2, 3], [2], 'expected 2 values to fill shape [2] for `data`, but received "3 values"'],
    [[1], [-2], "expected an array of non-negative integers for `shape`, but received [-2]"],
    [[1], [Number.NaN], "for `shape`, but received [NaN]"],
    [[1, 2], [-1, -1], "expected at most one size of -1"],
    [[[1, 2], [3]], undefined, "expected 2 entries along axis 1"],
    [["a"], undefined, 'expected a number for `data[0]`, but received "a"'],
    [null, undefined, "for `data`, but received null"],
    [[1, 2], 2, "expected an array of non-negative integers for `shape`, but received 2"],
  ] as const)("tensor(%j, %j) is refused", async (data, shape, message) => {
    await using device = await openDevice({ device: kind });
    expect(() => device.tensor(data as never, shape as never)).toThrow(message);
    expect(device.counters.liveBuffers).toBe(0);
  });

  test("integer tensors take integers only", async () => {
    await using device = await openDevice({ device: kind });
    expect(() => device.tensor([1.5], [1], "int32")).toThrow(
      /expected an integer in \[-2147483648, 2147483647\] for dtype int32 for `data\[0\]`, but received 1.5/,
    );
    expect(() => device.tensor([-1], [1], "uint32")).toThrow(ArgumentError);
    expect(() => device.tensor([1], [1], "float64" as never)).toThrow(/one of float32, float16, int32, uint32 for `dtype`, but received "float64"/);
  });

  test("write, read and item check what they get", async () => {
    await using device = await openDevice({ device: kind });
    const x = device.zeros([2]);
    expect(() => device.write(x, [1])).toThrow(/expected 2 values to fill shape \[2\]/);
    await expect(x.item()).rejects.toThrow(/expected a tensor with one element, but received shape \[2\]/);
    device.write(x, [1, 2]);
    expect([...(await x.read())]).toEqual([1, 2]);
    x.dispose();
    await expect(x.read()).rejects.toThrow(StateError);
  });

  test("a closed device says so", async () => {
    const device = await openDevice({ device: kind });
    const x = device.tensor(1);
    await device.close();
    await device.close();
    expect(() => device.tensor(1)).toThrow(/expected an open device, but the \w+ device was closed/);
    await expect(x.read()).rejects.toThrow(StateError);
    x.dispose();
  });
});

test.each(["reference", "native"] as const)("%s: a result of 2^31 elements is refused before memory is taken for it", async (kind) => {
  await using device = await openDevice({ device: kind });
  const [column, row] = [device.ones([2 ** 16, 1]), device.ones([2 ** 15])];
  expect(() => add(column, row)).toThrow(/expected a result of fewer than 2\^31 elements/);
  expect(device.counters.liveBuffers).toBe(2);
});

test("what is no tensor is refused by name", async () => {
  await using device = await openDevice({ device: "reference" });
  const x = device.ones([2, 2]);
  for (const value of [undefined, null, [1], { shape: [2, 2] }, "x"] as never[]) {
    const calls = [
      () => matmul(x, value),
      () => linear(value, x),
      () => div(value, 2),
      () => slice(value),
      () => flatten(value),
      () => squeeze(value),
      () => unsqueeze(value, 0),
      () => take(value, [0]),
      () => stack([value, x]),
      () => groupPool(value),
      () => parameter(value),
      () => device.write(value, [1]),
    ];
    for (const call of calls) expect(call).toThrow(/expected a tensor for `/);
  }
});

test("readFloat64 gives unrounded numbers on reference and is refused elsewhere", async () => {
  await using reference = await openDevice({ device: "reference" });
  expect(await reference.tensor([0.1]).readFloat64()).toEqual(Float64Array.of(0.1));
  await using native = await openDevice({ device: "native" });
  await expect(native.tensor([0.1]).readFloat64()).rejects.toThrow(/reference device, but received float32 on native/);
});
