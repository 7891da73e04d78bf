import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { compileAll } from "../src/backends/webgpu/compile-check.ts";
import { openWebGPU } from "../src/backends/webgpu/index.ts";
import { ArgumentError, DeviceError, StateError } from "../src/errors.ts";
import { FLOOR_LIMITS, type IndirectWorkgroups, input, output, scratch } from "../src/op.ts";
import { reflect } from "../src/reflect.ts";
import { AXPY, apply, axpy, callOf, fake, floats, foreignDevice, increment, openBackend, run, size } from "./support/webgpu.ts";

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

  const from = (offset: number, index = 0): IndirectWorkgroups => ({ indirect: { scratch: index }, offset });
  test.each([
    ["of no buffer", pass.bind, from(0, 1), "expected one of 1 scratch buffers for `workgroups.indirect`, but received scratch 1"],
    ["past the end", pass.bind, from(2), "expected an element with two more behind it in a buffer of 4 for `workgroups.offset`, but received 2"],
    ["before the beginning", pass.bind, from(-1), "for `workgroups.offset`, but received -1"],
    ["between elements", pass.bind, from(0.5), "for `workgroups.offset`, but received 0.5"],
    [
      "that the pass writes",
      { y: scratch(0) },
      from(0),
      "expected a buffer that the pass does not write for `workgroups.indirect`, but received that of bind.y",
    ],
  ])("counts of workgroups %s", async (name, bind, workgroups, message) => {
    const backend = await openBackend();
    const op = fake(`bad: counts ${name}`, () => ({ scratch: [4], passes: [{ ...pass, bind, workgroups }] }));
    const attempt = () => apply(backend, op, floats(backend, [1]));
    expect(attempt).toThrow(StateError);
    expect(attempt).toThrow(message);
    expect(attempt).toThrow("test/needs (main)");
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
