import { describe, expect, test } from "vitest";
import { openReference } from "../../src/backends/reference/index.ts";
import { ArgumentError } from "../../src/errors.ts";
import { type Attrs, type Call, FLOOR_LIMITS, type Op, type Shape } from "../../src/op.ts";
import { deviceOf } from "../../src/open.ts";
import { argmax, logsumexp, max, mean, min, sum } from "../../src/ops/reduce/index.ts";
import { forward } from "../../src/ops/reduce/op.ts";

const device = deviceOf(openReference());

const message = (fn: () => unknown): string => {
  try {
    fn();
  } catch (error) {
    expect(error).toBeInstanceOf(ArgumentError);
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
};

describe("PyTorch's conventions", () => {
  test("ties share the gradient of max and min", async () => {
    const x = device.tensor([3, 1, 3, 3]);
    x.requiresGrad = true;
    max(x).backward();
    expect([...((await x.grad?.read()) ?? [])]).toEqual([1 / 3, 0, 1 / 3, 1 / 3].map(Math.fround));
    const z = device.tensor([3, 1, 1, 3]);
    z.requiresGrad = true;
    min(z).backward();
    expect([...((await z.grad?.read()) ?? [])]).toEqual([0, 0.5, 0.5, 0]);
  });

  test("nothing and infinity", async () => {
    const none = device.tensor([], [2, 0]);
    expect([...(await sum(none, 1).read())]).toEqual([0, 0]);
    expect([...(await mean(none, 1).read())]).toEqual([Number.NaN, Number.NaN]);
    expect([...(await logsumexp(none, 1).read())]).toEqual([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    expect(await logsumexp(device.tensor([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY])).item()).toBe(Number.NEGATIVE_INFINITY);
    expect(await max(device.tensor([1, Number.NaN, 2])).item()).toBeNaN();
  });

  test("shapes", async () => {
    const x = device.zeros([2, 3, 4]);
    expect(sum(x).shape).toEqual([]);
    expect(sum(x, -1).shape).toEqual([2, 3]);
    expect(mean(x, [0, -1], { keepDims: true }).shape).toEqual([1, 3, 1]);
    expect(sum(x, []).shape).toEqual([2, 3, 4]);
    expect(argmax(x, 1).shape).toEqual([2, 4]);
    expect(argmax(x, 1).dtype).toBe("int32");
    expect(await argmax(x).item()).toBe(0);
  });

  test("argmax of a tensor that wants a gradient records nothing", () => {
    const x = device.tensor([1, 2]);
    x.requiresGrad = true;
    expect(argmax(x).requiresGrad).toBe(false);
  });
});

test("wrong arguments are named", () => {
  const x = device.zeros([2, 3]);
  expect(message(() => sum(x, 2))).toBe("sum: expected an axis in [-2, 2) of a tensor of rank 2 for `axes`, but received 2");
  expect(message(() => mean(x, [0, -2]))).toBe("mean: expected distinct axes for `axes`, but received [0, -2]");
  expect(message(() => max(device.zeros([3, 0]), 1))).toBe("max: expected at least one entry along the reduced axes for `x`, but received [3, 0]");
  expect(message(() => argmax(device.zeros([0])))).toBe("argmax: expected at least one entry along the reduced axes for `x`, but received [0]");
  expect(message(() => sum(device.zeros([2], "int32")))).toBe('sum: expected dtype float32 for `x`, but received "int32"');
});

describe("dispatches", () => {
  const count = (shape: Shape, axes: readonly number[]): number => {
    const op = forward("sum") as Op as Op<Attrs>;
    const attrs = { kind: "sum", axes, keepDims: false };
    const inputs = [{ shape, dtype: "float32" as const }];
    const call: Call = { op, inputs, outputs: op.outputs(inputs, attrs), attrs };
    return op.plan(call, FLOOR_LIMITS).passes.length;
  };
  test.each<[Shape, readonly number[], number]>([
    [[64, 10], [1], 1],
    [[4096], [0], 1],
    [[1 << 20], [0], 2],
    [[100000, 3], [0], 2],
    [[3, 1 << 20], [0], 1],
    [[8192, 4096], [1], 1],
  ])("sum of %j over %j", (shape, axes, passes) => {
    expect(count(shape, axes)).toBe(passes);
  });
});
