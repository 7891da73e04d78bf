/** The webgpu device: calls become compute passes that gather in batches; only reads wait. */
import type { Backend, BackendInfo, Buffer, Counters, HostArray } from "../../backend.ts";
import { ArgumentError, type BirkhoffError, DeviceError, StateError } from "../../errors.ts";
import { fromHalfBits, toHalfBits } from "../../half.ts";
import { type Call, type DType, ELEMENT_BYTES, type Limits, type Plan, type Scalars } from "../../op.ts";
import { type Allocation, BufferPool } from "./buffers.ts";
import { FaultCodes, STATUS_BYTES } from "./faults.ts";
import { type Opened, open, type WebGPUOptions } from "./open.ts";
import { type Pipeline, PipelineCache } from "./pipelines.ts";
import { bindingBytes, fillScalars, type Prepared, type PreparedPass, planFailure, prepare, refusal } from "./prepare.ts";
import { type Binding, Queue } from "./queue.ts";

export type { WebGPUOptions } from "./open.ts";

/**
 * Opens the webgpu backend: Dawn in Node (npm `webgpu`), the platform's own WebGPU elsewhere.
 *
 * @throws DeviceError when there is no adapter, saying what was tried and what to do; ArgumentError for wrong options.
 */
export const openWebGPU = async (options: WebGPUOptions = {}): Promise<Backend> => new WebGPUBackend(await open(options));

const ARRAYS = { float32: Float32Array, float16: Uint16Array, int32: Int32Array, uint32: Uint32Array } as const;
const MAP_READ = 1; // GPUMapMode.READ, which Node has no global for.

/** Values as shaders read them, in whole words. Dawn crashes on views of shared memory, so those are copied, as are other element types. */
const stored = (dtype: DType, values: HostArray): Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> => {
  if (dtype === "float16") {
    const words = new Uint16Array(Math.ceil(values.length / 2) * 2);
    words.set(toHalfBits(values));
    return words;
  }
  const Elements = ARRAYS[dtype];
  const plain = values instanceof Elements && Object.prototype.toString.call(values.buffer) === "[object ArrayBuffer]";
  return (plain ? values : new Elements(values)) as Float32Array<ArrayBuffer>;
};

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

class WebGPUBackend implements Backend {
  readonly info: BackendInfo;
  readonly limits: Limits;
  readonly #device: GPUDevice;
  readonly #owned: boolean;
  readonly #storage: BufferPool;
  readonly #staging: BufferPool;
  readonly #uniforms: BufferPool;
  readonly #status: Allocation;
  readonly #queue: Queue;
  readonly #pipelines: PipelineCache;
  readonly #plans = new WeakMap<Call, Plan>();
  readonly #refusals = new WeakMap<Call, { readonly reason: string | undefined }>();
  readonly #prepared = new WeakMap<Call, { readonly prepared: Prepared; readonly pipelines: readonly Pipeline[] }>();
  readonly #faults = new FaultCodes();
  /** Whether a kernel that can report a fault was enqueued since the status words were last read. */
  #faultsPossible = false;
  /** Error reports that have not arrived yet, and those that have but nobody was told. */
  readonly #reports = new Set<Promise<void>>();
  readonly #errors: DeviceError[] = [];
  #live = 0;
  #lost: DeviceError | undefined;
  #closed = false;

  constructor(opened: Opened) {
    const { device, owned, limits } = opened;
    this.#device = device;
    this.#owned = owned;
    this.limits = limits;
    this.info = describe(opened);
    const pool = (usage: "storage" | "staging" | "uniform"): BufferPool =>
      new BufferPool(
        device,
        usage,
        device.limits.maxBufferSize,
        (bytes, create, failed) => this.#watched(bytes, create, failed),
        (allocation) => this.#queue.drop(allocation),
      );
    this.#storage = pool("storage");
    this.#staging = pool("staging");
    this.#uniforms = pool("uniform");
    this.#status = this.#storage.take(STATUS_BYTES);
    this.#queue = new Queue(device, this.#uniforms.take(Queue.uniformBytes), (failed) => this.#watch(failed));
    this.#pipelines = new PipelineCache(device);
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
    const buffer = new GpuBuffer(this, dtype, length, this.#storage.take(bindingBytes(length, dtype)));
    this.#live++;
    return buffer;
  }

  free(buffer: Buffer): void {
    // Tensors may outlive their device; closing freed everything.
    if (this.#closed) return;
    const own = this.#own("free", buffer);
    own.freed = true;
    this.#live--;
    this.#storage.release(own.allocation);
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
    const data = stored(dtype, values);
    // writeBuffer acts on the queue at once and would overtake batches that are still gathering.
    this.#queue.submitUsersOf(allocation);
    this.#device.queue.writeBuffer(allocation.gpu, 0, data);
  }

  async read(buffer: Buffer): Promise<HostArray> {
    this.#assertUsable("read");
    const { allocation, dtype, length } = this.#own("read", buffer);
    const bytes = ELEMENT_BYTES[dtype] * length;
    // Copies are of whole words.
    const values = new ARRAYS[dtype](await this.#fetch("read", allocation, Math.ceil(bytes / 4) * 4), 0, length);
    return values instanceof Uint16Array ? fromHalfBits(values) : values;
  }

  unsupported(call: Call): string | undefined {
    let refused = this.#refusals.get(call);
    if (!refused) {
      refused = { reason: refusal(call, this.#plan(call), this.limits) };
      this.#refusals.set(call, refused);
    }
    return refused.reason;
  }

  run(call: Call, scalars: Scalars, inputs: readonly Buffer[], outputs: readonly Buffer[]): void {
    const where = call.op.name;
    this.#assertUsable(where);
    const { prepared, pipelines } = this.#prepare(call);
    const buffers = { input: inputs.map((buffer) => this.#own(where, buffer)), output: outputs.map((buffer) => this.#own(where, buffer)) };
    const steps = prepared.passes.map((pass, i) => {
      const pipeline = pipelines[i];
      if (pipeline.failure) throw new DeviceError(pipeline.failure.message, { cause: pipeline.failure });
      const bytes = pass.uniform?.bytes.slice();
      if (bytes) fillScalars(new DataView(bytes.buffer), 0, pass, scalars);
      return { pass, pipeline, bytes };
    });
    const scratch = prepared.scratchBytes.map((bytes) => this.#storage.take(bytes));
    for (const { pass, pipeline, bytes } of steps) {
      const uniform = bytes && pass.uniform && { binding: pass.uniform.binding, bytes: bytes.byteLength, offset: this.#queue.uniforms(bytes) };
      const given = pass.pass.workgroups;
      const workgroups = "indirect" in given ? { allocation: scratch[given.indirect.scratch], offset: 4 * given.offset } : given;
      this.#queue.dispatch({ pipeline, storage: this.#bind(pass, prepared, buffers, scratch), uniform, workgroups });
    }
    if (prepared.reportsFaults) this.#faultsPossible = true;
    // Passes run in order, so whoever gets these buffers next writes them after the passes above have run.
    for (const allocation of scratch) this.#storage.release(allocation);
  }

  async synchronize(): Promise<void> {
    this.#assertUsable("synchronize");
    // Dawn reports finished work as done even on a destroyed device; mapping a buffer does not.
    await this.#fetch("synchronize", this.#status, 0);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.clear();
    for (const pool of [this.#storage, this.#staging, this.#uniforms]) pool.destroy();
    this.#live = 0;
    if (this.#owned) this.#device.destroy();
  }

  #bind(
    pass: PreparedPass,
    prepared: Prepared,
    buffers: { readonly input: readonly GpuBuffer[]; readonly output: readonly GpuBuffer[] },
    scratch: readonly Allocation[],
  ): Binding[] {
    const storage = pass.storage.map(({ binding, ref }): Binding => {
      if ("scratch" in ref) return { binding, allocation: scratch[ref.scratch], offset: 0, bytes: prepared.scratchBytes[ref.scratch] };
      const { allocation, dtype, length } = "input" in ref ? buffers.input[ref.input] : buffers.output[ref.output];
      const { window } = ref;
      return { binding, allocation, offset: ELEMENT_BYTES[dtype] * (window?.from ?? 0), bytes: bindingBytes(window?.length ?? length, dtype) };
    });
    if (pass.status !== undefined) storage.push({ binding: pass.status, allocation: this.#status, offset: 0, bytes: STATUS_BYTES });
    return storage;
  }

  /** The bytes as they are after everything enqueued so far; throws what went wrong since the last time. */
  async #fetch(where: string, source: Allocation, bytes: number): Promise<ArrayBuffer> {
    const withStatus = this.#faultsPossible;
    this.#faultsPossible = false;
    const staging = this.#staging.take(bytes + STATUS_BYTES);
    // The copies take their place in the order now: what is freed, reused or written later does not show.
    if (bytes > 0) this.#queue.copy({ from: source, to: staging, offset: 0, bytes, clear: false });
    this.#queue.copy({ from: this.#status, to: staging, offset: bytes, bytes: STATUS_BYTES, clear: withStatus });
    let data: ArrayBuffer;
    try {
      await this.#queue.submit();
      this.#assertUsable(where);
      await staging.gpu.mapAsync(MAP_READ, 0, bytes + STATUS_BYTES);
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
    const fault = withStatus ? this.#faults.error(data.slice(bytes)) : undefined;
    if (fault) throw fault;
    return data.slice(0, bytes);
  }

  #plan(call: Call): Plan {
    let plan = this.#plans.get(call);
    if (!plan) {
      try {
        plan = call.op.plan(call, this.limits);
      } catch (error) {
        throw planFailure(call, error);
      }
      this.#plans.set(call, plan);
    }
    return plan;
  }

  /** Starts the compilation of the call's pipelines when it is new. */
  #prepare(call: Call): { readonly prepared: Prepared; readonly pipelines: readonly Pipeline[] } {
    let known = this.#prepared.get(call);
    if (!known) {
      const prepared = prepare(call, this.#plan(call), (message) => this.#faults.code(message));
      known = { prepared, pipelines: prepared.passes.map(({ pass }) => this.#pipelines.get(pass.shader, pass.entry, pass.constants ?? {})) };
      this.#prepared.set(call, known);
    }
    return known;
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
          return new DeviceError(`alloc: expected ${bytes} bytes of GPU memory, but received: ${error.message}`);
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
