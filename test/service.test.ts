/** The example of a service: answers under concurrent clients, lost devices, refusals, and its end as a process. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Device } from "birkhoff";
import { DataError, openDevice, scope } from "birkhoff";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { Batcher, BusyError } from "../examples/service/batcher.ts";
import { Engine } from "../examples/service/engine.ts";
import { ANCHORS, CLASSES, embeddings, FEATURES, load, train } from "../examples/service/model.ts";
import { createServer, DEFAULTS, type ServerOptions } from "../examples/service/server.ts";
import { temporaryFolder } from "./support/folder.ts";
import { foreignDevice } from "./support/webgpu.ts";

const BODIES = 64;
const { rows, labels } = embeddings(BODIES, 11);
let checkpoint: Uint8Array;
const want = { project: [] as number[], classify: [] as number[] };
beforeAll(async () => {
  await using native = await openDevice({ device: "native" });
  checkpoint = await train(native);
  await using reference = await openDevice({ device: "reference" });
  const model = load(reference, checkpoint);
  const x = reference.tensor(rows, [BODIES, FEATURES]);
  for (const kind of ["project", "classify"] as const) want[kind] = [...(await scope(() => model[kind](x)).read())];
});

let app: FastifyInstance | undefined;
afterEach(async () => {
  await app?.close();
  app = undefined;
});
const serve = async (open: () => Promise<Device>, options: Partial<ServerOptions> = {}): Promise<{ url: string; engine: Engine }> => {
  const engine = new Engine(open, checkpoint);
  app = createServer(engine, { ...DEFAULTS, ...options });
  return { url: await app.listen({ port: 0, host: "127.0.0.1" }), engine };
};
const native = (): Promise<Device> => openDevice({ device: "native", memoryLimit: 2 ** 26 });
const post = (url: string, kind: string, body: string): Promise<Response> =>
  fetch(`${url}/v1/${kind}`, { method: "POST", headers: { "content-type": "application/json" }, body });
const ask = async (url: string, kind: "project" | "classify", i: number): Promise<void> => {
  const answer = await post(url, kind, JSON.stringify({ embeddings: [rows[i]] }));
  expect(answer.status).toBe(200);
  const body = (await answer.json()) as Record<string, number[][]>;
  const [got] = body[kind === "project" ? "relative" : "logits"];
  const width = kind === "project" ? ANCHORS : CLASSES;
  expect(got).toHaveLength(width);
  for (const [k, value] of got.entries()) expect(Math.abs(value - want[kind][i * width + k])).toBeLessThan(1e-4);
};

/** So many clients at once, each asking again as soon as it is answered. */
type Kind = "project" | "classify";
const storm = async (
  url: string,
  clients: number,
  each: number,
  kinds: readonly Kind[] = ["classify", "project"],
  after?: (answered: number) => void,
): Promise<void> => {
  let answered = 0;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let i = 0; i < each; i++) {
        await ask(url, kinds[i % kinds.length], (client * 7 + i) % BODIES);
        after?.(++answered);
      }
    }),
  );
};

test("64 clients at once get the right answers, in batches, and nothing is left on the device", async () => {
  const { url, engine } = await serve(native);
  await storm(url, 64, 6);
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics).toContain('service_request_duration_seconds_count{route="/v1/classify",status="200"} 192');
  const batches = Number(/service_batch_rows_count\{kind="classify"\} (\d+)/.exec(metrics)?.[1]);
  expect(batches).toBeGreaterThan(0);
  expect(batches).toBeLessThan(192);
  expect(metrics).toMatch(/service_event_loop_delay_seconds\{quantile="0.99"\} 0\.\d+/);
  expect(metrics).toContain("service_device_recoveries 0");
  expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ status: "ok", device: "native" });
  const { liveBuffers } = (await engine.device()).counters;
  await ask(url, "classify", 0);
  expect((await engine.device()).counters.liveBuffers).toBe(liveBuffers);
});

test("the network has learned its classes", () => {
  const found = Array.from(labels, (_, i) => {
    const row = want.classify.slice(i * CLASSES, (i + 1) * CLASSES);
    return row.indexOf(Math.max(...row));
  });
  expect(found.filter((label, i) => label === labels[i]).length).toBeGreaterThan(0.9 * BODIES);
});

test.each([
  [
    "native, closed",
    64,
    6,
    ["classify", "project"],
    async () => {
      const device = await native();
      return { device, destroy: () => void device.close() };
    },
  ],
  [
    "webgpu, destroyed",
    4,
    3,
    ["project"],
    async () => {
      const gpuDevice = await foreignDevice();
      return { device: await openDevice({ gpuDevice }), destroy: () => gpuDevice.destroy() };
    },
  ],
] as const)("a device that is lost under load (%s) is replaced: no wrong answer, no hung request", async (_, clients, each, kinds, make) => {
  const destroyers: (() => void)[] = [];
  const { url, engine } = await serve(async () => {
    const { device, destroy } = await make();
    destroyers.push(destroy);
    return device;
  });
  const at = [Math.floor((clients * each) / 3)];
  await storm(url, clients, each, kinds, (answered) => {
    if (at.includes(answered)) destroyers.at(-1)?.();
  });
  await ask(url, "project", 1);
  expect(engine.recoveries).toBeGreaterThanOrEqual(1);
  expect(engine.recoveries).toBe(destroyers.length - 1);
  for (const destroy of destroyers) destroy();
});

test("what cannot be opened again is an error for each request, and no hang", async () => {
  let opened = 0;
  const { url, engine } = await serve(async () => {
    if (opened++ > 0) throw new DataError("there is no other device");
    return native();
  });
  await (await engine.device()).close();
  const answer = await post(url, "classify", JSON.stringify({ embeddings: [rows[0]] }));
  expect([answer.status, await answer.json()]).toEqual([422, { error: "there is no other device" }]);
  expect((await fetch(`${url}/health`)).status).toBe(422);
});

test("malformed, oversized and misshapen bodies are refused, and nothing reaches the device", async () => {
  const { url, engine } = await serve(native, { bodyLimit: 4096, maxBatch: 4 });
  const dispatches = (await engine.device()).counters.dispatches;
  const row = rows[0];
  const bodies: readonly [string, number][] = [
    ["{", 400],
    ["", 400],
    ["null", 400],
    ["[]", 400],
    ["{}", 400],
    [JSON.stringify({ embeddings: [] }), 400],
    [JSON.stringify({ embeddings: [[]] }), 400],
    [JSON.stringify({ embeddings: [row.slice(1)] }), 400],
    [JSON.stringify({ embeddings: [row.map(String)] }), 400],
    [JSON.stringify({ embeddings: [[null, ...row.slice(1)]] }), 400],
    [`{"embeddings":[[1e39,${row.slice(1)}]]}`, 400],
    [`{"embeddings":[[1e999,${row.slice(1)}]]}`, 400],
    [JSON.stringify({ embeddings: Array.from({ length: 5 }, () => row.map(() => 1)) }), 400],
    [JSON.stringify({ embeddings: [row, row, row, row], padding: "x".repeat(4096) }), 413],
  ];
  for (const [body, status] of bodies) expect([body, (await post(url, "classify", body)).status]).toEqual([body, status]);
  expect((await fetch(`${url}/v1/classify`, { method: "POST", body: "x", headers: { "content-type": "image/png" } })).status).toBe(415);
  expect((await fetch(`${url}/nowhere`)).status).toBe(404);
  expect((await engine.device()).counters.dispatches).toBe(dispatches);
});

describe("batcher", () => {
  const identity = async (batch: readonly number[]): Promise<readonly number[]> => batch;

  test("what arrives while a batch runs is the next one, up to its size; the queue is limited", async () => {
    const sizes: number[] = [];
    const batcher = new Batcher(
      async (batch: readonly number[]) => {
        sizes.push(batch.length);
        await new Promise((resolve) => setImmediate(resolve));
        return batch;
      },
      { maxBatch: 4, maxWait: 0, maxQueue: 6 },
    );
    const answers = [[1], [2, 3], [4, 5], [6], [7]].map((batch) => batcher.submit(batch));
    await expect(batcher.submit([8, 9, 10])).rejects.toThrow(BusyError);
    expect(await Promise.all(answers)).toEqual([[1], [2, 3], [4, 5], [6], [7]]);
    expect(sizes).toEqual([1, 4, 2]);
    await batcher.close();
    await expect(batcher.submit([1])).rejects.toThrow("going down");
  });

  test("a row that is refused fails its own request alone", async () => {
    const run = async (batch: readonly number[]): Promise<readonly number[]> => {
      if (batch.includes(-1)) throw new DataError("negative");
      return batch;
    };
    const batcher = new Batcher(run, { maxBatch: 8, maxWait: 1, maxQueue: 8 }, (error) => error instanceof DataError);
    const answers = await Promise.allSettled([batcher.submit([1]), batcher.submit([-1]), batcher.submit([2])]);
    expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });

  test("closing answers what waits, at once", async () => {
    const batcher = new Batcher(identity, { maxBatch: 8, maxWait: 60_000, maxQueue: 8 });
    const answer = batcher.submit([1]);
    await batcher.close();
    expect(await answer).toEqual([1]);
  });
});

test("a full queue answers 503 and says when to come again; what it holds is answered", async () => {
  // Two rows wait for a fourth, so whichever request comes second finds no room.
  const { url } = await serve(native, { maxQueue: 3, maxBatch: 4, maxWait: 60_000 });
  const body = JSON.stringify({ embeddings: [rows[0], rows[1]] });
  const both = [post(url, "classify", body), post(url, "classify", body)];
  const refused = await Promise.race(both);
  expect(refused.status).toBe(503);
  expect(refused.headers.get("retry-after")).toBe("1");
  await app?.close();
  expect((await Promise.all(both)).map(({ status }) => status).sort()).toEqual([200, 503]);
});

test("the process: starts, answers, and on SIGTERM finishes what it has before it ends", async () => {
  const main = fileURLToPath(new URL("../examples/service/main.ts", import.meta.url));
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const folder = temporaryFolder();
  const file = join(folder, "model.safetensors");
  writeFileSync(file, checkpoint);
  const child = spawn(process.execPath, ["--import", tsx, main, "--port", "0", "--device", "native", "--checkpoint", file, "--max-wait", "20000"]);
  const ended = once(child, "exit");
  let output = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text) => {
      output += text;
      const found = /http:\S+/.exec(output);
      if (found) resolve(found[0]);
    });
    void ended.then(([code]) => reject(new Error(`ended with ${code}`)));
  });
  const pending = Array.from({ length: 8 }, () => post(url, "classify", JSON.stringify({ embeddings: [rows[0]] })));
  const waiting = async (): Promise<boolean> => (await (await fetch(`${url}/metrics`)).text()).includes('service_queue_rows{kind="classify"} 8');
  while (!(await waiting())) await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill("SIGTERM");
  for (const answer of await Promise.all(pending)) {
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ classes: [expect.any(Number)] });
  }
  expect(await ended).toEqual([0, null]);
  expect(output).toContain("closed");
});
