/** Finds and loads the addon: every place is tried, and every reason is kept. */
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Counters } from "../../backend.ts";
import { DeviceError } from "../../errors.ts";
import type { Attrs, DType, Spec } from "../../op.ts";

/** What a read or synchronize ends with. `value` belongs to a fault. */
export interface Answer {
  readonly outcome: "ok" | "fault" | "outOfMemory" | "failed" | "dropped";
  readonly message: string;
  readonly value: number;
  readonly values?: Float32Array | Int32Array | Uint32Array | Uint16Array;
}

/** `class Device` of native/addon.cc. Buffers and prepared calls are numbers. */
export interface AddonDevice {
  has(op: string): boolean;
  /** The array in which `run` finds what it is to do, in place of the one before. It must stay attached. */
  frame(length: number): Float64Array;
  /** Throws when the library cannot be loaded or lacks the symbol. */
  prepare(
    op: string,
    inputs: readonly Spec[],
    outputs: readonly Spec[],
    attrs: Attrs,
    scalars: readonly string[],
    fault: string,
    library?: string,
    symbol?: string,
  ): number;
  release(prepared: number): void;
  /** The frame holds the call, its operands' buffers, inputs first, and then the scalars. */
  run(): void;
  /** -1 when there is no memory. */
  alloc(bytes: number): number;
  free(buffer: number): void;
  write(buffer: number, values: Float32Array | Int32Array | Uint32Array | Uint16Array): void;
  read(buffer: number, dtype: DType): Promise<Answer>;
  synchronize(): Promise<Answer>;
  counters(): Counters;
  close(): Promise<void>;
}

export interface Addon {
  readonly Device: new (level: string, threads: number, memory: number) => AddonDevice;
  /** SIMD levels that this processor can run, best first. */
  levels(): string[];
}

export interface LoadedAddon {
  readonly addon: Addon;
  readonly path: string;
}

/** The folder of the package, from wherever this file was built or bundled to. */
const packageRoot = (): string | undefined => {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, "binding.gyp"))) return folder;
    if (folder === dirname(folder)) return undefined;
  }
};

/** Whether the C library of a Linux is musl, for which addons are built apart. */
const onMusl = (): boolean => {
  if (process.platform !== "linux") return false;
  // The report looks up the names of everything connected unless it is told not to.
  const report = process.report as typeof process.report & { excludeNetwork?: boolean };
  const before = report.excludeNetwork ?? false;
  report.excludeNetwork = true;
  try {
    return (report.getReport() as { header: { glibcVersionRuntime?: string } }).header.glibcVersionRuntime === undefined;
  } finally {
    report.excludeNetwork = before;
  }
};

/** What this machine's addon is called among those that are built beforehand. */
const platform = (): string => `${process.platform}-${process.arch}${onMusl() ? "-musl" : ""}`;

/** For what the package holds an addon. */
const prebuilt = (root: string | undefined): readonly string[] => {
  const folder = root && join(root, "prebuilds");
  return folder && existsSync(folder) ? readdirSync(folder).sort() : [];
};

/** Where the addon may be, in the order to try. `BIRKHOFF_ADDON` names the one file to load instead. */
const places = (): readonly string[] => {
  const forced = process.env.BIRKHOFF_ADDON;
  if (forced) return [forced];
  const root = packageRoot();
  if (root === undefined) return [];
  return [join(root, "build/Release/birkhoff.node"), join(root, `prebuilds/${platform()}/birkhoff.node`)];
};

/**
 * The addon and the file it came from.
 *
 * @throws DeviceError that lists every place tried with its reason, and what to do.
 */
export const loadAddon = (): LoadedAddon => {
  const require = createRequire(import.meta.url);
  const tried: string[] = [];
  for (const path of places()) {
    if (!existsSync(path)) {
      tried.push(`${path}: no such file`);
      continue;
    }
    try {
      return { addon: require(path) as Addon, path };
    } catch (error) {
      tried.push(`${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const root = packageRoot();
  throw new DeviceError(
    `openDevice: the native addon could not be loaded; tried ${tried.join("; ") || "nothing, because the package's own folder was not found"}. ` +
      `Built beforehand for ${prebuilt(root).join(", ") || "no platform"}. Build it with \`node ${join(root ?? "node_modules/birkhoff", "scripts/build-native.mjs")}\` ` +
      "(needs a C++20 compiler, make, Python 3 and the npm packages node-gyp and node-addon-api), or use the webgpu or reference device",
  );
};
