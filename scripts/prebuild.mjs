/**
 * Puts the addon that was built here where the package carries it: prebuilds/<platform>-<architecture>[-musl]/birkhoff.node, stripped. On Linux it also
 * says which glibc that needs, and refuses what would run on fewer systems than Dawn of the npm package `webgpu` does.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { main, root, run } from "./run.mjs";

/** What Dawn needs. */
const NEWEST_GLIBC = [2, 34];

const musl = () => process.platform === "linux" && process.report.getReport().header.glibcVersionRuntime === undefined;

/** The folder that `src/backends/native/load.ts` looks into. */
export const tuple = () => `${process.platform}-${process.arch}${musl() ? "-musl" : ""}`;

/** Versions of symbols of shared libraries that a file asks for, by library. */
const versionsOf = (file) => {
  const { status, stdout, error } = spawnSync("objdump", ["-T", file], { encoding: "utf8" });
  if (error || status !== 0) throw new Error("expected objdump of binutils, to see what the addon needs");
  const versions = new Map();
  for (const [, library, version] of stdout.matchAll(/\b(GLIBC|GLIBCXX|CXXABI|GCC)_([\d.]+)/g))
    versions.set(library, [...(versions.get(library) ?? []), version.split(".").map(Number)]);
  return versions;
};

const newer = (a, b) => a[0] - b[0] || (a[1] ?? 0) - (b[1] ?? 0);

/** What it needs of the system, as a sentence; throws where that is too new. */
const needs = (file) => {
  const versions = versionsOf(file);
  for (const library of ["GLIBCXX", "CXXABI"])
    if (versions.has(library))
      throw new Error(`expected an addon with libstdc++ inside, but it needs ${library} of the system's: install libstdc++.a`);
  const [glibc] = (versions.get("GLIBC") ?? [[0]]).sort((a, b) => newer(b, a));
  if (newer(glibc, NEWEST_GLIBC) > 0)
    throw new Error(`expected an addon that runs on glibc ${NEWEST_GLIBC.join(".")}, but it needs ${glibc.join(".")}`);
  return `needs glibc ${glibc.join(".")}, libstdc++ is inside`;
};

await main(import.meta, () => {
  run([process.execPath, "scripts/build-native.mjs", "--required"]);
  const target = join(root, "prebuilds", tuple(), "birkhoff.node");
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(join(root, "build/Release/birkhoff.node"), target);
  if (process.platform === "linux") run(["strip", "--strip-unneeded", target]);
  if (process.platform === "darwin") run(["strip", "-x", target]);
  console.log(`prebuilds/${tuple()}${process.platform === "linux" && !musl() ? `: ${needs(target)}` : ""}`);
  return 0;
});
