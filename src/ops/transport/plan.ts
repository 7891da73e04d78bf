import { apply as applyShader, rows as rowsShader } from "../../generated/transport.ts";
import { type BufferRef, type Call, elements, grid, input, type Limits, output, type Pass, type Plan, type Spec, scratch } from "../../op.ts";
import { type PlanAttrs, type Sizes, sizesOf, stepOf, type TransportAttrs } from "./reference.ts";

/** Rows and features of the result that one workgroup computes; both stand in the shader. */
export const TILE_ROWS = 16;
export const TILE_FEATURES = 64;
/** Threads that share a row, or take a column each. */
const THREADS = 64;

interface Common {
  readonly sizes: Sizes;
  readonly constants: Readonly<Record<string, number>>;
  readonly params: Readonly<Record<string, number>>;
  readonly bind: Readonly<Record<string, BufferRef>>;
}

const common = ({ inputs, attrs }: Call<PlanAttrs>): Common => {
  const sizes = sizesOf(inputs);
  const { n, m, count, stride } = sizes;
  const mask = inputs.length - 1;
  return {
    sizes,
    constants: { HALF_LOGITS: Number(inputs[0].dtype === "float16") },
    params: {
      count,
      n,
      m,
      stride,
      row_offset: attrs.rowOffset,
      column_offset: attrs.columnOffset,
      masked: Number(attrs.masked),
      mask_step: attrs.masked ? stepOf(inputs[mask], n * m) : 0,
      x_step: 0,
    },
    bind: { logits: input(0), potentials: input(1), mask: attrs.masked ? input(mask) : scratch(0) },
  };
};

export const transport = (call: Call<TransportAttrs>, limits: Limits): Plan => {
  const { kind } = call.attrs;
  const { sizes, constants, params, bind } = common(call);
  const { n, m, count } = sizes;
  if (elements(call.outputs[0].shape) === 0) return { passes: [] };
  const y = output(0);
  const x: Spec = call.inputs[2];
  if (kind === "plan" || kind === "cost") {
    const pass: Pass = {
      shader: rowsShader,
      entry: kind,
      constants,
      params: { ...params, x_step: kind === "cost" ? stepOf(x, n * m) : 0 },
      bind: { ...bind, y, ...(kind === "cost" ? { x: input(2) } : {}) },
      workgroups: grid(count * n, limits),
    };
    return { scratch: [1], passes: [pass] };
  }
  const d = x.shape[x.shape.length - 1];
  // Terms run over the columns for P · x, and over the rows for Pᵀ · x.
  const [results, terms] = kind === "rows" ? [n, m] : [m, n];
  const tiles = { tiles: Math.ceil(results / TILE_ROWS), slices: Math.ceil(d / TILE_FEATURES) };
  const pass: Pass = {
    shader: applyShader,
    entry: "multiply",
    constants,
    params: { ...params, ...tiles, d, results, terms, transposed: Number(kind === "columns"), x_step: stepOf(x, terms * d) },
    bind: { ...bind, x: input(2), y },
    workgroups: grid(count * tiles.tiles * tiles.slices, limits),
  };
  return { scratch: [1], passes: [pass] };
};

export const backward = (call: Call<PlanAttrs>, limits: Limits): Plan => {
  const { sizes, constants, params, bind } = common(call);
  const { n, m, count } = sizes;
  if (count === 0) return { passes: [] };
  const outputs = { gradient: input(2), y: output(0), dpotentials: output(1) };
  const pass = (entry: string, workgroups: number): Pass => ({
    shader: rowsShader,
    entry,
    constants,
    params,
    bind: { ...bind, ...outputs },
    workgroups: grid(workgroups, limits),
  });
  return { scratch: [1], passes: [pass("weigh", count * n), pass("weigh_columns", count * Math.ceil(m / THREADS))] };
};
