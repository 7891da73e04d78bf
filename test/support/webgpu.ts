/** Small ops and helpers for the tests of the webgpu backend. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterEach } from "vitest";
import { intern } from "../../src/apply.ts";
import type { Backend, Buffer } from "../../src/backend.ts";
import { openDawn } from "../../src/backends/webgpu/dawn.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import type { Device } from "../../src/device.ts";
import { type Attrs, type Call, input, type Op, output, type Plan, type Spec, scratch } from "../../src/op.ts";
import { openDevice } from "../../src/open.ts";
import { reflect } from "../../src/reflect.ts";

export const run = promisify(execFile);

export const AXPY = reflect(
  "test/axpy",
  `
struct Params { n: u32, scale: f32, shift: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
override WIDTH: u32 = 64;
@compute @workgroup_size(WIDTH) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.n) { y[id.x] = params.scale * x[id.x] + params.shift; }
}
`,
);
export const CHECK = reflect(
  "test/check",
  `//#include "lib/fault.wgsl"
struct Params { n: u32, limit: f32, fault: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> status: array<atomic<u32>, 2>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.n) { return; }
  if (x[id.x] > params.limit) { report_fault_f32(params.fault, x[id.x]); }
  y[id.x] = x[id.x];
}
`,
  // The piece as shipped.
  { "lib/fault.wgsl": (await import("node:fs")).readFileSync(new URL("../../shaders/lib/fault.wgsl", import.meta.url), "utf8") },
);

export const fake = (name: string, plan: (call: Call) => Plan, more: Partial<Op> = {}): Op => ({
  name,
  outputs: ([x]: readonly Spec[]) => [x],
  reference: () => {},
  plan,
  gradient: { none: "it is a test" },
  ...more,
});

export const groups = (n: number): readonly [number, number, number] => [Math.ceil(n / 64), 1, 1];
export const size = (call: Call): number => call.inputs[0].shape[0];

/** y = scale x + shift, through a scratch buffer in two passes. */
export const axpy = fake(
  "axpy",
  (call) => ({
    scratch: [size(call)],
    passes: [
      { shader: AXPY, entry: "main", params: { n: size(call), shift: 0 }, bind: { x: input(0), y: scratch(0) }, workgroups: groups(size(call)) },
      { shader: AXPY, entry: "main", params: { n: size(call), shift: 1 }, bind: { x: scratch(0), y: output(0) }, workgroups: groups(size(call)) },
    ],
  }),
  { scalars: ["scale"] },
);
export const increment = fake("increment", (call) => ({
  passes: [
    {
      shader: AXPY,
      entry: "main",
      params: { n: size(call), scale: 1, shift: 1 },
      bind: { x: input(0), y: output(0) },
      workgroups: groups(size(call)),
    },
  ],
}));
export const atMost = fake(
  "atMost",
  (call) => ({
    passes: [
      {
        shader: CHECK,
        entry: "main",
        params: { n: size(call), limit: call.attrs.limit as number },
        bind: { x: input(0), y: output(0) },
        workgroups: groups(size(call)),
      },
    ],
  }),
  { fault: (call) => `atMost: expected values of at most ${call.attrs.limit} for \`x\`` },
);

export const callOf = (op: Op, n: number, attrs: Attrs = {}): Call => intern(op, [{ shape: [n], dtype: "float32" }], attrs);

export const opened: Backend[] = [];
export const openBackend = async (options: Parameters<typeof openWebGPU>[0] = {}): Promise<Backend> => {
  const backend = await openWebGPU(options);
  opened.push(backend);
  return backend;
};
afterEach(async () => {
  for (const backend of opened.splice(0)) await backend.close();
});

export const floats = (backend: Backend, values: ArrayLike<number>): Buffer => {
  const buffer = backend.alloc("float32", values.length);
  backend.write(buffer, Float32Array.from(values));
  return buffer;
};
export const apply = (
  backend: Backend,
  op: Op,
  x: Buffer,
  { attrs, scalars = {} }: { attrs?: Attrs; scalars?: Record<string, number> } = {},
): Buffer => {
  const y = backend.alloc("float32", x.length);
  backend.run(callOf(op, x.length, attrs), scalars, [x], [y]);
  return y;
};
export const foreignDevice = async (): Promise<GPUDevice> => {
  const adapter = await (await openDawn([])).requestAdapter();
  if (!adapter) throw new Error("expected a GPU adapter; run with scripts/software-gpu.mjs");
  return adapter.requestDevice();
};

/** A device that says that a binding holds no more than so many bytes, which a GPU cannot be asked for below 128 MiB. Disposing of it destroys the GPU's. */
export const deviceWithBindings = async (bytes: number): Promise<Device> => {
  const gpuDevice = await foreignDevice();
  Object.defineProperty(gpuDevice, "limits", {
    value: new Proxy(gpuDevice.limits, { get: (own, name) => (name === "maxStorageBufferBindingSize" ? bytes : Reflect.get(own, name, own)) }),
  });
  return openDevice({ gpuDevice });
};
