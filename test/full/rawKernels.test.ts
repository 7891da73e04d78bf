/** The programs of examples/raw-kernels as they are, on a GPU that they brought along. */
import { Tensor } from "onnxruntime-common";
import { beforeAll, expect, test } from "vitest";
import { create, globals } from "webgpu";
import { match } from "../../examples/raw-kernels/hand-written.ts";
import { assign } from "../../examples/raw-kernels/onnxruntime.ts";
import { runningSquares } from "../../examples/raw-kernels/tfjs.ts";

/** As a browser has it; held for as long as its devices live. */
const gpu: GPU = create([]);
beforeAll(() => {
  Object.assign(globalThis, globals);
  const { navigator } = globalThis as { navigator?: object };
  if (navigator) Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
  else Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "node" }, configurable: true });
});

test("a hand-written program: its shader and ours in one pass", async () => {
  const adapter = await gpu.requestAdapter();
  // WebGPU's default limits.
  const device = await adapter?.requestDevice();
  if (!device) throw new Error("expected a GPU; run with scripts/software-gpu.mjs");
  const errors: string[] = [];
  device.addEventListener("uncapturederror", ({ error }) => errors.push(error.message));
  const from = [
    [0, 0],
    [1, 0],
    [0, 1],
  ] as const;
  const P = await match(device, from, [
    [0, 0.9],
    [0.1, 0],
    [1, 0.1],
  ]);
  const rounded = [...P].map(Math.round);
  expect(rounded).toEqual([0, 1, 0, 0, 0, 1, 1, 0, 0]);
  expect(errors).toEqual([]);
  device.destroy();
});

test("TensorFlow.js: its tensor's buffer in, ours back", async () => {
  const sums = await runningSquares([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  expect([...sums]).toEqual([2, 6, 15, 17, 42, 78]);
});

test("onnxruntime: a tensor of its in, one of its out", async () => {
  const adapter = await gpu.requestAdapter();
  const device = await adapter?.requestDevice();
  if (!device) throw new Error("expected a GPU; run with scripts/software-gpu.mjs");
  const P = await assign(device, new Tensor("float32", Float32Array.of(0, 9, 0, 0, 0, 9, 9, 0, 0), [3, 3]));
  expect([P.type, P.dims]).toEqual(["float32", [3, 3]]);
  expect([...(P.data as Float32Array)].map(Math.round)).toEqual([0, 1, 0, 0, 0, 1, 1, 0, 0]);
  device.destroy();
});
