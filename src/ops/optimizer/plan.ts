import * as shaders from "../../generated/optimizer.ts";
import {
  type BufferRef,
  type Call,
  elements,
  grid,
  input,
  type Limits,
  output,
  type Pass,
  type Plan,
  type Shader,
  type Spec,
  scratch,
} from "../../op.ts";
import type { SgdAttrs, UpdateAttrs } from "./reference.ts";

const THREADS = 256;
const NOWHERE = 0xffffffff;
/** Parameters per dispatch: with their gradients, the state and the norm they fill the 8 storage buffers of the floor. */
export const UPDATE_SLOTS = 3;
/** Gradients per dispatch of the norm: with the partial sums they fill the 8 storage buffers of the floor. */
export const NORM_SLOTS = 7;
/** Elements that a workgroup of the norm sums. */
export const NORM_CHUNK = shaders.norm.consts.CHUNK;

interface Slot {
  /** Position among the parameters. */
  readonly index: number;
  readonly count: number;
}

/** The tensors that have elements, `size` of them at a time. */
const chunks = (specs: readonly Spec[], size: number): Slot[][] => {
  const slots = specs.map(({ shape }, index) => ({ index, count: elements(shape) })).filter(({ count }) => count > 0);
  return Array.from({ length: Math.ceil(slots.length / size) }, (_, i) => slots.slice(i * size, (i + 1) * size));
};

/** Workgroup at which each slot begins, and how many there are in all. */
const spread = (slots: readonly Slot[], perWorkgroup: number, places: number): { starts: number[]; counts: number[]; workgroups: number } => {
  const starts = new Array<number>(places).fill(NOWHERE);
  const counts = new Array<number>(places).fill(0);
  let workgroups = 0;
  for (const [s, { count }] of slots.entries()) {
    starts[s] = workgroups;
    counts[s] = count;
    workgroups += Math.ceil(count / perWorkgroup);
  }
  return { starts, counts, workgroups };
};

const ENTRIES = ["one", "two", "three"] as const;

/** Bindings `name`0, `name`1, … of the slots. */
const bindSlots = (name: string, slots: readonly Slot[], ref: (index: number) => BufferRef): Record<string, BufferRef> =>
  Object.fromEntries(slots.map(({ index }, s) => [`${name}${s}`, ref(index)]));

const update = (call: Call<UpdateAttrs>, limits: Limits, shader: Shader, constants: Record<string, number>, params: Record<string, number>): Plan => {
  const { offsets, clip } = call.attrs;
  const count = offsets.length;
  const passes = chunks(call.inputs.slice(1, 1 + count), UPDATE_SLOTS).map((slots): Pass => {
    const { starts, counts, workgroups } = spread(slots, THREADS, 4);
    const gradient = (index: number): BufferRef => input(1 + count + index);
    return {
      shader,
      entry: ENTRIES[slots.length - 1],
      constants: { ...constants, CLIP: clip ? 1 : 0 },
      params: { starts, counts, offsets: slots.map(({ index }) => offsets[index]), ...params },
      bind: {
        state: input(0),
        ...bindSlots("p", slots, (index) => input(1 + index)),
        ...bindSlots("g", slots, gradient),
        // Without clipping it is not read, and any buffer that is read anyway will do.
        norm: clip ? input(1 + 2 * count) : gradient(slots[0].index),
      },
      workgroups: grid(workgroups, limits),
    };
  });
  return { passes };
};

export const sgd = (call: Call<SgdAttrs>, limits: Limits): Plan => {
  const { velocity, nesterov } = call.attrs;
  return update(call, limits, shaders.sgd, { MOMENTUM: velocity ? 1 : 0, NESTEROV: nesterov ? 1 : 0 }, {});
};

export const adamw = (call: Call<UpdateAttrs>, limits: Limits): Plan =>
  update(call, limits, shaders.adamw, {}, { total: elements(call.inputs[0].shape) / 2 });

export const norm = ({ attrs, inputs }: Call<{ check: boolean }>, limits: Limits): Plan => {
  let parts = 0;
  const passes = chunks(inputs, NORM_SLOTS).map((slots): Pass => {
    const { starts, counts, workgroups } = spread(slots, NORM_CHUNK, 8);
    const first = parts;
    parts += workgroups;
    const padded = Array.from({ length: NORM_SLOTS }, (_, s) => slots[s] ?? slots[0]);
    return {
      shader: shaders.norm,
      entry: "part",
      params: { starts, counts, first, parts: 0 },
      bind: { ...bindSlots("g", padded, input), partials: scratch(0) },
      workgroups: grid(workgroups, limits),
    };
  });
  const finish: Pass = {
    shader: shaders.norm,
    entry: attrs.check ? "finish_checked" : "finish",
    params: { starts: [], counts: [], first: 0, parts },
    bind: { partials: scratch(0), y: output(0) },
    workgroups: [1, 1, 1],
  };
  return { scratch: [Math.max(1, parts)], passes: [...passes, finish] };
};

export const clip = ({ inputs, outputs }: Call, limits: Limits): Plan => {
  const passes = chunks(outputs, UPDATE_SLOTS).map((slots): Pass => {
    const { starts, counts, workgroups } = spread(slots, THREADS, 4);
    return {
      shader: shaders.clip,
      entry: ENTRIES[slots.length - 1],
      params: { starts, counts },
      bind: { ...bindSlots("g", slots, input), ...bindSlots("y", slots, output), norm: input(inputs.length - 1) },
      workgroups: grid(workgroups, limits),
    };
  });
  return { passes };
};
