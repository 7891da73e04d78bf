import type { Buffer, GpuRange, HostArray } from "./backend.ts";
import type { Device } from "./device.ts";
import { ArgumentError, checkNames, expected, StateError } from "./errors.ts";
import { type DType, elements, isFloat, type Shape, type Spec, showShape } from "./op.ts";
import { enroll, keep } from "./scope.ts";
import { backward, type GraphNode, retainNode } from "./tape.ts";

/** A counted allocation: tensors of other shapes and the tape may share it. `version` counts changes in place. */
export class Storage {
  readonly device: Device;
  readonly buffer: Buffer;
  version = 0;
  #holders = 1;

  constructor(device: Device, buffer: Buffer) {
    this.device = device;
    this.buffer = buffer;
  }

  retain(): this {
    this.#holders++;
    return this;
  }

  /** A tensor of this memory, outside of any graph. */
  view(spec: Spec): Tensor {
    return new Tensor(this.retain(), spec);
  }

  release(): void {
    if (--this.#holders === 0) this.device.backend.free(this.buffer);
  }
}

/**
 * A dense, row-major array on a device. Operations never change or consume their inputs.
 *
 * Made by `device.tensor(data, shape)` and by ops; freed by `dispose()`, `using`, or the `scope` it was made in.
 *
 * @example
 * ```ts
 * using x = device.tensor([[1, 2], [3, 4]]);
 * x.requiresGrad = true;
 * using loss = sum(mul(x, x));
 * await loss.item(); // => 30
 * loss.backward();
 * await x.grad?.read(); // => [2, 4, 6, 8]
 * ```
 */
export class Tensor implements Disposable {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly storage: Storage;
  /** The tape's record of where the tensor came from; undefined for leaves. */
  readonly node: GraphNode | undefined;
  /** Which output of `node` it is. */
  readonly position: number;
  /** What `backward()` accumulated here: set on leaves that require a gradient. float32, also where the leaf is float16. Owned by this tensor. */
  grad: Tensor | undefined;
  #requiresGrad = false;
  #disposed = false;

  /** Internal: use `device.tensor` or an op. Takes over one hold on `storage`. */
  constructor(storage: Storage, spec: Spec, node?: GraphNode, position = 0) {
    this.storage = storage;
    this.shape = spec.shape;
    this.dtype = spec.dtype;
    this.node = node;
    this.position = position;
    if (node) retainNode(node);
    enroll(this);
  }

  /** Where it lives. */
  get device(): Device {
    return this.storage.device;
  }

  /** Number of elements. */
  get size(): number {
    return elements(this.shape);
  }

  /** Whether `dispose()` was called; any other use throws StateError then. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Whether gradients flow to or through this tensor. Settable on leaves: false freezes a parameter. */
  get requiresGrad(): boolean {
    return this.#requiresGrad || this.node !== undefined;
  }

  set requiresGrad(value: boolean) {
    if (this.node) throw new StateError("requiresGrad: expected a leaf tensor, but this one is the result of an operation; use detach()");
    if (value && !isFloat(this.dtype)) throw new ArgumentError(`requiresGrad: expected dtype float32 or float16, but received ${this.dtype}`);
    this.#requiresGrad = value;
  }

  /**
   * The values, row-major, after everything enqueued before this call. float32 and float16 give a Float32Array on every device.
   *
   * @throws StateError when disposed; DataError when device data broke a kernel's precondition; DeviceError when the device is lost.
   */
  async read(): Promise<Float32Array | Int32Array | Uint32Array> {
    const values = await this.#values("read");
    return values instanceof Float64Array ? Float32Array.from(values) : values;
  }

  /**
   * The unrounded values; only the reference device computes in float64.
   *
   * @throws ArgumentError on another device or for an integer dtype; otherwise as `read`.
   */
  async readFloat64(): Promise<Float64Array> {
    const values = await this.#values("readFloat64");
    if (values instanceof Float64Array) return values;
    throw new ArgumentError(
      `readFloat64: expected a tensor of dtype float32 or float16 of the reference device, but received ${this.dtype} on ${this.device.kind}`,
    );
  }

  /**
   * The one value of a tensor with one element; unrounded on the reference device.
   *
   * @throws ArgumentError for another number of elements; otherwise as `read`.
   */
  async item(): Promise<number> {
    if (this.size !== 1) throw new ArgumentError(`item: expected a tensor with one element, but received shape ${showShape(this.shape)}`);
    return (await this.#values("item"))[0];
  }

  /**
   * Where the values lie on a `webgpu` device, as a bind group takes it. What was enqueued and touches them is submitted first (pipelines that are not compiled yet are compiled on
   * the spot; `await device.flush()` before spares that), so work that the program submits to the same queue from now on sees them. The memory is the device's or its owner's as
   * before: it holds these values until the tensor is disposed of, and is not to be destroyed.
   *
   * @param options `write`: whether the program is about to write there, by what it submits before the next call that reads the tensor. Default false
   * @throws DeviceError on another kind of device; StateError when disposed, and for writing to the result of an operation.
   */
  buffer(options: { readonly write?: boolean } = {}): GpuRange {
    const { write = false } = checkNames("buffer", options, ["write"]);
    this.assertLive("buffer");
    if (write && this.node) throw new StateError("buffer: expected a leaf tensor to write to, but received the result of an operation");
    const range = this.device.range("buffer", this.storage.buffer);
    if (write) this.storage.version++;
    return range;
  }

  /** The same data, cut off from the tape: shares the memory. Throws StateError when disposed. */
  detach(): Tensor {
    this.assertLive("detach");
    return this.storage.view(this);
  }

  /**
   * Accumulates d(this)/d(leaf) into the `grad` of every leaf that requires one, then frees the graph.
   *
   * @param gradient the cotangent to start from; default 1, for tensors with one element
   * @throws ArgumentError when this has more elements and no gradient is given, or the gradient has another shape, dtype or device; StateError without a graph, or on a second call.
   */
  backward(gradient?: Tensor): void {
    this.assertLive("backward");
    if (gradient !== undefined) {
      checkTensor("backward", "gradient", gradient);
      if (gradient.dtype !== "float32") throw expected("backward", "dtype float32", "gradient", gradient.dtype);
      if (gradient.device !== this.device)
        throw new ArgumentError(`backward: expected a gradient of the same ${this.device.kind} device, but received one of ${gradient.device.kind}`);
    }
    backward(this, gradient);
  }

  /** Frees the tensor's hold on its memory. Safe to call twice. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.grad?.dispose();
    this.node?.release();
    this.storage.release();
    keep(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Throws StateError when disposed; `where` names the caller. */
  assertLive(where: string): void {
    if (this.#disposed)
      throw new StateError(`${where}: expected a live tensor, but received one of shape ${showShape(this.shape)} that was disposed`);
  }

  #values(where: string): Promise<HostArray> {
    this.assertLive(where);
    return this.device.read(this.storage.buffer);
  }
}

/** Throws unless `value` is a tensor: for functions that look at it before `apply` does. */
export const checkTensor = (where: string, argument: string, value: unknown): void => {
  if (!(value instanceof Tensor)) throw expected(where, "a tensor", argument, value);
};

/** Throws unless `value` is an array of tensors. */
export const checkTensors = (where: string, argument: string, value: unknown): void => {
  if (!Array.isArray(value)) throw expected(where, "an array of tensors", argument, value);
  for (const [i, entry] of value.entries()) checkTensor(where, `${argument}[${i}]`, entry);
};
