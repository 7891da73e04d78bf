/** Dawn, Chromium's WebGPU, in Node: the only file that loads the npm package `webgpu`. */
import { DeviceError } from "../../errors.ts";
import { watchLooks } from "./worker.ts";

export { closeAtEnd } from "./worker.ts";

/** Dawn crashes when its GPU object is collected before the devices made from it, so these live as long as the process. */
const dawn = new Map<string, GPU>();

/**
 * Workgroup memory is zeroed by a loop of all threads, as Dawn does it for Metal and Direct3D, and not by the Vulkan driver: SwiftShader stores every word once
 * per subgroup, in code as long as the memory, which took most of the time of many kernels and of their compilation.
 */
const ALWAYS = ["disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension"];

/** Opens Dawn with the given flags. Throws DeviceError when npm `webgpu` cannot be loaded. */
export const openDawn = async (flags: readonly string[]): Promise<GPU> => {
  const key = flags.join("\n");
  const known = dawn.get(key);
  if (known) return known;
  // A name that bundlers cannot follow: the package loads a library that lies beside it.
  const name = "webgpu";
  let package_: typeof import("webgpu");
  try {
    package_ = (await import(/* @vite-ignore */ name)) as typeof import("webgpu");
  } catch (error) {
    throw new DeviceError(
      `webgpu: expected the npm package \`webgpu\` to load on ${process.platform}-${process.arch}, but received: ${(error as Error).message}. ` +
        "It needs glibc 2.34 or newer on Linux; without it use device 'native' or 'reference'",
      { cause: error },
    );
  }
  watchLooks();
  // Another caller may have been here while the package loaded.
  const gpu = dawn.get(key) ?? package_.create([...ALWAYS, ...flags]);
  dawn.set(key, gpu);
  return gpu;
};

/** Dawn, and what to tell when it gives no adapter. Throws DeviceError where it cannot be loaded or would find nothing. */
export const findDawn = async (flags: readonly string[]): Promise<{ readonly gpu: GPU; readonly noAdapter: string }> => {
  if (flags.length === 0 && lacksVulkan()) {
    throw new DeviceError(`webgpu: expected a GPU adapter, but received none from ${advised("Linux without the Vulkan loader libvulkan.so.1")}`);
  }
  return { gpu: await openDawn(flags), noAdapter: advised(`Dawn of the npm package \`webgpu\` with flags [${flags.join(", ")}]`) };
};

const advised = (source: string): string => {
  const environment = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "LD_LIBRARY_PATH", "DISPLAY"].map(
    (name) => `${name}=${process.env[name] ?? "(not set)"}`,
  );
  return (
    `${source} (${environment.join(", ")}). Install a Vulkan driver (Linux), run under a software one ` +
    "(`node scripts/software-gpu.mjs <command>`, needs @sparticuz/chromium), or use device 'native' or 'reference'"
  );
};

/**
 * Whether Linux has no Vulkan loader. Asked first, because Dawn complains on standard error when it finds none, even where
 * a device is only looked for and not needed. Opening the library is the linker's own test; Node then refuses it as an addon.
 */
const lacksVulkan = (): boolean => {
  if (process.platform !== "linux") return false;
  try {
    process.dlopen({ exports: {} }, "libvulkan.so.1");
  } catch (error) {
    return /libvulkan\.so\.1: cannot open shared object file/.test((error as Error).message);
  }
  return false;
};
