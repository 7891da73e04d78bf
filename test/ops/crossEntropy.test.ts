import { afterAll, describe, expect, test } from "vitest";
import { openNative } from "../../src/backends/native/index.ts";
import { openReference } from "../../src/backends/reference/index.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import { ArgumentError, DataError } from "../../src/errors.ts";
import { deviceOf } from "../../src/open.ts";
import { softmaxCrossEntropy } from "../../src/ops/crossEntropy/index.ts";
import { guarded } from "../../src/testing/guarded.ts";

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

describe("values", () => {
  test("of equal logits the loss is log C, whatever the smoothing", async () => {
    for (const labelSmoothing of [0, 0.3, 1]) {
      const loss = softmaxCrossEntropy(device.full([4, 10], 2), [0, 3, 9, 9], { labelSmoothing });
      expect((await loss.readFloat64())[0]).toBeCloseTo(Math.log(10), 14);
    }
  });

  test("mean and sum belong to the losses of the rows", async () => {
    const logits = device.tensor([
      [1, 2, 3],
      [0, -1, 4],
    ]);
    const rows = await softmaxCrossEntropy(logits, [2, 0], { reduction: "none" }).readFloat64();
    expect(rows[0]).toBeCloseTo(Math.log(1 + Math.exp(-1) + Math.exp(-2)), 14);
    expect((await softmaxCrossEntropy(logits, [2, 0], { reduction: "sum" }).readFloat64())[0]).toBeCloseTo(rows[0] + rows[1], 14);
    expect((await softmaxCrossEntropy(logits, [2, 0]).readFloat64())[0]).toBeCloseTo((rows[0] + rows[1]) / 2, 14);
  });

  test("an empty batch has mean NaN and sum 0", async () => {
    const logits = device.zeros([0, 3]);
    expect(await softmaxCrossEntropy(logits, []).item()).toBeNaN();
    expect(await softmaxCrossEntropy(logits, [], { reduction: "sum" }).item()).toBe(0);
  });

  test("the gradient of a row sums to 0", async () => {
    const logits = device.tensor([[1, -2, 3, 0.5]]);
    logits.requiresGrad = true;
    softmaxCrossEntropy(logits, [1], { labelSmoothing: 0.1 }).backward();
    const gradient = (await logits.grad?.readFloat64()) ?? new Float64Array(1).fill(1);
    expect(gradient.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 14);
  });
});

test("wrong arguments are named, host labels with their position", () => {
  const logits = device.zeros([2, 3]);
  expect(message(() => softmaxCrossEntropy(logits, [0, 3]))).toBe(
    "softmaxCrossEntropy: expected an integer in [0, 3) for `labels[1]`, but received 3",
  );
  expect(message(() => softmaxCrossEntropy(logits, new Int32Array([-1, 0])))).toBe(
    "softmaxCrossEntropy: expected an integer in [0, 3) for `labels[0]`, but received -1",
  );
  expect(message(() => softmaxCrossEntropy(logits, [0, 1.5]))).toContain("`labels[1]`, but received 1.5");
  expect(message(() => softmaxCrossEntropy(logits, [0]))).toContain("expected 2 labels");
  expect(message(() => softmaxCrossEntropy(device.zeros([3]), [0]))).toContain("shape [batch, classes]");
  expect(message(() => softmaxCrossEntropy(device.zeros([1, 0]), device.tensor([0], [1], "int32")))).toContain("at least one class");
  expect(message(() => softmaxCrossEntropy(logits, device.zeros([2])))).toContain("dtype int32");
  expect(message(() => softmaxCrossEntropy(logits, [0, 1], { labelSmoothing: -0.1 }))).toContain("`labelSmoothing`, but received -0.1");
  expect(message(() => softmaxCrossEntropy(logits, [0, 1], { labelSmoothing: Number.NaN }))).toContain("`labelSmoothing`, but received NaN");
});

describe("labels on the device that are no class", () => {
  const backends = { reference: openReference, native: () => openNative({ threads: 2 }), webgpu: () => openWebGPU({ allowSoftware: true }) };
  const opened: { close(): Promise<void> }[] = [];
  afterAll(async () => {
    for (const backend of opened) await backend.close();
  });
  test.each(Object.entries(backends))("%s: DataError at the next read, and nothing is written elsewhere", async (_, open) => {
    const backend = guarded(await open());
    opened.push(backend);
    const own = deviceOf(backend);
    for (const wrong of [-1, 3, 2 ** 31 - 1, -(2 ** 31)]) {
      const logits = own.zeros([2, 3]);
      logits.requiresGrad = true;
      const labels = own.tensor([1, wrong], [2], "int32");
      const loss = softmaxCrossEntropy(logits, labels, { reduction: "none" });
      const gradient = own.ones([2]);
      loss.backward(gradient);
      await expect(loss.read()).rejects.toThrow(
        new DataError(`softmaxCrossEntropy: expected integers in [0, 3) for \`labels\`, but received ${wrong}`),
      );
      expect((await loss.read())[0]).toBeCloseTo(Math.log(3), 6);
      expect([...((await logits.grad?.read()) ?? [])].map(Number.isNaN)).toEqual([false, false, false, true, true, true]);
      for (const tensor of [logits, labels, loss, gradient]) tensor.dispose();
      await backend.check();
    }
  });
});
