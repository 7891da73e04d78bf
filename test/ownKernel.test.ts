/** The kernel of examples/own-kernel, as a program outside of the package tests its own: by the built package's exports alone. */
import { type Device, openDevice, prepareKernel } from "birkhoff";
import { checkCase, gradcheckCase } from "birkhoff/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cases } from "../examples/own-kernel/cases.ts";
import { op, swiglu } from "../examples/own-kernel/swiglu.ts";
import { foreignDevice } from "./support/webgpu.ts";

let [reference, gpu]: (Device | undefined)[] = [];
beforeAll(async () => {
  [reference, gpu] = await Promise.all([openDevice({ device: "reference" }), openDevice({ device: "webgpu" })]);
});
afterAll(() => Promise.all([reference?.close(), gpu?.close()]));

const small = cases.filter(({ large }) => !large).map((entry) => [entry.name, entry] as const);

test.each(small)("the definition: %s", async (_, entry) => {
  expect((await checkCase(reference as Device, entry)).problem).toBeUndefined();
  const check = await gradcheckCase(entry);
  expect(check?.passed ?? true, JSON.stringify(check)).toBe(true);
});

test.each(small)("the kernel: %s", async (_, entry) => {
  const { problem, errors } = await checkCase(gpu as Device, entry);
  expect(problem).toBeUndefined();
  expect(Object.keys(errors)).toContain("gradient of input 1");
});

test("says what it does not take", async () => {
  await using device = await openDevice({ device: "reference" });
  using gate = device.ones([2]);
  using wide = device.ones([3]);
  using whole = device.tensor([1, 2], [2], "int32");
  expect(() => swiglu(gate, wide)).toThrow("swiglu: expected shape [2] for `inputs[1]`, but received [3]");
  expect(() => swiglu(gate, whole)).toThrow("expected float32 for `inputs[1]`, but received int32");
});

test("runs in another program's pass", async () => {
  const device = await foreignDevice();
  const kernel = await prepareKernel(device, op, [[5], [5]]);
  expect([kernel.dispatches, kernel.scratchBytes, kernel.outputs[0].bytes]).toEqual([1, 0, 20]);
  kernel.destroy();
  device.destroy();
});
