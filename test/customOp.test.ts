/** A user's own kernel on the tape: WGSL, float64, and C, as the documentation of `customOp` has it. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { type CustomOp, type CustomOpDefinition, customOp } from "../src/customOp.ts";
import { ArgumentError, DeviceError } from "../src/errors.ts";
import { elements, input, output } from "../src/op.ts";
import { openDevice } from "../src/open.ts";
import { scope } from "../src/scope.ts";
import { defineCase, ROUNDING } from "../src/testing/cases.ts";
import { compareCase, runCase } from "../src/testing/conformance.ts";
import { temporaryFolder } from "./support/folder.ts";

const WGSL = `
struct Params { count: u32, factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { y[id.x] = params.factor * x[id.x]; }
}`;

const C = `
#include "birkhoff_kernel.h"
#include <cmath>
struct Scale { const float* x; float* y; float factor; };
static void piece(void* data, int64_t begin, int64_t end) {
  const Scale* s = static_cast<const Scale*>(data);
  for (int64_t i = begin; i < end; i++) s->y[i] = s->factor * s->x[i];
}
extern "C" void scale(const birkhoff_call* call) {
  if (!std::isnan(call->attribute(call, "missing"))) return;
  Scale s{static_cast<const float*>(call->inputs[0].data), static_cast<float*>(call->outputs[0].data), static_cast<float>(call->scalars[0])};
  if (call->inputs[0].size > 0 && s.x[0] > 1e6f) call->fault(call, s.x[0]);
  call->parallel(call, call->inputs[0].size, 16, piece, &s);
}`;

const folder = temporaryFolder();
let library: string;
beforeAll(() => {
  library = join(folder, "scale.so");
  writeFileSync(join(folder, "scale.cc"), C);
  const include = fileURLToPath(new URL("../native", import.meta.url));
  execFileSync("g++", ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", `-I${include}`, join(folder, "scale.cc"), "-o", library]);
});

type Definition = CustomOpDefinition<Record<string, never>>;

const makeScale = (more: Partial<Definition> = {}): CustomOp<Record<string, never>> => {
  const scale: CustomOp<Record<string, never>> = customOp<Record<string, never>>({
    name: "scale",
    scalars: ["factor"],
    outputs: ([x]) => [x],
    wgsl: WGSL,
    plan: ({ outputs: [{ shape }] }) => {
      const count = elements(shape);
      return { passes: [{ entry: "main", params: { count }, bind: { x: input(0), y: output(0) }, workgroups: [Math.ceil(count / 64), 1, 1] }] };
    },
    reference: ({ scalars: { factor }, inputs: [x], outputs: [y] }) => {
      for (let i = 0; i < y.length; i++) y[i] = factor * x[i];
    },
    native: { library, symbol: "scale" },
    gradient: { saves: {}, vjp: ({ gradient, scalars }) => scale([gradient(0)], {}, scalars) },
    ...more,
  });
  return scale;
};

test.each(["reference", "native", "webgpu"] as const)("runs forward and backward on %s", async (kind) => {
  await using device = await openDevice({ device: kind });
  await using reference = await openDevice({ device: "reference" });
  const { op } = makeScale();
  for (const size of [0, 1, 65, 1000]) {
    const entry = defineCase({ name: `${size}`, op, inputs: [{ shape: [size] }], attrs: {}, scalars: { factor: -2.5 }, forward: ROUNDING });
    const { passed, errors } = compareCase(entry, await runCase(device, entry), await runCase(reference, entry), device);
    expect(passed, JSON.stringify(errors)).toBe(true);
    expect(Object.keys(errors)).toEqual(["output 0", "gradient of input 0"]);
  }
  expect(device.counters.liveBuffers).toBe(0);
});

describe("says what is wrong", () => {
  test("a device without a kernel", async () => {
    await using reference = await openDevice({ device: "reference" });
    await using native = await openDevice({ device: "native" });
    const gpuOnly = customOp<Record<string, never>>({
      name: "gpuOnly",
      outputs: ([x]) => [x],
      wgsl: WGSL,
      plan: () => ({ passes: [] }),
      gradient: { none: "it is a test" },
    });
    expect(() => scope(() => gpuOnly([reference.zeros([1])], {}))).toThrow(
      "gpuOnly: the reference device cannot run this call: the custom op has no `reference`",
    );
    expect(() => scope(() => gpuOnly([native.zeros([1])], {}))).toThrow(DeviceError);
  });

  test("a library or symbol that is not there", async () => {
    await using native = await openDevice({ device: "native" });
    const missing = makeScale({ native: { library: join(folder, "nothing.so"), symbol: "scale" } });
    expect(() => scope(() => missing([native.zeros([1])], {}, { factor: 1 }))).toThrow(/its kernel scale cannot be loaded: .*nothing\.so/);
    const wrong = makeScale({ native: { library, symbol: "scael" } });
    expect(() => scope(() => wrong([native.zeros([1])], {}, { factor: 1 }))).toThrow(/scael/);
    expect(native.counters.liveBuffers).toBe(0);
  });

  test("asynchronous callbacks", async () => {
    await using device = await openDevice({ device: "reference" });
    for (const callbacks of [{ outputs: async () => [] }, { reference: async () => {} }]) {
      const bad = makeScale(callbacks as never);
      expect(() => scope(() => bad([device.zeros([1])], {}, { factor: 1 }))).toThrow(/expected a synchronous function/);
    }
    const lazy = makeScale({ gradient: { saves: {}, vjp: (async () => []) as never } });
    scope(() => {
      const x = device.ones([1]);
      x.requiresGrad = true;
      const [y] = lazy([x], {}, { factor: 1 });
      expect(() => y.backward()).toThrow(/scale\.vjp: expected a synchronous function/);
    });
  });

  test("WGSL that does not parse, missing scalars, no inputs", async () => {
    await using device = await openDevice({ device: "reference" });
    expect(() => makeScale({ wgsl: "fn main( {" })).toThrow(ArgumentError);
    expect(() => scope(() => makeScale()([device.zeros([1])], {}))).toThrow(/scale: expected a number for `factor`, but received undefined/);
    expect(() => makeScale({ wgsl: undefined as never })).toThrow(/expected WGSL text for `wgsl`, but received undefined/);
    expect(() => makeScale({ plan: 1 as never })).toThrow(/expected a function for `plan`, but received 1/);
    const nothing = makeScale({ outputs: (() => undefined) as never });
    expect(() => scope(() => nothing([device.zeros([1])], {}, { factor: 1 }))).toThrow(/scale\.outputs: expected an array/);
    expect(() => makeScale()([], {})).toThrow(/scale: expected at least one tensor for `inputs`/);
  });

  test("a fault in C", async () => {
    await using device = await openDevice({ device: "native" });
    const [y] = scope(() => makeScale()([device.tensor([2e6])], {}, { factor: 1 }));
    await expect(y.read()).rejects.toThrow(/but received 2000000/);
    expect([...(await y.read())]).toEqual([2e6]);
    y.dispose();
  });
});
