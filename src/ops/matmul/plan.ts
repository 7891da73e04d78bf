import * as shaders from "../../generated/matmul.ts";
import { type Call, elements, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import { collapse, padAxes, type Walk } from "../../shapes.ts";
import { type BiasAttrs, type MatmulAttrs, matmulSizes } from "./reference.ts";

const THREADS = 256;
/** Side of a workgroup's tile of the result, and steps of k held in workgroup memory. */
export const TILE = 64;
export const K_STEP = 16;
/** What matrix units compute: as large a tile, in longer steps. */
export const UNITS_K_STEP = shaders.units.consts.K_STEP;
/** Of results that larger tiles would cover with a third more to spare. */
export const SMALL_TILE = 32;
/** Results with fewer rows or columns, or not more of both, are computed one element a thread: a tile would be mostly empty. */
export const TILE_LEAST = 16;
/** Columns that a thread without a tile computes, as far as there are so many: a number of a is loaded once for all of them. */
export const STRIP = shaders.product.consts.STRIP;
const STRIP_THREADS = shaders.product.consts.STRIP_THREADS;
/** Workgroups that keep a GPU busy: with fewer, long sums are split. */
export const BUSY_GROUPS = 128;
/** A split has at least this many steps of k. */
export const SPLIT_STEPS = 16;
/** Rows that one workgroup sums for the gradient of a bias: at least so many, and more where the sums would be more than the next pass takes. */
export const BIAS_ROWS = 64;
export const BIAS_CHUNKS = 256;

const code = (activation: MatmulAttrs["activation"]): number => shaders.product.consts[activation.toUpperCase()];

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

/** bᵀ · aᵀ. */
const transposed = ({ m, n, k, aRow, aK, bK, bColumn, kept, summed }: Product): Product => {
  const swapped = ({ sizes, strides: [a, b] }: Walk): Walk => ({ sizes, strides: [b, a] });
  return { m: n, n: m, k, aRow: bColumn, aK: bK, bK: aK, bColumn: aRow, kept: swapped(kept), summed: swapped(summed) };
};

export const matmul = (call: Call<MatmulAttrs>, limits: Limits): Plan => {
  const given = productOf(call);
  // A column of results lies in memory as a row does; as one, a thread may compute several of it.
  const turned = given.n === 1;
  const { m, n, k, aRow, aK, bK, bColumn, kept, summed } = turned ? transposed(given) : given;
  const [a, b] = turned ? [1, 0] : [0, 1];
  const batches = elements(kept.sizes);
  const size = batches * m * n;
  const slim = Math.min(m, n) < TILE_LEAST || Math.max(m, n) <= TILE_LEAST;
  const units = limits.matrixUnits && !slim && call.inputs[0].dtype === "float16" && call.inputs[1].dtype === "float16";
  const kSteps = Math.ceil(k / (units ? UNITS_K_STEP : K_STEP));
  const steps = kSteps * elements(summed.sizes);
  const tiles = (side: number): number => Math.ceil(m / side) * Math.ceil(n / side);
  const tile = !units && 3 * tiles(TILE) * TILE ** 2 >= 4 * tiles(SMALL_TILE) * SMALL_TILE ** 2 ? SMALL_TILE : TILE;
  const columns = Math.max(1, Math.min(n, STRIP));
  const strips = batches * m * Math.ceil(n / columns);
  const groups = slim ? Math.ceil(strips / THREADS) : tiles(tile) * batches;
  const wanted = Math.max(1, Math.min(Math.ceil(BUSY_GROUPS / groups), Math.floor(steps / SPLIT_STEPS)));
  const splitSteps = Math.ceil(steps / wanted);
  const splits = steps === 0 ? 1 : Math.ceil(steps / splitSteps);
  const biased = call.inputs.length > 2;
  const axes = (list: (walk: Walk) => readonly number[]): number[] => [...padAxes(list(kept)), ...padAxes(list(summed))];
  const { activation, keeps } = call.attrs;
  const halves = (operand: number): number => (call.inputs[operand].dtype === "float16" ? 1 : 0);
  /** Only the last pass adds the bias and applies the activation. */
  const pass = (entry: string, last: boolean, bind: Pass["bind"], workgroups: number): Pass => ({
    shader: units && entry === "tile" ? shaders.units : shaders.product,
    entry,
    constants: {
      ACTIVATION: last ? code(activation) : 0,
      ...(entry !== "combine" && {
        ONE_AXIS: kept.sizes.length <= 1 && summed.sizes.length === 0 ? 1 : 0,
        ...(!units && { A_HALF: halves(a), B_HALF: halves(b) }),
      }),
      ...(entry === "element" && { COLUMNS: columns }),
      ...(entry === "tile" && { A_ALONG_K: aK === 1 ? 1 : 0, B_ALONG_K: bK === 1 ? 1 : 0, ...(!units && { SIDE: tile / 4 }) }),
    },
    params: {
      m,
      n,
      k,
      biased: last && biased ? n : 0,
      bias_step: turned ? 0 : 1,
      kept_sums: last && keeps ? size : 0,
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
    bind: { bias: input(biased ? 2 : 0), z: keeps && last ? output(1) : scratch(0), ...bind },
    workgroups: grid(workgroups, limits),
  });
  const operands = { a: input(a), b: input(b) };
  const main = (entry: string, workgroups: number): Plan =>
    splits === 1
      ? { scratch: [1], passes: [pass(entry, true, { ...operands, c: output(0) }, workgroups)] }
      : {
          scratch: [1, splits * size],
          passes: [
            pass(entry, false, { ...operands, c: scratch(1) }, workgroups),
            pass("combine", true, { c: output(0), parts: scratch(1) }, Math.ceil(size / THREADS)),
          ],
        };
  return slim ? main("element", Math.ceil((strips * splits) / STRIP_THREADS)) : main("tile", groups * splits);
};

export const biasBackward = ({ inputs: [g], outputs: [sums], attrs: { activation } }: Call<BiasAttrs>, limits: Limits): Plan => {
  const n = elements(sums.shape);
  const rows = n === 0 ? 0 : elements(g.shape) / n;
  const chunk = Math.max(BIAS_ROWS, Math.ceil(rows / BIAS_CHUNKS));
  const chunks = Math.max(1, Math.ceil(rows / chunk));
  const pass = (entry: string, bind: Pass["bind"], params: Pass["params"], workgroups: number): Pass => ({
    shader: shaders.columns,
    entry,
    constants: { ACTIVATION: entry === "main" ? 0 : code(activation) },
    params: { n, ...params },
    bind,
    workgroups: grid(Math.ceil(n / 32) * workgroups, limits),
  });
  const y = chunks === 1 ? output(0) : scratch(0);
  const first = { rows, chunk, chunks };
  const passes =
    activation === "none"
      ? [pass("main", { x: input(0), y }, first, chunks)]
      : [pass("through", { x: input(0), saved: input(1), d: output(1), y }, first, chunks)];
  if (chunks > 1) passes.push(pass("main", { x: y, y: output(0) }, { rows: chunks, chunk: chunks, chunks: 1 }, 1));
  return { scratch: chunks === 1 ? [] : [chunks * n], passes };
};
