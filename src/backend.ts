/** The seam between ops and devices: everything a device must do, and what it promises. Nothing here runs. */
import type { Call, DType, Limits, Numbers, Scalars } from "./op.ts";

export type DeviceKind = "webgpu" | "native" | "reference";

/** An allocation of one device, opaque to everybody else. */
export interface Buffer {
  readonly dtype: DType;
  readonly length: number;
}

/** Host values: what `write` takes and `read` gives; those of a float16 buffer as floats, which `write` rounds. */
export type HostArray = Float32Array | Numbers;

/** Running totals since the device was opened, and gauges of what is alive now. */
export interface Counters {
  /** Kernels launched (GPU dispatches; native or reference calls). */
  readonly dispatches: number;
  /** Command buffers submitted, those of readbacks left out. */
  readonly submits: number;
  /** Allocations taken from the system rather than from the pool. */
  readonly allocations: number;
  readonly liveBuffers: number;
  readonly liveBytes: number;
  readonly pooledBytes: number;
}

export interface BackendInfo {
  readonly kind: DeviceKind;
  /** One line for people: adapter name, or SIMD level and threads. */
  readonly description: string;
  readonly software: boolean;
  /** Further facts for `birkhoff info`, in the order to print them. */
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

/** Where a tensor's memory lies, as bind groups take it. */
export interface GpuRange {
  readonly buffer: GPUBuffer;
  /** In bytes. */
  readonly offset: number;
  /** In bytes: whole words that hold the tensor. */
  readonly size: number;
}

/** What only a device whose memory is GPUBuffers can do. */
export interface GpuMemory {
  /** A range of a buffer of the program's own, without a copy. Throws ArgumentError for usages, offsets and sizes that do not fit. */
  adopt(range: Partial<GpuRange> & { readonly buffer: GPUBuffer }, dtype: DType, length: number, owned: boolean): Buffer;
  /** Submits what refers to the buffer, and says where it lies. */
  range(buffer: Buffer): GpuRange;
  /** Resolves when everything enqueued so far is submitted. */
  flush(): Promise<void>;
}

export interface Backend {
  readonly gpu?: GpuMemory;
  readonly info: BackendInfo;
  readonly limits: Limits;
  /** A snapshot. */
  readonly counters: Counters;
  /** Contents are undefined. Length 0 is legal. Throws OutOfMemoryError when memory runs out; the device stays usable. */
  alloc(dtype: DType, length: number): Buffer;
  /** Returns the buffer to the pool. Calls already enqueued still see it. */
  free(buffer: Buffer): void;
  /** Ordered after every call already enqueued. Copies `values` before it returns; `values.length === buffer.length`. */
  write(buffer: Buffer, values: HostArray): void;
  /**
   * The contents as they are after every call already enqueued, whatever is enqueued, freed or reused later.
   * Rejects with DataError when a kernel reported a fault since the last read, DeviceError when the device is lost.
   */
  read(buffer: Buffer): Promise<HostArray>;
  /** Why this call cannot run here, or undefined. Asked before anything is allocated. */
  unsupported(call: Call): string | undefined;
  /** Enqueues; never waits; calls run in the order given. Zero-length buffers among non-empty ones are legal. */
  run(call: Call, scalars: Scalars, inputs: readonly Buffer[], outputs: readonly Buffer[]): void;
  /** Resolves when everything enqueued so far has run; reports faults like `read`. */
  synchronize(): Promise<void>;
  /** Ends pending work and frees everything; later use throws StateError. Resolves when nothing is under way any more. Safe to call twice. */
  close(): Promise<void>;
}
