/**
 * The batch: dispatches and copies gather in order and are encoded together, one command buffer per batch.
 * Batches are submitted in order; a batch whose pipelines are still compiling holds back those after it.
 */
import { DeviceError } from "../../errors.ts";
import type { Workgroups } from "../../op.ts";
import type { Allocation } from "./buffers.ts";
import { type Binding, bindGroup, encodeDispatch, type Launch } from "./launch.ts";
import type { Pipeline } from "./pipelines.ts";

interface Dispatch {
  readonly pipeline: Pipeline;
  readonly storage: readonly Binding<Allocation>[];
  readonly uniform: { readonly binding: number; readonly bytes: number; readonly offset: number } | undefined;
  readonly workgroups: Workgroups | { readonly memory: Allocation; readonly offset: number };
}

interface Copy {
  readonly from: Allocation;
  readonly to: Allocation;
  readonly offset: number;
  readonly bytes: number;
  /** Whether the source is zeroed afterwards. */
  readonly clear: boolean;
}

export interface Batch {
  readonly serial: number;
  readonly commands: (Dispatch | Copy)[];
  readonly uniforms: Uint8Array<ArrayBuffer>;
  uniformBytes: number;
  dispatches: number;
}

const BATCH_DISPATCHES = 128;
const UNIFORM_BYTES = 65536;
/** WebGPU's largest `minUniformBufferOffsetAlignment`. */
const UNIFORM_ALIGNMENT = 256;
/** Batches that may wait for pipelines before compilation on the spot is preferred to more memory. */
const MAX_WAITING = 8;
const MAX_BIND_GROUPS = 4096;
const SHOWN_LABELS = 8;

export class Queue {
  readonly #device: GPUDevice;
  readonly #uniforms: Allocation;
  readonly #report: (failed: Promise<DeviceError | undefined>) => void;
  readonly #groups = new Map<string, { readonly group: GPUBindGroup; readonly allocations: readonly Allocation[] }>();
  readonly #groupsOf = new WeakMap<Allocation, Set<string>>();
  readonly #spareUniforms: Uint8Array<ArrayBuffer>[] = [];
  #waiting: Batch[] = [];
  #dropped: Allocation[] = [];
  #open: Batch;
  #submitted = -1;
  #submits = 0;
  #dispatches = 0;

  /** `report` receives what goes wrong with a batch after it was submitted. */
  constructor(device: GPUDevice, uniforms: Allocation, report: (failed: Promise<DeviceError | undefined>) => void) {
    this.#device = device;
    this.#uniforms = uniforms;
    this.#report = report;
    this.#open = this.#newBatch(0);
  }

  static readonly uniformBytes = UNIFORM_BYTES;

  get submits(): number {
    return this.#submits;
  }

  get dispatches(): number {
    return this.#dispatches;
  }

  /** Keeps a copy of the uniforms for the dispatch that comes next; gives their offset. */
  #keepUniforms(bytes: Uint8Array): number {
    const size = Math.ceil(bytes.byteLength / UNIFORM_ALIGNMENT) * UNIFORM_ALIGNMENT;
    if (size > UNIFORM_BYTES) throw new DeviceError(`webgpu: expected at most ${UNIFORM_BYTES} bytes of Params, but received ${bytes.byteLength}`);
    if (this.#open.uniformBytes + size > UNIFORM_BYTES) this.#seal();
    const offset = this.#open.uniformBytes;
    this.#open.uniforms.set(bytes, offset);
    this.#open.uniformBytes += size;
    return offset;
  }

  dispatch({ pipeline, storage, uniform, workgroups }: Launch<Allocation>): void {
    // Keeping uniforms may end the open batch.
    const kept = uniform && { binding: uniform.binding, bytes: uniform.bytes.byteLength, offset: this.#keepUniforms(uniform.bytes) };
    const batch = this.#open;
    for (const { memory } of storage) memory.usedIn = batch.serial;
    if ("memory" in workgroups) workgroups.memory.usedIn = batch.serial;
    batch.commands.push({ pipeline, storage, uniform: kept, workgroups });
    batch.dispatches++;
    this.#dispatches++;
    if (batch.dispatches >= BATCH_DISPATCHES) this.#seal();
  }

  copy(copy: Copy): void {
    copy.from.usedIn = this.#open.serial;
    copy.to.usedIn = this.#open.serial;
    this.#open.commands.push(copy);
  }

  /** Ends the open batch; resolves when it and all before it are submitted, which waits for pipelines only. */
  async submit(): Promise<void> {
    const { serial } = this.#open;
    this.#close();
    const waiting = this.#waiting.filter((batch) => batch.serial <= serial);
    await Promise.all(waiting.flatMap(pipelinesOf).map(({ settled }) => settled));
    this.#submitThrough(serial);
  }

  /** Submits whatever refers to the buffer, at once: a write is about to change it behind the queue's back. */
  submitUsersOf(allocation: Allocation): void {
    if (allocation.usedIn <= this.#submitted) return;
    if (allocation.usedIn >= this.#open.serial) this.#close();
    this.#submitThrough(allocation.usedIn);
  }

  /** Submits everything, at once, as above: what was dropped is destroyed then. */
  submitAll(): void {
    const { serial } = this.#open;
    this.#close();
    this.#submitThrough(serial);
  }

  /** Destroys a buffer, and the bind groups that hold it, as soon as no batch that refers to it is outstanding. */
  drop(allocation: Allocation): void {
    if (allocation.usedIn <= this.#submitted) this.#destroy(allocation);
    else this.#dropped.push(allocation);
  }

  /** Forgets everything that was not submitted. */
  clear(): void {
    for (const { gpu, borrowed } of this.#dropped) if (!borrowed) gpu.destroy();
    this.#dropped = [];
    this.#waiting = [];
    this.#groups.clear();
    this.#open = this.#newBatch(this.#open.serial + 1);
    this.#submitted = this.#open.serial - 1;
  }

  #newBatch(serial: number): Batch {
    return { serial, commands: [], uniforms: this.#spareUniforms.pop() ?? new Uint8Array(UNIFORM_BYTES), uniformBytes: 0, dispatches: 0 };
  }

  #close(): void {
    if (this.#open.commands.length === 0 && this.#open.uniformBytes === 0) return;
    this.#waiting.push(this.#open);
    this.#open = this.#newBatch(this.#open.serial + 1);
  }

  /** Ends a full batch and submits it as soon as its pipelines are there. */
  #seal(): void {
    const { serial } = this.#open;
    this.#close();
    const pending = this.#waiting.flatMap(pipelinesOf).filter(({ compiled, failure }) => !compiled && !failure);
    if (pending.length === 0 || this.#waiting.length > MAX_WAITING) this.#submitThrough(serial);
    else void Promise.all(pending.map(({ settled }) => settled)).then(() => this.#submitThrough(serial));
  }

  #submitThrough(serial: number): void {
    while (this.#waiting.length > 0 && this.#waiting[0].serial <= serial) {
      const batch = this.#waiting.shift() as Batch;
      this.#submit(batch);
      this.#submitted = batch.serial;
      this.#spareUniforms.push(batch.uniforms);
    }
    if (this.#dropped.length === 0) return;
    const done = this.#dropped.filter(({ usedIn }) => usedIn <= this.#submitted);
    this.#dropped = this.#dropped.filter(({ usedIn }) => usedIn > this.#submitted);
    for (const allocation of done) this.#destroy(allocation);
  }

  #destroy(allocation: Allocation): void {
    for (const key of this.#groupsOf.get(allocation) ?? []) this.#forgetGroup(key);
    if (!allocation.borrowed) allocation.gpu.destroy();
  }

  #submit(batch: Batch): void {
    const device = this.#device;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    try {
      if (batch.uniformBytes > 0) device.queue.writeBuffer(this.#uniforms.gpu, 0, batch.uniforms, 0, batch.uniformBytes);
      device.queue.submit([this.#encode(batch)]);
      if (batch.dispatches > 0) this.#submits++;
    } catch (error) {
      this.#report(
        Promise.resolve(new DeviceError(`webgpu: expected a batch to be encoded, but received: ${(error as Error).message}`, { cause: error })),
      );
    } finally {
      const validation = device.popErrorScope();
      const memory = device.popErrorScope();
      this.#report(this.#failureOf(batch, [validation, memory]));
    }
  }

  /** A pipeline's own failure says more than the errors it leads to. */
  async #failureOf(batch: Batch, scopes: Promise<GPUError | null>[]): Promise<DeviceError | undefined> {
    const errors = await Promise.all(scopes.map((scope) => scope.catch(() => null)));
    const pipelines = pipelinesOf(batch);
    await Promise.all(pipelines.map(({ settled }) => settled));
    for (const { failure } of pipelines) if (failure) return failure;
    const [error] = errors.filter((item) => item !== null);
    if (!error) return undefined;
    const labels = [...new Set(pipelines.map(({ label }) => label))];
    const shown = labels.slice(0, SHOWN_LABELS).join(", ") + (labels.length > SHOWN_LABELS ? `, … ${labels.length} in all` : "");
    return new DeviceError(`webgpu: expected the passes ${shown || "of a readback"} to run, but received: ${error.message}`);
  }

  #encode(batch: Batch): GPUCommandBuffer {
    const encoder = this.#device.createCommandEncoder();
    let pass: GPUComputePassEncoder | undefined;
    for (const command of batch.commands) {
      if ("from" in command) {
        pass?.end();
        pass = undefined;
        encoder.copyBufferToBuffer(command.from.gpu, command.from.offset, command.to.gpu, command.offset, command.bytes);
        if (command.clear) encoder.clearBuffer(command.from.gpu, 0, command.bytes);
        continue;
      }
      const { pipeline, uniform, workgroups } = command;
      if (pipeline.failure) continue;
      pass ??= encoder.beginComputePass();
      const counts = "memory" in workgroups ? { gpu: workgroups.memory.gpu, offset: workgroups.offset } : workgroups;
      encodeDispatch(pass, pipeline.compiled ?? pipeline.compileNow(), this.#group(command), uniform?.offset, counts);
    }
    pass?.end();
    return encoder.finish();
  }

  #group({ pipeline, storage, uniform }: Dispatch): GPUBindGroup {
    let key = `${pipeline.id}`;
    for (const { memory, offset, bytes } of storage) key += `|${memory.id}:${offset}:${bytes}`;
    const known = this.#groups.get(key);
    if (known) return known.group;
    const entries = storage.map(({ binding, memory, offset, bytes }) => ({
      binding,
      resource: { buffer: memory.gpu, offset: memory.offset + offset, size: bytes },
    }));
    const group = bindGroup(this.#device, pipeline, entries, uniform && { ...uniform, buffer: this.#uniforms.gpu });
    if (this.#groups.size >= MAX_BIND_GROUPS) this.#forgetGroup(this.#groups.keys().next().value ?? "");
    this.#groups.set(key, { group, allocations: storage.map(({ memory }) => memory) });
    for (const { memory } of storage) {
      const keys = this.#groupsOf.get(memory);
      if (keys) keys.add(key);
      else this.#groupsOf.set(memory, new Set([key]));
    }
    return group;
  }

  #forgetGroup(key: string): void {
    for (const allocation of this.#groups.get(key)?.allocations ?? []) this.#groupsOf.get(allocation)?.delete(key);
    this.#groups.delete(key);
  }
}

const pipelinesOf = (batch: Batch): Pipeline[] => [
  ...new Set(batch.commands.flatMap((command) => ("pipeline" in command ? [command.pipeline] : []))),
];
