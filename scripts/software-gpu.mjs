/**
 * A software Vulkan driver (SwiftShader) out of an npm package, so that WGSL runs on machines without a GPU.
 * As a command: `node scripts/software-gpu.mjs <command...>` runs the command with that driver.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { brotliDecompressSync } from "node:zlib";
import { extract } from "tar";

const LIBRARY = "libvk_swiftshader.so";
const ARCHIVE = join("bin", "swiftshader.tar.br");
const ICD = "vk_swiftshader_icd.json";

/** The folder of the installed package, looked up without loading it: it is a browser launcher otherwise. */
const packageFolder = () => {
  let folder = dirname(createRequire(import.meta.url).resolve("@sparticuz/chromium"));
  while (!existsSync(join(folder, ARCHIVE))) {
    if (folder === dirname(folder)) throw new Error(`software-gpu: expected ${ARCHIVE} in @sparticuz/chromium, but it is not there`);
    folder = dirname(folder);
  }
  return folder;
};

/** Unpacks the driver once per version and gives its folder. */
const unpack = () => {
  const source = packageFolder();
  const { version } = JSON.parse(readFileSync(join(source, "package.json"), "utf8"));
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "birkhoff");
  const target = join(cache, `swiftshader-${version}`);
  if (existsSync(join(target, ICD))) return target;
  mkdirSync(cache, { recursive: true });
  const aside = mkdtempSync(`${target}-`);
  const archive = join(aside, "swiftshader.tar");
  writeFileSync(archive, brotliDecompressSync(readFileSync(join(source, ARCHIVE))));
  extract({ file: archive, cwd: aside, sync: true });
  rmSync(archive);
  if (!existsSync(join(aside, ICD))) {
    writeFileSync(join(aside, ICD), JSON.stringify({ file_format_version: "1.0.0", ICD: { library_path: `./${LIBRARY}`, api_version: "1.0.5" } }));
  }
  try {
    renameSync(aside, target);
  } catch (error) {
    // Another process was faster; its copy is complete because it was renamed too.
    rmSync(aside, { recursive: true });
    if (!existsSync(join(target, ICD))) throw error;
  }
  return target;
};

/**
 * The environment variables that make Dawn find SwiftShader: nothing to add when the user chose a driver
 * (VK_DRIVER_FILES, VK_ICD_FILENAMES) or the platform is not Linux on x64. They must be set before the process starts.
 *
 * @returns {Record<string, string>}
 */
export const softwareGpuEnvironment = () => {
  if (process.platform !== "linux" || process.arch !== "x64") return {};
  if (process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES) return {};
  const folder = unpack();
  const before = process.env.LD_LIBRARY_PATH;
  return { LD_LIBRARY_PATH: before ? `${folder}${delimiter}${before}` : folder, VK_DRIVER_FILES: join(folder, ICD) };
};

const main = () => {
  const [command, ...args] = process.argv.slice(2);
  if (!command) {
    console.error("usage: node scripts/software-gpu.mjs <command...>");
    process.exitCode = 2;
    return;
  }
  const added = softwareGpuEnvironment();
  if (process.platform !== "linux" || process.arch !== "x64") {
    console.error(`software-gpu: SwiftShader is packed for linux-x64 only; running on ${process.platform}-${process.arch} as it is`);
  }
  const child = spawn(command, args, { stdio: "inherit", env: { ...process.env, ...added }, shell: process.platform === "win32" });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`software-gpu: cannot run ${command}: ${error.message}`);
    process.exitCode = 127;
  });
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? (signal ? 1 : 0);
  });
};

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main();
