/** Where everything that a kernel's steps touch lies: the caller's buffers, temporary ones that serve one value after another, and the kernel's own. */
import { type Launch, launches } from "../backends/webgpu/launch.ts";
import { wordBytes } from "../backends/webgpu/prepare.ts";
import type { Program, Programs } from "../backends/webgpu/programs.ts";
import type { Scalars } from "../op.ts";
import type { Step, Value } from "./trace.ts";

/** One of the caller's buffers, or a range of the kernel's own. */
export interface Slot {
  readonly kind: "inputs" | "outputs" | "scratch" | "constants" | "status";
  readonly index: number;
  /** Of constants: their place in the kernel's own buffer. */
  readonly offset: number;
  bytes: number;
  written: boolean;
  indirect: boolean;
}

export interface StepLaunch extends Launch<Slot> {
  /** Which of the steps it belongs to. */
  readonly step: number;
  /** Where its uniforms lie in the kernel's own buffer. */
  readonly uniformOffset: number;
}

export interface Layout {
  readonly inputs: readonly Slot[];
  readonly outputs: readonly Slot[];
  readonly scratch: readonly Slot[];
  readonly status: Slot | undefined;
  readonly launches: readonly StepLaunch[];
  /** What the kernel's own buffer holds at first: constants and uniforms. */
  readonly own: Uint8Array<ArrayBuffer>;
}

/** WebGPU's largest alignment of offsets into uniform and storage buffers. */
const ALIGNMENT = 256;

const slot = (kind: Slot["kind"], index: number, offset = 0): Slot => ({ kind, index, offset, bytes: 0, written: false, indirect: false });

/** Temporary buffers: one is taken again by what is first written after its last reader. Each is a buffer of its own, since a dispatch may not read and write one buffer. */
class Temporaries {
  readonly slots: Slot[] = [];
  readonly #last: number[] = [];

  take(bytes: number, first: number, last: number): Slot {
    const free = this.slots.filter(({ index }) => this.#last[index] < first);
    // The smallest that fits, else the largest, which grows.
    const fitting = free.filter((entry) => entry.bytes >= bytes).sort((a, b) => a.bytes - b.bytes)[0];
    let taken = fitting ?? free.sort((a, b) => b.bytes - a.bytes)[0];
    if (!taken) {
      taken = slot("scratch", this.slots.length);
      this.slots.push(taken);
    }
    taken.bytes = Math.max(taken.bytes, bytes);
    this.#last[taken.index] = last;
    return taken;
  }
}

class Own {
  readonly #parts: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
  #size = 0;

  add(bytes: Uint8Array): number {
    const offset = this.#size;
    this.#parts.push({ offset, bytes });
    // A shader may read a vector where less was given.
    this.#size += Math.ceil(Math.max(bytes.byteLength, 1) / ALIGNMENT) * ALIGNMENT;
    return offset;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    const all = new Uint8Array(this.#size);
    for (const { offset, bytes } of this.#parts) all.set(bytes, offset);
    return all;
  }
}

/** @param encode gives numbers as shaders read them */
export const layOut = (
  steps: readonly Step[],
  inputs: readonly Value[],
  outputs: readonly Value[],
  programs: Programs,
  encode: (value: Value) => Uint8Array,
): Layout => {
  const slots = new Map<Value, Slot>();
  for (const [i, value] of inputs.entries()) slots.set(value, slot("inputs", i));
  for (const [i, value] of outputs.entries()) slots.set(value, slot("outputs", i));
  const lastUse = new Map<Value, number>();
  for (const [i, step] of steps.entries()) for (const value of [...step.inputs, ...step.outputs]) lastUse.set(value, i);

  const [own, temporaries] = [new Own(), new Temporaries()];
  const status = slot("status", 0);
  const extent = (value: Value, step: number): { memory: Slot; bytes: number; room: number } => {
    const bytes = wordBytes(value.length, value.dtype);
    let memory = slots.get(value);
    if (!memory) {
      memory = value.data ? slot("constants", 0, own.add(encode(value))) : temporaries.take(bytes, step, lastUse.get(value) ?? step);
      slots.set(value, memory);
    }
    return { memory, bytes, room: Number.POSITIVE_INFINITY };
  };
  const all = steps.flatMap(({ call, scalars, inputs: read, outputs: made }, step): StepLaunch[] => {
    const program: Program = programs.get(call);
    const operands = { inputs: read.map((value) => extent(value, step)), outputs: made.map((value) => extent(value, step)), status };
    const scratch = program.scratchBytes.map((bytes) => temporaries.take(bytes, step, step));
    return launches(call, program, scalars as Scalars, { ...operands, scratch }).map((launch) => {
      for (const { memory, offset, bytes, writes } of launch.storage) {
        memory.bytes = Math.max(memory.bytes, offset + bytes);
        memory.written ||= writes;
      }
      if ("memory" in launch.workgroups) launch.workgroups.memory.indirect = true;
      return { ...launch, step, uniformOffset: launch.uniform ? own.add(launch.uniform.bytes) : 0 };
    });
  });
  const of = (values: readonly Value[]): Slot[] => values.map((value) => slots.get(value) as Slot);
  return {
    inputs: of(inputs),
    outputs: of(outputs),
    scratch: temporaries.slots,
    status: status.bytes > 0 ? status : undefined,
    launches: all,
    own: own.bytes,
  };
};
