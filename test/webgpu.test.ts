import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, describe, expect, test } from "vitest";
import { intern } from "../src/apply.ts";
import type { Backend, Buffer } from "../src/backend.ts";
import { compileAll } from "../src/backends/webgpu/compile-check.ts";
import { openWebGPU } from "../src/backends/webgpu/index.ts";
import { openDawn } from "../src/backends/webgpu/open.ts";
import { refusal } from "../src/backends/webgpu/prepare.ts";
import { ArgumentError, DataError, DeviceError, StateError } from "../src/errors.ts";
import { type Attrs, type Call, defineOp, FLOOR_LIMITS, input, type Op, output, type Plan, type Spec, scratch } from "../src/op.ts";
import { reflect } from "../src/reflect.ts";

const run = promisify(execFile);

const AXPY = reflect(
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
const CHECK = reflect(
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
  { "lib/fault.wgsl": (await import("node:fs")).readFileSync(new URL("../shaders/lib/fault.wgsl", import.meta.url), "utf8") },
);

const fake = (name: string, plan: (call: Call) => Plan, more: Partial<Op> = {}): Op =>
  defineOp({ name, outputs: ([x]: readonly Spec[]) => [x], reference: () => {}, plan, gradient: { none: "it is a test" }, ...more });

const groups = (n: number): readonly [number, number, number] => [Math.ceil(n / 64), 1, 1];
const size = (call: Call): number => call.inputs[0].shape[0];

/** y = scale x + shift, through a scratch buffer in two passes. */
const axpy = fake(
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
const increment = fake("increment", (call) => ({
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
const atMost = fake(
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

const callOf = (op: Op, n: number, attrs: Attrs = {}): Call => intern(op, [{ shape: [n], dtype: "float32" }], attrs);

const opened: Backend[] = [];
const openBackend = async (options: Parameters<typeof openWebGPU>[0] = {}): Promise<Backend> => {
  const backend = await openWebGPU(options);
  opened.push(backend);
  return backend;
};
afterEach(async () => {
  for (const backend of opened.splice(0)) await backend.close();
});

const floats = (backend: Backend, values: ArrayLike<number>): Buffer => {
  const buffer = backend.alloc("float32", values.length);
  backend.write(buffer, Float32Array.from(values));
  return buffer;
};
const apply = (backend: Backend, op: Op, x: Buffer, { attrs, scalars = {} }: { attrs?: Attrs; scalars?: Record<string, number> } = {}): Buffer => {
  const y = backend.alloc("float32", x.length);
  backend.run(callOf(op, x.length, attrs), scalars, [x], [y]);
  return y;
};
const foreignDevice = async (): Promise<GPUDevice> => {
  const adapter = await (await openDawn([])).requestAdapter();
  if (!adapter) throw new Error("expected a GPU adapter; run with scripts/software-gpu.mjs");
  return adapter.requestDevice();
};

describe("order", () => {
  test("calls, scalars and scratch buffers", async () => {
    const backend = await openBackend();
    const x = floats(backend, [1, 2, 3]);
    const y = apply(backend, axpy, x, { scalars: { scale: 2 } });
    const z = apply(backend, axpy, y, { scalars: { scale: -1 } });
    // Each pass scales by `scale`, the second adds one.
    expect(await backend.read(y)).toEqual(Float32Array.of(5, 9, 13));
    expect(await backend.read(z)).toEqual(Float32Array.of(6, 10, 14));
    expect(backend.counters).toMatchObject({ dispatches: 4, submits: 1, liveBuffers: 3 });
  });

  test("a read is a snapshot, whatever is written, freed or reused after it", async () => {
    const backend = await openBackend();
    const x = floats(backend, [1, 2]);
    const y = apply(backend, increment, x);
    const first = backend.read(y);
    backend.write(y, Float32Array.of(7, 7));
    const second = backend.read(y);
    backend.free(y);
    const other = floats(backend, [9, 9]);
    const third = backend.read(other);
    expect(await Promise.all([first, second, third])).toEqual([Float32Array.of(2, 3), Float32Array.of(7, 7), Float32Array.of(9, 9)]);
  });

  test("a write waits for the calls before it, also into memory that was freed and taken again", async () => {
    const backend = await openBackend();
    const x = floats(backend, [1, 1]);
    const y = apply(backend, increment, x);
    backend.write(x, Float32Array.of(5, 5));
    const z = apply(backend, increment, x);
    backend.free(x);
    const again = floats(backend, [100, 100]);
    expect(await backend.read(y)).toEqual(Float32Array.of(2, 2));
    expect(await backend.read(z)).toEqual(Float32Array.of(6, 6));
    expect(await backend.read(again)).toEqual(Float32Array.of(100, 100));
  });

  test("writes copy at once", async () => {
    const backend = await openBackend();
    const values = Float32Array.of(1, 2, 3);
    const x = backend.alloc("float32", 3);
    backend.write(x, values);
    values.fill(0);
    expect(await backend.read(x)).toEqual(Float32Array.of(1, 2, 3));
  });

  test("more passes than one batch holds, before any pipeline is compiled", async () => {
    const backend = await openBackend();
    let x = floats(backend, [0, 10]);
    for (let i = 0; i < 2000; i++) {
      const y = apply(backend, increment, x);
      backend.free(x);
      x = y;
    }
    expect(await backend.read(x)).toEqual(Float32Array.of(2000, 2010));
    expect(backend.counters.dispatches).toBe(2000);
    expect(backend.counters.submits).toBe(Math.ceil(2000 / 128));
    expect(backend.counters.liveBuffers).toBe(1);
  });

  test("Params that outgrow the uniform buffer of one batch", async () => {
    const backend = await openBackend();
    const wide = reflect(
      "test/wide",
      `struct Params { table: array<vec4<f32>, 512> }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() { y[0] = x[0] + params.table[511].w; }`,
    );
    const table = Array.from({ length: 2048 }, (_, i) => i);
    const op = fake("wide", () => ({
      passes: [{ shader: wide, entry: "main", params: { table }, bind: { x: input(0), y: output(0) }, workgroups: [1, 1, 1] }],
    }));
    let x = floats(backend, [0]);
    for (let i = 0; i < 20; i++) x = apply(backend, op, x);
    expect(await backend.read(x)).toEqual(Float32Array.of(20 * 2047));
    expect(backend.counters.submits).toBe(3);
  });
});

test("an input that the op lists in `mutates` changes in place", async () => {
  const backend = await openBackend();
  const double = reflect(
    "test/double",
    `struct Params { n: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { if (id.x < params.n) { x[id.x] *= 2.0; } }`,
  );
  const pass = { shader: double, entry: "main", params: { n: 2 }, bind: { x: input(0) }, workgroups: [1, 1, 1] } as const;
  const op = fake("double", () => ({ passes: [pass, pass] }), { outputs: () => [], mutates: [0] });
  const x = floats(backend, [1, 3]);
  backend.run(callOf(op, 2), {}, [x], []);
  expect(await backend.read(x)).toEqual(Float32Array.of(4, 12));
});

describe("what a device cannot run", () => {
  const call = callOf(increment, 64);
  const plan = increment.plan(call, FLOOR_LIMITS);
  const half = reflect(
    "test/half",
    `enable f16;\n@group(0) @binding(0) var<storage, read_write> y: array<f16>;\n@compute @workgroup_size(1) fn main() { y[0] = 1.0h; }`,
  );
  test.each([
    ["nothing", plan, {}, undefined],
    ["a large buffer", plan, { bindingBytes: 255 }, "input 0 takes 256 bytes, more than the device's limit of 255"],
    ["large scratch", { ...plan, scratch: [100] }, { bindingBytes: 256 }, "it needs a temporary buffer of 400 bytes"],
    ["many bindings", plan, { storageBuffers: 1 }, "test/axpy (main) binds 2 buffers, more than the device's limit of 1"],
    [
      "a long row of workgroups",
      { passes: [{ ...plan.passes[0], workgroups: [1, 70000, 1] }] },
      {},
      "test/axpy (main) launches 70000 workgroups along one axis",
    ],
    [
      "half precision",
      { passes: [{ shader: half, entry: "main", bind: { y: output(0) }, workgroups: [1, 1, 1] }] },
      {},
      "test/half (main) needs f16",
    ],
  ] as const)("%s", (_, plan, limits, reason) => {
    const given = refusal(call, plan, { ...FLOOR_LIMITS, ...limits });
    if (reason === undefined) expect(given).toBeUndefined();
    else expect(given).toContain(reason);
  });
});

describe("memory", () => {
  test("a loop in steady state allocates nothing and submits once per read", async () => {
    const backend = await openBackend();
    const x = floats(backend, new Float32Array(1000));
    const step = async (): Promise<void> => {
      const y = apply(backend, axpy, x, { scalars: { scale: 1 } });
      await backend.read(y);
      backend.free(y);
    };
    for (let i = 0; i < 3; i++) await step();
    const before = backend.counters;
    for (let i = 0; i < 50; i++) await step();
    const after = backend.counters;
    expect(after.allocations).toBe(before.allocations);
    expect(after.pooledBytes).toBe(before.pooledBytes);
    expect(after.liveBytes).toBe(before.liveBytes);
    expect(after.submits - before.submits).toBe(50);
    expect(after.dispatches - before.dispatches).toBe(100);
  });

  test("nearby sizes share buffers, and the pool does not keep more than was once in use", async () => {
    const backend = await openBackend();
    const sizes = Array.from({ length: 40 }, (_, i) => 1000 + i);
    for (const length of sizes) backend.free(backend.alloc("float32", length));
    expect(backend.counters.allocations).toBeLessThan(5);
    for (let i = 1; i <= 30; i++) backend.free(backend.alloc("float32", i * 1_000_000));
    const { pooledBytes, liveBuffers, liveBytes } = backend.counters;
    expect(pooledBytes).toBeLessThanOrEqual(150_000_000);
    expect({ liveBuffers, liveBytes }).toEqual({ liveBuffers: 0, liveBytes: 0 });
  });

  test("the pool lets go of sizes that are no longer used, not of those in use", async () => {
    const backend = await openBackend();
    for (const buffer of [backend.alloc("float32", 1_000_000), backend.alloc("float32", 60_000_000)].reverse()) backend.free(buffer);
    const before = backend.counters.allocations;
    let classes = 0;
    for (let length = 2_000_000; length < 25_000_000; length *= 1.3) {
      backend.free(backend.alloc("float32", Math.round(length)));
      backend.free(backend.alloc("float32", 1_000_000));
      classes++;
    }
    expect(backend.counters.allocations - before).toBe(classes);
  });

  test("a buffer dropped from the pool while a batch needs it lives until that batch is submitted", async () => {
    const backend = await openBackend();
    const head = fake("head", () => ({ passes: [headPass] }), { outputs: () => [{ shape: [4], dtype: "float32" }] });
    const headPass = {
      shader: AXPY,
      entry: "main",
      params: { n: 4, scale: 1, shift: 1 },
      bind: { x: input(0), y: output(0) },
      workgroups: [1, 1, 1],
    } as const;
    const heads: Buffer[] = [];
    for (let i = 0; i < 6; i++) {
      // Size classes apart, so that no write meets a buffer of the batch and submits it.
      const x = floats(backend, new Float32Array(Math.round(5_000_000 * 1.3 ** i)).fill(i));
      const y = backend.alloc("float32", 4);
      backend.run(callOf(head, x.length), {}, [x], [y]);
      backend.free(x);
      heads.push(y);
    }
    expect(backend.counters.submits).toBe(0);
    expect(backend.counters.pooledBytes).toBeLessThan(100_000_000);
    for (const [i, buffer] of heads.entries()) expect((await backend.read(buffer))[3]).toBe(i + 1);
  });

  test("a buffer beyond the limits is refused, and the device goes on", async () => {
    const backend = await openBackend();
    const length = backend.limits.bindingBytes / 4 + 1;
    expect(() => backend.alloc("float32", length)).toThrow(DeviceError);
    expect(() => backend.alloc("float32", length)).toThrow(`but received ${4 * length}`);
    expect(backend.unsupported(callOf(increment, length))).toMatch(/input 0 takes \d+ bytes, more than the device's limit/);
    expect(backend.unsupported(callOf(increment, 8))).toBeUndefined();
    expect(await backend.read(apply(backend, increment, floats(backend, [1])))).toEqual(Float32Array.of(2));
  });

  test("empty buffers take part", async () => {
    const backend = await openBackend();
    const empty = floats(backend, []);
    const y = backend.alloc("float32", 1);
    backend.run(
      callOf(
        fake("touch", () => ({
          passes: [{ shader: AXPY, entry: "main", params: { n: 1, scale: 0, shift: 3 }, bind: { x: input(0), y: output(0) }, workgroups: [1, 1, 1] }],
        })),
        0,
      ),
      {},
      [empty],
      [y],
    );
    expect(await backend.read(empty)).toEqual(new Float32Array(0));
    expect(await backend.read(y)).toEqual(Float32Array.of(3));
  });
});

describe("host arrays", () => {
  test("views of shared memory, doubles and integers", async () => {
    const backend = await openBackend();
    const shared = new Float32Array(new SharedArrayBuffer(16)).fill(4);
    const x = backend.alloc("float32", 4);
    backend.write(x, shared);
    expect(await backend.read(x)).toEqual(new Float32Array(4).fill(4));
    backend.write(x, Float64Array.of(0.1, 0.2, 0.3, 0.4));
    expect(await backend.read(x)).toEqual(Float32Array.of(0.1, 0.2, 0.3, 0.4));
    const i = backend.alloc("int32", 2);
    backend.write(i, Int32Array.of(-1, 2));
    expect(await backend.read(i)).toEqual(Int32Array.of(-1, 2));
    const u = backend.alloc("uint32", 2);
    backend.write(u, Uint32Array.of(4294967295, 2));
    expect(await backend.read(u)).toEqual(Uint32Array.of(4294967295, 2));
  });

  test("that are detached or of the wrong length are refused", async () => {
    const backend = await openBackend();
    const x = backend.alloc("float32", 4);
    const gone = new Float32Array(4);
    structuredClone(gone, { transfer: [gone.buffer] });
    expect(() => backend.write(x, gone)).toThrow(ArgumentError);
    expect(() => backend.write(x, gone)).toThrow("detached");
    expect(() => backend.write(x, new Float32Array(5))).toThrow("write: expected 4 values, but received 5");
  });
});

describe("faults", () => {
  test("reject the next read with the op's message and the value, then all is well again", async () => {
    const backend = await openBackend();
    const good = apply(backend, atMost, floats(backend, [1, 2]), { attrs: { limit: 5 } });
    expect(await backend.read(good)).toEqual(Float32Array.of(1, 2));
    const bad = apply(backend, atMost, floats(backend, [1, 7.5]), { attrs: { limit: 5 } });
    apply(backend, atMost, floats(backend, [100]), { attrs: { limit: 50 } });
    const failure = backend.read(good);
    await expect(failure).rejects.toThrow(DataError);
    await expect(failure).rejects.toThrow("atMost: expected values of at most 5 for `x`, but received 7.5");
    expect(await backend.read(bad)).toEqual(Float32Array.of(1, 7.5));
    apply(backend, atMost, floats(backend, [51]), { attrs: { limit: 50 } });
    await expect(backend.synchronize()).rejects.toThrow("at most 50 for `x`, but received 51");
    await backend.synchronize();
  });
});

describe("shaders and plans that are wrong", () => {
  const broken = reflect(
    "test/broken",
    `@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() {
  y[0] = undeclared;
}`,
  );
  const brokenOp = fake("broken", () => ({ passes: [{ shader: broken, entry: "main", bind: { y: output(0) }, workgroups: [1, 1, 1] }] }));

  test("a shader that does not compile: the read says which, where and why, and the device goes on", async () => {
    const backend = await openBackend();
    const failure = backend.read(apply(backend, brokenOp, floats(backend, [1])));
    await expect(failure).rejects.toThrow(DeviceError);
    await expect(failure).rejects.toThrow(/test\/broken \(main\).*\n.*line 3:10: .*undeclared.*\n.*y\[0\] = undeclared;/);
    expect(() => apply(backend, brokenOp, floats(backend, [1]))).toThrow(/test\/broken[\s\S]*undeclared/);
    expect(await backend.read(apply(backend, increment, floats(backend, [1])))).toEqual(Float32Array.of(2));
  });

  test("and the same when a write forces the batch out before the compiler is done", async () => {
    const backend = await openBackend();
    const y = apply(backend, brokenOp, floats(backend, [1]));
    backend.write(y, Float32Array.of(0));
    await expect(backend.read(y)).rejects.toThrow(/test\/broken[\s\S]*line 3:10[\s\S]*undeclared/);
    expect(await backend.read(y)).toEqual(Float32Array.of(0));
  });

  test("what WebGPU refuses at submission names the passes", async () => {
    const backend = await openBackend();
    const alias = fake("alias", (call) => ({
      passes: [
        { shader: AXPY, entry: "main", params: { n: size(call), scale: 1, shift: 1 }, bind: { x: input(0), y: output(0) }, workgroups: [1, 1, 1] },
      ],
    }));
    const x = floats(backend, [1]);
    backend.run(callOf(alias, 1), {}, [x], [x]);
    const failure = backend.read(x);
    await expect(failure).rejects.toThrow(DeviceError);
    await expect(failure).rejects.toThrow("expected the passes test/axpy (main) to run, but received");
    expect(await backend.read(x)).toEqual(Float32Array.of(1));
  });

  const needs = reflect(
    "test/needs",
    `struct Params { n: u32, k: i32 }
override WIDTH: u32;
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(WIDTH) fn main() { y[params.n] = f32(params.k); }`,
  );
  const pass = {
    shader: needs,
    entry: "main",
    constants: { WIDTH: 1 },
    params: { n: 0, k: -1 },
    bind: { y: output(0) },
    workgroups: [1, 1, 1],
  } as const;
  test.each([
    ["an override without a value", { ...pass, constants: {} }, "for `constants.WIDTH`, but received none"],
    ["an unknown override", { ...pass, constants: { WIDTH: 1, WIDHT: 2 } }, "expected an override of WIDTH for `constants.WIDHT`"],
    ["an unknown entry", { ...pass, entry: "mian" }, "expected one of the entry points main for `entry`, but received mian"],
    ["a missing field", { ...pass, params: { n: 0 } }, "expected a value, since Params has the field, for `params.k`, but received none"],
    ["an unknown field", { ...pass, params: { n: 0, k: 1, m: 2 } }, "expected a field of Params (n, k) for `params.m`"],
    ["a negative u32", { ...pass, params: { n: -1, k: 1 } }, "params.n: expected an integer in [0, 4294967295]"],
    ["too many numbers", { ...pass, params: { n: [0, 1], k: 1 } }, "expected at most 1 numbers for `params.n`, but received 2"],
    ["a missing buffer", { ...pass, bind: {} }, "expected a buffer for `bind.y`, but received none"],
    ["an unknown buffer", { ...pass, bind: { ...pass.bind, z: input(0) } }, "expected a binding of params, y for `bind.z`"],
    ["an output too many", { ...pass, bind: { y: output(1) } }, "expected one of 1 output buffers for `bind.y`, but received output 1"],
    ["a write to an input", { ...pass, bind: { y: input(0) } }, "expected read access (the op does not list the input in `mutates`) for `bind.y`"],
  ])("%s", async (name, bad, message) => {
    const backend = await openBackend();
    const attempt = () =>
      apply(
        backend,
        fake(`bad: ${name}`, () => ({ passes: [bad] })),
        floats(backend, [1]),
      );
    expect(attempt).toThrow(StateError);
    expect(attempt).toThrow(message);
    expect(attempt).toThrow("test/needs");
  });

  test("a scalar that its field cannot hold enqueues nothing", async () => {
    const backend = await openBackend();
    const op = fake("scalar", () => ({ passes: [{ ...pass, params: { n: 0 } }] }), { scalars: ["k"] });
    expect(() => apply(backend, op, floats(backend, [1]), { scalars: { k: 0.5 } })).toThrow("scalar k: expected an integer");
    expect(backend.counters.dispatches).toBe(0);
    expect(await backend.read(apply(backend, op, floats(backend, [1]), { scalars: { k: -3 } }))).toEqual(Float32Array.of(-3));
  });

  test("all of them can be found without a GPU", async () => {
    const good = axpy.plan(callOf(axpy, 64), FLOOR_LIMITS).passes;
    const { compiled, failures } = await compileAll([
      ...good,
      ...good,
      { ...good[0], constants: { WIDTH: 4096 } },
      ...brokenOp.plan(callOf(brokenOp, 1), FLOOR_LIMITS).passes,
    ]);
    expect(compiled).toBe(1);
    expect(failures.map(({ label, constants }) => [label, constants])).toEqual([
      ["test/axpy (main)", { WIDTH: 4096 }],
      ["test/broken (main)", {}],
    ]);
    expect(failures[0].message).toContain("4096");
    expect(failures[1].message).toMatch(/line 3:10.*undeclared/);
  });
});

describe("the end", () => {
  test("closing twice is fine; later use is a StateError, also for a read that was waiting", async () => {
    const backend = await openBackend();
    const x = floats(backend, [1]);
    const reading = backend.read(apply(backend, increment, x));
    const closing = backend.close();
    await expect(reading).rejects.toThrow(StateError);
    await closing;
    await backend.close();
    for (const use of [
      () => backend.alloc("float32", 1),
      () => backend.write(x, Float32Array.of(1)),
      () => backend.run(callOf(increment, 1), {}, [x], [x]),
    ]) {
      expect(use).toThrow(StateError);
    }
    await expect(backend.read(x)).rejects.toThrow("read: expected an open device, but the webgpu device was closed");
    await expect(backend.synchronize()).rejects.toThrow(StateError);
    backend.free(x);
    expect(backend.counters).toMatchObject({ liveBuffers: 0, liveBytes: 0, pooledBytes: 0 });
  });

  test("a device of the caller's stays alive and usable", async () => {
    const device = await foreignDevice();
    const backend = await openBackend({ gpuDevice: device });
    expect(await backend.read(apply(backend, increment, floats(backend, [1])))).toEqual(Float32Array.of(2));
    await backend.close();
    const again = await openBackend({ gpuDevice: device });
    expect(await again.read(apply(again, increment, floats(again, [5])))).toEqual(Float32Array.of(6));
    await again.close();
    device.destroy();
  });

  test("a device destroyed behind our back gives DeviceError, never success", async () => {
    const device = await foreignDevice();
    const backend = await openBackend({ gpuDevice: device });
    const x = floats(backend, [1]);
    const y = apply(backend, increment, x);
    const waiting = backend.read(y);
    device.destroy();
    const atOnce = backend.read(x);
    const idle = backend.synchronize();
    for (const pending of [waiting, atOnce, idle]) await expect(pending).rejects.toThrow(DeviceError);
    await expect(waiting).rejects.toThrow(/lost/);
    await device.lost;
    for (const use of [
      () => backend.alloc("float32", 1),
      () => backend.write(x, Float32Array.of(1)),
      () => backend.run(callOf(increment, 1), {}, [x], [y]),
    ]) {
      expect(use).toThrow(DeviceError);
      expect(use).toThrow("lost (destroyed)");
    }
    await expect(backend.read(x)).rejects.toThrow("read: webgpu: expected a working device, but it was lost");
    backend.free(x);
  });

  test("buffers of another device and freed ones are refused", async () => {
    const [a, b] = [await openBackend(), await openBackend()];
    const x = floats(a, [1]);
    await expect(b.read(x)).rejects.toThrow("read: expected a buffer of this device, but received another");
    a.free(x);
    expect(() => a.free(x)).toThrow(StateError);
    await expect(a.read(x)).rejects.toThrow("freed");
  });
});

describe("the process", () => {
  const script = (code: string): string => `
    import { openWebGPU } from ${JSON.stringify(fileURLToPath(new URL("../src/backends/webgpu/index.ts", import.meta.url)))};
    const backend = await openWebGPU();
    const x = backend.alloc("float32", 3);
    backend.write(x, Float32Array.of(1, 2, 3));
    ${code}
    console.log("end");`;
  const node = async (code: string, ...flags: string[]): Promise<string> => {
    const { stdout } = await run(process.execPath, [...flags, "--import", "tsx", "--input-type=module", "--eval", script(code)], { timeout: 60_000 });
    return stdout.trim();
  };

  test("survives garbage collection between uses", async () => {
    const code = `for (let i = 0; i < 5; i++) {
      for (let k = 0; k < 3; k++) { globalThis.gc(); await new Promise((done) => setTimeout(done, 5)); }
      console.log((await backend.read(x)).join());
    }`;
    expect(await node(code, "--expose-gc")).toBe(`${"1,2,3\n".repeat(5)}end`);
  });

  test.each([
    ["when the device is closed", "await backend.read(x); await backend.close();"],
    ["when it is left open", "await backend.read(x);"],
    ["with a read nobody waits for", "backend.read(x).catch(() => {});"],
  ])("ends by itself %s", async (_, code) => {
    expect(await node(code)).toBe("end");
  });

  test("is told what was tried when there is no adapter", async () => {
    const failing = `import { openWebGPU } from ${JSON.stringify(fileURLToPath(new URL("../src/backends/webgpu/index.ts", import.meta.url)))};
      await openWebGPU().then(() => console.log("opened"), (error) => console.log(error.code + " " + error.message));`;
    const { stdout } = await run(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", failing], {
      env: { ...process.env, VK_DRIVER_FILES: "/nonexistent.json", VK_ICD_FILENAMES: "/nonexistent.json" },
    });
    expect(stdout).toMatch(
      /^ERR_DEVICE webgpu: expected a GPU adapter, but received none from Dawn.*VK_DRIVER_FILES=\/nonexistent.json.*software-gpu/,
    );
  });
});

test("an adapter on the processor is named so and can be refused", async () => {
  const backend = await openBackend();
  expect(backend.info.kind).toBe("webgpu");
  expect(backend.info.description).not.toBe("");
  if (backend.info.software)
    await expect(openWebGPU({ allowSoftware: false })).rejects.toThrow(/expected a hardware adapter, but received .*allowSoftware/);
  await expect(openWebGPU({ gpuDevice: {} as GPUDevice })).rejects.toThrow(ArgumentError);
});
