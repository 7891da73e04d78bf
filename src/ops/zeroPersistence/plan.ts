import * as shaders from "../../generated/zeroPersistence.ts";
import { type Call, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import { inSlices } from "../../slices.ts";
import { type LossAttrs, layoutOf, METRICS, type PersistenceAttrs } from "./reference.ts";

const THREADS = 256;
/** Points along a side of the square of distances that one workgroup computes. */
export const TILE = 16;
/** Workgroups over all labelled clouds, whose sizes only the device knows, from which on a cloud gets no further ones. */
export const ENOUGH_WORKGROUPS = 1024;
/** Labelled clouds up to so many times the mean size get a workgroup for each pair of tiles; in larger ones each takes several. */
const UNEVEN = 4;
/** Distances that are computed beforehand, by all workgroups; of more, a cloud's own workgroup computes each when it is wanted. */
export const STORED_DISTANCES = 2 ** 24;

const powerOfTwo = (least: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, least)));
/** Pairs of tiles, each pair once, for a cloud of this many points. */
const tilePairs = (points: number): number => {
  const tiles = Math.ceil(points / TILE);
  return (tiles * (tiles + 1)) / 2;
};

const wholeForward = (call: Call<PersistenceAttrs>, limits: Limits): Plan => {
  const { metric, labelled } = call.attrs;
  const { count, size, width, clouds } = layoutOf(call.inputs[0].shape, call.attrs);
  if (count === 0 || clouds === 0 || (!labelled && size < 2)) return { passes: [] };
  const stored = count * size <= Math.min(STORED_DISTANCES, limits.bindingBytes / 4);
  const expected = tilePairs(Math.min(size, Math.ceil((UNEVEN * size) / Math.max(1, clouds))));
  const shares = labelled ? Math.min(expected, Math.max(1, Math.floor(ENOUGH_WORKGROUPS / clouds))) : tilePairs(size);
  // Without labels nothing reads them, and without distances nothing those.
  const labels = input(labelled ? 1 : 0);
  const distances = stored ? scratch(0) : input(0);
  const params = { count, clouds, size, width, labelled: labelled ? 1 : 0 };
  const tree: Pass = {
    shader: shaders.tree,
    entry: "main",
    params: { ...params, metric: METRICS.indexOf(metric), stored: stored ? 1 : 0, span: Math.min(THREADS, size) },
    bind: { points: input(0), labels, distances, deaths: output(0), partners: output(1), coordinates: output(2) },
    workgroups: grid(clouds, limits),
  };
  if (!stored) return { passes: [tree] };
  return {
    scratch: [count * size],
    passes: [
      {
        shader: shaders.distances,
        entry: "main",
        constants: { METRIC: METRICS.indexOf(metric) },
        params: { ...params, shares },
        bind: { points: input(0), labels, distances },
        workgroups: grid(clouds * shares, limits),
      },
      tree,
    ],
  };
};

const wholeBackward = (call: Call<PersistenceAttrs>, limits: Limits): Plan => {
  const { metric, labelled } = call.attrs;
  const { count, size, width } = layoutOf(call.inputs[1].shape, call.attrs);
  if (count === 0) return { passes: [] };
  const lanes = Math.min(THREADS, powerOfTwo(width));
  const blocks = Math.ceil(width / lanes);
  return {
    passes: [
      {
        shader: shaders.backward,
        entry: "main",
        params: { count, size, width, lanes, blocks, labelled: labelled ? 1 : 0, metric: METRICS.indexOf(metric) },
        bind: { g: input(0), points: input(1), deaths: input(2), partners: input(3), coordinates: input(4), dpoints: output(0) },
        workgroups: grid(Math.ceil(count / (THREADS / lanes)) * blocks, limits),
      },
    ],
  };
};

/** A batch of equal clouds may be cut; labelled points may not. */
export const forward = (call: Call<PersistenceAttrs>, limits: Limits): Plan =>
  call.inputs[0].shape.length < 3 ? wholeForward(call, limits) : inSlices(call, limits, { inputs: [2], outputs: [1, 1, 1] }, wholeForward);

export const backward = (call: Call<PersistenceAttrs>, limits: Limits): Plan =>
  call.inputs[1].shape.length < 3 ? wholeBackward(call, limits) : inSlices(call, limits, { inputs: [1, 2, 1, 1, 1], outputs: [2] }, wholeBackward);

const FORM = { absolute: 0, squared: 1, hinge: 2 } as const;

export const loss = ({ attrs: { form, reduction }, inputs: [deaths] }: Call<LossAttrs>): Plan => ({
  passes: [
    {
      shader: shaders.loss,
      entry: "forward",
      params: { count: deaths.shape.reduce((a, b) => a * b, 1), form: FORM[form], mean: reduction === "mean" ? 1 : 0 },
      bind: { deaths: input(0), partners: input(1), loss: output(0), terms: output(1) },
      workgroups: [1, 1, 1],
    },
  ],
});

export const lossBackward = ({ attrs: { form, reduction }, inputs: [, deaths] }: Call<LossAttrs>, limits: Limits): Plan => {
  const count = deaths.shape.reduce((a, b) => a * b, 1);
  if (count === 0) return { passes: [] };
  return {
    passes: [
      {
        shader: shaders.loss,
        entry: "backward",
        params: { count, form: FORM[form], mean: reduction === "mean" ? 1 : 0 },
        bind: { deaths: input(1), partners: input(2), g: input(0), known_terms: input(3), ddeaths: output(0) },
        workgroups: grid(Math.ceil(count / THREADS), limits),
      },
    ],
  };
};
