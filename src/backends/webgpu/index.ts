/** The webgpu device: calls become compute passes that gather in batches; only reads wait. */
import type { Backend, BackendInfo, Buffer, Counters, GpuMemory, GpuRange, HostArray } from "../../backend.ts";
import { ArgumentError, type BirkhoffError, DeviceError, OutOfMemoryError, outOfMemory, StateError } from "../../errors.ts";
import { fromHalfBits } from "../../half.ts";
import { type Call, type DType, ELEMENT_BYTES, type Limits, type Scalars } from "../../op.ts";
import { type Allocation, BufferPool, foreignAllocation } from "./buffers.ts";
import { STATUS_BYTES } from "./faults.ts";
import { type Extent, launches } from "./launch.ts";
import { type Opened, open, type WebGPUOptions } from "./open.ts";
import { wordBytes } from "./prepare.ts";
import { Programs } from "./programs.ts";
import { Queue } from "./queue.ts";
import { COPY_DST, COPY_SRC, resolveRange, STORAGE } from "./ranges.ts";
import { ARRAYS, stored } from "./values.ts";

export type { WebGPUOptions } from "./open.ts";

/**
 * Opens the webgpu backend: Dawn in Node (npm `webgpu`), the platform's own WebGPU elsewhere.
 *
 * @throws DeviceError when there is no adapter, saying what was tried and what to do; ArgumentError for wrong options.
 */
export const openWebGPU = async (options: WebGPUOptions = {}): Promise<Backend> => new WebGPUBackend(await open(options), options.memoryLimit);

const MAP_READ = 1; // GPUMapMode.READ, which Node has no global for.

/** The seam's buffer: a view of the first `length` elements of an allocation. */
class GpuBuffer implements Buffer {
  readonly owner: WebGPUBackend;
  readonly dtype: DType;
  readonly length: number;
  readonly allocation: Allocation;
  freed = false;

  constructor(owner: WebGPUBackend, dtype: DType, length: number, allocation: Allocation) {
    this.owner = owner;
    this.dtype = dtype;
    this.length = length;
    this.allocation = allocation;
  }
}

class WebGPUBackend implements Backend, GpuMemory {
  readonly info: BackendInfo;
  readonly limits: Limits;
  readonly #device: GPUDevice;
  readonly #owned: boolean;
  readonly #storage: BufferPool;
  readonly #staging: BufferPool;
  readonly #uniforms: BufferPool;
  readonly #status: Allocation;
  readonly #queue: Queue;
  readonly #programs: Programs;
  /** Memory that was made elsewhere and is in use. */
  readonly #adopted = new Set<Allocation>();
  /** Whether a kernel that can report a fault was enqueued since the status words were last read. */
  #faultsPossible = false;
  /** Error reports that have not arrived yet, and those that have but nobody was told. */
  readonly #reports = new Set<Promise<void>>();
  readonly #errors: DeviceError[] = [];
  /** In force once the device has what it needs for itself. */
  #memoryLimit = Number.POSITIVE_INFINITY;
  #live = 0;
  #lost: DeviceError | undefined;
  #closed = false;
  /** Staging buffers that are being mapped. */
  readonly #mappings = new Set<Promise<void>>();
  /** Tells the worker's end that there is nothing left to close. */
  readonly #leave: (() => void) | undefined;

  constructor(opened: Opened, memoryLimit = Number.POSITIVE_INFINITY) {
    const { device, owned, limits, closeAtEnd } = opened;
    this.#device = device;
    this.#owned = owned;
    this.limits = limits;
    this.info = describe(opened);
    const pool = (usage: "storage" | "staging" | "uniform"): BufferPool =>
      new BufferPool(
        device,
        usage,
        device.limits.maxBufferSize,
        (bytes, create, failed) => {
          this.#makeRoom(bytes);
          return this.#watched(bytes, create, failed);
        },
        (allocation) => this.#queue.drop(allocation),
      );
    this.#storage = pool("storage");
    this.#staging = pool("staging");
    this.#uniforms = pool("uniform");
    this.#status = this.#storage.take(STATUS_BYTES);
    this.#queue = new Queue(device, this.#uniforms.take(Queue.uniformBytes), (failed) => this.#watch(failed));
    this.#programs = new Programs(device, limits);
    this.#memoryLimit = memoryLimit;
    this.#leave = closeAtEnd?.(() => void this.close());
    void device.lost.then(({ reason, message }) => {
      this.#lost ??= new DeviceError(`webgpu: expected a working device, but it was lost (${reason}): ${message}`);
      this.#queue.clear();
    });
    if (owned) {
      device.addEventListener("uncapturederror", (event) => {
        event.preventDefault();
        this.#errors.push(new DeviceError(`webgpu: ${event.error.message}`));
      });
    }
  }

  get counters(): Counters {
    return {
      dispatches: this.#queue.dispatches,
      submits: this.#queue.submits,
      allocations: this.#storage.created + this.#staging.created,
      liveBuffers: this.#live,
      // The status words are the device's own.
      liveBytes: Math.max(0, this.#storage.liveBytes - this.#status.bytes),
      pooledBytes: this.#storage.pooledBytes + this.#staging.pooledBytes,
    };
  }

  alloc(dtype: DType, length: number): Buffer {
    this.#assertUsable("alloc");
    const bytes = ELEMENT_BYTES[dtype] * length;
    const { maxBufferSize } = this.#device.limits;
    if (bytes > maxBufferSize) {
      throw new DeviceError(`alloc: expected at most ${maxBufferSize} bytes, the device's limit for one buffer, but received ${bytes}`);
    }
    const buffer = new GpuBuffer(this, dtype, length, this.#storage.take(wordBytes(length, dtype)));
    this.#live++;
    return buffer;
  }

  get gpu(): GpuMemory {
    return this;
  }

  adopt(given: Partial<GpuRange> & { readonly buffer: GPUBuffer }, dtype: DType, length: number, owned: boolean): Buffer {
    this.#assertUsable("fromBuffer");
    const { minStorageBufferOffsetAlignment: alignment } = this.#device.limits;
    const { buffer, offset, room } = resolveRange("fromBuffer", "buffer", given, wordBytes(length, dtype), STORAGE, alignment);
    const allocation = foreignAllocation(buffer, offset, room, !owned);
    this.#adopted.add(allocation);
    this.#live++;
    return new GpuBuffer(this, dtype, length, allocation);
  }

  range(buffer: Buffer): GpuRange {
    this.#assertUsable("buffer");
    const { allocation, dtype, length } = this.#own("buffer", buffer);
    this.#queue.submitUsersOf(allocation);
    return { buffer: allocation.gpu, offset: allocation.offset, size: wordBytes(length, dtype) };
  }

  async flush(): Promise<void> {
    this.#assertUsable("flush");
    await this.#queue.submit();
    this.#assertUsable("flush");
  }

  free(buffer: Buffer): void {
    // Tensors may outlive their device; closing freed everything.
    if (this.#closed) return;
    const own = this.#own("free", buffer);
    own.freed = true;
    this.#live--;
    if (this.#adopted.delete(own.allocation)) this.#queue.drop(own.allocation);
    else this.#storage.release(own.allocation);
  }

  write(buffer: Buffer, values: HostArray): void {
    this.#assertUsable("write");
    const { allocation, dtype, length } = this.#own("write", buffer);
    if (values.length !== length) {
      throw new ArgumentError(
        `write: expected ${length} values, but received ${values.length}${values.buffer.byteLength === 0 ? " (an empty or detached array)" : ""}`,
      );
    }
    if (length === 0) return;
    assertUsage("write", allocation, COPY_DST, "COPY_DST");
    const data = stored(dtype, values);
    // writeBuffer acts on the queue at once and would overtake batches that are still gathering.
    this.#queue.submitUsersOf(allocation);
    this.#device.queue.writeBuffer(allocation.gpu, allocation.offset, data);
  }

  async read(buffer: Buffer): Promise<HostArray> {
    this.#assertUsable("read");
    const { allocation, dtype, length } = this.#own("read", buffer);
    if (length > 0) assertUsage("read", allocation, COPY_SRC, "COPY_SRC");
    const bytes = ELEMENT_BYTES[dtype] * length;
    // Copies are of whole words.
    const values = new ARRAYS[dtype](await this.#fetch("read", allocation, Math.ceil(bytes / 4) * 4), 0, length);
    return values instanceof Uint16Array ? fromHalfBits(values) : values;
  }

  unsupported(call: Call): string | undefined {
    return this.#programs.refusal(call);
  }

  run(call: Call, scalars: Scalars, inputs: readonly Buffer[], outputs: readonly Buffer[]): void {
    const where = call.op.name;
    this.#assertUsable(where);
    const program = this.#programs.get(call);
    const extents = (buffers: readonly Buffer[]): Extent<Allocation>[] =>
      buffers.map((buffer) => {
        const { allocation, dtype, length } = this.#own(where, buffer);
        return { memory: allocation, bytes: wordBytes(length, dtype), room: allocation.bytes };
      });
    const operands = { inputs: extents(inputs), outputs: extents(outputs), status: this.#status };
    const scratch: Allocation[] = [];
    try {
      for (const bytes of program.scratchBytes) scratch.push(this.#storage.take(bytes));
      for (const launch of launches(call, program, scalars, { ...operands, scratch })) this.#queue.dispatch(launch);
      if (program.reportsFaults) this.#faultsPossible = true;
    } finally {
      // Passes run in order, so whoever gets these buffers next writes them after the passes above have run.
      for (const allocation of scratch) this.#storage.release(allocation);
    }
  }

  async synchronize(): Promise<void> {
    this.#assertUsable("synchronize");
    // Dawn reports finished work as done even on a destroyed device; mapping a buffer does not.
    await this.#fetch("synchronize", this.#status, 0);
  }

  async close(): Promise<void> {
    if (!this.#closed) this.#end();
    // Whoever waited for this may terminate its worker: see worker.ts.
    await Promise.allSettled([...this.#mappings, ...this.#reports, this.#programs.settled()]);
  }

  #end(): void {
    this.#closed = true;
    this.#leave?.();
    this.#queue.clear();
    for (const pool of [this.#storage, this.#staging, this.#uniforms]) pool.destroy();
    for (const { gpu, borrowed } of this.#adopted) if (!borrowed) gpu.destroy();
    this.#adopted.clear();
    this.#live = 0;
    if (this.#owned) this.#device.destroy();
  }

  /** The bytes as they are after everything enqueued so far; throws what went wrong since the last time. */
  async #fetch(where: string, source: Allocation, bytes: number): Promise<ArrayBuffer> {
    const staging = this.#staging.take(bytes + STATUS_BYTES);
    const withStatus = this.#faultsPossible;
    this.#faultsPossible = false;
    // The copies take their place in the order now: what is freed, reused or written later does not show.
    if (bytes > 0) this.#queue.copy({ from: source, to: staging, offset: 0, bytes, clear: false });
    this.#queue.copy({ from: this.#status, to: staging, offset: bytes, bytes: STATUS_BYTES, clear: withStatus });
    let data: ArrayBuffer;
    try {
      await this.#queue.submit();
      this.#assertUsable(where);
      await this.#map(staging.gpu, bytes + STATUS_BYTES);
      data = staging.gpu.getMappedRange(0, bytes + STATUS_BYTES).slice(0);
      staging.gpu.unmap();
    } catch (error) {
      staging.broken = true;
      this.#assertUsable(where);
      // The reason arrives a little after the failed mapping, which carries no message of its own.
      throw new DeviceError(
        `${where}: expected data from the GPU, but the device was lost or destroyed meanwhile ${(error as Error).message}`.trimEnd(),
        { cause: error },
      );
    } finally {
      this.#staging.release(staging);
    }
    await Promise.all(this.#reports);
    this.#assertUsable(where);
    const [failure] = this.#errors.splice(0);
    if (failure) throw failure;
    const fault = withStatus ? this.#programs.faults.error(data.slice(bytes)) : undefined;
    if (fault) throw fault;
    return data.slice(0, bytes);
  }

  async #map(staging: GPUBuffer, bytes: number): Promise<void> {
    const mapping = staging.mapAsync(MAP_READ, 0, bytes);
    this.#mappings.add(mapping);
    try {
      await mapping;
    } finally {
      this.#mappings.delete(mapping);
    }
  }

  #own(where: string, buffer: Buffer): GpuBuffer {
    if (!(buffer instanceof GpuBuffer) || buffer.owner !== this)
      throw new ArgumentError(`${where}: expected a buffer of this device, but received another`);
    if (buffer.freed) throw new StateError(`${where}: expected a live buffer, but received one that was freed`);
    return buffer;
  }

  #assertUsable(where: string): void {
    if (this.#closed) throw new StateError(`${where}: expected an open device, but the webgpu device was closed`);
    if (this.#lost) throw new DeviceError(`${where}: ${this.#lost.message}`, { cause: this.#lost });
  }

  /** Gives back what is kept for reuse when `bytes` more would not fit the limit. Throws OutOfMemoryError when they do not fit then either. */
  #makeRoom(bytes: number): void {
    const fits = (): boolean => {
      const { liveBytes, pooledBytes } = this.counters;
      return liveBytes + this.#staging.liveBytes + pooledBytes + bytes <= this.#memoryLimit;
    };
    if (this.#memoryLimit === Number.POSITIVE_INFINITY || fits()) return;
    this.#storage.trim();
    this.#staging.trim();
    // What calls still need is destroyed once they are submitted.
    this.#queue.submitAll();
    if (!fits()) throw outOfMemory("webgpu", bytes, this.counters.liveBytes, this.#memoryLimit);
  }

  /** Creates a buffer so that running out of memory is told to the next reader. */
  #watched(bytes: number, create: () => GPUBuffer, failed: () => void): GPUBuffer {
    this.#device.pushErrorScope("out-of-memory");
    this.#device.pushErrorScope("validation");
    try {
      return create();
    } finally {
      const scopes = [this.#device.popErrorScope(), this.#device.popErrorScope()];
      this.#watch(
        Promise.all(scopes).then((errors) => {
          const [error] = errors.filter((item) => item !== null);
          if (!error) return undefined;
          failed();
          // Room for the next attempt.
          this.#storage.trim();
          return new OutOfMemoryError(`alloc: expected ${bytes} bytes of GPU memory, but received: ${error.message}`);
        }),
      );
    }
  }

  #watch(failed: Promise<BirkhoffError | undefined>): void {
    const report: Promise<void> = failed
      .then(
        (failure) => {
          if (failure) this.#errors.push(failure);
        },
        // A device that is gone answers nothing; `#assertUsable` says so.
        () => undefined,
      )
      .finally(() => this.#reports.delete(report));
    this.#reports.add(report);
  }
}

/** Memory of the program's own may be without what a copy needs. */
const assertUsage = (where: string, { gpu }: Allocation, usage: number, name: string): void => {
  if ((gpu.usage & usage) === 0)
    throw new ArgumentError(`${where}: expected a tensor whose GPUBuffer has usage ${name}, but received usage ${gpu.usage}`);
};

const subgroupSizes = ({ subgroupMinSize: least, subgroupMaxSize: most }: Limits): string | false =>
  most > 0 && (least === most ? `${least} threads` : `${least} to ${most} threads`);

const describe = ({ device, adapterInfo: info, owned, limits }: Opened): BackendInfo => ({
  kind: "webgpu",
  description: info?.description || [info?.vendor, info?.architecture].filter(Boolean).join(" ") || "unnamed GPU",
  software: info?.isFallbackAdapter ?? false,
  details: {
    vendor: info?.vendor ?? "",
    architecture: info?.architecture ?? "",
    device: info?.device ?? "",
    "f16 shaders": device.features.has("shader-f16"),
    subgroups: subgroupSizes(limits),
    "timestamp queries": device.features.has("timestamp-query"),
    "largest buffer (bytes)": device.limits.maxBufferSize,
    "largest binding (bytes)": device.limits.maxStorageBufferBindingSize,
    "workgroup memory (bytes)": device.limits.maxComputeWorkgroupStorageSize,
    "workgroup threads": device.limits.maxComputeInvocationsPerWorkgroup,
    "storage buffers per shader": device.limits.maxStorageBuffersPerShaderStage,
    "shared with the program": !owned,
  },
});
