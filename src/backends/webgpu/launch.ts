/** From a program to dispatches, and from a dispatch to commands: the one way in which passes reach a GPU, with tensors or without. */
import { ArgumentError, DeviceError } from "../../errors.ts";
import { type Call, ELEMENT_BYTES, type Scalars, type Workgroups } from "../../op.ts";
import { STATUS_BYTES } from "./faults.ts";
import type { Pipeline } from "./pipelines.ts";
import { fillScalars, type PreparedPass, wordBytes } from "./prepare.ts";
import type { Program } from "./programs.ts";

/** Memory of a call's operand: `bytes` of it are bound, and up to `room` where a shader needs more. */
export interface Extent<Memory> {
  readonly memory: Memory;
  readonly bytes: number;
  readonly room: number;
}

/** A range of bytes of some memory. */
export interface Binding<Memory> {
  readonly binding: number;
  readonly memory: Memory;
  readonly offset: number;
  readonly bytes: number;
  readonly writes: boolean;
}

/** A dispatch, whatever stands for memory. */
export interface Launch<Memory> {
  readonly pipeline: Pipeline;
  readonly pass: PreparedPass;
  readonly storage: readonly Binding<Memory>[];
  /** A copy of the pass's uniforms, scalars included. */
  readonly uniform: { readonly binding: number; readonly bytes: Uint8Array<ArrayBuffer> } | undefined;
  /** As they are, or where the device finds them: three words, `offset` bytes into some memory. */
  readonly workgroups: Workgroups | { readonly memory: Memory; readonly offset: number };
}

export interface Operands<Memory> {
  readonly inputs: readonly Extent<Memory>[];
  readonly outputs: readonly Extent<Memory>[];
  readonly scratch: readonly Memory[];
  readonly status: Memory;
}

/** The uniforms of a pass, scalars included; undefined where it has none. */
export const uniformsOf = (pass: PreparedPass, scalars: Scalars): Uint8Array<ArrayBuffer> | undefined => {
  const bytes = pass.uniform && Uint8Array.from(pass.uniform.bytes);
  if (bytes) fillScalars(new DataView(bytes.buffer), 0, pass, scalars);
  return bytes;
};

/**
 * The dispatches of a call, in order.
 *
 * @throws DeviceError for a pipeline that did not compile; ArgumentError for an operand that is shorter than its shader may be given; StateError for a
 * scalar that its field cannot hold
 */
export const launches = <Memory>(call: Call, program: Program, scalars: Scalars, operands: Operands<Memory>): Launch<Memory>[] =>
  program.passes.map((pass, i): Launch<Memory> => {
    const pipeline = program.pipelines[i];
    if (pipeline.failure) throw new DeviceError(pipeline.failure.message, { cause: pipeline.failure });
    const storage = pass.storage.map(({ binding, ref, writes, least }): Binding<Memory> => {
      if ("scratch" in ref)
        return { binding, memory: operands.scratch[ref.scratch], offset: 0, bytes: Math.max(least, program.scratchBytes[ref.scratch]), writes };
      const [which, specs, index] = "input" in ref ? (["inputs", call.inputs, ref.input] as const) : (["outputs", call.outputs, ref.output] as const);
      const { memory, bytes, room } = operands[which][index];
      const { dtype } = specs[index];
      const offset = ELEMENT_BYTES[dtype] * (ref.window?.from ?? 0);
      const bound = Math.max(least, ref.window ? wordBytes(ref.window.length, dtype) : bytes);
      if (offset + bound > room)
        throw new ArgumentError(
          `${call.op.name}: expected a buffer of at least ${offset + bound} bytes for \`${which}[${index}]\`, but received ${room}`,
        );
      return { binding, memory, offset, bytes: bound, writes };
    });
    if (pass.status !== undefined) storage.push({ binding: pass.status, memory: operands.status, offset: 0, bytes: STATUS_BYTES, writes: true });
    const bytes = uniformsOf(pass, scalars);
    const given = pass.pass.workgroups;
    const workgroups = "indirect" in given ? { memory: operands.scratch[given.indirect.scratch], offset: 4 * given.offset } : given;
    return { pipeline, pass, storage, uniform: bytes && pass.uniform && { binding: pass.uniform.binding, bytes }, workgroups };
  });

/** A dispatch's buffers; the uniforms lie at a dynamic offset. */
export const bindGroup = (
  device: GPUDevice,
  { label, layout }: Pipeline,
  storage: readonly { readonly binding: number; readonly resource: GPUBufferBinding }[],
  uniform: { readonly binding: number; readonly bytes: number; readonly buffer: GPUBuffer } | undefined,
): GPUBindGroup => {
  const uniforms = uniform ? [{ binding: uniform.binding, resource: { buffer: uniform.buffer, size: uniform.bytes } }] : [];
  return device.createBindGroup({ label, layout, entries: [...storage, ...uniforms] });
};

/** Writes one dispatch into a pass. */
export const encodeDispatch = (
  pass: GPUComputePassEncoder,
  pipeline: GPUComputePipeline,
  group: GPUBindGroup,
  uniformOffset: number | undefined,
  workgroups: Workgroups | { readonly gpu: GPUBuffer; readonly offset: number },
): void => {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group, uniformOffset === undefined ? [] : [uniformOffset]);
  if ("gpu" in workgroups) pass.dispatchWorkgroupsIndirect(workgroups.gpu, workgroups.offset);
  else pass.dispatchWorkgroups(...workgroups);
};
