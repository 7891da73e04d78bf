/** Published values, dispatches, the plan's limits and wrong calls of the running sums. */
import { describe, expect, test } from "vitest";
import { intern } from "../../src/apply.ts";
import type { Device } from "../../src/device.ts";
import { FLOOR_LIMITS, type Plan, type Shape, type Workgroups } from "../../src/op.ts";
import { openDevice } from "../../src/open.ts";
import { cumsum } from "../../src/ops/cumsum/index.ts";
import { cumsum as op } from "../../src/ops/cumsum/op.ts";
import { ENOUGH_WORKGROUPS, PART_ELEMENTS } from "../../src/ops/cumsum/plan.ts";
import { KINDS, take, withDevice } from "../support/devices.ts";

describe.each(KINDS)("on %s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });

  test("values of ONNX's operator tests", async () => {
    using vector = device.tensor([1, 2, 3, 4, 5]);
    expect(await take(cumsum(vector, 0))).toEqual([1, 3, 6, 10, 15]);
    using matrix = device.tensor([1, 2, 3, 4, 5, 6], [2, 3]);
    expect(await take(cumsum(matrix, 0))).toEqual([1, 2, 3, 5, 7, 9]);
    expect(await take(cumsum(matrix, 1))).toEqual([1, 3, 6, 4, 9, 15]);
    expect(await take(cumsum(matrix, -1))).toEqual([1, 3, 6, 4, 9, 15]);
  });

  test("the gradient counts the sums that a term went into", async () => {
    using x = device.ones([2, 4]);
    x.requiresGrad = true;
    using g = device.ones([2, 4]);
    using y = cumsum(x, 1);
    y.backward(g);
    expect([...((await x.grad?.read()) ?? [])]).toEqual([4, 3, 2, 1, 4, 3, 2, 1]);
    x.grad?.dispose();
  });

  test("an integer grows by one a step over a million steps", async () => {
    const length = kind === "webgpu" ? 1 << 17 : 1 << 20;
    using ones = device.ones([length]);
    const y = await take(cumsum(ones, 0));
    expect(y.findIndex((value, i) => value !== i + 1)).toBe(-1);
  });
});

test("dispatches", async () => {
  await using device = await openDevice({ device: "webgpu" });
  const count = (shape: Shape, axis: number): number => {
    using x = device.zeros(shape);
    const before = device.counters.dispatches;
    cumsum(x, axis).dispose();
    return device.counters.dispatches - before;
  };
  expect(count([3, PART_ELEMENTS], 1)).toBe(1);
  expect(count([3, PART_ELEMENTS + 1], 1)).toBe(2);
  expect(count([1000, 8], 1)).toBe(1);
  expect(count([0, 4], 1)).toBe(0);
});

describe("the plan", () => {
  const plan = (shape: Shape, axis: number): Plan => op.plan(intern(op, [{ shape, dtype: "float32" }], { axis, reverse: false }), FLOOR_LIMITS);

  test("stays within the workgroups that fill a GPU where it cuts rows", () => {
    for (const rows of [1, 3, 100, ENOUGH_WORKGROUPS / 2, ENOUGH_WORKGROUPS / 2 + 1]) {
      for (const [shape, axis] of [[[rows, 1 << 24], 1] as const, [[1 << 24, rows], 0] as const]) {
        const { passes } = plan(shape, axis);
        const [x, y, z] = passes[passes.length - 1].workgroups as Workgroups;
        expect(x * y * z).toBeLessThanOrEqual(ENOUGH_WORKGROUPS);
      }
    }
  });

  test("does not cut rows that fill a GPU by themselves", () => {
    expect(plan([ENOUGH_WORKGROUPS, 1 << 15], 1).passes.length).toBe(1);
  });

  test("lays out more workgroups than one dimension holds", () => {
    const { passes } = plan([1 << 17, 2048], 1);
    expect(passes.map(({ workgroups }) => workgroups)).toEqual([[65535, 3, 1]]);
  });
});

test("errors", async () => {
  await using device = await openDevice({ device: "reference" });
  const x = device.zeros([2, 3]);
  expect(() => cumsum(x, 2)).toThrow("cumsum: expected an axis in [-2, 2) of a tensor of rank 2 for `axis`, but received 2");
  expect(() => cumsum(x, -3)).toThrow("for `axis`, but received -3");
  expect(() => cumsum(x, 0.5)).toThrow("for `axis`, but received 0.5");
  expect(() => cumsum(device.zeros([]), 0)).toThrow("of rank 0 for `axis`, but received 0");
  expect(() => cumsum(device.zeros([2], "int32"), 0)).toThrow('cumsum: expected dtype float32 for `x`, but received "int32"');
  // @ts-expect-error: one axis, not a list
  expect(() => cumsum(x, [0, 1])).toThrow("cumsum: expected one axis for `axis`, but received [0, 1]");
  // @ts-expect-error: a tensor, not its values
  expect(() => cumsum([1, 2], 0)).toThrow("cumsum: expected a tensor for `x`, but received [1, 2]");
});
