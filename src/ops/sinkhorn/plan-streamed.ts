/** Plans for matrices that several workgroups share: each iteration reads the matrix once. */
import * as shaders from "../../generated/sinkhorn.ts";
import { type BufferRef, type Call, grid, input, type Limits, output, type Pass, type Plan, scratch, type Workgroups } from "../../op.ts";
import { type BackwardAttrs, BLOCK, endsBlock, type ForwardAttrs, orient, recordLayout } from "./geometry.ts";
import { adjointFields, halfLogits, massFields, operandsOf, PLANS, RECORDS, UNREAD } from "./plan-resident.ts";

/** Rows of a panel: more are fewer partial sums and fewer workgroups. */
const PANEL_ROWS = 8;
const WIDE_PANEL_ROWS = 16;

const THREADS = 256;
const TILE = 64;
/** Quads whose panels one workgroup adds up. */
const STACK = 8;
/** Elements of the plan that one workgroup writes. */
const CHUNK = 1024;

/** What the passes over several workgroups per matrix share. */
const frame = (call: Call<ForwardAttrs> | Call<BackwardAttrs>, limits: Limits) => {
  const { attrs } = call;
  const { count, n, m, rowStep, columnStep } = orient(call.inputs[0].shape, attrs.order);
  const { size, history, stride } = recordLayout(n, m, attrs);
  const width = Math.ceil(m / 4);
  // Threads across a row: enough that each has one quad, as far as there are so many.
  const lanes = [16, 32, 64, 128].find((some) => width <= some) ?? THREADS;
  const panelRows = lanes === THREADS ? WIDE_PANEL_ROWS : PANEL_ROWS;
  const together = THREADS / lanes;
  const groups = Math.ceil(n / (panelRows * together));
  const panels = groups * together;
  return {
    params: {
      count,
      n,
      m,
      row_step: rowStep,
      column_step: columnStep,
      panel_rows: panelRows,
      panels,
      record_stride: size,
    },
    run: { iterations: attrs.iterations, annealed: attrs.annealed, history, history_stride: stride },
    width,
    constants: { LANES: lanes, QUADS: Math.ceil(width / lanes), HALF_LOGITS: halfLogits(call) },
    panelGrid: grid(count * groups, limits),
    stacks: (rows: number): Workgroups => grid(count * (Math.ceil(width / STACK) + Math.ceil(rows / THREADS)), limits),
    vectors: grid(Math.ceil((count * Math.max(n, m)) / THREADS), limits),
  };
};

export const forward = (call: Call<ForwardAttrs>, limits: Limits): Plan => {
  const { iterations, annealed, checkEvery, error, plan, record } = call.attrs;
  const { params, run, width, constants, panelGrid, stacks, vectors } = frame(call, limits);
  const { count, n, m, panels } = params;
  if (count === 0) return { passes: [] };
  const { has, ref, step } = operandsOf(call, 1, count);
  const { LAUNCH_SCALE, LAUNCH_COLUMNS, LAUNCH_WORDS } = shaders.streamed.consts;
  const temporary = [count * (6 * n + 4 * m + 2), count * panels * 8 * width, count * n * 4 * width, LAUNCH_WORDS];
  const extra = (size: number): BufferRef => scratch(temporary.push(size) - 1);
  const fields = { ...massFields(call, count, n, m), started: Number(has("start")), start_step: step("start", m) };
  const sized = { ...fields, gate: has("sizes") ? 2 : 0, gate_step: step("sizes", 2) };
  const masked = { ...fields, gate: has("mask") ? 1 : 0, gate_step: step("mask", n * m) };
  const bind = {
    logits: input(0),
    rows: ref("rows", UNREAD),
    columns: ref("columns", UNREAD),
    start: ref("start", UNREAD),
    kernel: scratch(2),
    state: scratch(0),
    partials: scratch(1),
    launch: scratch(3),
    record: record === "none" ? extra(1) : output(1),
    result: plan === "none" ? extra(1) : output(0),
  };
  const rowsAndColumns = stacks(n);
  const launches = [...panelGrid, 0, ...rowsAndColumns, 0];
  const pass = (entry: string, workgroups: Pass["workgroups"], t: number, fresh = false): Pass => ({
    shader: shaders.streamed,
    entry,
    constants: { ...constants, BLOCK, RENEW: Number(fresh), ...(entry === "decide" && { LANES: THREADS }) },
    params: { ...params, ...run, ...(entry === "open" ? sized : masked), t, plan: PLANS[plan], record: RECORDS[record], launches },
    bind: { ...bind, gate: entry === "open" ? ref("sizes", UNREAD) : ref("mask", UNREAD) },
    workgroups,
  });
  const decisions = grid(count, limits);
  const passes = [
    pass("open", grid(Math.ceil((count * (n + m)) / THREADS), limits), 1),
    pass("sweep", panelGrid, 1),
    pass("sweep_columns", rowsAndColumns, 1),
  ];
  const { rowStep, columnStep } = orient(call.inputs[0].shape, call.attrs.order);
  const line = Math.max(rowStep, columnStep);
  const chunks = grid(count * ((n * m) / line) * Math.ceil(line / CHUNK), limits);
  let fresh = true;
  // After the first look at the errors the device says how many workgroups there are to be: none when all matrices are done.
  let looked = false;
  const launched = (offset: number, otherwise: Workgroups): Pass["workgroups"] => (looked ? { indirect: { scratch: 3 }, offset } : otherwise);
  for (let t = 2; t <= iterations; t++) {
    if (t <= annealed + 1) passes.push(pass("cool", vectors, t));
    passes.push(pass("scale", launched(LAUNCH_SCALE, panelGrid), t, fresh));
    if (checkEvery > 0 && t - 1 > annealed && (t - 1) % checkEvery === 0) {
      passes.push(pass("decide", decisions, t));
      looked = true;
    }
    passes.push(pass("scale_columns", launched(LAUNCH_COLUMNS, rowsAndColumns), t));
    fresh = endsBlock(t, annealed) && t < iterations;
  }
  // Half an iteration more tells how far off the result is.
  if (error)
    passes.push(pass("scale", launched(LAUNCH_SCALE, panelGrid), iterations + 1, iterations === 1), pass("decide", decisions, iterations + 1));
  passes.push(pass("close", vectors, iterations));
  if (plan !== "none") passes.push(pass("finish", chunks, iterations, iterations === 1 && !error));
  return { scratch: temporary, passes };
};

const tilesOf = (call: Call<BackwardAttrs>, limits: Limits): Workgroups => {
  const { count, n, m } = orient(call.inputs[0].shape, call.attrs.order);
  return grid(count * Math.ceil(n / TILE) * Math.ceil(m / TILE), limits);
};

export const backward = (call: Call<BackwardAttrs>, limits: Limits): Plan => {
  const { iterations, annealed, vectors: wanted } = call.attrs;
  const { params, run, width, constants, panelGrid, stacks, vectors } = frame(call, limits);
  const { count, n, m, panels } = params;
  if (count === 0) return { passes: [] };
  const { fields, bind: operands } = adjointFields(call, count, n, m);
  const bind: Readonly<Record<string, BufferRef>> = {
    ...operands,
    dvectors: wanted ? output(1) : scratch(3),
    left: scratch(0),
    right: scratch(1),
    partials: scratch(2),
    kernel: scratch(4),
  };
  const pass = (entry: string, workgroups: Pass["workgroups"], t: number): Pass => ({
    shader: shaders.streamedBackward,
    entry,
    constants: { ...constants, BLOCK, RENEW: Number(entry === "step" && t <= annealed) },
    params: { ...params, ...run, ...fields, t },
    bind,
    workgroups,
  });
  const tiles = tilesOf(call, limits);
  const passes = [pass("anchor", vectors, 0), pass("start", panelGrid, 0), pass("start_columns", stacks(0), 0)];
  for (let t = iterations; t > annealed; t--) passes.push(pass("step", panelGrid, t), pass("step_columns", stacks(0), t));
  passes.push(pass("assemble", tiles, 0));
  for (let t = annealed; t >= 1; t--) passes.push(pass("step", panelGrid, t), pass("step_columns", stacks(0), t), pass("assemble", tiles, t));
  passes.push(pass("close", vectors, 0));
  const size = count * 2 * iterations;
  return { scratch: [size * n, size * m, count * panels * 4 * width, count * (n + 2 * m), count * n * 4 * width], passes };
};

/** Steps between two looks at whether all matrices are solved. */
const LOOK_EVERY = 8;

export const implicit = (call: Call<BackwardAttrs>, limits: Limits): Plan => {
  const { params, width, constants, panelGrid, stacks } = frame(call, limits);
  const { count, n, m, panels } = params;
  if (count === 0) return { passes: [] };
  const { MOST_STEPS, LAUNCH_STEP, LAUNCH_COLUMNS, LAUNCH_WORDS, ROW_VECTORS, COLUMN_VECTORS, SCALARS } = shaders.streamedImplicit.consts;
  const { fields, bind: operands } = adjointFields(call, count, n, m);
  const bind: Readonly<Record<string, BufferRef>> = {
    ...operands,
    dvectors: call.attrs.vectors ? output(1) : scratch(4),
    state: scratch(0),
    partials: scratch(1),
    kernel: scratch(2),
    launch: scratch(3),
  };
  const columns = stacks(0);
  const launches = [...panelGrid, 0, ...columns, 0];
  const pass = (entry: string, workgroups: Pass["workgroups"], t = 0): Pass => ({
    shader: shaders.streamedImplicit,
    entry,
    constants: { ...constants, ...(["look", "settle"].includes(entry) && { LANES: THREADS }) },
    params: { ...params, ...fields, t, launches },
    bind,
    workgroups,
  });
  const passes = [pass("arrive", panelGrid), pass("arrive_columns", stacks(n)), pass("step", panelGrid), pass("step_columns", columns)];
  const launched = (t: number, offset: number, otherwise: Workgroups): Pass["workgroups"] =>
    t > LOOK_EVERY ? { indirect: { scratch: 3 }, offset } : otherwise;
  // Exact arithmetic would end after one step more than P has ranks.
  const steps = Math.min(MOST_STEPS, 2 * Math.min(n, m) + 8);
  for (let t = 1; t <= steps; t++) {
    passes.push(pass("step", launched(t, LAUNCH_STEP, panelGrid), t), pass("step_columns", launched(t, LAUNCH_COLUMNS, columns), t));
    if (t % LOOK_EVERY === 0) passes.push(pass("look", [1, 1, 1], t));
  }
  // A step begins with what the one before leaves to do.
  passes.push(pass("step", launched(steps + 1, LAUNCH_STEP, panelGrid), steps + 1));
  passes.push(pass("solve", panelGrid), pass("settle", grid(count, limits)), pass("assemble", tilesOf(call, limits)));
  const numbers = ROW_VECTORS * n + COLUMN_VECTORS * 4 * width + Math.ceil(width / STACK) + SCALARS;
  return { scratch: [count * numbers, count * panels * 8 * width, count * n * 4 * width, LAUNCH_WORDS, 1], passes };
};
