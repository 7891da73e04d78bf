/** Published values, PyTorch's rule for ties, wrong calls, and what stays alive. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openReference } from "../../src/backends/reference/index.ts";
import type { Device } from "../../src/device.ts";
import { deviceOf } from "../../src/open.ts";
import { avgPool2d, globalAvgPool2d, maxPool2d } from "../../src/ops/pool/index.ts";
import type { Tensor } from "../../src/tensor.ts";

let device: Device;
beforeAll(() => {
  device = deviceOf(openReference());
});
afterAll(() => device.close());

/** 1 to 25 in a plane of 5 x 5. */
const plane = (): Tensor =>
  device.tensor(
    Array.from({ length: 25 }, (_, i) => i + 1),
    [1, 1, 5, 5],
  );

describe("values of ONNX's operator tests", () => {
  test("MaxPool, pads 2", async () => {
    const y = maxPool2d(plane(), 5, { stride: 1, padding: 2 });
    expect([...(await y.read())]).toEqual([13, 14, 15, 15, 15, 18, 19, 20, 20, 20, 23, 24, 25, 25, 25, 23, 24, 25, 25, 25, 23, 24, 25, 25, 25]);
  });
  test("MaxPool, strides 2", async () => {
    expect([...(await maxPool2d(plane(), 2).read())]).toEqual([7, 9, 17, 19]);
  });
  test("AveragePool, strides 2", async () => {
    expect([...(await avgPool2d(plane(), [2, 2]).read())]).toEqual([4, 6, 14, 16]);
  });
  test("AveragePool, pads 2, padding counted", async () => {
    const y = await avgPool2d(plane(), 5, { stride: 1, padding: 2 }).readFloat64();
    const want = [
      2.52, 3.6, 4.8, 4.08, 3.24, 4.56, 6.4, 8.4, 7.04, 5.52, 7.2, 10, 13, 10.8, 8.4, 6.96, 9.6, 12.4, 10.24, 7.92, 6.12, 8.4, 10.8, 8.88, 6.84,
    ];
    expect(y.length).toBe(25);
    want.forEach((value, i) => {
      expect(y[i]).toBeCloseTo(value, 10);
    });
  });
  test("GlobalAveragePool", async () => {
    const y = globalAvgPool2d(device.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 1, 3, 3]));
    expect(y.shape).toEqual([1, 1]);
    expect([...(await y.read())]).toEqual([5]);
  });
});

test("the gradient goes to the first of equal maxima", async () => {
  const x = device.tensor([1, 3, 3, 3, 3, 2], [1, 1, 2, 3]);
  x.requiresGrad = true;
  maxPool2d(x, 2, { stride: 1 }).backward(device.tensor([10, 1], [1, 1, 1, 2]));
  expect([...((await x.grad?.read()) ?? [])]).toEqual([0, 11, 0, 0, 0, 0]);
});

test("the positions are freed with the graph, and at once without one", () => {
  const x = device.zeros([1, 1, 4, 4]);
  const before = device.counters.liveBuffers;
  maxPool2d(x, 2).dispose();
  expect(device.counters.liveBuffers).toBe(before);
  x.requiresGrad = true;
  const y = maxPool2d(x, 2);
  expect(device.counters.liveBuffers).toBe(before + 2);
  y.dispose();
  expect(device.counters.liveBuffers).toBe(before);
});

describe("wrong calls", () => {
  test.each([
    [() => maxPool2d(device.zeros([2, 4, 4]), 2), "maxPool2d: expected shape [batch, channels, height, width] for `x`, but received [2, 4, 4]"],
    [() => maxPool2d(device.zeros([1, 1, 4, 4]), 5), "maxPool2d: expected at most the padded height 4 for `kernel`, but received 5"],
    [() => avgPool2d(device.zeros([1, 1, 4, 4]), [2, 5]), "avgPool2d: expected at most the padded width 4 for `kernel`, but received 5"],
    [
      () => maxPool2d(device.zeros([1, 1, 4, 4]), 2, { padding: 2 }),
      "maxPool2d: expected at most half of the kernel 2 for `padding`, but received 2",
    ],
    [() => maxPool2d(device.zeros([1, 1, 4, 4]), 0), "for `kernel`, but received 0"],
    [() => avgPool2d(device.zeros([1, 1, 4, 4]), 2, { stride: Number.NaN }), "for `stride`, but received NaN"],
    [() => avgPool2d(device.zeros([1, 1, 4, 4]), 2, { padding: -1 }), "for `padding`, but received -1"],
    [() => avgPool2d(device.zeros([1, 1, 4, 4], "int32"), 2), "avgPool2d: expected dtype float32 for `x`"],
    [() => maxPool2d(device.zeros([1, 1, 0, 4]), 2), "maxPool2d: expected at least one pixel for `x`, but received [1, 1, 0, 4]"],
    [
      () => globalAvgPool2d(device.zeros([1, 1, 0, 4])),
      "globalAvgPool2d: expected shape [batch, channels, height, width] with at least one pixel for `x`",
    ],
  ] as const)("%#", (run, message) => {
    expect(run).toThrow(message);
  });
});
