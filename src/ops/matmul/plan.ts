import * as shaders from "../../generated/matmul.ts";
import { type Call, elements, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import { collapse, padAxes, type Walk } from "../../shapes.ts";
import { type MatmulAttrs, matmulSizes } from "./reference.ts";

const THREADS = 256;
/** Side of a workgroup's tile of the result, and steps of k held in workgroup memory. */
export const TILE = 64;
export const K_STEP = 16;
/** Results with fewer rows or columns are computed one element a thread: a tile would be mostly empty. */
export const TILE_LEAST = 16;
/** Workgroups that keep a GPU busy: with fewer, long sums are split. */
export const BUSY_GROUPS = 128;
/** A split has at least this many steps of k. */
export const SPLIT_STEPS = 16;
/** Rows that one workgroup sums for the gradient of a bias. */
export const BIAS_ROWS = 512;

/** A product as the kernels see it: strides for everything, batches kept or summed, with the fewest axes. */
export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly aRow: number;
  readonly aK: number;
  readonly bK: number;
  readonly bColumn: number;
  /** Strides into a and b. */
  readonly kept: Walk;
  readonly summed: Walk;
}

/** A batch that shares b is more rows of a; a summed batch whose matrices lie behind each other along k is a longer k. */
export const productOf = ({ inputs: [a, b], attrs }: Call<MatmulAttrs>): Product => {
  const { n, ...full } = matmulSizes(a.shape, b.shape, attrs);
  let { m, k } = full;
  const [aRow, aK] = attrs.transposeA ? [1, m] : [k, 1];
  const [bK, bColumn] = attrs.transposeB ? [1, k] : [n, 1];
  const { sizes, strides } = collapse(full.batch, [full.a, full.b, full.c]);
  const pick = (keep: boolean): { sizes: number[]; strides: [number[], number[]] } => {
    const axes = [...sizes.keys()].filter((axis) => (strides[2][axis] !== 0) === keep);
    const of = (list: readonly number[]): number[] => axes.map((axis) => list[axis]);
    return { sizes: of(sizes), strides: [of(strides[0]), of(strides[1])] };
  };
  const [kept, summed] = [pick(true), pick(false)];
  const last = (list: readonly number[]): number => list[list.length - 1];
  const drop = (walk: typeof kept): number => {
    for (const steps of walk.strides) steps.pop();
    return walk.sizes.pop() as number;
  };
  while (kept.sizes.length > 0 && last(kept.strides[1]) === 0 && last(kept.strides[0]) === m * aRow) m *= drop(kept);
  while (summed.sizes.length > 0 && last(summed.strides[0]) === k * aK && last(summed.strides[1]) === k * bK) k *= drop(summed);
  return { m, n, k, aRow, aK, bK, bColumn, kept, summed };
};

export const matmul = (call: Call<MatmulAttrs>, limits: Limits): Plan => {
  const { m, n, k, aRow, aK, bK, bColumn, kept, summed } = productOf(call);
  const batches = elements(kept.sizes);
  const size = batches * m * n;
  const kSteps = Math.ceil(k / K_STEP);
  const steps = kSteps * elements(summed.sizes);
  const slim = m < TILE_LEAST || n < TILE_LEAST;
  const groups = slim ? Math.ceil(size / THREADS) : Math.ceil(m / TILE) * Math.ceil(n / TILE) * batches;
  const wanted = Math.max(1, Math.min(Math.ceil(BUSY_GROUPS / groups), Math.floor(steps / SPLIT_STEPS)));
  const splitSteps = Math.ceil(steps / wanted);
  const splits = steps === 0 ? 1 : Math.ceil(steps / splitSteps);
  const biased = call.inputs.length > 2 ? 1 : 0;
  const axes = (list: (walk: Walk) => readonly number[]): number[] => [...padAxes(list(kept)), ...padAxes(list(summed))];
  const pass = (entry: string, addBias: number, bind: Pass["bind"], workgroups: number): Pass => ({
    shader: shaders.product,
    entry,
    constants: { A_ALONG_K: aK === 1 ? 1 : 0, B_ALONG_K: bK === 1 ? 1 : 0 },
    params: {
      m,
      n,
      k,
      biased: addBias,
      a_row: aRow,
      a_k: aK,
      b_k: bK,
      b_column: bColumn,
      batches,
      kept: kept.sizes.length,
      summed: summed.sizes.length,
      splits,
      k_steps: Math.max(1, kSteps),
      steps,
      split_steps: splitSteps,
      sizes: axes((walk) => walk.sizes),
      a_strides: axes((walk) => walk.strides[0]),
      b_strides: axes((walk) => walk.strides[1]),
    },
    bind,
    workgroups: grid(workgroups, limits),
  });
  const bias = input(biased ? 2 : 0);
  const operands = { a: input(0), b: input(1), bias };
  const main = (split: boolean): Pass =>
    pass(
      slim ? "element" : "tile",
      split ? 0 : biased,
      { ...operands, c: split ? scratch(0) : output(0) },
      slim ? Math.ceil((size * splits) / THREADS) : groups * splits,
    );
  if (splits === 1) return { passes: [main(false)] };
  return {
    scratch: [splits * size],
    passes: [main(true), pass("combine", biased, { bias, c: output(0), parts: scratch(0) }, Math.ceil(size / THREADS))],
  };
};

export const biasBackward = ({ inputs: [g], outputs: [d] }: Call, limits: Limits): Plan => {
  const n = elements(d.shape);
  const sizes: number[] = [];
  const passes: Pass[] = [];
  for (let rows = elements(g.shape) / n, last = false; !last; ) {
    const chunks = Math.max(1, Math.ceil(rows / BIAS_ROWS));
    last = chunks === 1;
    passes.push({
      shader: shaders.columns,
      entry: "main",
      params: { rows, n, chunk: BIAS_ROWS, chunks },
      bind: { x: passes.length === 0 ? input(0) : scratch(sizes.length - 1), y: last ? output(0) : scratch(sizes.length) },
      workgroups: grid(Math.ceil(n / 32) * chunks, limits),
    });
    if (!last) sizes.push(chunks * n);
    rows = chunks;
  }
  return { scratch: sizes, passes };
};
