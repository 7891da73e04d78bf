import * as shaders from "../../generated/matmul.ts";
import {
  type BufferRef,
  type Call,
  ELEMENT_BYTES,
  elements,
  grid,
  input,
  type Limits,
  output,
  type Pass,
  type Plan,
  type Spec,
  scratch,
} from "../../op.ts";
import { collapse, padAxes, type Walk } from "../../shapes.ts";
import { inTurn, type Part, partOf, partsOf } from "../../slices.ts";
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

/** An axis of a product that its operands may be cut along, with the elements that each takes at one place of it: 0 where all places share them. */
interface Axis {
  readonly count: number;
  readonly sizes: { readonly a: number; readonly b: number; readonly c: number };
  of(count: number): Product;
}

/** The outermost axis of the result, and that of the sums. */
const axesOf = (product: Product): readonly Axis[] => {
  const { m, n, k, aRow, aK, bK, kept, summed } = product;
  const outermost = ({ sizes, strides }: Walk, c: number, of: (walk: Walk) => Product): Axis => ({
    count: sizes[0],
    sizes: { a: strides[0][0], b: strides[1][0], c },
    of: (count) => of({ sizes: [count, ...sizes.slice(1)], strides }),
  });
  return [
    kept.sizes.length > 0
      ? outermost(kept, elements(kept.sizes.slice(1)) * m * n, (walk) => ({ ...product, kept: walk }))
      : { count: m, sizes: { a: aRow, b: 0, c: n }, of: (count) => ({ ...product, m: count }) },
    summed.sizes.length > 0
      ? outermost(summed, 0, (walk) => ({ ...product, summed: walk }))
      : { count: k, sizes: { a: aK, b: bK, c: 0 }, of: (count) => ({ ...product, k: count }) },
  ];
};

/** What a plan is for of a call: a product of windows of its operands. */
interface Share {
  readonly product: Product;
  readonly a: BufferRef;
  readonly b: BufferRef;
  readonly results: readonly BufferRef[];
  /** Whether it is added to what those before have brought, and whether it is the last of them, after which bias and activation come. */
  readonly onto: boolean;
  readonly last: boolean;
}

/** One product, or as few as have operands that fit one binding each: other rows or matrices of the result, or other terms of its sums. */
const sharesOf = ({ inputs: [a, b], outputs: [c] }: Call<MatmulAttrs>, product: Product, limits: Limits): readonly Share[] => {
  const operands: readonly (readonly [Spec, keyof Axis["sizes"]])[] = [
    [a, "a"],
    [b, "b"],
    [c, "c"],
  ];
  const fits = ({ shape, dtype }: Spec): boolean => ELEMENT_BYTES[dtype] * elements(shape) <= limits.bindingBytes;
  const share = (part: Part, { sizes, of }: Axis): Share => {
    const sums = sizes.c === 0;
    return {
      product: of(part.count),
      a: partOf(input(0), part, sizes.a),
      b: partOf(input(1), part, sizes.b),
      results: [0, 1].map((index) => partOf(output(index), part, sizes.c)),
      onto: sums && part.from > 0,
      last: !sums || part.from + part.count === part.all,
    };
  };
  const axes = axesOf(product);
  // Neither does an operand lie in pieces, nor is one that all share too large.
  const cuts = ({ count, sizes }: Axis): boolean =>
    operands.every(([spec, name]) => (sizes[name] === 0 ? fits(spec) : sizes[name] * count === elements(spec.shape)));
  const axis = operands.every(([spec]) => fits(spec)) ? undefined : axes.find(cuts);
  if (!axis) return [share({ from: 0, count: axes[0].count, all: axes[0].count }, axes[0])];
  return partsOf(
    axis.count,
    operands.map(([{ dtype }, name]) => ELEMENT_BYTES[dtype] * axis.sizes[name]),
    limits,
  ).map((part) => share(part, axis));
};

export const matmul = (call: Call<MatmulAttrs>, limits: Limits): Plan =>
  inTurn(sharesOf(call, productOf(call), limits).map((share) => multiply(call, share, limits)));

const multiply = (call: Call<MatmulAttrs>, { product: given, ...share }: Share, limits: Limits): Plan => {
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
  const pass = (entry: string, finishes: boolean, bind: Pass["bind"], workgroups: number): Pass => {
    const last = finishes && share.last;
    return {
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
        onto: finishes && share.onto ? size : 0,
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
      bind: { bias: biased ? input(2) : share.a, z: keeps && last ? share.results[1] : scratch(0), ...bind },
      workgroups: grid(workgroups, limits),
    };
  };
  const [c] = share.results;
  const operands = turned ? { a: share.b, b: share.a } : { a: share.a, b: share.b };
  const main = (entry: string, workgroups: number): Plan =>
    splits === 1
      ? { scratch: [1], passes: [pass(entry, true, { ...operands, c }, workgroups)] }
      : {
          scratch: [1, splits * size],
          passes: [
            pass(entry, false, { ...operands, c: scratch(1) }, workgroups),
            pass("combine", true, { c, parts: scratch(1) }, Math.ceil(size / THREADS)),
          ],
        };
  return slim ? main("element", Math.ceil((strips * splits) / STRIP_THREADS)) : main("tile", groups * splits);
};

export const biasBackward = ({ inputs: [g], outputs: [sums], attrs: { activation } }: Call<BiasAttrs>, limits: Limits): Plan => {
  const n = elements(sums.shape);
  const rows = n === 0 ? 0 : elements(g.shape) / n;
  const parts = partsOf(rows, [4 * n], limits).map((part) => {
    const chunk = Math.max(BIAS_ROWS, Math.ceil(part.count / BIAS_CHUNKS));
    return { part, chunk, chunks: Math.max(1, Math.ceil(part.count / chunk)) };
  });
  const all = parts.reduce((sum, { chunks }) => sum + chunks, 0);
  const pass = (entry: string, bind: Pass["bind"], params: Pass["params"], workgroups: number): Pass => ({
    shader: shaders.columns,
    entry,
    constants: { ACTIVATION: entry === "main" ? 0 : code(activation) },
    params: { n, before: 0, ...params },
    bind,
    workgroups: grid(Math.ceil(n / 32) * workgroups, limits),
  });
  const y = all === 1 ? output(0) : scratch(0);
  let before = 0;
  const passes = parts.map(({ part, chunk, chunks }) => {
    const params = { rows: part.count, chunk, chunks, before };
    const x = partOf(input(0), part, n);
    before += chunks;
    return activation === "none"
      ? pass("main", { x, y }, params, chunks)
      : pass("through", { x, saved: partOf(input(1), part, n), d: partOf(output(1), part, n), y }, params, chunks);
  });
  if (all > 1) passes.push(pass("main", { x: y, y: output(0) }, { rows: all, chunk: all, chunks: 1 }, 1));
  return { scratch: all === 1 ? [] : [all * n], passes };
};
