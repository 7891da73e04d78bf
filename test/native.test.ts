/** What `native` promises behind the seam, beyond what the rooms' cases show. */
import { execFile, execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Backend } from "../src/backend.ts";
import { openNative, type SimdLevel } from "../src/backends/native/index.ts";
import { ArgumentError, DataError, DeviceError, StateError } from "../src/errors.ts";
import { absent, areas, broken, enqueue, fill, positive, slow, update, upload } from "./support/native-ops.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const run = promisify(execFile);

let backend: Backend;
beforeEach(async () => {
  backend = await openNative({ threads: 2 });
});
afterEach(async () => {
  await backend.close();
});

describe("order", () => {
  test("calls run in the order given", async () => {
    const x = upload(backend, [1, 2, 3, 4, 5]);
    for (let i = 0; i < 100; i++) {
      enqueue(backend, update, [x], {}, { factor: 0, term: i });
      enqueue(backend, update, [x], {}, { factor: 2, term: 1 });
    }
    expect([...(await backend.read(x))]).toEqual([199, 199, 199, 199, 199]);
  });

  test("a read gives the values as of its call, whatever is enqueued, written or freed later", async () => {
    const x = upload(backend, [1, 2, 3]);
    const [y] = enqueue(backend, slow, [x], { milliseconds: 30 });
    const first = backend.read(y);
    enqueue(backend, update, [y], {}, { factor: 10, term: 0 });
    const second = backend.read(y);
    backend.write(y, Float32Array.of(7, 8, 9));
    const third = backend.read(y);
    backend.free(y);
    const [z] = enqueue(backend, fill, [], { size: 3, grain: 1 }, { value: 5 });
    expect([...(await first)]).toEqual([1, 2, 3]);
    expect([...(await second)]).toEqual([10, 20, 30]);
    expect([...(await third)]).toEqual([7, 8, 9]);
    expect([...(await backend.read(z))]).toEqual([5, 5, 5]);
  });

  test("a write comes after calls already enqueued, and copies before it returns", async () => {
    const x = upload(backend, [1, 2, 3]);
    const [y] = enqueue(backend, slow, [x], { milliseconds: 30 });
    const values = Float32Array.of(4, 5, 6);
    backend.write(x, values);
    values.fill(0);
    expect([...(await backend.read(y))]).toEqual([1, 2, 3]);
    expect([...(await backend.read(x))]).toEqual([4, 5, 6]);
  });

  test("memory is freed and used again while calls on it are queued", async () => {
    const x = upload(backend, [1, 2, 3]);
    const [gate] = enqueue(backend, slow, [x], { milliseconds: 30 });
    const results: Promise<ArrayLike<number>>[] = [];
    for (let i = 0; i < 50; i++) {
      const [y] = enqueue(backend, fill, [], { size: 64, grain: 8 }, { value: i });
      results.push(backend.read(y));
      backend.free(y);
    }
    const { allocations, liveBuffers } = backend.counters;
    expect({ allocations, liveBuffers }).toEqual({ allocations: 3, liveBuffers: 2 });
    for (const [i, values] of (await Promise.all(results)).entries()) expect(new Set(Array.from(values))).toEqual(new Set([i]));
    backend.free(gate);
  });

  test("the event loop runs while a kernel does", async () => {
    const [y] = enqueue(backend, slow, [upload(backend, [1])], { milliseconds: 200 });
    const order: string[] = [];
    const done = backend.read(y).then(() => order.push("read"));
    await new Promise((resolve) => setTimeout(resolve, 1)).then(() => order.push("timer"));
    await done;
    expect(order).toEqual(["timer", "read"]);
  });
});

describe("values", () => {
  test("every array that a caller may have is taken; others are refused", async () => {
    const shared = new Float32Array(new SharedArrayBuffer(12));
    shared.set([1.5, 2.5, 3.5]);
    const buffer = backend.alloc("float32", 3);
    for (const values of [shared, Float64Array.of(1.5, 2.5, 3.5), Float32Array.of(0, 1.5, 2.5, 3.5).subarray(1)]) {
      backend.write(buffer, values);
      const got = await backend.read(buffer);
      expect(got).toBeInstanceOf(Float32Array);
      expect([...got]).toEqual([1.5, 2.5, 3.5]);
      backend.write(buffer, new Float32Array(3));
    }
    expect(() => backend.write(buffer, new Float32Array(4))).toThrow(ArgumentError);
    for (const values of [Int32Array.of(-1, 2 ** 31 - 1), Uint32Array.of(1, 2 ** 32 - 1)]) {
      const integers = backend.alloc(values instanceof Int32Array ? "int32" : "uint32", 2);
      backend.write(integers, values);
      expect(await backend.read(integers)).toEqual(values);
    }
  });

  test("buffers of no elements", async () => {
    const empty = backend.alloc("float32", 0);
    backend.write(empty, new Float32Array(0));
    enqueue(backend, update, [empty], {}, { factor: 1, term: 1 });
    expect([...(await backend.read(empty))]).toEqual([]);
    backend.free(empty);
    expect(backend.counters.liveBuffers).toBe(0);
  });
});

describe("errors", () => {
  test("a fault rejects the next read, once, with the first value", async () => {
    const x = upload(backend, [1, -2.5, 3]);
    const good = backend.read(x);
    const [y] = enqueue(backend, positive, [x], {});
    const bad = backend.read(y);
    const after = backend.read(y);
    expect([...(await good)]).toEqual([1, -2.5, 3]);
    await expect(bad).rejects.toThrow(new DataError("positive: expected elements of at least 0 for `x`, but received -2.5"));
    expect([...(await after)]).toEqual([1, -2.5, 3]);
    enqueue(backend, positive, [x], {});
    await expect(backend.synchronize()).rejects.toThrow(DataError);
    await backend.synchronize();
  });

  test("what a kernel throws on any thread arrives as DeviceError, and the device goes on", async () => {
    enqueue(backend, broken, [], {});
    await expect(backend.synchronize()).rejects.toThrow(/^test.broken: attribute `no such attribute` is missing/);
    expect([...(await backend.read(upload(backend, [4])))]).toEqual([4]);
  });

  test("running out of memory is a typed error that the device survives", async () => {
    const small = await openNative({ threads: 1, memoryLimit: 1 << 20 });
    const x = upload(small, [1, 2]);
    expect(() => small.alloc("float32", 1 << 20)).toThrow(DeviceError);
    const [y] = enqueue(small, areas, [], { floats: 1 << 19 });
    await expect(small.read(y)).rejects.toThrow(/^test.areas: out of memory/);
    enqueue(small, update, [x], {}, { factor: 2, term: 0 });
    expect([...(await small.read(x))]).toEqual([2, 4]);
    const [z] = enqueue(small, areas, [], { floats: 1000 });
    expect([...(await small.read(z))]).toEqual([0, 0, 0]);
    small.free(small.alloc("float32", 1 << 16));
    await small.close();
    // Far more than any machine has; nothing is touched.
    expect(() => backend.alloc("float32", 2 ** 48)).toThrow(DeviceError);
  });

  test("freed buffers, buffers of others and closed devices are refused", async () => {
    const x = upload(backend, [1]);
    const other = await openNative({ threads: 1 });
    expect(() => other.free(x)).toThrow(StateError);
    await expect(other.read(x)).rejects.toThrow(StateError);
    await other.close();
    backend.free(x);
    expect(() => backend.free(x)).toThrow(StateError);
    expect(() => enqueue(backend, positive, [x], {})).toThrow(StateError);
    const y = upload(backend, [1]);
    await Promise.all([backend.close(), backend.close()]);
    await backend.close();
    backend.free(y);
    expect(() => backend.alloc("float32", 1)).toThrow(StateError);
    expect(() => backend.write(y, Float32Array.of(1))).toThrow(StateError);
    expect(() => enqueue(backend, update, [y], {}, { factor: 1, term: 1 })).toThrow(StateError);
    await expect(backend.read(y)).rejects.toThrow(StateError);
    await expect(backend.synchronize()).rejects.toThrow(StateError);
    expect(backend.counters).toMatchObject({ liveBuffers: 0, liveBytes: 0, pooledBytes: 0 });
  });

  test("an op without a kernel is unsupported, and says so", () => {
    const spec = { shape: [1], dtype: "float32" } as const;
    expect(backend.unsupported({ op: absent as never, inputs: [spec], outputs: [spec], attrs: {} })).toBe(
      "the addon has no kernel named test.absent",
    );
  });

  test("closing answers what was asked for", async () => {
    const [y] = enqueue(backend, slow, [upload(backend, [1, 2])], { milliseconds: 20 });
    const values = backend.read(y);
    await backend.close();
    expect([...(await values)]).toEqual([1, 2]);
  });
});

describe("opening", () => {
  test("senseless options are refused", async () => {
    for (const threads of [0, -1, 1.5, Number.NaN, 1e9]) await expect(openNative({ threads })).rejects.toThrow(ArgumentError);
    await expect(openNative({ simd: "mmx" as SimdLevel })).rejects.toThrow(
      /^openDevice: expected one of .*portable.* for `simd`, but received "mmx"$/,
    );
  });

  test("a missing addon says what was tried", async () => {
    const before = process.env.BIRKHOFF_ADDON;
    try {
      process.env.BIRKHOFF_ADDON = "/nowhere/birkhoff.node";
      await expect(openNative()).rejects.toThrow(/\/nowhere\/birkhoff.node: no such file.*Built beforehand for .*build-native.mjs/);
      process.env.BIRKHOFF_ADDON = fileURLToPath(import.meta.url);
      await expect(openNative()).rejects.toThrow(DeviceError);
    } finally {
      process.env.BIRKHOFF_ADDON = before;
    }
  });

  test("several devices of every level and number of threads agree", async () => {
    const levels = String(backend.info.details["simd levels"]).split(", ") as SimdLevel[];
    const open = await Promise.all(levels.flatMap((simd) => [1, 3].map((threads) => openNative({ simd, threads }))));
    for (const device of open) {
      const x = upload(
        device,
        Array.from({ length: 1001 }, (_, i) => i),
      );
      enqueue(device, update, [x], {}, { factor: 0.5, term: 1 });
      expect([...(await device.read(x))]).toEqual(Array.from({ length: 1001 }, (_, i) => i * 0.5 + 1));
    }
    expect(open.map(({ info }) => [info.details.simd, info.details.threads])).toEqual(
      levels.flatMap((simd) => [1, 3].map((threads) => [simd, threads])),
    );
    await Promise.all(open.map((device) => device.close()));
  });

  test("BIRKHOFF_SIMD forces a level, and an impossible one says what there is", async () => {
    const before = process.env.BIRKHOFF_SIMD;
    try {
      const weakest = String(backend.info.details["simd levels"]).split(", ").at(-1) ?? "";
      process.env.BIRKHOFF_SIMD = weakest;
      const device = await openNative();
      expect(device.info.details.simd).toBe(weakest);
      await device.close();
      process.env.BIRKHOFF_SIMD = "sse9";
      await expect(openNative()).rejects.toThrow(/expected one of .* for `BIRKHOFF_SIMD`, but received "sse9"/);
    } finally {
      if (before === undefined) delete process.env.BIRKHOFF_SIMD;
      else process.env.BIRKHOFF_SIMD = before;
    }
  });

  test("counters tell calls, allocations and what is alive", async () => {
    const x = upload(backend, new Array<number>(16).fill(1));
    enqueue(backend, update, [x], {}, { factor: 1, term: 1 });
    expect(backend.counters).toEqual({ dispatches: 1, submits: 0, allocations: 1, liveBuffers: 1, liveBytes: 64, pooledBytes: 0 });
    backend.free(x);
    expect(backend.counters).toEqual({ dispatches: 1, submits: 0, allocations: 1, liveBuffers: 0, liveBytes: 0, pooledBytes: 64 });
  });
});

describe("endings", () => {
  const child = (ending: string): Promise<{ code: number | string | null | undefined; output: string }> =>
    run(process.execPath, ["--import", "tsx", "test/support/native-child.ts", ending], { cwd: root, timeout: 60_000 }).then(
      ({ stdout }) => ({ code: 0, output: stdout.trim() }),
      ({ code, signal, stdout }) => ({ code: code ?? signal, output: String(stdout).trim() }),
    );

  test.each([
    ["return", 0, ""],
    ["unawaited", 0, ""],
    ["pending", 0, "read 1,2,3"],
    ["throw", 1, ""],
    ["exit", 3, ""],
    ["exitLater", 3, ""],
    ["close", 0, "read 1,2,3"],
    ["exitWhileClosing", 3, ""],
    ["signal", "SIGINT", ""],
    ["terminate", 0, ""],
    ["workerExit", 0, ""],
    ["exitWithWorker", 3, ""],
  ])("%s", async (ending, code, output) => {
    expect(await child(ending)).toEqual({ code, output });
  });
});

describe("build", () => {
  test("the driver's tests pass: pool, memory, queue, and the vector type's functions within 2 ulp at every level", () => {
    const output = execFileSync(join(root, "build/Release/driver"), { encoding: "utf8" });
    expect(output).toContain("driver: all tests passed");
  });

  // The linker keeps one copy of an inline function: it must never be one for a newer processor than its callers may run on.
  test.runIf(process.platform === "linux" && process.arch === "x64")("no code for a newer processor is linked into an older level", () => {
    const folder = join(root, "build/Release");
    expect(existsSync(join(folder, "obj.target/kernels_portable.a"))).toBe(true);
    const text = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: "utf8", maxBuffer: 1 << 30, cwd: folder });
    const defined = (...files: string[]): Set<string> =>
      new Set(
        text("nm", "--defined-only", "--format=posix", ...files)
          .split("\n")
          .map((line) => line.split(" ")[0]),
      );
    const own = readdirSync(join(folder, "obj.target/birkhoff/native")).filter((file) => file.endsWith(".o"));
    const portable = defined("obj.target/kernels_portable.a", ...own.map((file) => `obj.target/birkhoff/native/${file}`));
    const avx2 = defined("obj.target/kernels_avx2.a");
    let name = "";
    let vectors = 0;
    const breaches = new Set<string>();
    for (const line of text("objdump", "-d", "--no-show-raw-insn", "birkhoff.node").split("\n")) {
      const header = /^[0-9a-f]+ <(.*)>:$/.exec(line);
      if (header) name = header[1];
      if (!/:\s+v[a-z0-9]+\s/.test(line)) continue;
      vectors++;
      if (portable.has(name) || (line.includes("%zmm") && avx2.has(name))) breaches.add(name);
    }
    expect(vectors).toBeGreaterThan(100);
    expect([...breaches]).toEqual([]);
  });
});
