import * as shaders from "../../generated/conv.ts";
import { type Call, elements, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import { inSlices } from "../../slices.ts";
import { type ConvAttrs, type Geometry, ofData, ofForward, ofWeight } from "./geometry.ts";

const THREADS = 256;
const { TN, TERMS, FORWARD, DATA, WEIGHT } = shaders.convolve.consts;
/** With fewer rows per group, tiles would be mostly empty: a thread sums four pixels, or for weights a workgroup four taps. */
export const DIRECT_BELOW = 4;
/** Rows of a tile: the least that holds all rows of a group, or the largest. */
export const TILE_ROWS = [16, 32, 64] as const;
/** The sum over batch and pixels is split until about this many workgroups share it, … */
export const WANTED_WORKGROUPS = 512;
/** … but no split has fewer terms than this. */
export const LEAST_TERMS = 256;

const AXES = [0, 1, 2] as const;
const ONES = [1, 1, 1] as const;

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));

/** Nothing lies between an element of y and the element of x in its place: the spatial axes are one, whatever their number. */
const isPointwise = ({ size, out, kernel, stride, start }: Geometry): boolean =>
  AXES.every((axis) => kernel[axis] === 1 && stride[axis] === 1 && start[axis] === 0 && size[axis] === out[axis]);

const merged = (g: Geometry): Geometry => (isPointwise(g) ? { ...g, size: [1, 1, elements(g.size)], out: [1, 1, elements(g.out)] } : g);

type Params = Exclude<Pass["params"], undefined>;

/** What differs between the three modes of `convolve.wgsl`. */
interface Product {
  readonly mode: number;
  readonly g: Geometry;
  /** Rows of the product and channels of the image, per group. */
  readonly rows: number;
  readonly channels: number;
  readonly columns: number;
  /** Spatial sizes of the image, and of the result (of dy for weights). */
  readonly image: readonly number[];
  readonly planes: readonly number[];
  /** Phases per axis, and parts in all with the terms of each: phases or splits. */
  readonly phases?: readonly number[];
  readonly parts?: number;
  readonly each?: number;
  readonly tapStep?: readonly number[];
  /** Whether a quad of terms lies side by side in A. */
  readonly aligned: boolean;
  readonly bias: boolean;
}

const params = ({ g, ...p }: Product, tiles: readonly number[]): Params => ({
  counts: [g.batch, g.groups, p.rows, p.channels],
  size: p.image,
  planes: p.planes,
  kernel: g.kernel,
  stride: g.stride,
  dilation: g.dilation,
  start: g.start,
  tap_step: p.tapStep ?? ONES,
  phases: p.phases ?? ONES,
  tiles: [...tiles, p.parts ?? 1, p.each ?? 0],
  quads: [p.aligned ? 1 : 0, isPointwise(g) && elements(g.size) % 4 === 0 ? 1 : 0, p.bias ? 1 : 0],
});

const tileRows = (rows: number): number => TILE_ROWS.find((size) => rows <= size) ?? 64;
const tilesOf = ({ rows, columns }: Product): [number, number] => [Math.ceil(rows / tileRows(rows)), Math.ceil(columns / TN)];

const tiled = (product: Product, bind: Pass["bind"], limits: Limits): Pass => {
  const tm = tileRows(product.rows);
  const tiles = tilesOf(product);
  return {
    shader: shaders.convolve,
    entry: "tiled",
    constants: { MODE: product.mode, TM: tm, THREADS: 2 * tm },
    params: params(product, tiles),
    bind: { ...bind, a_quads: bind.a, image_quads: bind.image },
    workgroups: grid(elements(tiles) * product.g.groups * (product.parts ?? 1), limits),
  };
};

const direct = (product: Product, bind: Pass["bind"], limits: Limits): Pass => {
  const { g, rows, planes, phases = ONES } = product;
  const quads = Math.ceil(planes[2] / (4 * phases[2])) * phases[2];
  return {
    shader: shaders.direct,
    entry: "direct",
    constants: { MODE: product.mode },
    params: params(product, [0, 0]),
    bind,
    workgroups: grid(Math.ceil((g.batch * g.groups * rows * planes[0] * planes[1] * quads) / THREADS), limits),
  };
};

const toPixels = (product: Product, limits: Limits): Plan => {
  const bind = { a: input(1), image: input(0), bias: input(product.bias ? 2 : 1), result: output(0) };
  return { passes: [product.rows < DIRECT_BELOW ? direct(product, bind, limits) : tiled(product, bind, limits)] };
};

/** Images apart from each other: those that do not fit one binding are computed in slices. */
const bySlices =
  (plan: (call: Call<ConvAttrs>, limits: Limits) => Plan) =>
  (call: Call<ConvAttrs>, limits: Limits): Plan => {
    const rank = call.inputs[0].shape.length;
    return inSlices(call, limits, { inputs: [rank - 1, rank, rank], outputs: [rank - 1] }, plan);
  };

export const forward = bySlices((call, limits) => {
  const g = merged(ofForward(call));
  const product: Product = {
    mode: FORWARD,
    g,
    rows: g.features,
    channels: g.channels,
    columns: g.batch * elements(g.out),
    image: g.size,
    planes: g.out,
    aligned: (g.channels * elements(g.kernel)) % 4 === 0,
    bias: call.inputs.length > 2,
  };
  return toPixels(product, limits);
});

export const data = bySlices((call, limits) => {
  const g = merged(ofData(call));
  const phases = AXES.map((axis) => Math.min(g.stride[axis], g.size[axis]));
  const product: Product = {
    mode: DATA,
    g,
    rows: g.channels,
    channels: g.features,
    columns: g.batch * elements(AXES.map((axis) => Math.ceil(g.size[axis] / g.stride[axis]))),
    image: g.out,
    planes: g.size,
    phases: phases.map((count) => Math.max(1, count)),
    parts: elements(phases),
    tapStep: AXES.map((axis) => g.stride[axis] / greatestCommonDivisor(g.stride[axis], g.dilation[axis])),
    aligned: false,
    bias: call.inputs.length > 2,
  };
  return toPixels(product, limits);
});

const sums = (count: number, g: Geometry, splits: number): Params => ({
  count,
  splits,
  counts: [g.batch, g.groups * g.features, g.features, g.channels],
  size: g.size,
  planes: g.out,
  kernel: g.kernel,
  stride: g.stride,
  dilation: g.dilation,
  start: g.start,
});

export const weight = (call: Call<ConvAttrs>, limits: Limits): Plan => {
  const g = merged(ofWeight(call));
  const count = elements(call.outputs[0].shape);
  if (g.features < DIRECT_BELOW) {
    const bind = { dy: input(0), x: input(1), result: output(0) };
    const quads = (count / g.kernel[2]) * Math.ceil(g.kernel[2] / 4);
    return { passes: [{ shader: shaders.reduce, entry: "weight", params: sums(count, g, 1), bind, workgroups: grid(quads, limits) }] };
  }
  const area = elements(g.out);
  const product: Product = {
    mode: WEIGHT,
    g,
    rows: g.features,
    channels: g.channels,
    columns: g.channels * elements(g.kernel),
    image: g.size,
    planes: g.out,
    aligned: area % 4 === 0,
    bias: false,
  };
  const terms = g.batch * area;
  const wanted = Math.min(Math.ceil(WANTED_WORKGROUPS / (elements(tilesOf(product)) * g.groups)), Math.floor(terms / LEAST_TERMS));
  const each = Math.max(1, Math.ceil(terms / Math.max(1, wanted) / TERMS)) * TERMS;
  const parts = Math.max(1, Math.ceil(terms / each));
  const bind = { a: input(0), image: input(1), bias: input(0), result: parts > 1 ? scratch(0) : output(0) };
  const pass = tiled({ ...product, parts, each }, bind, limits);
  if (parts === 1) return { passes: [pass] };
  const sum: Pass = {
    shader: shaders.reduce,
    entry: "splits",
    params: sums(count, g, parts),
    bind: { partials: scratch(0), result: output(0) },
    workgroups: grid(Math.ceil(count / THREADS), limits),
  };
  return { scratch: [parts * count], passes: [pass, sum] };
};
