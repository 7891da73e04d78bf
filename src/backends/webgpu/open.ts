/** Finding a GPU device, and saying what was tried when there is none. */
import { ArgumentError, DeviceError } from "../../errors.ts";
import type { Limits } from "../../op.ts";

export interface WebGPUOptions {
  /** A device of your own, shared with the rest of your program. It is never destroyed here. */
  readonly gpuDevice?: GPUDevice;
  readonly powerPreference?: GPUPowerPreference;
  /** Options for Dawn in Node, such as `backend=vulkan`. Browsers and Deno have none. */
  readonly dawnFlags?: readonly string[];
  /** Whether an adapter that runs on the processor will do. Default true. */
  readonly allowSoftware?: boolean;
  /**
   * Whether products of float16 matrices run on the GPU's matrix units (Dawn's experimental subgroup matrices): 16 × 16 numbers a time, sums in float32 in
   * an order of the GPU's own. Opening fails where the adapter reports none of that kind. In Node it takes Dawn's unsafe APIs. Default false.
   */
  readonly subgroupMatrices?: boolean;
}

export interface Opened {
  readonly device: GPUDevice;
  readonly adapterInfo: GPUAdapterInfo | undefined;
  /** Whether `close` destroys the device. */
  readonly owned: boolean;
  readonly limits: Limits;
}

const FEATURES = ["shader-f16", "subgroups", "timestamp-query"] as const satisfies readonly GPUFeatureName[];
/** Experimental, so not among the names that WebGPU's types know. */
const SUBGROUP_MATRIX = "chromium-experimental-subgroup-matrix" as GPUFeatureName;
const WANTED = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const satisfies readonly (keyof GPUSupportedLimits)[];

/** Dawn crashes when its GPU object is collected before the devices made from it, so these live as long as the process. */
const dawn = new Map<string, GPU>();

/** Opens Dawn with the given flags. Throws DeviceError when npm `webgpu` cannot be loaded. */
export const openDawn = async (flags: readonly string[]): Promise<GPU> => {
  const key = flags.join("\n");
  const known = dawn.get(key);
  if (known) return known;
  // A name that bundlers cannot follow: browsers never need the package.
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
  const gpu = package_.create([...flags]);
  dawn.set(key, gpu);
  return gpu;
};

const inNode = (): boolean => typeof process === "object" && process.versions?.node !== undefined && !("Deno" in globalThis);

const findGpu = async (flags: readonly string[]): Promise<{ gpu: GPU; source: string }> => {
  const native = (globalThis as { readonly navigator?: { readonly gpu?: GPU } }).navigator?.gpu;
  if (native && flags.length === 0) return { gpu: native, source: "navigator.gpu" };
  if (inNode() && flags.length === 0 && lacksVulkan()) throw noAdapter("Linux without the Vulkan loader libvulkan.so.1");
  if (inNode()) return { gpu: await openDawn(flags), source: `Dawn of the npm package \`webgpu\` with flags [${flags.join(", ")}]` };
  if (flags.length > 0) throw new ArgumentError(`webgpu: expected no \`dawnFlags\` outside of Node, but received [${flags.join(", ")}]`);
  throw new DeviceError("webgpu: expected `navigator.gpu`, but this runtime has none; use a browser with WebGPU in a secure context, or Node");
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

const noAdapter = (source: string): DeviceError => {
  const environment = inNode()
    ? ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "LD_LIBRARY_PATH", "DISPLAY"].map((name) => `${name}=${process.env[name] ?? "(not set)"}`).join(", ")
    : "";
  const advice = inNode()
    ? "Install a Vulkan driver (Linux), run under a software one (`node scripts/software-gpu.mjs <command>`, needs @sparticuz/chromium), or use device 'native' or 'reference'"
    : "Check that hardware acceleration is on and the GPU is not on the browser's block list";
  return new DeviceError(`webgpu: expected a GPU adapter, but received none from ${source}${environment ? ` (${environment})` : ""}. ${advice}`);
};

/** Asks an adapter for a device with everything it offers. Throws DeviceError. */
export const requestDevice = async (adapter: GPUAdapter, subgroupMatrices = false): Promise<GPUDevice> => {
  const features = subgroupMatrices ? [...FEATURES, SUBGROUP_MATRIX] : FEATURES;
  const requiredLimits: Record<string, number> = {};
  for (const name of WANTED) requiredLimits[name] = adapter.limits[name];
  try {
    return await adapter.requestDevice({ requiredFeatures: features.filter((feature) => adapter.features.has(feature)), requiredLimits });
  } catch (error) {
    throw new DeviceError(
      `webgpu: expected the adapter ${adapter.info?.description ?? ""} to give a device, but received: ${(error as Error).message}`,
      { cause: error },
    );
  }
};

/** A device as the options ask for it. Throws DeviceError saying what was tried. */
export const open = async (options: WebGPUOptions): Promise<Opened> => {
  const { gpuDevice, powerPreference, allowSoftware = true, subgroupMatrices = false } = options;
  const dawnFlags = [...(options.dawnFlags ?? []), ...(subgroupMatrices && inNode() ? ["enable-dawn-features=allow_unsafe_apis"] : [])];
  if (gpuDevice) {
    if (typeof gpuDevice.createComputePipeline !== "function")
      throw new ArgumentError("webgpu: expected a GPUDevice for `gpuDevice`, but received something else");
    if (subgroupMatrices && !hasMatrixUnits(gpuDevice)) throw noMatrixUnits(gpuDevice);
    return { device: gpuDevice, adapterInfo: gpuDevice.adapterInfo, owned: false, limits: limitsOf(gpuDevice, subgroupMatrices) };
  }
  const { gpu, source } = await findGpu(dawnFlags);
  // An adapter gives one device only, so each device asks for its own.
  const adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : {});
  if (!adapter) throw noAdapter(source);
  if (!allowSoftware && adapter.info.isFallbackAdapter) {
    throw new DeviceError(
      `webgpu: expected a hardware adapter, but received ${adapter.info.description}, which runs on the processor; allow it with \`allowSoftware\``,
    );
  }
  const device = await requestDevice(adapter, subgroupMatrices);
  if (subgroupMatrices && !hasMatrixUnits(device)) {
    device.destroy();
    throw noMatrixUnits(device);
  }
  return { device, adapterInfo: adapter.info, owned: true, limits: limitsOf(device, subgroupMatrices) };
};

interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}
const matrixConfigs = ({ adapterInfo }: GPUDevice): readonly MatrixConfig[] =>
  (adapterInfo as { readonly subgroupMatrixConfigs?: readonly MatrixConfig[] } | undefined)?.subgroupMatrixConfigs ?? [];

/** Whether the device has what lib/matrix-units.wgsl asks for. */
const hasMatrixUnits = (device: GPUDevice): boolean =>
  device.features.has(SUBGROUP_MATRIX) &&
  device.features.has("shader-f16") &&
  device.adapterInfo?.subgroupMinSize === 32 &&
  device.adapterInfo?.subgroupMaxSize === 32 &&
  matrixConfigs(device).some(
    ({ componentType, resultComponentType, M, N, K }) => componentType === "f16" && resultComponentType === "f32" && M === 16 && N === 16 && K === 16,
  );

const noMatrixUnits = (device: GPUDevice): DeviceError => {
  const configs = matrixConfigs(device).map(
    (config) => `${config.componentType} to ${config.resultComponentType} ${config.M}x${config.N}x${config.K}`,
  );
  return new DeviceError(
    "webgpu: expected an adapter whose subgroups of 32 threads multiply matrices of f16 to f32 16x16x16 for `subgroupMatrices`, but received " +
      `${device.adapterInfo?.description || "one"} with ${configs.join(", ") || "none"}`,
  );
};

const limitsOf = ({ limits, features, adapterInfo }: GPUDevice, matrixUnits: boolean): Limits => ({
  workgroupBytes: limits.maxComputeWorkgroupStorageSize,
  workgroupThreads: Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX),
  workgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
  storageBuffers: limits.maxStorageBuffersPerShaderStage,
  bindingBytes: Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize),
  f16: features.has("shader-f16"),
  // Where an implementation does not say, they are within what WebGPU allows.
  subgroupMinSize: features.has("subgroups") ? (adapterInfo?.subgroupMinSize ?? 4) : 0,
  subgroupMaxSize: features.has("subgroups") ? (adapterInfo?.subgroupMaxSize ?? 128) : 0,
  matrixUnits,
});
