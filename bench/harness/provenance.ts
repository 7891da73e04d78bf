/** Which machine, and which state of the code, a number that is kept belongs to. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { packageFolder } from "./rival.ts";

export interface Machine {
  /** The hardware GPU's name, where there is one. */
  readonly gpu?: string;
  /** As the operating system calls it. */
  readonly cpu: string;
  readonly cores: number;
  readonly platform: string;
  readonly arch: string;
}

export const thisMachine = (gpu?: string): Machine => ({
  ...(gpu && { gpu }),
  cpu: cpus()[0]?.model ?? "",
  cores: availableParallelism(),
  platform: process.platform,
  arch: process.arch,
});

const PLATFORMS: Readonly<Record<string, string>> = { linux: "Linux", darwin: "macOS", win32: "Windows" };

/** What makers write around a processor's name. */
const TRIMMINGS = /\((r|tm|c)\)|\b(cpu|processor|\d+-core)\b|@.*$/gi;

/** "AMD EPYC, 2 cores, Linux x64": what stays the same from run to run. */
export const machineName = ({ gpu, cpu, cores, platform, arch }: Machine): string => {
  const processor = cpu.replace(TRIMMINGS, " ").replace(/\s+/g, " ").trim();
  const parts = [gpu, processor, `${cores} core${cores === 1 ? "" : "s"}`, `${PLATFORMS[platform] ?? platform} ${arch}`];
  return parts.filter(Boolean).join(", ");
};

/** "amd-epyc-2-cores-linux-x64": the machine's name as that of a file. */
export const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");

/** What says nothing of how fast the code is: results themselves would make every state but the first another one. */
const NO_CODE = [":(exclude)bench/results", ":(exclude,glob)**/*.md"];

/** The commit, behind it, where the code is not that of the commit, a digest of what differs; of an installed package its version. */
export const codeState = (): string => {
  const folder = packageFolder();
  const git = (...args: readonly string[]): string =>
    execFileSync("git", args, { cwd: folder, stdio: ["ignore", "pipe", "ignore"], encoding: "utf8", maxBuffer: 2 ** 30 }).trim();
  try {
    // Not the repository of whoever installed the package.
    if (git("rev-parse", "--show-prefix") !== "") throw new Error("another repository");
    const commit = git("rev-parse", "--short=12", "HEAD");
    const changes = git("diff", "HEAD", "--", ".", ...NO_CODE);
    return changes === "" ? commit : `${commit}-dirty-${createHash("sha256").update(changes).digest("hex").slice(0, 8)}`;
  } catch {
    return (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string }).version;
  }
};
