/** Published values, wrong calls, how many kernels run, and that the number of threads changes no bit. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { intern } from "../../src/apply.ts";
import { openNative } from "../../src/backends/native/index.ts";
import { openReference } from "../../src/backends/reference/index.ts";
import type { Device } from "../../src/device.ts";
import { FLOOR_LIMITS } from "../../src/op.ts";
import { deviceOf } from "../../src/open.ts";
import { room } from "../../src/ops/conv/cases.ts";
import {
  type ConvOptions,
  type ConvTransposeOptions,
  conv1d,
  conv2d,
  conv3d,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
} from "../../src/ops/conv/index.ts";
import { conv, data, weight } from "../../src/ops/conv/op.ts";
import type { Tensor } from "../../src/tensor.ts";
import { runCase } from "../../src/testing/conformance.ts";

let device: Device;
beforeAll(() => {
  device = deviceOf(openReference());
});
afterAll(() => device.close());

const counting = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("values of ONNX's operator tests (Conv)", () => {
  const rows: readonly (readonly [string, number, ConvOptions, number[]])[] = [
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
  const call = (x: number[], w: number[], options?: object) => (): unknown => conv2d(device.zeros(x), device.zeros(w), options as ConvOptions);
  test.each([
    [call([2, 5], [3, 2, 3, 3]), "conv2d: expected shape [batch, channels, height, width], or one without batch, for `x`, but received [2, 5]"],
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
      "conv2d: expected a whole number of at least 0, or two for height and width, or [before, after] for an axis for `padding`, but received -1",
    ],
    [call([1, 2, 5, 5], [3, 2, 3, 3], { padding: "full" }), 'for `padding`, but received "full"'],
    [call([1, 2, 5, 5], [3, 2, 3, 3], { padding: [1, 1, 1] }), "for `padding`, but received [1, 1, 1]"],
    [call([1, 2, 5, 5], [3, 2, 3, 3], { padding: [[1, 1, 1], 1] }), "for `padding`, but received [[1, 1, 1], 1]"],
    [call([1, 2, 5, 5], [3, 2, 3, 3], { padding: [[1, -1], 1] }), "for `padding`, but received [[1, -1], 1]"],
    [call([2, 5, 5], [3, 4, 3, 3]), "conv2d: expected 4 channels (4 per group in `w`, 1 groups) for `x`, but received [2, 5, 5]"],
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

describe("one and three axes, and transposed", () => {
  const zeros = (...shape: number[]): Tensor => device.zeros(shape);
  test.each([
    [() => conv1d(zeros(1, 2, 5, 5), zeros(3, 2, 3)), "conv1d: expected shape [batch, channels, length], or one without batch, for `x`"],
    [
      () => conv1d(zeros(1, 2, 5), zeros(3, 2, 3), { stride: [1, 1] }),
      "conv1d: expected a whole number of at least 1, or one for length for `stride`",
    ],
    [
      () => conv3d(zeros(1, 2, 5, 5, 5), zeros(3, 2, 3, 3)),
      "[features, channels / groups, kernel depth, kernel height, kernel width] without zeros for `w`",
    ],
    [
      () => conv3d(zeros(1, 2, 5, 5, 2), zeros(3, 2, 3, 3, 3)),
      "conv3d: expected a kernel whose dilated width is at most the padded input's, 2 for `w`",
    ],
    [() => convTranspose2d(zeros(1, 3, 5, 5), zeros(2, 4, 3, 3)), "convTranspose2d: expected 2 channels, the first axis of `w`, for `x`"],
    [
      () => convTranspose2d(zeros(1, 3, 5, 5), zeros(3, 4, 3, 3), { groups: 2 }),
      "convTranspose2d: expected a first axis that 2 groups divide for `w`",
    ],
    [() => convTranspose2d(zeros(1, 3, 0, 5), zeros(3, 4, 3, 3)), "convTranspose2d: expected spatial axes without zeros for `x`"],
    [
      () => convTranspose2d(zeros(1, 2, 5, 5), zeros(2, 4, 3, 3), { stride: 2, outputPadding: [1, 2] }),
      "convTranspose2d: expected less than the stride or the dilation for `outputPadding`, but received [1, 2]",
    ],
    [
      () => convTranspose1d(zeros(1, 2, 2), zeros(2, 4, 3), { padding: 2 }),
      "convTranspose1d: expected less than the output's length of 4 in all for `padding`, but received 2",
    ],
    [() => convTranspose1d(zeros(1, 2, 2), zeros(2, 4, 3), { padding: "same" as never }), 'for `padding`, but received "same"'],
    [
      () => convTranspose3d(zeros(1, 2, 2, 2, 2), zeros(2, 4, 1, 1, 1), { groups: 2, bias: zeros(4) }),
      "convTranspose3d: expected shape [8] for `bias`, but received [4]",
    ],
  ] as const)("wrong call %#", (run, message) => {
    expect(run).toThrow(message);
    expect(run).toThrow(expect.objectContaining({ code: "ERR_ARGUMENT" }));
  });

  test("values of ONNX's operator tests (ConvTranspose)", async () => {
    const x = device.tensor(counting(9), [1, 1, 3, 3]);
    const y = convTranspose2d(x, device.ones([1, 2, 3, 3]));
    const plane = [0, 1, 3, 3, 2, 3, 8, 15, 12, 7, 9, 21, 36, 27, 15, 9, 20, 33, 24, 13, 6, 13, 21, 15, 8];
    expect([...(await y.read())]).toEqual([...plane, ...plane]);
    const line = convTranspose1d(device.tensor(counting(3), [1, 1, 3]), device.ones([1, 2, 3]));
    expect([...(await line.read())]).toEqual([0, 1, 3, 3, 2, 0, 1, 3, 3, 2]);
  });

  test("without batch, gradients too", async () => {
    const [x, w] = [device.tensor([1, 2, 3], [1, 3]), device.tensor([1, 10], [1, 1, 2])];
    x.requiresGrad = true;
    const y = conv1d(x, w);
    expect(y.shape).toEqual([1, 2]);
    y.backward(device.tensor([[1, 100]]));
    expect([...((await x.grad?.read()) ?? [])]).toEqual([1, 110, 1000]);
  });

  test("a transposed convolution is the adjoint of the convolution", async () => {
    const options = { stride: 2, padding: 1, dilation: 2 } as const;
    const [x, w] = [device.tensor(counting(98), [1, 2, 7, 7]), device.tensor(counting(54), [3, 2, 3, 3])];
    const y = conv2d(x, w, options);
    const back = convTranspose2d(y, w, { ...options, outputPadding: 0 } satisfies ConvTransposeOptions);
    expect(back.shape).toEqual(x.shape);
    const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => Array.from(a).reduce((sum, value, i) => sum + value * b[i], 0);
    expect(dot(await back.readFloat64(), await x.readFloat64())).toBe(dot(await y.readFloat64(), await y.readFloat64()));
  });
});

test("dispatches on a GPU: one each way, and one to add up where a weight gradient is split", () => {
  const plan = (batch: number): number[] => {
    const [x, w, y] = [
      [batch, 4, 8, 8],
      [5, 4, 3, 3],
      [batch, 5, 6, 6],
    ].map((shape) => ({ shape, dtype: "float32" as const }));
    const attrs = { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 };
    return [
      conv.plan(intern(conv, [x, w], { ...attrs, size: [6, 6] }), FLOOR_LIMITS),
      data.plan(intern(data, [y, w], { ...attrs, size: [8, 8] }), FLOOR_LIMITS),
      weight.plan(intern(weight, [y, x], { ...attrs, size: [3, 3] }), FLOOR_LIMITS),
    ].map(({ passes }) => passes.length);
  };
  expect(plan(2)).toEqual([1, 1, 1]);
  expect(plan(64)).toEqual([1, 1, 2]);
});

test("a batch beyond one binding is computed in slices", () => {
  const call = intern(
    conv,
    [
      { shape: [300, 8, 128, 128], dtype: "float32" },
      { shape: [8, 8, 3, 3], dtype: "float32" },
    ],
    { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1, size: [128, 128] },
  );
  expect(conv.plan(call, FLOOR_LIMITS).passes).toHaveLength(2);
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
