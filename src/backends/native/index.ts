/** The CPU behind the seam of `backend.ts`: marshals calls to the addon, which runs them on threads of its own. */
import { availableParallelism, cpus, totalmem } from "node:os";
import type { Backend, BackendInfo, Buffer, Counters, HostArray } from "../../backend.ts";
import { BirkhoffError, DataError, DeviceError, expected, OutOfMemoryError, outOfMemory, StateError } from "../../errors.ts";
import { fromHalfBits, toHalfBits } from "../../half.ts";
import { type Call, type DType, ELEMENT_BYTES, FLOOR_LIMITS, type Limits, type Scalars } from "../../op.ts";
import { type AddonDevice, type Answer, loadAddon } from "./load.ts";

export type SimdLevel = "avx512" | "avx2" | "neon" | "portable";

export interface NativeOptions {
  /** Threads that kernels use, the queue's own included. Default: as many as the process may use at once. */
  readonly threads?: number;
  /** Instruction set. Default: `BIRKHOFF_SIMD` from the environment, else the best that the processor has. */
  readonly simd?: SimdLevel;
  /** Bytes that the device takes from the system at most. Default: four fifths of the machine's or the container's memory. */
  readonly memoryLimit?: number;
}

const LEVEL_NAMES: Readonly<Record<string, string>> = { avx512: "AVX-512", avx2: "AVX2+FMA", neon: "NEON", portable: "portable SIMD" };
const ARRAYS = { float32: Float32Array, int32: Int32Array, uint32: Uint32Array } as const;

/** Values as the addon stores them. */
const stored = (dtype: DType, values: HostArray): Float32Array | Int32Array | Uint32Array | Uint16Array => {
  if (dtype === "float16") return toHalfBits(values);
  const Wanted = ARRAYS[dtype];
  // Another thread may change shared memory while the addon copies it: copied here, where that is harmless.
  return values instanceof Wanted && !(values.buffer instanceof SharedArrayBuffer) ? values : Wanted.from(values);
};

/** Native kernels have no WebGPU limits; what is left is what sizes are stored in. */
const LIMITS: Limits = { ...FLOOR_LIMITS, bindingBytes: Number.MAX_SAFE_INTEGER, storageBuffers: Number.MAX_SAFE_INTEGER };

/** Places of a frame at first: ops on lists of parameters have more operands. */
const FRAME = 64;

/** One allocation; `id` is the addon's number for it, taken away when it is freed. */
class NativeBuffer implements Buffer {
  readonly dtype: DType;
  readonly length: number;
  readonly device: AddonDevice;
  id: number | undefined;

  constructor(device: AddonDevice, dtype: DType, length: number, id: number) {
    this.device = device;
    this.dtype = dtype;
    this.length = length;
    this.id = id;
  }
}

class NativeBackend implements Backend {
  readonly info: BackendInfo;
  readonly limits = LIMITS;
  readonly #device: AddonDevice;
  readonly #memoryLimit: number;
  /** Numbers of calls that the addon has made ready: once, since calls are interned. */
  readonly #ready = new WeakMap<Call, number>();
  readonly #forgotten = new FinalizationRegistry<number>((prepared) => this.#device.release(prepared));
  #frame: Float64Array;
  #closing: Promise<void> | undefined;

  constructor(device: AddonDevice, memoryLimit: number, info: BackendInfo) {
    this.#device = device;
    this.#frame = device.frame(FRAME);
    this.#memoryLimit = memoryLimit;
    this.info = info;
  }

  get counters(): Counters {
    return this.#device.counters();
  }

  alloc(dtype: DType, length: number): Buffer {
    this.#assertOpen("alloc");
    const bytes = ELEMENT_BYTES[dtype] * length;
    const id = this.#device.alloc(bytes);
    if (id < 0) throw outOfMemory("native", bytes, this.counters.liveBytes, this.#memoryLimit);
    return new NativeBuffer(this.#device, dtype, length, id);
  }

  free(buffer: Buffer): void {
    // Closing freed everything; tensors that are disposed of afterwards have nothing left to give back.
    if (this.#closing !== undefined) return;
    const id = this.#id("free", buffer);
    (buffer as NativeBuffer).id = undefined;
    this.#device.free(id);
  }

  write(buffer: Buffer, values: HostArray): void {
    this.#assertOpen("write");
    if (values.length !== buffer.length) throw expected("write", `${buffer.length} values`, "values", values);
    this.#device.write(this.#id("write", buffer), stored(buffer.dtype, values));
  }

  async read(buffer: Buffer): Promise<HostArray> {
    this.#assertOpen("read");
    const { values } = settle("read", await this.#device.read(this.#id("read", buffer), buffer.dtype));
    if (!values) throw new StateError("read: expected values, but the addon sent none");
    return values instanceof Uint16Array ? fromHalfBits(values) : values;
  }

  unsupported(call: Call): string | undefined {
    if (this.#ready.has(call) || (!call.op.native && this.#device.has(call.op.name))) return undefined;
    if (!call.op.native) return `the addon has no kernel named ${call.op.name}`;
    try {
      this.#prepare(call);
      return undefined;
    } catch (error) {
      return `its kernel ${call.op.native.symbol} cannot be loaded: ${(error as Error).message}`;
    }
  }

  run(call: Call, scalars: Scalars, inputs: readonly Buffer[], outputs: readonly Buffer[]): void {
    this.#assertOpen(call.op.name);
    const prepared = this.#ready.get(call) ?? this.#prepare(call);
    const frame = this.#frame;
    frame[0] = prepared;
    let next = 1;
    for (const buffer of inputs) frame[next++] = this.#id(call.op.name, buffer);
    for (const buffer of outputs) frame[next++] = this.#id(call.op.name, buffer);
    for (const name of call.op.scalars ?? []) frame[next++] = scalars[name];
    this.#device.run();
  }

  async synchronize(): Promise<void> {
    this.#assertOpen("synchronize");
    settle("synchronize", await this.#device.synchronize());
  }

  close(): Promise<void> {
    this.#closing ??= this.#device.close();
    return this.#closing;
  }

  #prepare(call: Call): number {
    const { op, inputs, outputs, attrs } = call;
    const scalars = op.scalars ?? [];
    const message = op.fault?.(call) ?? `${op.name}: expected valid data`;
    const { library, symbol } = op.native ?? {};
    const prepared = this.#device.prepare(op.name, inputs, outputs, attrs, scalars, message, library, symbol);
    this.#ready.set(call, prepared);
    this.#forgotten.register(call, prepared);
    const places = 1 + inputs.length + outputs.length + scalars.length;
    if (places > this.#frame.length) this.#frame = this.#device.frame(2 * places);
    return prepared;
  }

  #id(where: string, buffer: Buffer): number {
    if (!(buffer instanceof NativeBuffer) || buffer.device !== this.#device) throw new StateError(`${where}: expected a buffer of this device`);
    if (buffer.id === undefined) throw new StateError(`${where}: expected a live buffer, but it was freed`);
    return buffer.id;
  }

  #assertOpen(where: string): void {
    if (this.#closing !== undefined) throw new StateError(`${where}: expected an open device, but the native device was closed`);
  }
}

/** Turns what went wrong since the last read into the typed error. */
const settle = (where: string, answer: Answer): Answer => {
  switch (answer.outcome) {
    case "ok":
      return answer;
    case "fault":
      throw new DataError(`${answer.message}, but received ${answer.value}`);
    case "outOfMemory":
      throw new OutOfMemoryError(`${answer.message}: out of memory: the native device could not get its work area`);
    case "failed":
      throw new DeviceError(answer.message);
    case "dropped":
      throw new StateError(`${where}: expected an open device, but the native device was closed`);
  }
};

const pickLevel = (levels: readonly string[], option: string | undefined): string => {
  const [where, wanted] = option === undefined ? ["BIRKHOFF_SIMD", process.env.BIRKHOFF_SIMD || undefined] : ["simd", option];
  if (wanted === undefined) return levels[0];
  if (levels.includes(wanted)) return wanted;
  throw expected("openDevice", `one of ${levels.join(", ")}, which is what this processor has,`, where, wanted);
};

const countThreads = (option: number | undefined): number => {
  if (option === undefined) return availableParallelism();
  if (!Number.isInteger(option) || option < 1 || option > 1024) throw expected("openDevice", "an integer in [1, 1024]", "threads", option);
  return option;
};

/** Four fifths of the memory: the rest is for the copies that `read` makes and for everybody else. Past it the system kills instead of refusing. */
const mostMemory = (): number => {
  // Node reports an absurdly large or zero constraint when there is none.
  const container = process.constrainedMemory?.() ?? 0;
  return Math.floor(0.8 * (container > 0 && container < totalmem() ? container : totalmem()));
};

const start = (make: () => AddonDevice): AddonDevice => {
  try {
    return make();
  } catch (error) {
    if (error instanceof BirkhoffError) throw error;
    throw new DeviceError(`openDevice: the native device could not start: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
};

/**
 * Opens the CPU: threads and a command queue of its own, so that the event loop never waits for a kernel.
 *
 * @throws ArgumentError for a SIMD level that the processor lacks or a senseless number of threads; DeviceError when the
 * addon is missing, with every place that was tried.
 */
export const openNative = async ({ threads, simd, memoryLimit = mostMemory() }: NativeOptions = {}): Promise<Backend> => {
  const { addon, path } = loadAddon();
  const levels = addon.levels();
  const level = pickLevel(levels, simd);
  const count = countThreads(threads);
  const device = start(() => new addon.Device(level, count, memoryLimit));
  const processors = cpus();
  const model = processors[0]?.model.trim() || process.arch;
  return new NativeBackend(device, memoryLimit, {
    kind: "native",
    description: `${LEVEL_NAMES[level] ?? level}, ${count} thread${count === 1 ? "" : "s"}, ${model}`,
    software: false,
    details: { simd: level, "simd levels": levels.join(", "), threads: count, cores: processors.length, addon: path },
  });
};
