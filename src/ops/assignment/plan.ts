import * as shaders from "../../generated/assignment.ts";
import { type Call, elements, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import { inSlices } from "../../slices.ts";
import { type MatrixAttrs, split } from "./reference.ts";

const THREADS = 256;
/** Up to so many columns, with a row a thread, one dispatch does everything: to read a row again costs no more than to keep its parts in order. */
export const SMALL_COLUMNS = 64;
export const SMALL_ROWS = THREADS;

const powerOfTwo = (least: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, least)));

const greedyPasses = ({ inputs: [{ shape }] }: Call, limits: Limits): Plan => {
  const { batch, rows, columns } = split(shape);
  if (batch === 0) return { passes: [] };
  // Enough threads for the rows, and so few matrices in a workgroup that the marks of their columns fit.
  const matrices = Math.floor(shaders.greedy.consts.TAKEN_WORDS / Math.ceil(columns / 32));
  const lanes = Math.min(THREADS, Math.max(powerOfTwo(rows), powerOfTwo(THREADS / matrices)));
  // To seek in a row is to read a segment and what is known of all segments: least where they are alike.
  const segment = powerOfTwo(Math.sqrt(columns));
  const segments = Math.ceil(columns / segment);
  const params = { matrices: batch, rows, columns, steps: Math.min(rows, columns), segment, segments };
  const pass = (entry: string, bind: Pass["bind"], workgroups: number, sharing = THREADS): Pass => ({
    shader: shaders.greedy,
    entry,
    constants: { LANES: sharing },
    params,
    bind: { scores: input(0), ...bind },
    workgroups: grid(workgroups, limits),
  });
  const workgroups = Math.ceil((batch * lanes) / THREADS);
  if (rows <= SMALL_ROWS && columns <= SMALL_COLUMNS) return { passes: [pass("small", { y: output(0) }, workgroups, lanes)] };
  const bests = scratch(0);
  return {
    scratch: [2 * batch * rows * segments, 2 * batch * rows],
    passes: [
      pass("segments", { bests }, Math.ceil((batch * rows * segments) / THREADS)),
      pass("large", { y: output(0), bests, row_bests: scratch(1) }, workgroups, lanes),
    ],
  };
};

export const greedy = (call: Call, limits: Limits): Plan => inSlices(call, limits, { inputs: [2], outputs: [1] }, greedyPasses);

export const matrix = ({ attrs: { columns }, inputs: [{ shape }] }: Call<MatrixAttrs>, limits: Limits): Plan => {
  const rows = elements(shape);
  if (rows === 0) return { passes: [] };
  return {
    passes: [
      {
        shader: shaders.matrix,
        entry: "main",
        params: { rows, columns },
        bind: { assignment: input(0), y: output(0) },
        workgroups: grid(Math.ceil((rows * columns) / THREADS), limits),
      },
    ],
  };
};
