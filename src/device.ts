import type { Backend, BackendInfo, Buffer, Counters, DeviceKind, GpuMemory, GpuRange, HostArray } from "./backend.ts";
import { ArgumentError, checkNames, checkObject, DataError, DeviceError, expected, StateError } from "./errors.ts";
import { type Call, checkSwitched, type DType, elements, isFloat, type Limits, type Scalars, type Shape, type Spec, showShape } from "./op.ts";
import { checkTensor, Storage, Tensor } from "./tensor.ts";

/** What values of a dtype are collected in; those of float16 are rounded by the device that stores them. */
const ARRAYS = { float32: Float32Array, float16: Float32Array, int32: Int32Array, uint32: Uint32Array } as const;
const DTYPES = Object.keys(ARRAYS).join(", ");

/** Numbers a tensor can be made from; nested arrays give their shape. */
export type TensorData = number | ArrayLike<number> | readonly TensorData[];

export interface FromBufferOptions {
  readonly dtype?: DType;
  readonly offset?: number;
  readonly byteLength?: number;
  readonly ownership?: "borrowed" | "owned";
}

/**
 * A place where tensors live and ops run. Made by `openDevice`.
 *
 * @example
 * ```ts
 * await using device = await openDevice({ device: "reference" });
 * const y = add(device.tensor([1, 2]), 1);
 * await y.read(); // => [2, 3]
 * ```
 */
export class Device implements AsyncDisposable {
  readonly backend: Backend;
  /** How the tape adds two cotangents: handed in, so that neither the tape nor the device names an op. */
  readonly accumulate: (a: Tensor, b: Tensor) => Tensor;
  /** Why devices that come before this one in the rule were not picked; empty when it was asked for by name. */
  readonly rejected: readonly string[];
  /** Calls that the backend said it can run: asked once, since calls are interned. */
  readonly #able = new WeakSet<Call>();
  #closed = false;
  #faults = 0;

  constructor(backend: Backend, accumulate: (a: Tensor, b: Tensor) => Tensor, rejected: readonly string[] = []) {
    this.backend = backend;
    this.accumulate = accumulate;
    this.rejected = rejected;
  }

  /** webgpu, native or reference. */
  get kind(): DeviceKind {
    return this.backend.info.kind;
  }

  /** Adapter or processor, whether it is software, and further facts. */
  get info(): BackendInfo {
    return this.backend.info;
  }

  /** What plans may use. */
  get limits(): Limits {
    return this.backend.limits;
  }

  /** How many DataErrors were told so far: what was computed before one may come of broken data. */
  get faults(): number {
    return this.#faults;
  }

  /** Dispatches, submits, allocations so far; live and pooled buffers now. */
  get counters(): Counters {
    return this.backend.counters;
  }

  /**
   * A tensor with the given values, row-major.
   *
   * @param data a number, a flat or nested array, or a typed array (copied)
   * @param shape default: the nesting of `data`; one size may be -1 and is then inferred
   * @param dtype default: int32 for Int32Array, uint32 for Uint32Array, else float32; values of float16 are rounded to the nearest, ties to even
   * @throws ArgumentError when the values do not fill the shape, are no numbers, or are not integers for an integer dtype; OutOfMemoryError.
   * @example
   * ```ts
   * device.tensor([[1, 2], [3, 4]]).shape; // => [2, 2]
   * device.tensor(new Float32Array(6), [2, -1]).shape; // => [2, 3]
   * await device.tensor([1 / 3], [1], "float16").read(); // => [0.33325]
   * device.tensor([1.5], [1], "int32"); // throws ArgumentError
   * ```
   */
  tensor(data: TensorData, shape?: Shape, dtype?: DType): Tensor {
    this.#assertOpen("tensor");
    if (shape !== undefined && !Array.isArray(shape)) throw expected("tensor", "an array of non-negative integers", "shape", shape);
    const nested = shape ?? inferShape(data);
    const kind = dtype ?? (data instanceof Int32Array ? "int32" : data instanceof Uint32Array ? "uint32" : "float32");
    if (!Object.hasOwn(ARRAYS, kind)) throw expected("tensor", `one of ${DTYPES}`, "dtype", dtype);
    const values = hostValues(data, kind);
    const full = completeShape(nested, values.length);
    if (elements(full) !== values.length)
      throw expected("tensor", `${elements(full)} values to fill shape ${showShape(full)}`, "data", `${values.length} values`);
    const storage = new Storage(this, this.backend.alloc(kind, elements(full)));
    try {
      this.backend.write(storage.buffer, values);
    } catch (error) {
      storage.release();
      throw error;
    }
    return new Tensor(storage, { shape: full, dtype: kind });
  }

  /**
   * A tensor filled with one value. Default dtype float32.
   *
   * @throws ArgumentError for sizes that are no non-negative integers, and for a value that the dtype does not have.
   * @example await device.full([2], 0.5).read(); // => [0.5, 0.5]
   */
  full(shape: Shape, value: number, dtype: DType = "float32"): Tensor {
    checkShape("full", shape);
    if (!Object.hasOwn(ARRAYS, dtype)) throw expected("full", `one of ${DTYPES}`, "dtype", dtype);
    if (typeof value !== "number" || (!isFloat(dtype) && new ARRAYS[dtype]([value])[0] !== value))
      throw expected("full", isFloat(dtype) ? "a number" : `a number of dtype ${dtype}`, "value", value);
    return this.tensor(new ARRAYS[dtype](elements(shape)).fill(value), shape, dtype);
  }

  /** `full` with 0. */
  zeros(shape: Shape, dtype: DType = "float32"): Tensor {
    return this.full(shape, 0, dtype);
  }

  /** `full` with 1. */
  ones(shape: Shape, dtype: DType = "float32"): Tensor {
    return this.full(shape, 1, dtype);
  }

  /**
   * Replaces the values of a leaf tensor in place, ordered after everything already enqueued.
   * The way to feed a training loop without new buffers.
   *
   * @param data as many values as the tensor has; their nesting is ignored
   * @throws ArgumentError for another number of values, values that the dtype does not have, or a tensor of another device; StateError
   * for the result of an operation or a disposed tensor.
   * @example
   * ```ts
   * const x = device.zeros([2]);
   * device.write(x, [1, 2]);
   * await x.read(); // => [1, 2]
   * ```
   */
  write(tensor: Tensor, data: TensorData): void {
    this.#assertOpen("write");
    checkTensor("write", "tensor", tensor);
    tensor.assertLive("write");
    if (tensor.device !== this) throw new ArgumentError("write: expected a tensor of this device, but received one of another");
    if (tensor.node) throw new StateError("write: expected a leaf tensor, but received the result of an operation");
    const values = hostValues(data, tensor.dtype);
    if (values.length !== tensor.size)
      throw expected("write", `${tensor.size} values to fill shape ${showShape(tensor.shape)}`, "data", `${values.length} values`);
    tensor.storage.version++;
    this.backend.write(tensor.storage.buffer, values);
  }

  /**
   * A tensor of memory that the program made, without a copy: `webgpu` alone, on a device opened over the program's own (`openDevice({ gpuDevice })`).
   *
   * The program writes it through the queue of that device, before the call that reads it; after a later write it says `tensor.buffer({ write: true })`, so that nothing kept from older values is
   * used. Reading takes the usage COPY_SRC, `device.write` COPY_DST.
   *
   * @param buffer with usage STORAGE, unmapped; at least as many bytes as the shape takes, in whole words
   * @param options.dtype default float32
   * @param options.offset bytes to the first element, a multiple of the device's `minStorageBufferOffsetAlignment`; default 0
   * @param options.byteLength bytes that may be used from there on; default up to the buffer's end
   * @param options.ownership borrowed (default): the program destroys the buffer, after the tensor is disposed of and what used it is flushed. owned: it is destroyed with the last tensor of it
   * @throws DeviceError on another kind of device; ArgumentError for a shape, dtype, usage, offset or size that does not fit.
   * @example
   * ```ts
   * const wrap = (buffer: GPUBuffer): Tensor => device.fromBuffer(buffer, [4, 8], { offset: 256 });
   * wrap.length; // => 1
   * device.fromBuffer({} as GPUBuffer, [4]); // throws DeviceError
   * ```
   */
  fromBuffer(buffer: GPUBuffer, shape: Shape, options: FromBufferOptions = {}): Tensor {
    this.#assertOpen("fromBuffer");
    const {
      dtype = "float32",
      offset = 0,
      byteLength,
      ownership = "borrowed",
    } = checkNames("fromBuffer", options, ["dtype", "offset", "byteLength", "ownership"]);
    const gpu = this.#gpu("fromBuffer");
    checkShape("fromBuffer", shape);
    if (!Object.hasOwn(ARRAYS, dtype)) throw expected("fromBuffer", `one of ${DTYPES}`, "dtype", dtype);
    if (ownership !== "borrowed" && ownership !== "owned") throw expected("fromBuffer", "borrowed or owned", "ownership", ownership);
    const range = { buffer, offset, ...(byteLength !== undefined && { size: byteLength }) };
    const memory = gpu.adopt(range, dtype, elements(shape), ownership === "owned");
    return new Tensor(new Storage(this, memory), { shape: [...shape], dtype });
  }

  /**
   * Resolves when everything enqueued so far is submitted to the GPU's queue, in order; work that the program submits then comes after it. Waits for pipelines to compile, not for
   * the GPU. On other devices nothing waits to be submitted.
   *
   * @throws StateError after `close()`; DeviceError when the device is lost.
   */
  async flush(): Promise<void> {
    this.#assertOpen("flush");
    await this.backend.gpu?.flush();
  }

  /** Internal, for tensors: where memory lies. */
  range(where: string, buffer: Buffer): GpuRange {
    this.#assertOpen(where);
    return this.#gpu(where).range(buffer);
  }

  /** Internal, for `apply`: allocates the outputs and enqueues the call. */
  run(call: Call, scalars: Scalars, inputs: readonly { readonly storage: Storage }[]): Storage[] {
    const { op } = call;
    this.#assertOpen(op.name);
    if (op.alias) return [inputs[0].storage.retain()];
    if (!this.#able.has(call)) this.#assertAble(call);
    if (op.scalars) for (const name of op.scalars) if (typeof scalars[name] !== "number") throw expected(op.name, "a number", name, scalars[name]);
    if (op.switched) checkSwitched(op, call.attrs, scalars);
    const outputs: Storage[] = [];
    try {
      const [read, written] = [new Array<Buffer>(inputs.length), new Array<Buffer>(call.outputs.length)];
      let writes = false;
      for (let i = 0; i < read.length; i++) {
        read[i] = inputs[i].storage.buffer;
        writes ||= read[i].length > 0 && op.mutates !== undefined && op.mutates.includes(i);
      }
      for (let i = 0; i < written.length; i++) {
        const { shape, dtype } = call.outputs[i];
        written[i] = this.backend.alloc(dtype, elements(shape));
        outputs.push(new Storage(this, written[i]));
        writes ||= written[i].length > 0;
      }
      if (writes) this.backend.run(call, scalars, read, written);
      return outputs;
    } catch (error) {
      for (const storage of outputs) storage.release();
      throw error;
    }
  }

  /** Resolves when everything enqueued so far has run; rejects with what went wrong since the last read. */
  synchronize(): Promise<void> {
    this.#assertOpen("synchronize");
    return this.#told(this.backend.synchronize());
  }

  /** Internal, for tensors: what a buffer holds after everything enqueued so far. */
  read(buffer: Buffer): Promise<HostArray> {
    return this.#told(this.backend.read(buffer));
  }

  /** Frees everything; later use throws StateError. Resolves when nothing is under way any more. Safe to call twice. */
  close(): Promise<void> {
    this.#closed = true;
    return this.backend.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #told<T>(pending: Promise<T>): Promise<T> {
    try {
      return await pending;
    } catch (error) {
      if (error instanceof DataError) this.#faults++;
      throw error;
    }
  }

  #assertAble(call: Call): void {
    for (const { shape } of call.outputs) {
      if (!(elements(shape) < 2 ** 31))
        throw new ArgumentError(`${call.op.name}: expected a result of fewer than 2^31 elements, but it has shape ${showShape(shape)}`);
    }
    const reason = call.op.unsupported?.(call, this.kind) ?? this.backend.unsupported(call);
    if (reason) throw new DeviceError(`${call.op.name}: the ${this.kind} device cannot run this call: ${reason}`);
    this.#able.add(call);
  }

  #gpu(where: string): GpuMemory {
    const { gpu } = this.backend;
    if (!gpu) throw new DeviceError(`${where}: expected a webgpu device, whose memory is GPUBuffers, but received ${this.kind}`);
    return gpu;
  }

  #assertOpen(where: string): void {
    if (this.#closed) throw new StateError(`${where}: expected an open device, but the ${this.kind} device was closed`);
  }
}

/** Throws unless it was made by `openDevice` or `deviceOf`. */
export const checkDevice = (where: string, device: unknown): void => {
  if (!(device instanceof Device)) throw expected(where, "a device", "device", device);
};

const VALUES = ["info", "limits", "counters"] as const satisfies readonly (keyof Backend)[];
const CALLS = ["alloc", "free", "write", "read", "unsupported", "run", "synchronize", "close"] as const satisfies readonly (keyof Backend)[];

/** A backend as it came, when it has all that a device needs. */
export const checkBackend = (where: string, backend: Backend): Backend => {
  checkObject(where, backend, "backend");
  for (const name of VALUES) checkObject(where, backend[name], `backend.${name}`);
  for (const name of CALLS) if (typeof backend[name] !== "function") throw expected(where, "a function", `backend.${name}`, backend[name]);
  return backend;
};

/** Throws unless every size is a non-negative integer. */
export const checkShape = (where: string, shape: Shape, argument = "shape"): void => {
  // Holes are none, which `every` leaves out.
  if (!Array.isArray(shape) || !Array.from(shape).every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw expected(where, "an array of non-negative integers", argument, shape);
  }
  if (!Number.isSafeInteger(elements(shape)) || elements(shape) >= 2 ** 31) throw expected(where, "fewer than 2^31 elements", argument, shape);
};

/** Throws unless it is a shape with a dtype. */
export const checkSpec = (where: string, spec: Spec, argument: string): void => {
  if (typeof spec !== "object" || spec === null) throw expected(where, "a shape, or { shape, dtype },", argument, spec);
  checkShape(where, spec.shape, `${argument}.shape`);
  if (!Object.hasOwn(ARRAYS, spec.dtype)) throw expected(where, `one of ${DTYPES}`, `${argument}.dtype`, spec.dtype);
};

/** Fills in one size given as -1. */
export const completeShape = (shape: Shape, count: number, where = "tensor"): Shape => {
  const holes = shape.filter((size) => size === -1).length;
  if (holes > 1) throw expected(where, "at most one size of -1", "shape", shape);
  const known = elements(shape.filter((size) => size !== -1));
  const full = shape.map((size) => (size === -1 ? (known === 0 ? 0 : count / known) : size));
  checkShape(where, full.every(Number.isInteger) ? full : shape);
  return full;
};

const isNested = (data: TensorData): data is readonly TensorData[] => Array.isArray(data) && data.some((item) => typeof item === "object");

const inferShape = (data: TensorData): Shape => {
  const shape: number[] = [];
  for (let level: TensorData | undefined = data; typeof level === "object" && level !== null; level = (level as ArrayLike<TensorData>)[0]) {
    shape.push((level as ArrayLike<TensorData>).length);
  }
  return shape;
};

const hostValues = (data: TensorData, dtype: DType): HostArray => {
  const flat = typeof data === "number" ? [data] : isNested(data) ? flatten(data, inferShape(data), 0, []) : (data as ArrayLike<number>);
  if (typeof flat?.length !== "number") throw expected("tensor", "a number or an array of numbers", "data", data);
  if (isFloat(dtype)) {
    if (flat instanceof Float32Array || flat instanceof Float64Array) return flat;
    return Float64Array.from(flat, (value, i) => {
      if (typeof value !== "number") throw expected("tensor", "a number", `data[${i}]`, value);
      return value;
    });
  }
  const [low, high] = dtype === "int32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  for (let i = 0; i < flat.length; i++) {
    if (!Number.isInteger(flat[i]) || flat[i] < low || flat[i] > high) {
      throw expected("tensor", `an integer in [${low}, ${high}] for dtype ${dtype}`, `data[${i}]`, flat[i]);
    }
  }
  return ARRAYS[dtype].from(flat);
};

const flatten = (data: readonly TensorData[], shape: Shape, axis: number, into: number[]): number[] => {
  if (data.length !== shape[axis]) throw expected("tensor", `${shape[axis]} entries along axis ${axis} of a nested array`, "data", `${data.length}`);
  for (const item of data) {
    if (typeof item === "number" && axis === shape.length - 1) into.push(item);
    else if (typeof item === "object" && axis < shape.length - 1) flatten(Array.from(item as ArrayLike<number>), shape, axis + 1, into);
    else throw expected("tensor", `nested arrays of depth ${shape.length}`, "data", item);
  }
  return into;
};
