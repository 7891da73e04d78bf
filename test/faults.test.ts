/** What a process may do to devices from outside: workers, a GPU that is lost at any stage, an addon for another machine. */
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { DeviceError } from "../src/errors.ts";
import { valueAndGrad } from "../src/grad.ts";
import { openDevice } from "../src/open.ts";
import { mul } from "../src/ops/elementwise/index.ts";
import { sum } from "../src/ops/reduce/index.ts";
import { temporaryFolder } from "./support/folder.ts";
import { foreignDevice } from "./support/webgpu.ts";

test.each(["compile", "enqueue", "backward", "read"])("webgpu: a device lost during %s is a DeviceError, and nothing hangs", async (stage) => {
  const gpuDevice = await foreignDevice();
  await using device = await openDevice({ gpuDevice });
  const x = device.tensor([1, 2]);
  x.requiresGrad = true;
  const loseAt = (at: string): void => {
    if (at === stage) gpuDevice.destroy();
  };
  const work = async (): Promise<void> => {
    const { value } = valueAndGrad(() => {
      const y = mul(x, x);
      loseAt("compile"); // Its pipeline is not there yet.
      const z = sum(y);
      loseAt("enqueue");
      return z;
    }, [x]);
    loseAt("backward");
    const reading = value.item();
    loseAt("read");
    await reading;
  };
  await expect(work()).rejects.toThrow(DeviceError);
  await gpuDevice.lost;
  expect(() => mul(x, x)).toThrow(/lost \(destroyed\)/);
  x.dispose();
});

test("an addon of another architecture: one line says which file and why, and the reference device works", async () => {
  const before = process.env.BIRKHOFF_ADDON;
  const folder = temporaryFolder();
  const file = join(folder, "birkhoff.node");
  try {
    const library = readFileSync(new URL("../build/Release/birkhoff.node", import.meta.url));
    library.writeUInt16LE(0xf3, 18); // The machine in the header of an ELF file: RISC-V.
    for (const bytes of [library, library.subarray(0, 100), Buffer.alloc(0)]) {
      writeFileSync(file, bytes);
      process.env.BIRKHOFF_ADDON = file;
      const failure = openDevice({ device: "native" });
      await expect(failure).rejects.toThrow(DeviceError);
      await expect(failure).rejects.toThrow(`tried ${file}: `);
      await expect(failure).rejects.toThrow(/^[^\n]*webgpu or reference device$/);
    }
    await using reference = await openDevice({ device: "reference" });
    expect(await reference.tensor([2]).item()).toBe(2);
  } finally {
    if (before === undefined) delete process.env.BIRKHOFF_ADDON;
    else process.env.BIRKHOFF_ADDON = before;
  }
});

test.each(["native", "webgpu"])("%s: a device per worker, at the same time, each with its own answer and a clean exit", async (kind) => {
  const answers = [1, 2, 3].map(async (value) => {
    const worker = new Worker(new URL("./support/worker-device.mjs", import.meta.url), { workerData: { kind, value } });
    const [[answer], [code]] = await Promise.all([once(worker, "message"), once(worker, "exit")]);
    return [answer, code];
  });
  expect(await Promise.all(answers)).toEqual([1, 2, 3].map((value) => [64 * value, 0]));
});
