/** What calls keep for the next call: results by the values they came of, never by lists that the caller may change. */
import { expect, test } from "vitest";
import { customOp } from "../src/customOp.ts";
import { openDevice } from "../src/open.ts";
import { conv2d } from "../src/ops/conv/index.ts";
import { matmul } from "../src/ops/matmul/index.ts";
import { frozen, isSame, recalling } from "../src/recall.ts";

test("lists are the same by their entries, everything else by itself", () => {
  expect(isSame([1, "a", [true, undefined]], [1, "a", [true, undefined]])).toBe(true);
  expect(isSame([1], [1, 2])).toBe(false);
  expect(isSame([1, [2]], [1, [3]])).toBe(false);
  expect(isSame([undefined], [null])).toBe(false);
  expect(isSame({}, {})).toBe(false);
  expect(isSame(1, [1])).toBe(false);
});

test("what is frozen is a copy, unless it was frozen all through", () => {
  const inner = [1, 2];
  const value = { inner, name: "a", make: isSame };
  const result = frozen(value);
  expect(result).toEqual(value);
  expect(Object.isFrozen(result) && Object.isFrozen(result.inner)).toBe(true);
  expect(result.inner).not.toBe(inner);
  expect(frozen(result)).toBe(result);
  expect(frozen(Object.freeze({ inner }))).not.toBe(value);
  inner[0] = 3;
  expect(result.inner).toEqual([1, 2]);
});

test("the last sixteen results are kept, none of a failure", () => {
  const known = recalling<{ readonly made: number }>();
  let made = 0;
  const ask = (...key: unknown[]): number => known(key, () => ({ made: ++made })).made;
  const list = [1, 2];
  expect([ask(list, "a"), ask([1, 2], "a")]).toEqual([1, 1]);
  list[1] = 3;
  expect([ask(list, "a"), ask([1, 2], "a"), ask([1, 3], "a")]).toEqual([2, 1, 2]);
  for (let i = 0; i < 15; i++) ask(i);
  expect([ask([1, 3], "a"), ask([1, 2], "a")]).toEqual([2, 18]);
  expect(() =>
    known(["fails"], () => {
      throw new Error("no");
    }),
  ).toThrow("no");
  expect(ask("fails")).toBe(19);
});

test("options and attributes that the caller changes afterwards are read anew", async () => {
  await using device = await openDevice({ device: "reference" });
  const [x, w] = [device.ones([1, 1, 6, 6]), device.ones([1, 1, 2, 2])];
  const stride = [1, 1];
  const padding: [number, number][] = [
    [0, 0],
    [0, 0],
  ];
  expect(conv2d(x, w, { stride, padding }).shape).toEqual([1, 1, 5, 5]);
  stride[0] = 2;
  expect(conv2d(x, w, { stride, padding }).shape).toEqual([1, 1, 3, 5]);
  padding[1][1] = 3;
  expect(conv2d(x, w, { stride, padding }).shape).toEqual([1, 1, 3, 8]);
  expect(() => conv2d(x, w, { stride: [2, 0] })).toThrow("stride");
  expect(() => conv2d(x, w, { stride: [2, 0] })).toThrow("stride");

  const a = device.ones([2, 2]);
  expect(() => matmul(a, a, { transposeA: 1 as never })).toThrow("transposeA");
  expect(matmul(a, a, { transposeA: true }).shape).toEqual([2, 2]);
  expect(() => matmul(a, a, { transposeA: 1 as never })).toThrow("transposeA");

  const repeat = customOp<{ sizes: number[] }>({
    name: "repeat",
    outputs: (_, { sizes }) => [{ shape: [sizes[0]], dtype: "float32" }],
    reference: ({ inputs: [value], outputs: [y] }) => {
      y.fill(value[0]);
    },
    wgsl: "@compute @workgroup_size(1) fn main() {}",
    plan: () => ({ passes: [] }),
    gradient: { none: "an example" },
  });
  const sizes = [2];
  const value = device.tensor([7]);
  expect(repeat([value], { sizes })[0].shape).toEqual([2]);
  sizes[0] = 3;
  expect(await repeat([value], { sizes })[0].read()).toEqual(new Float32Array([7, 7, 7]));
});
