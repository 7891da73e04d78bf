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
  /** Bytes of buffers that the device holds at most: see `openDevice`. Default: no limit. */
  readonly memoryLimit?: number;
}

export interface Opened {
  readonly device: GPUDevice;
  readonly adapterInfo: GPUAdapterInfo | undefined;
  /** Whether `close` destroys the device. */
  readonly owned: boolean;
  readonly limits: Limits;
  /** Has a function called at the end of the worker that this is, where one is to be; gives what takes that back. */
  readonly closeAtEnd: ((close: () => void) => () => void) | undefined;
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

const inNode = (): boolean => typeof process === "object" && process.versions?.node !== undefined && !("Deno" in globalThis);

/** Where adapters come from, and what to tell when it has none. */
interface Source {
  readonly gpu: GPU;
  readonly noAdapter: string;
}

const NO_ADAPTER =
  "navigator.gpu. Check that hardware acceleration is on and the GPU is not on the browser's block list; on Linux that there is a Vulkan driver";

const findGpu = async (flags: readonly string[]): Promise<Source> => {
  const platform = (globalThis as { readonly navigator?: { readonly gpu?: GPU } }).navigator?.gpu;
  if (platform && flags.length === 0) return { gpu: platform, noAdapter: NO_ADAPTER };
  // Node only: package.json's `browser` field leaves the file out of bundles for browsers.
  if (inNode()) return (await import("./dawn.ts")).findDawn(flags);
  if (flags.length > 0) throw new ArgumentError(`webgpu: expected no \`dawnFlags\` outside of Node, but received [${flags.join(", ")}]`);
  throw new DeviceError("webgpu: expected `navigator.gpu`, but this runtime has none; use a browser with WebGPU in a secure context, or Node");
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
export const open = async (options: WebGPUOptions): Promise<Opened> => ({
  ...(await find(options)),
  closeAtEnd: inNode() ? (await import("./dawn.ts")).closeAtEnd : undefined,
});

const find = async (options: WebGPUOptions): Promise<Omit<Opened, "closeAtEnd">> => {
  const { gpuDevice, powerPreference, allowSoftware = true, subgroupMatrices = false } = options;
  const dawnFlags = [...(options.dawnFlags ?? []), ...(subgroupMatrices && inNode() ? ["enable-dawn-features=allow_unsafe_apis"] : [])];
  if (gpuDevice) {
    if (typeof gpuDevice.createComputePipeline !== "function")
      throw new ArgumentError("webgpu: expected a GPUDevice for `gpuDevice`, but received something else");
    if (subgroupMatrices && !hasMatrixUnits(gpuDevice)) throw noMatrixUnits(gpuDevice);
    return { device: gpuDevice, adapterInfo: gpuDevice.adapterInfo, owned: false, limits: limitsOf(gpuDevice, subgroupMatrices) };
  }
  const { gpu, noAdapter } = await findGpu(dawnFlags);
  // An adapter gives one device only, so each device asks for its own.
  const adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : {});
  if (!adapter) throw new DeviceError(`webgpu: expected a GPU adapter, but received none from ${noAdapter}`);
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

export const limitsOf = ({ limits, features, adapterInfo }: GPUDevice, matrixUnits: boolean): Limits => ({
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
