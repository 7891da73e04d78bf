/** The truth for tests: every op's float64 definition, run at once, in order, on plain arrays. */
import type { Backend, BackendInfo, Buffer, Counters, HostArray } from "../../backend.ts";
import { DataError, outOfMemory, StateError } from "../../errors.ts";
import { roundToHalf } from "../../half.ts";
import { type Call, type DType, elements, FLOOR_LIMITS, type Limits, type Numbers, type Scalars, type Spec } from "../../op.ts";

interface Memory extends Buffer {
  values: Numbers;
}

const ARRAYS = { float32: Float64Array, float16: Float64Array, int32: Int32Array, uint32: Uint32Array } as const;

/** The elements that the spec speaks of: a guarded buffer is longer. */
const view = (buffer: Buffer, spec: Spec): Numbers => (buffer as Memory).values.subarray(0, elements(spec.shape));

class ReferenceBackend implements Backend {
  readonly info: BackendInfo = { kind: "reference", description: "plain float64 loops, one thread", software: true, details: {} };
  readonly limits: Limits = FLOOR_LIMITS;
  readonly #memoryLimit: number;
  readonly #live = new Set<Memory>();
  #liveBytes = 0;
  #dispatches = 0;
  #allocations = 0;
  #fault: DataError | undefined;
  #closed = false;

  constructor(memoryLimit: number) {
    this.#memoryLimit = memoryLimit;
  }

  get counters(): Counters {
    return {
      dispatches: this.#dispatches,
      submits: 0,
      allocations: this.#allocations,
      liveBuffers: this.#live.size,
      liveBytes: this.#liveBytes,
      pooledBytes: 0,
    };
  }

  alloc(dtype: DType, length: number): Buffer {
    this.#assertOpen();
    const bytes = ARRAYS[dtype].BYTES_PER_ELEMENT * length;
    if (this.#liveBytes + bytes > this.#memoryLimit) throw outOfMemory("reference", bytes, this.#liveBytes, this.#memoryLimit);
    const memory: Memory = { dtype, length, values: this.#take(dtype, length) };
    this.#live.add(memory);
    this.#liveBytes += bytes;
    this.#allocations++;
    return memory;
  }

  free(buffer: Buffer): void {
    if (this.#live.delete(buffer as Memory)) this.#liveBytes -= (buffer as Memory).values.byteLength;
  }

  write(buffer: Buffer, values: HostArray): void {
    this.#assertOpen();
    (buffer as Memory).values.set(buffer.dtype === "float16" ? Float64Array.from(values, roundToHalf) : values);
  }

  async read(buffer: Buffer): Promise<HostArray> {
    const values = (buffer as Memory).values.slice();
    await this.synchronize();
    return values;
  }

  unsupported(): undefined {
    return undefined;
  }

  run(call: Call, scalars: Scalars, inputs: readonly Buffer[], outputs: readonly Buffer[]): void {
    this.#assertOpen();
    this.#dispatches++;
    call.op.reference({
      call,
      scalars,
      inputs: inputs.map((buffer, i) => view(buffer, call.inputs[i])),
      outputs: outputs.map((buffer, i) => view(buffer, call.outputs[i])),
      fault: (value) => {
        this.#fault ??= new DataError(`${call.op.fault?.(call) ?? call.op.name}, but received ${value}`);
      },
    });
  }

  async synchronize(): Promise<void> {
    this.#assertOpen();
    const fault = this.#fault;
    this.#fault = undefined;
    if (fault) throw fault;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#live.clear();
    this.#liveBytes = 0;
  }

  #take(dtype: DType, length: number): Numbers {
    try {
      return new ARRAYS[dtype](length);
    } catch (cause) {
      throw outOfMemory("reference", ARRAYS[dtype].BYTES_PER_ELEMENT * length, this.#liveBytes, this.#memoryLimit, { cause });
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw new StateError("reference: expected an open device, but it was closed");
  }
}

/** Opens the float64 device: always there, slow, obviously right. */
export const openReference = ({ memoryLimit = Number.POSITIVE_INFINITY }: { readonly memoryLimit?: number } = {}): Backend =>
  new ReferenceBackend(memoryLimit);
