import {
  backward as backwardShader,
  measure as measureShader,
  project as projectShader,
  statistics as statisticsShader,
  top as topShader,
} from "../../generated/relativeProjection.ts";
import { type Call, elements, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import { inSlices } from "../../slices.ts";
import {
  type BackwardAttrs,
  hasNorms,
  type Kind,
  type ProjectionAttrs,
  readsResult,
  type StatisticsAttrs,
  type StatisticsBackwardAttrs,
  type TopAttrs,
} from "./reference.ts";

const THREADS = 256;
/** Side of a workgroup's tile of the result. */
export const TILE = 64;
/** Of results that larger tiles would cover with a third more to spare, or with fewer of them than keep a GPU busy. */
export const SMALL_TILE = 32;
export const BUSY_GROUPS = 128;
/** Columns whose statistics one workgroup takes. */
export const COLUMNS = 16;

const code = (similarity: Kind): number => projectShader.consts[similarity === "scaledInner" ? "SCALED_INNER" : similarity.toUpperCase()];
const factorOf = (similarity: Kind, d: number): number => (similarity === "scaledInner" ? 1 / Math.sqrt(Math.max(1, d)) : 1);

/** A dispatch of one workgroup a tile of [rows, columns]. */
const tiled = (rows: number, columns: number, limits: Limits, pass: Omit<Pass, "entry" | "workgroups">): Plan => {
  if (rows * columns === 0) return { passes: [] };
  const tiles = (side: number): number => Math.ceil(rows / side) * Math.ceil(columns / side);
  const small = tiles(TILE) < BUSY_GROUPS || 3 * tiles(TILE) * TILE ** 2 >= 4 * tiles(SMALL_TILE) * SMALL_TILE ** 2;
  const tile = small ? SMALL_TILE : TILE;
  return {
    scratch: [1, 1],
    passes: [{ ...pass, entry: "main", constants: { ...pass.constants, SIDE: tile / 4 }, workgroups: grid(tiles(tile), limits) }],
  };
};

const projectWhole = ({ attrs: { similarity, standardised }, inputs: [x, { shape }] }: Call<ProjectionAttrs>, limits: Limits): Plan => {
  const [rows, d] = x.shape;
  const [anchors] = shape;
  // Without rows the norms of the anchors are still wanted.
  return tiled(Math.max(1, rows), anchors, limits, {
    shader: projectShader,
    constants: { KIND: code(similarity) },
    params: { rows, anchors, d, standardised: standardised ? 1 : 0, factor: factorOf(similarity, d) },
    bind: {
      x: input(0),
      anchors: input(1),
      statistics: input(standardised ? 2 : 0),
      y: output(0),
      norms_of_x: hasNorms(similarity) ? output(1) : scratch(0),
      norms_of_anchors: hasNorms(similarity) ? output(2) : scratch(1),
    },
  });
};

const backwardWhole = ({ attrs: { similarity, standardised, side }, inputs: [, x, anchors] }: Call<BackwardAttrs>, limits: Limits): Plan => {
  const [B, d] = x.shape;
  const [K] = anchors.shape;
  const ofX = side === "x";
  const first = standardised ? 4 : 3;
  const params = ofX ? { rows: B, others: K, own_step: K, other_step: 1 } : { rows: K, others: B, own_step: 1, other_step: K };
  return tiled(params.rows, d, limits, {
    shader: backwardShader,
    constants: { KIND: code(similarity) },
    params: { ...params, d, standardised: standardised ? 1 : 0, factor: factorOf(similarity, d) },
    bind: {
      g: input(0),
      own: input(ofX ? 1 : 2),
      other: input(ofX ? 2 : 1),
      statistics: input(standardised ? 3 : 0),
      y: input(readsResult(similarity) ? first : 0),
      own_norms: input(hasNorms(similarity) ? first + (ofX ? 1 : 2) : 0),
      other_norms: input(hasNorms(similarity) ? first + (ofX ? 2 : 1) : 0),
      out: output(0),
    },
  });
};

/** In slices of the rows of x; the ranks say that anchors and statistics are those of all. */
export const project = (call: Call<ProjectionAttrs>, limits: Limits): Plan =>
  inSlices(call, limits, { inputs: [1, 2, 2], outputs: [1, 0, 1] }, projectWhole);

/** The gradient of the anchors sums over the rows of x, and takes them whole. */
export const backward = (call: Call<BackwardAttrs>, limits: Limits): Plan =>
  call.attrs.side === "anchors"
    ? backwardWhole(call, limits)
    : inSlices(call, limits, { inputs: [1, 1, 2, ...(call.attrs.standardised ? [2] : []), 1, 0, 1], outputs: [1] }, backwardWhole);

export const statistics = ({ attrs: { scale }, inputs: [x] }: Call<StatisticsAttrs>, limits: Limits): Plan => {
  const [rows, d] = x.shape;
  const params = { rows, d, scale: scale ? 1 : 0 };
  const bind = { x: input(0), result: output(0) };
  return { passes: [{ shader: measureShader, entry: "main", params, bind, workgroups: grid(Math.ceil(d / COLUMNS), limits) }] };
};

export const columns = ({ inputs: [dx, , danchors] }: Call<Record<string, never>>, limits: Limits): Plan => {
  const [rows, d] = dx.shape;
  const params = { rows, anchors: danchors.shape[0], d, scale: 1, onto: 0 };
  const bind = { dx: input(0), x: input(1), danchors: input(2), anchors: input(3), statistics: input(4), result: output(0) };
  return { passes: [{ shader: statisticsShader, entry: "collect", params, bind, workgroups: grid(Math.ceil(d / COLUMNS), limits) }] };
};

export const statisticsBackward = ({ attrs: { scale, onto }, inputs: [, x] }: Call<StatisticsBackwardAttrs>, limits: Limits): Plan => {
  const [rows, d] = x.shape;
  return {
    passes: [
      {
        shader: statisticsShader,
        entry: "spread",
        params: { rows, anchors: 0, d, scale: scale ? 1 : 0, onto: onto ? 1 : 0 },
        bind: { g: input(0), x: input(1), statistics: input(2), dx: input(onto ? 3 : 0), result: output(0) },
        workgroups: grid(Math.ceil(elements(x.shape) / THREADS), limits),
      },
    ],
  };
};

const topWhole = ({ attrs: { similarity, standardised, most }, inputs: [x, anchors] }: Call<TopAttrs>, limits: Limits): Plan => {
  const [rows, d] = x.shape;
  if (rows === 0) return { passes: [] };
  return {
    passes: [
      {
        shader: topShader,
        entry: "main",
        constants: { KIND: code(similarity), SIDE: SMALL_TILE / 4 },
        params: { rows, anchors: anchors.shape[0], d, standardised: standardised ? 1 : 0, factor: factorOf(similarity, d), most },
        bind: { x: input(0), anchors: input(1), statistics: input(standardised ? 2 : 0), values: output(0), places: output(1) },
        workgroups: grid(Math.ceil(rows / SMALL_TILE), limits),
      },
    ],
  };
};

export const top = (call: Call<TopAttrs>, limits: Limits): Plan => inSlices(call, limits, { inputs: [1, 2, 2], outputs: [1, 1] }, topWhole);
