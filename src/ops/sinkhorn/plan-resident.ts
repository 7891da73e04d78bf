/** Plans for matrices that stay in the registers of one workgroup or less: one dispatch. */
import * as shaders from "../../generated/sinkhorn.ts";
import { type BufferRef, type Call, elements, grid, input, type Limits, output, type Pass, type Plan, type Shader, scratch } from "../../op.ts";
import { type BackwardAttrs, BLOCK, type ForwardAttrs, orient, recordLayout } from "./geometry.ts";

/**
 * Up to side `n`, SIDE × SIDE threads hold TILE × TILE elements each. A smaller tile takes more threads and fewer registers; the first
 * row is one thread per matrix.
 */
export const RESIDENT = [
  { n: 4, SIDE: 1, TILE: 4, THREADS: 64 },
  { n: 8, SIDE: 2, TILE: 4, THREADS: 64 },
  { n: 16, SIDE: 4, TILE: 4, THREADS: 64 },
  { n: 32, SIDE: 4, TILE: 8, THREADS: 64 },
  { n: 64, SIDE: 8, TILE: 8, THREADS: 64 },
  { n: 128, SIDE: 16, TILE: 8, THREADS: 256 },
] as const;

/** Above, the threads of a matrix are more than a subgroup has on most devices. */
const MOST_SUBGROUP_SIDE = 4;

/** Whether the threads of a matrix can speak to each other without workgroup memory: SIDE² of them, more than one, in a subgroup of any size there is. */
const inSubgroup = (side: number, threads: number, { subgroupMinSize, subgroupMaxSize }: Limits): boolean =>
  side > 1 && side <= MOST_SUBGROUP_SIDE && side * side <= subgroupMinSize && subgroupMaxSize <= threads;

/** Whether logits are stored in half precision: the first input, or one behind the record; where a backward pass reads none, the record answers, which is float32. */
export const halfLogits = ({ inputs, attrs }: Call<ForwardAttrs> | Call<BackwardAttrs>): number => {
  const first = !("matrix" in attrs) || attrs.matrix === "logits";
  const place = first ? 0 : 2 + attrs.operands.split(" ").indexOf("logits");
  return Number(inputs[place].dtype === "float16");
};

/** Bound where an operand is not given, and not looked at. */
export const UNREAD = input(0);

/** What forward and backward have in common. */
const frame = (call: Call<ForwardAttrs> | Call<BackwardAttrs>, limits: Limits) => {
  const { attrs } = call;
  const { count, n, m, rowStep, columnStep } = orient(call.inputs[0].shape, attrs.order);
  const { SIDE, TILE, THREADS } = RESIDENT.find((row) => Math.max(n, m) <= row.n) ?? RESIDENT[RESIDENT.length - 1];
  const { size, history, stride } = recordLayout(n, m, attrs);
  return {
    n,
    m,
    subgroups: inSubgroup(SIDE, THREADS, limits),
    constants: { SIDE, TILE, THREADS, BLOCK, HALF_LOGITS: halfLogits(call) },
    params: {
      side: SIDE,
      count,
      n,
      m,
      row_step: rowStep,
      column_step: columnStep,
      record_stride: size,
      history,
      history_stride: stride,
      iterations: attrs.iterations,
      annealed: attrs.annealed,
    },
    workgroups: grid(Math.ceil((count * SIDE * SIDE) / THREADS), limits),
  };
};

/** Where the operands behind the first inputs are, and how far apart those of neighbouring matrices: 0 when all share one. */
export const operandsOf = (call: Call<ForwardAttrs> | Call<BackwardAttrs>, first: number, count: number) => {
  const names = call.attrs.operands.split(" ");
  return {
    has: (name: string): boolean => names.includes(name),
    ref: (name: string, otherwise: BufferRef): BufferRef => (names.includes(name) ? input(first + names.indexOf(name)) : otherwise),
    step: (name: string, size: number): number => {
      const spec = call.inputs[first + names.indexOf(name)];
      return names.includes(name) && elements(spec.shape) > size && count > 1 ? size : 0;
    },
  };
};

export const PLANS = { none: 0, P: 1, logP: 2 } as const;
export const RECORDS = { none: 0, head: 1, history: 2 } as const;
const GATES = { none: 0, mask: 1, sizes: 2 } as const;

/** The fields of lib/masses.wgsl. Masses and sizes at once, with a mask, are worked out in a pass of their own, since eight buffers is all there may be. */
export const massFields = (call: Call<ForwardAttrs>, count: number, n: number, m: number) => {
  const { has, step } = operandsOf(call, 1, count);
  const gate = has("mask") ? "mask" : has("sizes") ? "sizes" : "none";
  return {
    given: Number(has("rows")),
    rows_step: step("rows", n),
    columns_step: step("columns", m),
    uniform_masses: Number(call.attrs.uniform),
    turned: Number(call.attrs.order === "column"),
    gate: GATES[gate],
    gate_step: gate === "none" ? 0 : step(gate, gate === "mask" ? n * m : 2),
  };
};

export const forward = (call: Call<ForwardAttrs>, limits: Limits): Plan => {
  const { attrs } = call;
  const { n, m, subgroups, constants, params, workgroups } = frame(call, limits);
  const { count } = params;
  if (count === 0) return { passes: [] };
  const { has, ref, step } = operandsOf(call, 1, count);
  const fields = massFields(call, count, n, m);
  const weighed = has("mask") && has("sizes");
  const temporary: number[] = weighed ? [count * n, count * m] : [];
  const unwanted = (): BufferRef => scratch(temporary.push(1) - 1);
  const pass: Pass = {
    shader: subgroups ? shaders.residentSubgroups : shaders.resident,
    entry: "forward",
    constants,
    params: {
      ...params,
      ...fields,
      ...(weighed ? { given: 1, rows_step: n, columns_step: m } : {}),
      check_every: attrs.checkEvery,
      error: Number(attrs.error),
      plan: PLANS[attrs.plan],
      record: RECORDS[attrs.record],
      started: Number(has("start")),
      start_step: step("start", m),
    },
    bind: {
      logits: input(0),
      rows: weighed ? scratch(0) : ref("rows", UNREAD),
      columns: weighed ? scratch(1) : ref("columns", UNREAD),
      start: ref("start", UNREAD),
      gate: has("mask") ? ref("mask", UNREAD) : ref("sizes", UNREAD),
      plan: attrs.plan === "none" ? unwanted() : output(0),
      record: attrs.record === "none" ? unwanted() : output(1),
    },
    workgroups,
  };
  return { scratch: temporary, passes: weighed ? [weigh(call, limits, count, n, m), pass] : [pass] };
};

const MASS_THREADS = 64;

/** Masses as the options and the sizes give them, into scratch 0 and 1. */
export const weigh = (call: Call<ForwardAttrs>, limits: Limits, count: number, n: number, m: number): Pass => {
  const { has, ref, step } = operandsOf(call, 1, count);
  return {
    shader: shaders.masses,
    entry: "weigh",
    params: {
      ...massFields(call, count, n, m),
      count,
      n,
      m,
      gate: has("sizes") ? GATES.sizes : GATES.none,
      gate_step: step("sizes", 2),
    },
    bind: {
      rows: ref("rows", UNREAD),
      columns: ref("columns", UNREAD),
      gate: ref("sizes", UNREAD),
      row_masses: scratch(0),
      column_masses: scratch(1),
    },
    workgroups: grid(Math.ceil((count * (n + m)) / MASS_THREADS), limits),
  };
};

const MATRICES = { P: 0, logP: 1, logits: 2 } as const;

/** What says where cotangents come from and gradients go, in either regime. */
export const adjointFields = (call: Call<BackwardAttrs>, count: number, n: number, m: number) => {
  const { attrs } = call;
  const { has, ref, step } = operandsOf(call, 2, count);
  return {
    fields: {
      matrix: MATRICES[attrs.matrix],
      arriving: Number(has("gradient")),
      arriving_record: Number(has("recordGradient")),
      masked: Number(has("mask")),
      mask_step: step("mask", n * m),
      vectors: Number(attrs.vectors),
    },
    bind: {
      values: input(0),
      record: input(1),
      gradient: ref("gradient", UNREAD),
      record_gradient: ref("recordGradient", UNREAD),
      mask: ref("mask", UNREAD),
      logits: attrs.matrix === "logits" ? input(0) : ref("logits", UNREAD),
      dx: output(0),
    },
  };
};

/** One pass of either kind. */
const adjoint = (shader: Shader, inSubgroups: Shader, entry: string, call: Call<BackwardAttrs>, limits: Limits): Plan => {
  const { n, m, subgroups, constants, params, workgroups } = frame(call, limits);
  const { count } = params;
  if (count === 0) return { passes: [] };
  const { vectors } = call.attrs;
  const { fields, bind } = adjointFields(call, count, n, m);
  const pass: Pass = {
    shader: subgroups ? inSubgroups : shader,
    entry,
    constants,
    params: { ...params, ...fields },
    bind: { ...bind, dvectors: vectors ? output(1) : scratch(0) },
    workgroups,
  };
  return { scratch: vectors ? [] : [1], passes: [pass] };
};

export const backward = (call: Call<BackwardAttrs>, limits: Limits): Plan =>
  adjoint(shaders.residentBackward, shaders.residentBackwardSubgroups, "backward", call, limits);
export const implicit = (call: Call<BackwardAttrs>, limits: Limits): Plan =>
  adjoint(shaders.residentImplicit, shaders.residentImplicitSubgroups, "implicit", call, limits);
