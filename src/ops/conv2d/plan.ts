import * as shaders from "../../generated/conv2d.ts";
import { type Call, elements, grid, input, type Limits, output, type Plan, scratch } from "../../op.ts";
import { type ConvAttrs, type DataAttrs, type Geometry, geometry, type WeightAttrs } from "./geometry.ts";

const THREADS = 256;
const { TN, TERMS, FORWARD, DATA, WEIGHT } = shaders.convolve.consts;
/** With fewer rows per group, tiles would be mostly empty: a thread, or for weights a workgroup, sums one element. */
export const DIRECT_BELOW = 4;
/** Rows of a tile: the least that holds all rows of a group, or the largest. */
export const TILE_ROWS = [8, 16, 32, 64] as const;
/** The sum over batch and pixels is split until about this many workgroups share it, … */
export const WANTED_WORKGROUPS = 256;
/** … but no split has fewer terms than this. */
export const LEAST_TERMS = 256;

/** For the entry points of `reduce.wgsl` that look at some parameters only. */
const NOTHING = { splits: 1, counts: [0, 0, 0, 0], planes: [0, 0, 0, 0], kernel: [0, 0, 0, 0], steps: [0, 0, 0, 0], start: [0, 0, 0, 0] };

const tileRows = (rows: number): number => TILE_ROWS.find((size) => rows <= size) ?? 64;

/** Distance between the taps that reach one result pixel of the data gradient. */
const tapStep = (stride: number, dilation: number): number => {
  let [a, b] = [stride, dilation];
  while (b > 0) [a, b] = [b, a % b];
  return stride / a;
};

const shared = ({ stride, dilation, start }: Geometry): Record<string, readonly number[]> => ({
  steps: [...stride, ...dilation],
  start: [...start, 0, 0],
});

export const forward = ({ attrs, inputs, outputs: [y] }: Call<ConvAttrs>, limits: Limits): Plan => {
  const g = geometry(inputs[0].shape, inputs[1].shape, attrs);
  const biased = inputs.length > 2;
  const direct = g.features < DIRECT_BELOW;
  const tm = tileRows(g.features);
  const tiles = [Math.ceil(g.features / tm), Math.ceil((g.batch * g.out[0] * g.out[1]) / TN)];
  return {
    passes: [
      {
        shader: shaders.convolve,
        entry: direct ? "direct" : "tiled",
        constants: { MODE: FORWARD, TM: tm, THREADS: 4 * tm, BIAS: biased ? 1 : 0 },
        params: {
          ...shared(g),
          counts: [g.batch, g.groups, g.features, g.channels],
          planes: [...g.size, ...g.out],
          kernel: [...g.kernel, 1, 1],
          tiles: [...tiles, 1, 1],
        },
        bind: { a: input(1), image: input(0), bias: input(biased ? 2 : 1), result: output(0) },
        workgroups: grid(direct ? Math.ceil(elements(y.shape) / THREADS) : tiles[0] * tiles[1] * g.groups, limits),
      },
    ],
  };
};

export const backwardData = ({ attrs, inputs: [, w], outputs: [dx] }: Call<DataAttrs>, limits: Limits): Plan => {
  const g = geometry(dx.shape, w.shape, attrs);
  const direct = g.channels < DIRECT_BELOW;
  const tm = tileRows(g.channels);
  const phase = [0, 1].map((axis) => Math.ceil(g.size[axis] / g.stride[axis]));
  const phases = [0, 1].map((axis) => Math.min(g.stride[axis], g.size[axis]));
  const tiles = [Math.ceil(g.channels / tm), Math.ceil((g.batch * phase[0] * phase[1]) / TN)];
  return {
    passes: [
      {
        shader: shaders.convolve,
        entry: direct ? "direct" : "tiled",
        constants: { MODE: DATA, TM: tm, THREADS: 4 * tm, BIAS: 0 },
        params: {
          ...shared(g),
          counts: [g.batch, g.groups, g.channels, g.features],
          planes: [...g.out, ...g.size],
          kernel: [...g.kernel, ...[0, 1].map((axis) => tapStep(g.stride[axis], g.dilation[axis]))],
          tiles: [...tiles, phases[0] * phases[1], phases[1]],
        },
        bind: { a: input(1), image: input(0), bias: input(1), result: output(0) },
        workgroups: grid(direct ? Math.ceil(elements(dx.shape) / THREADS) : tiles[0] * tiles[1] * g.groups * phases[0] * phases[1], limits),
      },
    ],
  };
};

export const backwardWeight = ({ attrs, inputs: [, x], outputs: [dw] }: Call<WeightAttrs>, limits: Limits): Plan => {
  const g = geometry(x.shape, dw.shape, attrs);
  const count = elements(dw.shape);
  const planes = [...g.size, ...g.out];
  if (g.features < DIRECT_BELOW) {
    const params = {
      ...shared(g),
      count,
      splits: 1,
      counts: [g.batch, g.groups * g.features, g.features, g.channels],
      planes,
      kernel: [...g.kernel, 0, 0],
    };
    const bind = { dy: input(0), x: input(1), result: output(0) };
    return { passes: [{ shader: shaders.reduce, entry: "weight", params, bind, workgroups: grid(count, limits) }] };
  }
  const tm = tileRows(g.features);
  const tiles = [Math.ceil(g.features / tm), Math.ceil((g.channels * g.kernel[0] * g.kernel[1]) / TN)];
  const terms = g.batch * g.out[0] * g.out[1];
  const wanted = Math.min(Math.ceil(WANTED_WORKGROUPS / (tiles[0] * tiles[1] * g.groups)), Math.floor(terms / LEAST_TERMS));
  const each = Math.max(1, Math.ceil(terms / Math.max(1, wanted) / TERMS)) * TERMS;
  const splits = Math.max(1, Math.ceil(terms / each));
  const product = {
    shader: shaders.convolve,
    entry: "tiled",
    constants: { MODE: WEIGHT, TM: tm, THREADS: 4 * tm, BIAS: 0 },
    params: {
      ...shared(g),
      counts: [g.batch, g.groups, g.features, g.channels],
      planes,
      kernel: [...g.kernel, 1, 1],
      tiles: [...tiles, splits, each],
    },
    bind: { a: input(0), image: input(1), bias: input(0), result: splits > 1 ? scratch(0) : output(0) },
    workgroups: grid(tiles[0] * tiles[1] * g.groups * splits, limits),
  };
  if (splits === 1) return { passes: [product] };
  const sum = {
    shader: shaders.reduce,
    entry: "splits",
    params: { ...NOTHING, count, splits },
    bind: { partials: scratch(0), result: output(0) },
    workgroups: grid(Math.ceil(count / THREADS), limits),
  };
  return { scratch: [splits * count], passes: [product, sum] };
};

export const backwardBias = ({ inputs: [dy], outputs: [db] }: Call, limits: Limits): Plan => {
  const [batch, features, ...plane] = dy.shape;
  const params = { ...NOTHING, count: elements(db.shape), counts: [batch, features, 0, 0], planes: [0, 0, ...plane] };
  return {
    passes: [{ shader: shaders.reduce, entry: "bias", params, bind: { dy: input(0), result: output(0) }, workgroups: grid(features, limits) }],
  };
};
