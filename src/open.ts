import type { Backend, DeviceKind } from "./backend.ts";
import { openReference } from "./backends/reference/index.ts";
import { openWebGPU } from "./backends/webgpu/index.ts";
import { checkBackend, Device } from "./device.ts";
import { checkNames, DeviceError, expected } from "./errors.ts";
import { add } from "./ops/elementwise/index.ts";

export interface OpenDeviceOptions {
  /** Which kind to open. Default: the first that works of a hardware GPU, `native`, `reference`. */
  readonly device?: DeviceKind;
  /** A WebGPU device of the caller's own: used as it is and never destroyed. Implies `webgpu`. */
  readonly gpuDevice?: GPUDevice;
  /** Products of float16 matrices by the GPU's matrix units, of `webgpu` alone: see `WebGPUOptions`. Default false. */
  readonly subgroupMatrices?: boolean;
  /** Threads of the native device, 1 to 1024. Default: all cores. */
  readonly threads?: number;
  /**
   * Bytes that the device holds at most: tensors, temporary and staging buffers, and what it keeps for reuse, which makes room first. Sizes are
   * rounded up, by a quarter at most; `reference` takes 8 bytes for a float. Beyond it calls throw OutOfMemoryError, hold nothing, and the device
   * goes on. Copies that `read()` gives, and pipelines, are not counted. Default: four fifths of the machine's or container's memory on `native`,
   * none elsewhere.
   */
  readonly memoryLimit?: number;
}

/**
 * Wraps any backend, also one of the caller's own, as a device.
 *
 * @param rejected what `device.rejected` says; default nothing
 * @throws ArgumentError for a backend that lacks something, and a list of other things than texts
 * @example deviceOf(guarded(device.backend)).kind; // => "reference"
 */
export const deviceOf = (backend: Backend, rejected: readonly string[] = []): Device => {
  if (!Array.isArray(rejected) || rejected.some((reason) => typeof reason !== "string")) throw expected("deviceOf", "texts", "rejected", rejected);
  return new Device(checkBackend("deviceOf", backend), add, rejected);
};

const KINDS: readonly DeviceKind[] = ["webgpu", "native", "reference"];

/** Node, or what has its modules as well. */
const hasNodeModules = (): boolean => typeof process === "object" && process.versions?.node !== undefined;

/** Loaded when it is wanted: browsers have nothing of what it is made of, and package.json's `browser` field leaves it out of their bundles. */
const openNative = async (options: { readonly threads?: number; readonly memoryLimit?: number }): Promise<Backend> => {
  if (!hasNodeModules()) throw new DeviceError("openDevice: the native device needs Node or Deno; use the webgpu or reference device");
  const native = await import("./backends/native/index.ts");
  return native.openNative(options);
};

const open = async (kind: DeviceKind, allowSoftware: boolean, options: OpenDeviceOptions): Promise<Backend> => {
  const { gpuDevice, subgroupMatrices, threads, memoryLimit } = options;
  const memory = memoryLimit === undefined ? {} : { memoryLimit };
  if (kind === "webgpu")
    return openWebGPU({ allowSoftware, ...(gpuDevice && { gpuDevice }), ...(subgroupMatrices && { subgroupMatrices }), ...memory });
  if (kind === "native") return openNative({ ...(threads === undefined ? {} : { threads }), ...memory });
  return openReference(memory);
};

/**
 * Opens a device. Without `device`, the rule is: a hardware GPU, else `native`, else `reference`; why the earlier ones were
 * not picked stands in `device.rejected`. A software GPU is used only when `webgpu` is asked for by name. Nothing changes device later by itself.
 *
 * @throws DeviceError when the device that was asked for cannot be opened: says what was tried and what to do; ArgumentError for an
 * unknown kind, another kind than webgpu together with `gpuDevice`, or a senseless number of threads or bytes.
 * @example
 * ```ts
 * await using device = await openDevice();
 * console.log(device.kind, device.info.description, device.rejected);
 * (await openDevice({ device: "reference" })).kind; // => "reference"
 * ```
 */
export const openDevice = async (options: OpenDeviceOptions = {}): Promise<Device> => {
  const names = ["device", "gpuDevice", "subgroupMatrices", "threads", "memoryLimit"] as const;
  const { device: asked, gpuDevice, memoryLimit } = checkNames("openDevice", options, names);
  if (asked !== undefined && !KINDS.includes(asked)) throw expected("openDevice", "webgpu, native or reference", "device", asked);
  if (gpuDevice && asked !== undefined && asked !== "webgpu") throw expected("openDevice", "webgpu, since `gpuDevice` is given,", "device", asked);
  if (memoryLimit !== undefined && !(Number.isSafeInteger(memoryLimit) && memoryLimit >= 0))
    throw expected("openDevice", "a number of bytes", "memoryLimit", memoryLimit);
  const kind = gpuDevice ? "webgpu" : asked;
  if (kind) return deviceOf(await open(kind, true, options));
  const rejected: string[] = [];
  for (const candidate of KINDS) {
    try {
      return deviceOf(await open(candidate, false, options), rejected);
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      rejected.push(`${candidate}: ${error.message}`);
    }
  }
  throw new DeviceError(`openDevice: expected one device to open, but none did: ${rejected.join("; ")}`);
};
