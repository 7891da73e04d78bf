import { describe, expect, test } from "vitest";
import type { Buffer } from "../src/backend.ts";
import { refusal } from "../src/backends/webgpu/prepare.ts";
import { ArgumentError, DataError, DeviceError } from "../src/errors.ts";
import { FLOOR_LIMITS, input, output, scratch } from "../src/op.ts";
import { reflect } from "../src/reflect.ts";
import { AXPY, apply, atMost, axpy, callOf, fake, floats, increment, openBackend } from "./support/webgpu.ts";

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

test("counts of workgroups that the device works out, also in a batch after the one that wrote them", async () => {
  const backend = await openBackend();
  const halve = reflect(
    "test/halve",
    `@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> counts: array<u32>;
@group(0) @binding(3) var<storage, read> left: array<u32>;
@compute @workgroup_size(1) fn count() { counts[1] = u32(x[0]); counts[2] = 1u; counts[3] = 1u; y[0] = 0.0; }
@compute @workgroup_size(1) fn mark(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) all: vec3u) { if (id.x + 1u == all.x) { y[0] += f32(all.x); } }
@compute @workgroup_size(1) fn next() { counts[1] = counts[1] / 2u; }
@compute @workgroup_size(1) fn last(@builtin(workgroup_id) id: vec3u) { if (id.x == 0u) { y[0] += 100.0 * f32(left[1]); } }`,
  );
  const workgroups = { indirect: { scratch: 0 }, offset: 1 };
  const op = fake("halve", ({ attrs }) => {
    const bind = { x: input(0), y: output(0), counts: scratch(0), left: scratch(0) };
    const pass = (entry: string, counts: typeof workgroups | readonly [number, number, number] = [1, 1, 1]) => ({
      shader: halve,
      entry,
      bind,
      workgroups: counts,
    });
    const rounds = Array.from({ length: attrs.rounds as number }, () => [pass("mark", workgroups), pass("next")]);
    return { scratch: [4], passes: [pass("count"), pass("last", workgroups), ...rounds.flat(), pass("mark", workgroups)] };
  });
  const marks = async (first: number, rounds: number) => (await backend.read(apply(backend, op, floats(backend, [first]), { attrs: { rounds } })))[0];
  expect(await marks(13, 2)).toBe(1300 + 13 + 6 + 3);
  expect(await marks(13, 200)).toBe(1300 + 13 + 6 + 3 + 1);
  expect(await marks(0, 1)).toBe(0);
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

  test("nearby sizes share buffers, and the pool does not keep more than twice what was once in use", async () => {
    const backend = await openBackend();
    const sizes = Array.from({ length: 40 }, (_, i) => 1000 + i);
    for (const length of sizes) backend.free(backend.alloc("float32", length));
    expect(backend.counters.allocations).toBeLessThan(5);
    for (let i = 1; i <= 30; i++) backend.free(backend.alloc("float32", i * 1_000_000));
    const { pooledBytes, liveBuffers, liveBytes } = backend.counters;
    expect(pooledBytes).toBeLessThanOrEqual(300_000_000);
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
    expect(backend.counters.pooledBytes).toBeLessThan(200_000_000);
    for (const [i, buffer] of heads.entries()) expect((await backend.read(buffer))[3]).toBe(i + 1);
  });

  test("a buffer beyond the limits is refused, and the device goes on", async () => {
    const backend = await openBackend();
    const beyond = Number(backend.info.details["largest buffer (bytes)"]) / 4 + 1;
    expect(() => backend.alloc("float32", beyond)).toThrow(DeviceError);
    expect(() => backend.alloc("float32", beyond)).toThrow(`but received ${4 * beyond}`);
    const length = backend.limits.bindingBytes / 4 + 1;
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
