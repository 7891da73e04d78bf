/** Plans for matrices that several workgroups share: each iteration reads the matrix once. */
import * as shaders from "../../generated/sinkhorn.ts";
import { type BufferRef, type Call, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import { type BackwardAttrs, BLOCK, endsBlock, type ForwardAttrs, orient, recordLayout } from "./geometry.ts";
import { adjointFields, massFields, operandsOf, PLANS, RECORDS, UNREAD } from "./plan-resident.ts";

/** Rows that a workgroup reads per pass; more rows are fewer partial sums and fewer workgroups. */
const PANEL_ROWS = 16;
const LARGE_PANEL_ROWS = 32;
/** From this side on panels have LARGE_PANEL_ROWS. */
export const LARGE_PANELS = 1024;

const THREADS = 256;
const TILE = 64;

/** What the passes over several workgroups per matrix share. */
const frame = (call: Call<ForwardAttrs> | Call<BackwardAttrs>, limits: Limits) => {
  const { attrs } = call;
  const { count, n, m, rowStep, columnStep } = orient(call.inputs[0].shape, attrs.order);
  const { size, history, stride } = recordLayout(n, m, attrs);
  const panelRows = n >= LARGE_PANELS ? LARGE_PANEL_ROWS : PANEL_ROWS;
  const panels = Math.ceil(n / panelRows);
  return {
    params: {
      count,
      n,
      m,
      row_step: rowStep,
      column_step: columnStep,
      panel_rows: panelRows,
      panels,
      iterations: attrs.iterations,
      annealed: attrs.annealed,
      record_stride: size,
      history,
      history_stride: stride,
    },
    constants: { COLUMNS: Math.ceil(m / THREADS), BLOCK },
    panelGrid: grid(count * panels, limits),
    vectors: grid(Math.ceil((count * Math.max(n, m)) / THREADS), limits),
  };
};

export const forward = (call: Call<ForwardAttrs>, limits: Limits): Plan => {
  const { iterations, annealed, checkEvery, error, plan, record } = call.attrs;
  const { params, constants, panelGrid, vectors } = frame(call, limits);
  const { count, n, m, panels } = params;
  if (count === 0) return { passes: [] };
  const { has, ref, step } = operandsOf(call, 1, count);
  const temporary = [count * (5 * n + 4 * m + 2), count * panels * (2 * m + 1)];
  const extra = (size: number): BufferRef => scratch(temporary.push(size) - 1);
  const fields = { ...massFields(call, count, n, m), started: Number(has("start")), start_step: step("start", m) };
  const sized = { ...fields, gate: has("sizes") ? 2 : 0, gate_step: step("sizes", 2) };
  const masked = { ...fields, gate: has("mask") ? 1 : 0, gate_step: step("mask", n * m) };
  const bind = {
    logits: input(0),
    rows: ref("rows", UNREAD),
    columns: ref("columns", UNREAD),
    start: ref("start", UNREAD),
    kernel: plan === "none" ? extra(count * n * m) : output(0),
    state: scratch(0),
    partials: scratch(1),
    record: record === "none" ? extra(1) : output(1),
  };
  const pass = (entry: string, workgroups: Pass["workgroups"], t: number, fresh = false): Pass => ({
    shader: shaders.streamed,
    entry,
    constants,
    params: { ...params, ...(entry === "open" ? sized : masked), t, fresh: Number(fresh), plan: PLANS[plan], record: RECORDS[record] },
    bind: { ...bind, gate: entry === "open" ? ref("sizes", UNREAD) : ref("mask", UNREAD) },
    workgroups,
  });
  const decisions = grid(Math.ceil(count / 64), limits);
  const passes = [
    pass("open", grid(Math.ceil((count * (n + m)) / THREADS), limits), 1),
    pass("sweep", panelGrid, 1),
    pass("sweep_columns", vectors, 1),
  ];
  let fresh = true;
  for (let t = 2; t <= iterations; t++) {
    if (t <= annealed + 1) passes.push(pass("cool", vectors, t));
    passes.push(pass("scale", panelGrid, t, fresh));
    if (checkEvery > 0 && t - 1 > annealed && (t - 1) % checkEvery === 0) passes.push(pass("decide", decisions, t));
    passes.push(pass("scale_columns", vectors, t));
    fresh = endsBlock(t, annealed) && t < iterations;
  }
  // Half an iteration more tells how far off the result is.
  if (error) passes.push(pass("scale", panelGrid, iterations + 1, iterations === 1), pass("decide", decisions, iterations + 1));
  passes.push(pass("close", vectors, iterations));
  if (plan !== "none") passes.push(pass("finish", grid(Math.ceil((count * n * m) / THREADS), limits), iterations, iterations === 1 && !error));
  return { scratch: temporary, passes };
};

export const backward = (call: Call<BackwardAttrs>, limits: Limits): Plan => {
  const { iterations, annealed, vectors: wanted } = call.attrs;
  const { params, constants, panelGrid, vectors } = frame(call, limits);
  const { count, n, m, panels } = params;
  if (count === 0) return { passes: [] };
  const { fields, bind: operands } = adjointFields(call, count, n, m);
  const bind: Readonly<Record<string, BufferRef>> = {
    ...operands,
    dvectors: wanted ? output(1) : scratch(3),
    left: scratch(0),
    right: scratch(1),
    partials: scratch(2),
  };
  const pass = (entry: string, workgroups: Pass["workgroups"], t: number): Pass => ({
    shader: shaders.streamedBackward,
    entry,
    constants,
    params: { ...params, ...fields, t },
    bind,
    workgroups,
  });
  const tiles = grid(count * Math.ceil(n / TILE) * Math.ceil(m / TILE), limits);
  const passes = [pass("anchor", vectors, 0), pass("start", panelGrid, 0), pass("start_columns", vectors, 0)];
  for (let t = iterations; t > annealed; t--) passes.push(pass("step", panelGrid, t), pass("step_columns", vectors, t));
  passes.push(pass("assemble", tiles, 0));
  for (let t = annealed; t >= 1; t--) passes.push(pass("step", panelGrid, t), pass("step_columns", vectors, t), pass("assemble", tiles, t));
  passes.push(pass("close", vectors, 0));
  const size = count * 2 * iterations;
  return { scratch: [size * n, size * m, count * panels * m, count * (n + 2 * m)], passes };
};
