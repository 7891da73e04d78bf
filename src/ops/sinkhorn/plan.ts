import * as shaders from "../../generated/sinkhorn.ts";
import { type BufferRef, type Call, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import { type BackwardAttrs, BLOCK, batchOf, endsBlock, type ForwardAttrs } from "./reference.ts";

/**
 * One workgroup or less per matrix, which stays in registers: up to side `n`, SIDE × SIDE threads hold TILE × TILE elements each.
 * A smaller tile takes more threads and fewer registers; the first row is one thread per matrix.
 */
export const RESIDENT = [
  { n: 4, SIDE: 1, TILE: 4, THREADS: 64 },
  { n: 8, SIDE: 2, TILE: 4, THREADS: 64 },
  { n: 16, SIDE: 4, TILE: 4, THREADS: 64 },
  { n: 32, SIDE: 4, TILE: 8, THREADS: 64 },
  { n: 64, SIDE: 8, TILE: 8, THREADS: 64 },
  { n: 128, SIDE: 16, TILE: 8, THREADS: 256 },
] as const;

/** Rows that a workgroup reads per pass when a matrix takes several; more rows are fewer partial sums and fewer workgroups. */
const PANEL_ROWS = 16;
const LARGE_PANEL_ROWS = 32;
/** From this side on panels have LARGE_PANEL_ROWS. */
export const LARGE_PANELS = 1024;

const THREADS = 256;
const TILE = 64;

export const forward = (call: Call<ForwardAttrs>, limits: Limits): Plan => {
  const { iterations, history } = call.attrs;
  const { n, count } = batchOf(call.inputs[0].shape);
  const layout = RESIDENT.find((row) => n <= row.n);
  if (layout) {
    const { SIDE, THREADS: threads } = layout;
    const pass: Pass = {
      shader: shaders.resident,
      entry: "forward",
      constants: { SIDE, TILE: layout.TILE, THREADS: threads, BLOCK },
      params: { side: SIDE, count, n, iterations, history: Number(history) },
      bind: { logits: input(0), p: output(0), history: history ? output(1) : scratch(0) },
      workgroups: grid(Math.ceil((count * SIDE * SIDE) / threads), limits),
    };
    return { scratch: [1], passes: [pass] };
  }
  const { params, constants, panels, columns } = streamed(n, count, limits);
  const bind: Pass["bind"] = {
    logits: input(0),
    kernel: output(0),
    state: scratch(0),
    partials: scratch(1),
    history: history ? output(1) : scratch(2),
  };
  const pass = (entry: string, workgroups: Pass["workgroups"], t: number, fresh = false, absorb = false): Pass => ({
    shader: shaders.streamed,
    entry,
    constants,
    params: { ...params, iterations, t, history: Number(history), fresh: Number(fresh), absorb: Number(absorb) },
    bind,
    workgroups,
  });
  const passes = [pass("sweep", panels, 1), pass("sweep_columns", columns, 1)];
  for (let t = 2; t <= iterations; t++) {
    const fresh = t === 2 || endsBlock(t - 1);
    const absorb = t < iterations && endsBlock(t);
    passes.push(pass("scale", panels, t, fresh, absorb), pass("scale_columns", columns, t, fresh, absorb));
  }
  passes.push(pass("finish", grid(Math.ceil((count * n * n) / THREADS), limits), iterations, iterations === 1));
  return { scratch: [count * 4 * n, count * params.panels * 2 * n, 1], passes };
};

export const backward = (call: Call<BackwardAttrs>, limits: Limits): Plan => {
  const { iterations } = call.attrs;
  const { n, count } = batchOf(call.inputs[0].shape);
  const inputs = { p: input(0), history: input(1), g: input(2), dx: output(0) };
  const layout = RESIDENT.find((row) => n <= row.n);
  if (layout) {
    const { SIDE, THREADS: threads } = layout;
    const pass: Pass = {
      shader: shaders.residentBackward,
      entry: "backward",
      constants: { SIDE, TILE: layout.TILE, THREADS: threads, BLOCK },
      params: { side: SIDE, count, n, iterations },
      bind: inputs,
      workgroups: grid(Math.ceil((count * SIDE * SIDE) / threads), limits),
    };
    return { passes: [pass] };
  }
  const { params, constants, panels, columns } = streamed(n, count, limits);
  const bind: Readonly<Record<string, BufferRef>> = { ...inputs, left: scratch(0), right: scratch(1), partials: scratch(2) };
  const pass = (entry: string, workgroups: Pass["workgroups"], t: number): Pass => ({
    shader: shaders.streamedBackward,
    entry,
    constants: { ...constants, BLOCK },
    params: { ...params, iterations, t },
    bind,
    workgroups,
  });
  const last = iterations + 1;
  const passes = [pass("anchor", columns, last), pass("start", panels, last), pass("step_columns", columns, last)];
  for (let t = iterations; t >= 1; t--) {
    passes.push(pass("step", panels, t));
    if (t > 1) passes.push(pass("step_columns", columns, t));
  }
  passes.push(pass("assemble", grid(count * Math.ceil(n / TILE) ** 2, limits), 0));
  return { scratch: [count * 2 * iterations * n, count * 2 * iterations * n, count * params.panels * n], passes };
};

/** What the passes over several workgroups per matrix share. */
const streamed = (n: number, count: number, limits: Limits) => {
  const rows = n >= LARGE_PANELS ? LARGE_PANEL_ROWS : PANEL_ROWS;
  const perMatrix = Math.ceil(n / rows);
  return {
    params: { count, n, rows, panels: perMatrix },
    constants: { COLUMNS: Math.ceil(n / THREADS) },
    panels: grid(count * perMatrix, limits),
    columns: grid(Math.ceil((count * n) / THREADS), limits),
  };
};
