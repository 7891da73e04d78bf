import * as shaders from "../../generated/shape.ts";
import { type Call, elements, grid, input, type Limits, output, type Pass, type Plan, type Shape, scratch, strides } from "../../op.ts";
import { broadcastStrides, collapse, padAxes, type Walk } from "../../shapes.ts";
import { type GatherAttrs, type GatherBackwardAttrs, gatherWalk, permuteWalk, type SliceAttrs } from "./reference.ts";

const THREADS = 256;
/** Side of the tile that a transposing workgroup moves. */
const TILE = 32;
/** Axes shorter than this leave most of a tile empty: a strided copy then moves more per thread. */
export const TILE_LEAST = 8;
/** Inputs of one concatenating pass: with the result they fill the guaranteed number of storage buffers. */
export const CONCAT_INPUTS = 7;
/** Up to this many terms per line, one thread adds up a line; more are first sorted into lists. */
export const LINE_TERMS = 16;
/** More comparisons than this would take longer than one thread per line does. */
export const LIST_COMPARISONS = 2 ** 32;

const threads = (count: number, limits: Limits, size = THREADS): readonly [number, number, number] => grid(Math.ceil(count / size), limits);

interface Ends {
  readonly xFirst?: number;
  readonly yFirst?: number;
  readonly entry?: "main" | "zero";
}

/** A strided copy from input 0 to output 0 along a walk with strides into x and y. */
const copy = ({ sizes, strides: [xSteps, ySteps] }: Walk, limits: Limits, { xFirst = 0, yFirst = 0, entry = "main" }: Ends = {}): Pass => ({
  shader: shaders.copy,
  entry,
  params: {
    count: elements(sizes),
    axes: sizes.length,
    x_first: xFirst,
    y_first: yFirst,
    sizes: padAxes(sizes),
    x_strides: padAxes(xSteps),
    y_strides: padAxes(ySteps),
  },
  bind: entry === "main" ? { x: input(0), y: output(0) } : { y: output(0) },
  workgroups: threads(elements(sizes), limits),
});

const zero = (count: number, limits: Limits): Pass => copy({ sizes: [count], strides: [[1], [1]] }, limits, { entry: "zero" });

const without = (list: readonly number[], ...axes: readonly number[]): number[] => list.filter((_, axis) => !axes.includes(axis));

export const permute = (call: Call<{ axes: readonly number[] }>, limits: Limits): Plan => {
  const { sizes: all, strides: own } = permuteWalk(call);
  const merged = collapse(all, [own[0], strides(all)]);
  const {
    sizes,
    strides: [xSteps, ySteps],
  } = merged;
  const column = xSteps.indexOf(1);
  const row = sizes.length - 1;
  if (column < 0 || column === row || sizes[row] < TILE_LEAST || sizes[column] < TILE_LEAST) return { passes: [copy(merged, limits)] };
  const [rowTiles, columnTiles] = [Math.ceil(sizes[row] / TILE), Math.ceil(sizes[column] / TILE)];
  const rest = without(sizes, row, column);
  const batch = elements(rest);
  const pass: Pass = {
    shader: shaders.transpose,
    entry: "main",
    params: {
      rows: sizes[row],
      columns: sizes[column],
      x_row: xSteps[row],
      y_column: ySteps[column],
      row_tiles: rowTiles,
      column_tiles: columnTiles,
      batch,
      axes: rest.length,
      sizes: padAxes(rest),
      x_strides: padAxes(without(xSteps, row, column)),
      y_strides: padAxes(without(ySteps, row, column)),
    },
    bind: { x: input(0), y: output(0) },
    workgroups: grid(rowTiles * columnTiles * batch, limits),
  };
  return { passes: [pass] };
};

export const expand = ({ inputs: [x], outputs: [y] }: Call, limits: Limits): Plan => ({
  passes: [copy(collapse(y.shape, [broadcastStrides(x.shape, y.shape), strides(y.shape)]), limits)],
});

export const concat = ({ inputs, outputs: [y], attrs: { axis } }: Call<{ axis: number }>, limits: Limits): Plan => {
  const rows = elements(y.shape.slice(0, axis));
  const row = elements(y.shape.slice(axis));
  const passes: Pass[] = [];
  let first = 0;
  for (let begin = 0; begin < inputs.length; begin += CONCAT_INPUTS) {
    const lengths = inputs.slice(begin, begin + CONCAT_INPUTS).map(({ shape }) => elements(shape.slice(axis)));
    const width = lengths.reduce((sum, length) => sum + length, 0);
    const parts = Array.from({ length: CONCAT_INPUTS }, (_, i) => [`x${i}`, input(i < lengths.length ? begin + i : begin)] as const);
    if (width > 0) {
      passes.push({
        shader: shaders.concat,
        entry: "main",
        params: { count: rows * width, row, first, width, lengths: padAxes(lengths) },
        bind: { ...Object.fromEntries(parts), y: output(0) },
        workgroups: threads(rows * width, limits),
      });
    }
    first += width;
  }
  return { passes };
};

/** Strides that step through the slice in the whole tensor. */
const sliceSteps = (whole: Shape, { axis, step }: SliceAttrs): number[] => strides(whole).map((stride, k) => (k === axis ? stride * step : stride));

export const slice = ({ inputs: [x], outputs: [y], attrs }: Call<SliceAttrs>, limits: Limits): Plan => ({
  passes: [copy(collapse(y.shape, [sliceSteps(x.shape, attrs), strides(y.shape)]), limits, { xFirst: attrs.start * strides(x.shape)[attrs.axis] })],
});

export const sliceBackward = ({ inputs: [g], outputs: [dx], attrs }: Call<SliceAttrs>, limits: Limits): Plan => {
  const moved = copy(collapse(g.shape, [strides(g.shape), sliceSteps(dx.shape, attrs)]), limits, {
    yFirst: attrs.start * strides(dx.shape)[attrs.axis],
  });
  return { passes: elements(g.shape) === 0 ? [zero(elements(dx.shape), limits)] : [zero(elements(dx.shape), limits), moved] };
};

export const gather = ({ inputs: [x, index], outputs: [y], attrs }: Call<GatherAttrs>, limits: Limits): Plan => {
  const { step, ...loops } = gatherWalk(x.shape, index.shape, attrs);
  const {
    sizes,
    strides: [xSteps, indexSteps],
  } = collapse(loops.sizes, loops.strides);
  const count = elements(y.shape);
  const pass: Pass = {
    shader: shaders.gather,
    entry: "main",
    constants: { SIGNED: index.dtype === "int32" ? 1 : 0 },
    params: {
      count,
      axes: sizes.length,
      size: x.shape[attrs.axis],
      step,
      sizes: padAxes(sizes),
      x_strides: padAxes(xSteps),
      index_strides: padAxes(indexSteps),
    },
    bind: { x: input(0), index: input(1), y: output(0) },
    workgroups: threads(count, limits),
  };
  return { passes: [pass] };
};

/** The gradient's lines: a walk over the coordinates off the indexed axis, and how far apart the terms of a line are. */
const scatterLines = (index: Shape, dx: Shape, { axis, rows }: GatherAttrs) => {
  const own = strides(dx);
  const g = rows ? [...dx.slice(0, axis), elements(index), ...dx.slice(axis + 1)] : index;
  const gSteps = strides(g);
  const sizes = without(g, axis);
  return {
    sizes,
    g: without(gSteps, axis),
    d: without(own, axis),
    index: rows ? sizes.map(() => 0) : without(gSteps, axis),
    /** Numbers the lists: one for all lines when they share the index. */
    list: rows ? sizes.map(() => 0) : strides(sizes),
    lists: rows ? 1 : elements(sizes),
    terms: g[axis],
    gStep: gSteps[axis],
    indexStep: rows ? 1 : gSteps[axis],
    dStep: own[axis],
  };
};

export const gatherBackward = ({ inputs: [g, index], outputs: [dx], attrs }: Call<GatherBackwardAttrs>, limits: Limits): Plan => {
  const count = elements(dx.shape);
  const clear = zero(count, limits);
  if (elements(g.shape) === 0) return { passes: [clear] };
  const { axis } = attrs;
  const size = dx.shape[axis];
  const lines = scatterLines(index.shape, dx.shape, attrs);
  const pass = (entry: string, bind: Pass["bind"], invocations: number, walk: Walk, width = THREADS): Pass => ({
    shader: shaders.scatter,
    entry,
    params: {
      count: invocations,
      axes: walk.sizes.length,
      terms: lines.terms,
      size,
      g_step: lines.gStep,
      index_step: lines.indexStep,
      d_step: lines.dStep,
      sizes: padAxes(walk.sizes),
      g_strides: padAxes(walk.strides[0]),
      index_strides: padAxes(walk.strides[1]),
      d_strides: padAxes(walk.strides[2]),
    },
    bind,
    workgroups: threads(invocations, limits, width),
  });
  const walk = collapse(lines.sizes, [lines.g, lines.index, lines.d]);
  if (lines.terms <= LINE_TERMS || lines.lists * lines.terms ** 2 > LIST_COMPARISONS) {
    return { passes: [clear, pass("lines", { g: input(0), index: input(1), d: output(0) }, elements(lines.sizes), walk, 64)] };
  }
  const heads = lines.lists * size;
  const insert = (list: readonly number[], value: number): number[] => [...list.slice(0, axis), value, ...list.slice(axis)];
  const covered = insert(lines.sizes, size);
  const perElement = collapse(covered, [
    insert(lines.g, 0),
    insert(
      lines.list.map((number) => number * size),
      1,
    ),
    insert(lines.d, lines.dStep),
  ]);
  const shared = lines.lists === 1 ? { sizes: [], strides: [[], [], []] } : walk;
  return {
    scratch: [heads, lines.lists * lines.terms],
    passes: [
      ...(elements(covered) < count ? [clear] : []),
      pass("fill", { heads: scratch(0) }, heads, shared),
      pass("link", { index: input(1), heads: scratch(0), nexts: scratch(1) }, lines.lists * lines.terms, shared, 64),
      pass("collect", { g: input(0), d: output(0), heads: scratch(0), nexts: scratch(1) }, elements(covered), perElement),
    ],
  };
};
