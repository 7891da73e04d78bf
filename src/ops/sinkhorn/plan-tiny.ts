/** Plans for plain runs of tiny matrices, a thread each: one dispatch either way, and no record. */
import * as shaders from "../../generated/sinkhorn.ts";
import { type Call, grid, input, type Limits, output, type Pass, type Plan } from "../../op.ts";
import { type ForwardAttrs, orient, plainMasses, type TinyAttrs } from "./geometry.ts";

/** Up to side `n` a thread holds TILE × TILE numbers; the matrices of a workgroup pass through its memory. */
const TILES = [
  { n: 4, TILE: 4, THREADS: 64 },
  { n: 8, TILE: 8, THREADS: 32 },
] as const;

const pass = (call: Call<ForwardAttrs> | Call<TinyAttrs>, limits: Limits, entry: string, bind: Pass["bind"]): Plan => {
  const { iterations, order, uniform } = call.attrs;
  const { count, n, m, rowStep, columnStep } = orient(call.inputs[0].shape, order);
  if (count === 0) return { passes: [] };
  const { TILE, THREADS } = TILES[Math.max(n, m) <= TILES[0].n ? 0 : 1];
  const masses = plainMasses(n, m, uniform);
  const params = { count, n, m, row_step: rowStep, column_step: columnStep, iterations, row_mass: masses.row, column_mass: masses.column };
  const workgroups = grid(Math.ceil(count / THREADS), limits);
  return {
    passes: [
      {
        shader: shaders.tiny,
        entry,
        constants: { TILE, THREADS, HALF_LOGITS: Number(call.inputs[0].dtype === "float16") },
        params,
        bind,
        workgroups,
      },
    ],
  };
};

export const forward = (call: Call<ForwardAttrs>, limits: Limits): Plan => pass(call, limits, "forward", { logits: input(0), result: output(0) });
export const backward = (call: Call<TinyAttrs>, limits: Limits): Plan =>
  pass(call, limits, "backward", { logits: input(0), gradient: input(1), result: output(0) });
