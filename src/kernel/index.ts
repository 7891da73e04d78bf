/** Kernels without tensors: what a function of tensors computes, as dispatches into the caller's own pass on the caller's own buffers. */
import { apply, generate } from "../apply.ts";
import { bindGroup, encodeDispatch, uniformsOf } from "../backends/webgpu/launch.ts";
import { limitsOf } from "../backends/webgpu/open.ts";
import type { Pipeline } from "../backends/webgpu/pipelines.ts";
import { Programs } from "../backends/webgpu/programs.ts";
import { stored } from "../backends/webgpu/values.ts";
import { checkSpec, type Device } from "../device.ts";
import { ArgumentError, checkNames, checkObject, type DataError, DeviceError, expected, StateError } from "../errors.ts";
import { type Attrs, type Call, checkSwitched, type DType, type Op, type Scalars, type Shape, type Spec } from "../op.ts";
import { deviceOf } from "../open.ts";
import { refusePromise, scope } from "../scope.ts";
import { Storage, Tensor } from "../tensor.ts";
import { type KernelBuffers, resolveBuffers, usageOf } from "./buffers.ts";
import { type Layout, layOut, type Slot } from "./layout.ts";
import { needed, Tracer, type Value } from "./trace.ts";

export type { BufferRange } from "../backends/webgpu/ranges.ts";
export type { KernelBuffers } from "./buffers.ts";

/** A buffer that a kernel wants of its caller. */
export interface KernelSlot {
  /** Bytes that it must have from its offset on; 0 where any buffer does, since nothing binds it. */
  readonly bytes: number;
  /** `GPUBufferUsage` flags that it must have at the least. */
  readonly usage: number;
  /** Whether the kernel writes it: results, temporary buffers, and inputs that an op changes in place. */
  readonly written: boolean;
}
/** An input or output: dense and row-major. */
export interface KernelOperand extends KernelSlot {
  readonly shape: Shape;
  readonly dtype: DType;
}
/** One op's part of a kernel. */
export interface KernelCall {
  /** The op's name. */
  readonly op: string;
  /** Numbers that `setScalars` may change. */
  readonly scalars: Scalars;
  readonly dispatches: number;
}

/** A shape of float32, or a shape with its dtype. */
export type KernelInput = Shape | Spec;
/** Gets a tensor per input and, behind them, the device that they are on; gives the results. Runs once, while the kernel is prepared. */
export type KernelFunction<I extends readonly KernelInput[]> = (
  ...args: [...{ [K in keyof I]: Tensor }, Device]
) => Tensor | readonly Tensor[] | undefined;

export interface KernelOptions {
  /** Attributes, where an op is given instead of a function. */
  readonly attrs?: Attrs;
  /** Scalars, where an op is given instead of a function. */
  readonly scalars?: Scalars;
}

// GPUBufferUsage, which Node has no global for.
const [COPY_DST, UNIFORM, STORAGE] = [8, 64, 128];
const STATUS_BYTES = 8;

const programs = new WeakMap<GPUDevice, Programs>();
const programsOf = (device: GPUDevice): Programs => {
  const known = programs.get(device) ?? new Programs(device, limitsOf(device, false));
  programs.set(device, known);
  return known;
};

/**
 * A kernel with its buffers: encodes without looking at anything again. Made by `kernel.bind`.
 *
 * @example
 * ```ts
 * const eachFrame = (bound: BoundKernel, encoder: GPUCommandEncoder): void => bound.encode(encoder);
 * eachFrame.length; // => 2
 * ```
 */
export class BoundKernel {
  readonly #kernel: Kernel;
  readonly #encode: (pass: GPUComputePassEncoder) => void;

  /** Internal: `kernel.bind` makes it. */
  constructor(kernel: Kernel, encode: (pass: GPUComputePassEncoder) => void) {
    this.#kernel = kernel;
    this.#encode = encode;
  }

  /** Writes the dispatches into the caller's pass, or into one of their own on the caller's encoder. Throws as `kernel.encode`. */
  encode(target: GPUComputePassEncoder | GPUCommandEncoder): void {
    this.#kernel.assertLive("encode");
    const own = typeof (target as GPUCommandEncoder | undefined)?.beginComputePass === "function";
    if (!own && typeof (target as GPUComputePassEncoder | undefined)?.dispatchWorkgroups !== "function")
      throw expected("encode", "a GPUComputePassEncoder or a GPUCommandEncoder", "target", target);
    const pass = own ? (target as GPUCommandEncoder).beginComputePass() : (target as GPUComputePassEncoder);
    this.#encode(pass);
    if (own) pass.end();
  }
}

/**
 * A compiled computation, and what it wants of its caller. Made by `prepareKernel`.
 *
 * Of GPU memory it owns one buffer of `ownedBytes` (uniforms, and constants that the function made), and 8 bytes for faults where an op can report any. It has no
 * other; it submits nothing, reads nothing, and never needs the end of a pass between its dispatches.
 *
 * @example
 * ```ts
 * const wants = ({ inputs, outputs, scratch }: Kernel): number[] => [...inputs, ...outputs, ...scratch].map(({ bytes }) => bytes);
 * wants.length; // => 1
 * ```
 */
export class Kernel implements Disposable {
  readonly device: GPUDevice;
  readonly inputs: readonly KernelOperand[];
  readonly outputs: readonly KernelOperand[];
  /** Temporary buffers, each a GPUBuffer of its own; contents are undefined before and after. Kernels that do not run at once may share them. */
  readonly scratch: readonly KernelSlot[];
  /** Sum over `scratch`. */
  readonly scratchBytes: number;
  readonly ownedBytes: number;
  readonly dispatches: number;
  /** Whether the device works out some of the workgroup counts: then a temporary buffer has the usage INDIRECT. */
  readonly indirect: boolean;
  /** Whether data can break a precondition, which `status` and `fault` tell. */
  readonly reportsFaults: boolean;
  readonly #layout: Layout;
  readonly #programs: Programs;
  readonly #own: GPUBuffer | undefined;
  readonly #status: GPUBuffer | undefined;
  readonly #calls: { readonly call: Call; scalars: Scalars }[];
  #destroyed = false;

  /** Internal: `prepareKernel` makes it. */
  constructor(
    device: GPUDevice,
    specs: { readonly inputs: readonly Spec[]; readonly outputs: readonly Spec[] },
    calls: { readonly call: Call; readonly scalars: Scalars }[],
    layout: Layout,
    compiled: Programs,
  ) {
    const facts = (slot: Slot): KernelSlot => ({ bytes: slot.bytes, usage: usageOf(slot), written: slot.written });
    this.device = device;
    this.inputs = specs.inputs.map(({ shape, dtype }, i) => ({ shape, dtype, ...facts(layout.inputs[i]) }));
    this.outputs = specs.outputs.map(({ shape, dtype }, i) => ({ shape, dtype, ...facts(layout.outputs[i]) }));
    this.scratch = layout.scratch.map(facts);
    this.scratchBytes = this.scratch.reduce((total, { bytes }) => total + bytes, 0);
    this.ownedBytes = layout.own.byteLength;
    this.dispatches = layout.launches.length;
    this.indirect = layout.scratch.some(({ indirect }) => indirect);
    this.reportsFaults = layout.status !== undefined;
    this.#layout = layout;
    this.#programs = compiled;
    this.#calls = calls;
    if (layout.own.byteLength > 0) {
      // Filled as it is made: nothing goes through the caller's queue.
      this.#own = device.createBuffer({
        label: "birkhoff kernel",
        size: layout.own.byteLength,
        usage: UNIFORM | STORAGE | COPY_DST,
        mappedAtCreation: true,
      });
      new Uint8Array(this.#own.getMappedRange()).set(layout.own);
      this.#own.unmap();
    }
    if (this.reportsFaults) this.#status = device.createBuffer({ label: "birkhoff faults", size: STATUS_BYTES, usage: STORAGE | COPY_DST });
  }

  /** What the kernel runs, in order. */
  get calls(): readonly KernelCall[] {
    return this.#calls.map(({ call, scalars }, i) => ({
      op: call.op.name,
      scalars,
      dispatches: this.#layout.launches.filter(({ step }) => step === i).length,
    }));
  }

  /**
   * Writes the dispatches into the caller's pass, or into a pass of their own on the caller's encoder. Of a pass it changes the pipeline and bind group 0.
   * Nothing is submitted. What only the device can see (a buffer of another device, a destroyed one) becomes the caller's own validation error; `bind` waits for it.
   *
   * @param buffers in the order of `inputs`, `outputs` and `scratch`; results and temporary memory may not overlap with anything, nor lie in a GPUBuffer that a
   * dispatch which writes them reads
   * @throws ArgumentError for another number of buffers, usages, sizes, offsets and overlaps that do not fit, or something else for `target`; StateError after `destroy()`.
   */
  encode(target: GPUComputePassEncoder | GPUCommandEncoder, buffers: KernelBuffers): void {
    this.#bound(buffers, "encode").encode(target);
  }

  /**
   * Keeps buffers for many uses, after the device has looked at them.
   *
   * @throws ArgumentError as `encode`, and for buffers of another device.
   */
  async bind(buffers: KernelBuffers): Promise<BoundKernel> {
    this.device.pushErrorScope("validation");
    let bound: BoundKernel;
    let verdict: Promise<GPUError | null>;
    try {
      bound = this.#bound(buffers, "bind");
    } catch (error) {
      if (error instanceof ArgumentError || error instanceof DeviceError) throw error;
      throw new ArgumentError(`bind: expected buffers of the kernel's device, but received: ${(error as Error).message}`, { cause: error });
    } finally {
      verdict = this.device.popErrorScope();
      verdict.catch(() => null);
    }
    const error = await verdict;
    if (error) throw new ArgumentError(`bind: expected buffers of the kernel's device, but received: ${error.message}`);
    return bound;
  }

  /** Makes the temporary buffers, which are the caller's to destroy. */
  createScratch(): GPUBuffer[] {
    this.assertLive("createScratch");
    return this.scratch.map(({ bytes, usage }) => this.device.createBuffer({ label: "birkhoff scratch", size: Math.max(4, bytes), usage }));
  }

  /**
   * Changes numbers of a call: a temperature, a learning rate. As `queue.writeBuffer`, which it uses: it holds for everything that is submitted afterwards, so one submit has one value.
   *
   * @param call which of `calls`; default the first
   * @throws ArgumentError for a name that the call does not have, something other than numbers, and a number that was 0 where the kernel was made to do without it; StateError after `destroy()`.
   */
  setScalars(scalars: Scalars, call = 0): void {
    this.assertLive("setScalars");
    const entry = this.#calls[call];
    if (!entry) throw expected("setScalars", `an index below ${this.#calls.length}`, "call", call);
    const { op, attrs } = entry.call;
    for (const [name, value] of Object.entries(scalars)) {
      if (!op.scalars?.includes(name)) throw expected("setScalars", `one of ${op.scalars?.join(", ") || "no names"}`, "scalars", name);
      if (typeof value !== "number") throw expected("setScalars", "a number", `scalars.${name}`, value);
    }
    const next = { ...entry.scalars, ...scalars };
    checkSwitched(op, attrs, next);
    const writes = this.#layout.launches.flatMap(({ step, pass, uniformOffset }) => {
      const bytes = step === call ? uniformsOf(pass, next) : undefined;
      return bytes ? [{ bytes, uniformOffset }] : [];
    });
    for (const { bytes, uniformOffset } of writes) this.device.queue.writeBuffer(this.#own as GPUBuffer, uniformOffset, bytes);
    entry.scalars = next;
  }

  /** The error that the two words of a status buffer stand for, or undefined where nothing went wrong. Clear the buffer for the next. */
  fault(words: ArrayBuffer): DataError | undefined {
    if (!(words instanceof ArrayBuffer) || words.byteLength < STATUS_BYTES)
      throw expected("fault", `an ArrayBuffer of ${STATUS_BYTES} bytes`, "words", words);
    return this.#programs.faults.error(words);
  }

  /** Destroys what the kernel owns; what was submitted still runs. The caller's buffers and device stay. Safe to call twice. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#own?.destroy();
    this.#status?.destroy();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  /** Internal. Throws StateError after `destroy()`. */
  assertLive(where: string): void {
    if (this.#destroyed) throw new StateError(`${where}: expected a kernel, but received one that was destroyed`);
  }

  #bound(buffers: KernelBuffers, where: string): BoundKernel {
    this.assertLive(where);
    const resolved = resolveBuffers(where, this.#layout, buffers, this.#status, this.device.limits.minStorageBufferOffsetAlignment);
    const own = this.#own as GPUBuffer;
    const at = (slot: Slot): { readonly buffer: GPUBuffer; readonly offset: number } =>
      slot.kind === "constants" ? { buffer: own, offset: slot.offset } : (resolved.get(slot) as { buffer: GPUBuffer; offset: number });
    const dispatches = this.#layout.launches.map(({ pipeline, storage, uniform, uniformOffset, workgroups }) => {
      const entries = storage.map(({ binding, memory, offset, bytes }) => {
        const { buffer, offset: base } = at(memory);
        return { binding, resource: { buffer, offset: base + offset, size: bytes } };
      });
      const group = bindGroup(this.device, pipeline, entries, uniform && { binding: uniform.binding, bytes: uniform.bytes.byteLength, buffer: own });
      const counts =
        "memory" in workgroups ? { gpu: at(workgroups.memory).buffer, offset: at(workgroups.memory).offset + workgroups.offset } : workgroups;
      return { pipeline: pipeline.compiled as GPUComputePipeline, group, offset: uniform && uniformOffset, counts };
    });
    return new BoundKernel(this, (pass) => {
      for (const { pipeline, group, offset, counts } of dispatches) encodeDispatch(pass, pipeline, group, offset, counts);
    });
  }
}

const specOf = (given: KernelInput, i: number): Spec => {
  const spec: Spec = Array.isArray(given) ? { shape: given as Shape, dtype: "float32" } : (given as Spec);
  checkSpec("prepareKernel", spec, `inputs[${i}]`);
  return { shape: [...spec.shape], dtype: spec.dtype };
};

const settle = async (pipelines: ReadonlySet<Pipeline>): Promise<void> => {
  await Promise.all([...pipelines].map(({ settled }) => settled));
  for (const { failure, compiled, label } of pipelines) {
    if (failure) throw new DeviceError(failure.message, { cause: failure });
    if (!compiled) throw new DeviceError(`${label}: expected a pipeline, but the device was lost while it compiled`);
  }
};

/**
 * Makes a kernel of a function of tensors, for the caller's own device, buffers and passes: any public function with its options, several in a row, their gradients
 * too. The function runs once, on tensors without values; every call it makes becomes dispatches, and what lies between them temporary memory. Calls whose results nothing needs
 * are left out. An op's value (`rooms` of `birkhoff/testing`, `op` of a `customOp`) with its attributes does as well.
 *
 * WebGPU's default limits suffice. Resolves when all pipelines are compiled; pipelines are shared by everything on the device.
 *
 * @param device the caller's own; never destroyed here
 * @param source what to compute
 * @param inputs shapes of float32, or shapes with dtypes
 * @throws ArgumentError for inputs or options that the function refuses, a result that is an input or made of constants, or a function that returns a promise; DeviceError for what the device
 * cannot run or compile; StateError for a function that reads.
 * @example
 * ```ts
 * const plans = async (gpuDevice: GPUDevice, pass: GPUComputePassEncoder, logits: GPUBuffer, P: GPUBuffer): Promise<void> => {
 *   const kernel = await prepareKernel(gpuDevice, (z) => sinkhorn(z, { iterations: 20, temperature: 0.5 }), [[64, 25, 25]]);
 *   kernel.encode(pass, { inputs: [logits], outputs: [P], scratch: kernel.createScratch() });
 * };
 * plans.length; // => 4
 * ```
 */
export const prepareKernel = async <const I extends readonly KernelInput[]>(
  device: GPUDevice,
  source: KernelFunction<I> | Op,
  inputs: I,
  options: KernelOptions = {},
): Promise<Kernel> => {
  const { attrs = {}, scalars = {} } = checkNames("prepareKernel", options, ["attrs", "scalars"]);
  for (const [name, given] of Object.entries({ attrs, scalars })) checkObject("prepareKernel", given, `options.${name}`);
  if (typeof (device as GPUDevice | undefined)?.createComputePipeline !== "function")
    throw expected("prepareKernel", "a GPUDevice", "device", device);
  if (typeof source !== "function" && typeof (source as Op | undefined)?.plan !== "function")
    throw expected("prepareKernel", "a function of tensors, or an op,", "source", source);
  if (!Array.isArray(inputs)) throw expected("prepareKernel", "an array of shapes", "inputs", inputs);
  const specs = inputs.map(specOf);
  const compiled = programsOf(device);
  const tracer = new Tracer(compiled.limits, (call) => compiled.refusal(call));
  const on = deviceOf(tracer);
  const values = specs.map((spec, i) => tracer.input(spec, i));
  const results = scope(() => {
    const tensors = values.map((value, i) => new Tensor(new Storage(on, value), specs[i]));
    const given =
      typeof source === "function"
        ? (source as (...args: unknown[]) => unknown)(...tensors, on)
        : tensors.length > 0
          ? apply(source, tensors, attrs, scalars)
          : generate(on, source, attrs, scalars);
    refusePromise("prepareKernel", given);
    const list: readonly unknown[] = given === undefined ? [] : Array.isArray(given) ? given : [given];
    return list.map((tensor, i) => {
      if (!(tensor instanceof Tensor) || tensor.device !== on) throw expected("prepareKernel", "a tensor made of the inputs", `result ${i}`, tensor);
      return { value: tensor.storage.buffer as Value, spec: { shape: tensor.shape, dtype: tensor.dtype } };
    });
  });
  for (const [i, { value }] of results.entries()) {
    const twin = results.findIndex((other) => other.value === value);
    const what =
      value.input !== undefined ? `input ${value.input} itself` : value.data ? "constant numbers" : twin < i ? `result ${twin} again` : undefined;
    if (what) throw new ArgumentError(`prepareKernel: expected a tensor that a kernel writes for \`result ${i}\`, but received ${what}`);
  }
  const made = results.map(({ value }) => value);
  const steps = needed(tracer.steps, made);
  await settle(new Set(steps.flatMap(({ call }) => compiled.get(call).pipelines)));
  const layout = layOut(steps, values, made, compiled, (value) => {
    const { buffer, byteOffset, byteLength } = stored(value.dtype, value.data ?? new Float32Array(0));
    return new Uint8Array(buffer, byteOffset, byteLength);
  });
  const calls = steps.map(({ call, scalars: given }) => ({ call, scalars: given }));
  return new Kernel(device, { inputs: specs, outputs: results.map(({ spec }) => spec) }, calls, layout, compiled);
};
