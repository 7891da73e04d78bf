/** Published values, wrong calls, how many kernels run, and that the number of threads changes no bit. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openNative } from "../../src/backends/native/index.ts";
import { openReference } from "../../src/backends/reference/index.ts";
import type { Device } from "../../src/device.ts";
import { deviceOf } from "../../src/open.ts";
import { room } from "../../src/ops/conv2d/cases.ts";
import { type Conv2dOptions, conv2d } from "../../src/ops/conv2d/index.ts";
import { runCase } from "../../src/testing/conformance.ts";

let device: Device;
beforeAll(() => {
  device = deviceOf(openReference());
});
afterAll(() => device.close());

const counting = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("values of ONNX's operator tests (Conv)", () => {
  const rows: readonly (readonly [string, number, Conv2dOptions, number[]])[] = [
    ["valid", 5, { padding: "valid" }, [54, 63, 72, 99, 108, 117, 144, 153, 162]],
    ["same", 5, { padding: "same" }, [12, 21, 27, 33, 24, 33, 54, 63, 72, 51, 63, 99, 108, 117, 81, 93, 144, 153, 162, 111, 72, 111, 117, 123, 84]],
    ["stride 2, padding 1", 7, { stride: 2, padding: 1 }, [12, 27, 24, 63, 108, 81, 123, 198, 141, 112, 177, 124]],
    ["stride 2", 7, { stride: [2, 2] }, [54, 72, 144, 162, 234, 252]],
    ["stride 2, padding 1 above and below", 7, { stride: 2, padding: [1, 0] }, [21, 33, 99, 117, 189, 207, 171, 183]],
  ];
  test.each(rows)("%s", async (_, height, options, want) => {
    const y = conv2d(device.tensor(counting(5 * height), [1, 1, height, 5]), device.ones([1, 1, 3, 3]), options);
    expect([...(await y.read())]).toEqual(want);
  });
});

test("an even kernel with padding same pads more at the end", async () => {
  const y = conv2d(device.tensor([1, 2, 3], [1, 1, 1, 3]), device.tensor([10, 1], [1, 1, 1, 2]), { padding: "same" });
  expect([...(await y.read())]).toEqual([12, 23, 30]);
});

test("groups do not see each other, and the bias is per feature", async () => {
  const x = device.tensor([1, 2, 3], [1, 3, 1, 1]);
  const y = conv2d(x, device.tensor([10, 20, 30, 40, 50, 60], [6, 1, 1, 1]), { groups: 3, bias: device.tensor([1, 2, 3, 4, 5, 6]) });
  expect([...(await y.read())]).toEqual([11, 22, 63, 84, 155, 186]);
});

describe("wrong calls", () => {
  const call = (x: number[], w: number[], options?: object) => (): unknown => conv2d(device.zeros(x), device.zeros(w), options as Conv2dOptions);
  test.each([
    [call([1, 2, 5], [3, 2, 3, 3]), "conv2d: expected shape [batch, channels, height, width] for `x`, but received [1, 2, 5]"],
    [call([1, 2, 5, 5], [3, 2, 3]), "for `w`, but received [3, 2, 3]"],
    [call([1, 2, 5, 5], [3, 2, 0, 3]), "without zeros for `w`"],
    [call([1, 4, 5, 5], [3, 2, 3, 3]), "conv2d: expected 2 channels (2 per group in `w`, 1 groups) for `x`"],
    [call([1, 4, 5, 5], [3, 2, 3, 3], { groups: 2 }), "conv2d: expected a first axis that 2 groups divide for `w`"],
    [call([1, 2, 5, 5], [3, 2, 6, 3]), "conv2d: expected a kernel whose dilated height is at most the padded input's, 5 for `w`"],
    [call([1, 2, 5, 5], [3, 2, 3, 3], { dilation: [1, 3] }), "dilated width is at most the padded input's, 5"],
    [
      call([1, 2, 5, 5], [3, 2, 3, 3], { stride: 0 }),
      "conv2d: expected a whole number of at least 1, or two for height and width for `stride`, but received 0",
    ],
    [call([1, 2, 5, 5], [3, 2, 3, 3], { stride: Number.NaN }), "for `stride`, but received NaN"],
    [
      call([1, 2, 5, 5], [3, 2, 3, 3], { padding: -1 }),
      "conv2d: expected a whole number of at least 0, or two for height and width for `padding`, but received -1",
    ],
    [call([1, 2, 5, 5], [3, 2, 3, 3], { padding: "full" }), 'for `padding`, but received "full"'],
    [call([1, 2, 5, 5], [3, 2, 3, 3], { padding: [1, 1, 1] }), "for `padding`, but received [1, 1, 1]"],
    [
      call([1, 2, 5, 5], [3, 2, 3, 3], { padding: "same", stride: [1, 2] }),
      'conv2d: expected stride 1 with padding "same" for `stride`, but received [1, 2]',
    ],
    [call([1, 2, 5, 5], [3, 2, 3, 3], { dilation: 1.5 }), "for `dilation`, but received 1.5"],
    [call([1, 2, 5, 5], [3, 2, 3, 3], { groups: 0 }), "for `groups`, but received 0"],
    [
      () => conv2d(device.zeros([1, 2, 5, 5]), device.zeros([3, 2, 3, 3]), { bias: device.zeros([2]) }),
      "conv2d: expected shape [3] for `bias`, but received [2]",
    ],
    [() => conv2d(device.zeros([1, 2, 5, 5], "int32"), device.zeros([3, 2, 3, 3])), "conv2d: expected dtype float32 for `x`, but received"],
    [() => conv2d(device.zeros([1, 2, 5, 5]), 3 as never), "conv2d: expected a tensor for `w`, but received 3"],
  ] as const)("%#", (run, message) => {
    expect(run).toThrow(message);
    expect(run).toThrow(expect.objectContaining({ code: "ERR_ARGUMENT" }));
  });
});

test("one kernel forward, and backward one for each gradient that is wanted", () => {
  const dispatches = (wanted: readonly ("x" | "w" | "bias")[]): number[] => {
    const tensors = { x: device.zeros([1, 2, 5, 5]), w: device.zeros([3, 2, 3, 3]), bias: device.zeros([3]) };
    for (const name of wanted) tensors[name].requiresGrad = true;
    const before = device.counters.dispatches;
    const y = conv2d(tensors.x, tensors.w, { bias: tensors.bias });
    const forward = device.counters.dispatches - before;
    y.backward(device.ones(y.shape));
    return [forward, device.counters.dispatches - before - forward];
  };
  expect(dispatches(["x", "w", "bias"])).toEqual([1, 3]);
  expect(dispatches(["w"])).toEqual([1, 1]);
  expect(dispatches(["bias"])).toEqual([1, 1]);
});

test("any number of threads gives the same bits", async () => {
  const digests = await Promise.all(
    [1, 2, 3].map(async (threads) => {
      const native = deviceOf(await openNative({ threads }));
      const digest = createHash("sha256");
      try {
        for (const entry of room.cases.filter(({ large }) => large)) {
          const { outputs, gradients } = await runCase(native, entry);
          for (const values of [...outputs, ...gradients]) digest.update(Float32Array.from(values ?? []));
        }
      } finally {
        await native.close();
      }
      return digest.digest("hex");
    }),
  );
  expect(new Set(digests).size).toBe(1);
});
