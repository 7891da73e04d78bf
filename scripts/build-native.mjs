/**
 * Builds the native addon into build/Release. Does nothing when nothing changed.
 * Without a compiler the package still works: that is said in one line, and is an error only with `--required`.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { setTimeout } from "node:timers/promises";
import { main, root } from "./run.mjs";

const folder = join(root, "build");
const outputs = ["birkhoff.node", "birkhoff_test.node", `driver${process.platform === "win32" ? ".exe" : ""}`].map((file) =>
  join(folder, "Release", file),
);
const stamp = join(folder, "birkhoff.stamp");

/** Changes whenever the build must run again. */
const fingerprint = () => {
  const hash = createHash("sha256").update(`${process.version} ${process.arch} ${process.env.CXX ?? ""} ${process.env.CXXFLAGS ?? ""}`);
  const files = readdirSync(join(root, "native"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cc|h|mjs)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  for (const file of [join(root, "binding.gyp"), ...files]) hash.update(relative(root, file)).update(readFileSync(file));
  return hash.digest("hex");
};

/** A prefix that holds Node's headers, so that nothing needs to be downloaded. */
export const headersPrefix = () => {
  const prefixes = [dirname(dirname(realpathSync(process.execPath))), "/usr/local", "/usr"];
  if (process.env.npm_config_nodedir) prefixes.unshift(process.env.npm_config_nodedir);
  return prefixes.find((prefix) => existsSync(join(prefix, "include/node/node_api.h")));
};

/** The program, installed here or, for an installed package, beside it; undefined where it is not. */
const nodeGyp = () => {
  try {
    return createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
  } catch {
    return undefined;
  }
};

const works = (program) => spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;

/** What a build needs and this machine lacks. */
const missing = () => {
  if (!nodeGyp()) return "node-gyp is not installed";
  if (process.platform === "win32") return undefined;
  const compilers = process.env.CXX ? [process.env.CXX.split(" ")[0]] : process.platform === "darwin" ? ["c++"] : ["g++"];
  if (!compilers.some(works)) return `no C++ compiler (${compilers.join(" or ")})`;
  if (!works("make")) return "no make";
  if (!works("python3")) return "no python3";
  return undefined;
};

/** Whether the process that wrote the lock still runs. */
const alive = (lock) => {
  try {
    const pid = Number(readFileSync(lock, "utf8"));
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
};

/** One build at a time in this folder; a lock left by a process that is gone does not count. */
const locked = async (body) => {
  const lock = join(folder, "birkhoff.lock");
  mkdirSync(folder, { recursive: true });
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (alive(lock)) await setTimeout(200);
    else rmSync(lock, { force: true });
  }
  try {
    return await body();
  } finally {
    rmSync(lock, { force: true });
  }
};

const build = () => {
  const wanted = fingerprint();
  if (outputs.every(existsSync) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) {
    console.log("native addon: up to date");
    return 0;
  }
  const lack = missing();
  if (lack) {
    console.log(`native addon not built: ${lack}; it needs a C++20 compiler, make and Python 3; webgpu and reference still work`);
    return process.argv.includes("--required") ? 1 : 0;
  }
  const start = performance.now();
  const prefix = headersPrefix();
  const options = ["--jobs", String(availableParallelism()), ...(prefix ? [`--nodedir=${prefix}`] : [])];
  const program = [nodeGyp(), "configure", "build", ...options];
  const { status, error, stdout, stderr } = spawnSync(process.execPath, program, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 });
  if (error) throw error;
  if (status !== 0) {
    process.stderr.write(stdout + stderr);
    console.log("native addon not built: see the messages above");
    return 1;
  }
  writeFileSync(stamp, wanted);
  console.log(`native addon: built in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return 0;
};

await main(import.meta, () => locked(build));
