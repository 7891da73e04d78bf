/** Operands that exceed one binding are computed in parts; what takes many pipelines stands in test/full. */
import { expect, test } from "vitest";
import { intern } from "../src/apply.ts";
import { refusal } from "../src/backends/webgpu/prepare.ts";
import { DeviceError } from "../src/errors.ts";
import { type Call, FLOOR_LIMITS, type Shape, type Spec } from "../src/op.ts";
import { cast } from "../src/ops/cast/index.ts";
import { mul } from "../src/ops/elementwise/index.ts";
import { binary, binaryBackward } from "../src/ops/elementwise/op.ts";
import { linear, matmul } from "../src/ops/matmul/index.ts";
import { matmul as matmulOp, PLAIN } from "../src/ops/matmul/op.ts";
import { compare, withNarrowDevice } from "./support/bindings.ts";
import { take } from "./support/devices.ts";

const devices = withNarrowDevice();

test("elementwise ops, whatever is repeated", async () => {
  await compare(devices, [[150, 41], [41]], mul);
  await compare(
    devices,
    [
      [70, 1, 9],
      [1, 7, 9],
    ],
    mul,
  );
});

test("float16", async () => {
  const [want, got] = await Promise.all(
    devices.map((device) => {
      using x = device.tensor(Float32Array.from({ length: 9000 }, (_, i) => i / 7));
      using half = cast(x, "float16");
      return take(cast(half, "float32"));
    }),
  );
  expect(got).toEqual(want);
});

test("products: rows of the result, and terms of the gradients' sums", async () => {
  await compare(devices, [[150, 33], [8, 33], [8]], (x, w, bias) => linear(x, w, bias, { activation: "relu" }));
});

test("10⁶ rows of 768 are planned in parts that fit WebGPU's least limits", () => {
  const attrs = { transposeA: false, transposeB: false, batch: [], ...PLAIN };
  const [x, w, row] = (
    [
      [1_000_000, 768],
      [768, 768],
      [1, 768],
    ] as const
  ).map((shape: Shape): Spec => ({ shape, dtype: "float32" }));
  const calls = [
    intern(matmulOp, [x, w], attrs),
    intern(matmulOp, [x, x], { ...attrs, transposeA: true }),
    intern(binary("sub"), [x, row], { kind: "sub" }),
    intern(binaryBackward, [x], { kind: "sub", wrt: 1, shape: row.shape }),
  ];
  for (const call of calls) {
    const plan = call.op.plan(call as never, FLOOR_LIMITS);
    expect(plan.passes.length).toBeGreaterThan(20);
    expect(refusal(call as Call, plan, FLOOR_LIMITS)).toBeUndefined();
  }
});

test("what no part fits is refused", () => {
  const [, device] = devices;
  using rows = device.ones([2, 5000]);
  using column = device.ones([5000, 1]);
  expect(() => matmul(rows, column)).toThrow(DeviceError);
  expect(() => matmul(rows, column)).toThrow("takes 40000 bytes, more than the device's limit of 16384");
});
