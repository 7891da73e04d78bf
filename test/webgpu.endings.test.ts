/** A process with a webgpu device ends by itself, with the code that it should, whatever its device is doing; and does without an addon. */
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "./support/folder.ts";

const run = promisify(execFile);
const CHILD = fileURLToPath(new URL("support/webgpu-child.mjs", import.meta.url));

const end = (ending: string, env: NodeJS.ProcessEnv = {}): Promise<{ code: unknown; output: string }> =>
  run(process.execPath, [CHILD, ending], { timeout: 60_000, env: { ...process.env, ...env } }).then(
    ({ stdout }) => ({ code: 0, output: stdout.trim() }),
    ({ code, signal, stdout }) => ({ code: code ?? signal, output: String(stdout).trim() }),
  );

describe("endings", () => {
  test.concurrent.each([
    ["return", 0, "read 2,3,4"],
    ["unawaited", 0, ""],
    ["pending", 0, "read 2,3,4"],
    ["throw", 1, ""],
    ["rejection", 1, ""],
    ["exit", 3, ""],
    ["close", 0, "read 2,3,4"],
    ["destroy", 0, "ERR_DEVICE"],
    ["workerReturn", 0, "worker 0"],
    ["workerThrow", 0, "worker 1 on purpose"],
    ["workerRejection", 0, "worker 1 on purpose"],
    ["workerExit", 0, "worker 4"],
    ["terminateIdle", 0, "worker 1"],
    ["terminateClosed", 0, "worker 1"],
    ["exitWithWorker", 3, ""],
  ])("%s", async (ending, code, output) => {
    expect(await end(ending)).toEqual({ code, output });
  });
});

test("an addon that is missing, cut off or of another architecture: one line, and the other devices work in the same process", async () => {
  const folder = temporaryFolder();
  const library = readFileSync(new URL("../build/Release/birkhoff.node", import.meta.url));
  library.writeUInt16LE(0xf3, 18); // The machine in the header of an ELF file: RISC-V.
  const foreign = join(folder, "foreign.node");
  const cut = join(folder, "cut.node");
  writeFileSync(foreign, library);
  writeFileSync(cut, library.subarray(0, 100));
  const outcomes = await Promise.all([foreign, cut, join(folder, "none.node")].map((file) => end("addon", { BIRKHOFF_ADDON: file })));
  for (const outcome of outcomes) expect(outcome).toEqual({ code: 0, output: "ERR_DEVICE 1 line\nreference 2\nwebgpu 2\nreference true" });
});
