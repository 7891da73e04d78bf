/** float16 tensors: what they hold, what takes them, what gradients they have, and who refuses them. */
import { describe, expect, test } from "vitest";
import { intern } from "../../src/apply.ts";
import type { Device } from "../../src/device.ts";
import { fromHalfBits, roundToHalf, toHalfBits } from "../../src/half.ts";
import { FLOOR_LIMITS } from "../../src/op.ts";
import { cast } from "../../src/ops/cast/index.ts";
import { add } from "../../src/ops/elementwise/index.ts";
import { linear, matmul } from "../../src/ops/matmul/index.ts";
import { sum } from "../../src/ops/reduce/index.ts";
import { permute, reshape } from "../../src/ops/shape/index.ts";
import { sinkhorn } from "../../src/ops/sinkhorn/index.ts";
import { plain } from "../../src/ops/sinkhorn/op.ts";
import { KINDS, take, withDevice } from "../support/devices.ts";

describe("bits", () => {
  const patterns = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);

  test("every pattern is the number it stands for, and back", () => {
    const back = toHalfBits(fromHalfBits(patterns));
    expect(patterns.findIndex((word, i) => ((word & 0x7c00) === 0x7c00 && (word & 0x3ff) > 0 ? 0x7e00 : word) !== back[i])).toBe(-1);
  });

  test("rounding goes to the nearer neighbour, at a tie to the even one", () => {
    const numbers = fromHalfBits(patterns.slice(0, 0x7c00));
    for (let i = 0; i + 1 < numbers.length; i += 7) {
      const [low, high] = [numbers[i], numbers[i + 1]];
      const step = high - low;
      for (const share of [0.25, 0.499999, 0.5, 0.500001, 0.75]) {
        const want = share < 0.5 || (share === 0.5 && i % 2 === 0) ? low : high;
        expect(roundToHalf(low + share * step)).toBe(want);
        expect(roundToHalf(-low - share * step)).toBe(-want);
      }
    }
    // Not by way of float32, which would make a tie of what is above one.
    expect(roundToHalf(1 + 2 ** -11 + 2 ** -40)).toBe(1 + 2 ** -10);
    expect([65519, 65520, -65520, 0, Number.NaN].map(roundToHalf)).toEqual([
      65504,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      0,
      Number.NaN,
    ]);
    expect(Object.is(roundToHalf(-1e-9), -0)).toBe(true);
  });
});

describe.each(KINDS)("on %s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });

  test("holds rounded values, of any number, in two bytes each", async () => {
    for (const count of [0, 1, 2, 3, 8, 101]) {
      const values = Float32Array.from({ length: count }, (_, i) => (i - 3) / 3);
      using x = device.tensor(values, [count], "float16");
      expect([...(await x.read())]).toEqual([...values].map(roundToHalf));
      device.write(
        x,
        values.map((value) => 2 * value),
      );
      expect([...(await x.read())]).toEqual([...values].map((value) => 2 * roundToHalf(value)));
    }
    using ones = device.full([5], 1 / 3, "float16");
    expect(await take(reshape(ones, [5, 1]))).toEqual(new Array(5).fill(roundToHalf(1 / 3)));
    if (kind === "reference") return;
    const before = device.counters.liveBytes;
    using large = device.zeros([1 << 15], "float16");
    expect(large.dtype).toBe("float16");
    expect(device.counters.liveBytes - before).toBe(2 * (1 << 15));
  });

  test("a float16 leaf has a float32 gradient that is not rounded", async () => {
    using x = device.tensor([[1, 2, 3]], [1, 3], "float16");
    x.requiresGrad = true;
    using w = device.tensor([[1 / 3], [1e-6], [2]]);
    using y = matmul(x, w);
    y.backward();
    expect(x.grad?.dtype).toBe("float32");
    expect([...((await x.grad?.read()) ?? [])]).toEqual([1 / 3, 1e-6, 2].map(Math.fround));
  });

  test("gradients of several uses, through casts, add up in float32", async () => {
    using x = device.tensor([
      [1, 2],
      [3, 4],
    ]);
    x.requiresGrad = true;
    using loss = (() => {
      using half = cast(x, "float16");
      using product = matmul(half, half);
      using back = cast(half, "float32");
      using both = add(product, back);
      return sum(both);
    })();
    loss.backward();
    // d/dx Σ (x·x + x) = 1·(row sums of x)ᵀ + (column sums of x)·1ᵀ + 1
    expect([...((await x.grad?.read()) ?? [])]).toEqual([3 + 4 + 1, 7 + 4 + 1, 3 + 6 + 1, 7 + 6 + 1]);
  });

  test("to its own dtype shares the memory", async () => {
    using x = device.tensor([1 / 3], [1], "float16");
    using same = cast(x, "float16");
    expect(same.storage).toBe(x.storage);
  });

  test("vectors, linear and sinkhorn with options that change the logits", async () => {
    using x = device.tensor([1, 2], [2], "float16");
    using w = device.tensor(
      [
        [1, 0],
        [0, 0.5],
      ],
      [2, 2],
      "float16",
    );
    expect(await take(linear(x, w, undefined, { activation: "relu" }))).toEqual([1, 1]);
    expect(await take(matmul(x, x))).toEqual([5]);
    using wide = cast(w, "float32");
    for (const options of [{}, { slack: 0.5 }, { eps: 1e-6 }, { scale: wide }, { noise: { seed: 3 } }]) {
      expect(await take(sinkhorn(w, options))).toEqual(await take(sinkhorn(wide, options)));
    }
    using v = device.tensor([[1], [2]]);
    using pv = sinkhorn(w, { V: v, outputs: ["PV"] }).PV;
    using wanted = sinkhorn(wide, { V: v, outputs: ["PV"] }).PV;
    expect(await take(pv.detach())).toEqual(await take(wanted.detach()));
  });

  test("who does not read it says so", () => {
    using x = device.zeros([2, 2], "float16");
    expect(() => add(x, 1)).toThrow('expected dtype float32 for `x`, but received "float16"');
    expect(() => permute(x, [1, 0])).toThrow("shape.permute: expected another dtype for `inputs[0]`, but received float16; cast it to float32 first");
    using bias = device.zeros([2], "float16");
    expect(() => matmul(x, x, { bias })).toThrow('matmul: expected dtype float32 for `bias`, but received "float16"');
    expect(() => cast(x, "int32")).toThrow('cast: expected float32 or float16 for `dtype`, but received "int32"');
    using whole = device.zeros([1], "int32");
    expect(() => cast(whole, "float32")).toThrow('cast: expected dtype float32 or float16 for `x`, but received "int32"');
    // @ts-expect-error: no such dtype
    expect(() => device.zeros([1], "float64")).toThrow('expected one of float32, float16, int32, uint32 for `dtype`, but received "float64"');
  });
});

test("slices of a batch begin where a binding may, in half precision at every second place", () => {
  // 4 × 8 numbers are 64 bytes in half precision: four matrices make an offset.
  const attrs = {
    iterations: 5,
    order: "row",
    plan: "P",
    record: "none",
    error: false,
    checkEvery: 0,
    annealed: 0,
    unbalanced: false,
    uniform: false,
    backward: "exact",
    operands: "",
  } as const;
  const call = intern(plain, [{ shape: [1000, 4, 8], dtype: "float16" }], attrs);
  const { passes } = plain.plan(call, { ...FLOOR_LIMITS, bindingBytes: 40_000 });
  expect(passes.length).toBeGreaterThan(1);
  for (const { bind } of passes) {
    const window = (bind.logits as { window?: { from: number } }).window;
    expect(((window?.from ?? 0) * 2) % 256).toBe(0);
  }
});
