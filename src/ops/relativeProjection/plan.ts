import {
  backward as backwardShader,
  measure as measureShader,
  project as projectShader,
  range as rangeShader,
  statistics as statisticsShader,
  top as topShader,
} from "../../generated/relativeProjection.ts";
import { type Call, grid, input, type Limits, output, type Pass, type Plan, type Shader, scratch } from "../../op.ts";
import { type Part, partOf, partsOf } from "../../slices.ts";
import {
  type BackwardAttrs,
  hasNorms,
  type Kind,
  type ListAttrs,
  type ProjectionAttrs,
  readsResult,
  type StatisticsAttrs,
  type StatisticsBackwardAttrs,
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

/** Rows of so many float32 numbers in each operand, in parts that fit. */
const rowsIn = (all: number, sizes: readonly number[], limits: Limits): readonly Part[] =>
  partsOf(
    all,
    sizes.map((size) => 4 * size),
    limits,
  );

/** A dispatch of one workgroup a tile of [rows, columns]; none where there are no tiles. */
const tiled = (rows: number, columns: number, limits: Limits, pass: Omit<Pass, "entry" | "workgroups">): readonly Pass[] => {
  if (rows * columns === 0) return [];
  const tiles = (side: number): number => Math.ceil(rows / side) * Math.ceil(columns / side);
  const small = tiles(TILE) < BUSY_GROUPS || 3 * tiles(TILE) * TILE ** 2 >= 4 * tiles(SMALL_TILE) * SMALL_TILE ** 2;
  const tile = small ? SMALL_TILE : TILE;
  return [{ ...pass, entry: "main", constants: { ...pass.constants, SIDE: tile / 4 }, workgroups: grid(tiles(tile), limits) }];
};

/** Blocks of rows of x and of anchors, one dispatch each: one in all where the operands fit their bindings. */
export const project = ({ attrs: { similarity, standardised }, inputs: [x, anchors] }: Call<ProjectionAttrs>, limits: Limits): Plan => {
  const [B, d] = x.shape;
  const [K] = anchors.shape;
  const columns = rowsIn(K, [d, 1], limits);
  const passes = rowsIn(B, [d, K, 1], limits).flatMap((row) =>
    columns.flatMap((column) =>
      // Without rows the norms of the anchors are still wanted.
      tiled(Math.max(1, row.count), column.count, limits, {
        shader: projectShader,
        constants: { KIND: code(similarity) },
        params: {
          rows: row.count,
          anchors: column.count,
          d,
          standardised: standardised ? 1 : 0,
          factor: factorOf(similarity, d),
          step: K,
          first: column.from,
        },
        bind: {
          x: partOf(input(0), row, d),
          anchors: partOf(input(1), column, d),
          statistics: standardised ? input(2) : partOf(input(0), row, d),
          y: partOf(output(0), row, K),
          norms_of_x: hasNorms(similarity) ? partOf(output(1), row, 1) : scratch(0),
          norms_of_anchors: hasNorms(similarity) ? partOf(output(2), column, 1) : scratch(1),
        },
      }),
    ),
  );
  return { scratch: [1, 1], passes };
};

/** Blocks as in the projection; those of the other side's rows are added up in order. */
export const backward = ({ attrs: { similarity, standardised, side }, inputs: [, x, anchors] }: Call<BackwardAttrs>, limits: Limits): Plan => {
  const [B, d] = x.shape;
  const [K] = anchors.shape;
  const ofX = side === "x";
  const given = standardised ? 4 : 3;
  const [rows, columns] = [rowsIn(B, [d, K, 1], limits), rowsIn(K, [d, 1], limits)];
  const passes = (ofX ? rows : columns).flatMap((own) =>
    (ofX ? columns : rows).flatMap((other, i) => {
      const [row, column] = ofX ? [own, other] : [other, own];
      const g = partOf(input(0), row, K);
      return tiled(own.count, d, limits, {
        shader: backwardShader,
        constants: { KIND: code(similarity) },
        params: {
          rows: own.count,
          others: other.count,
          own_step: ofX ? K : 1,
          other_step: ofX ? 1 : K,
          first: column.from,
          onto: i === 0 ? 0 : 1,
          d,
          standardised: standardised ? 1 : 0,
          factor: factorOf(similarity, d),
        },
        bind: {
          g,
          own: partOf(input(ofX ? 1 : 2), own, d),
          other: partOf(input(ofX ? 2 : 1), other, d),
          statistics: standardised ? input(3) : g,
          y: readsResult(similarity) ? partOf(input(given), row, K) : g,
          own_norms: hasNorms(similarity) ? partOf(input(given + (ofX ? 1 : 2)), own, 1) : g,
          other_norms: hasNorms(similarity) ? partOf(input(given + (ofX ? 2 : 1)), other, 1) : g,
          out: partOf(output(0), own, d),
        },
      });
    }),
  );
  return { passes };
};

export const statistics = ({ attrs: { scale }, inputs: [x] }: Call<StatisticsAttrs>, limits: Limits): Plan => {
  const [rows, d] = x.shape;
  return {
    passes: rowsIn(rows, [d], limits).map((part) => ({
      shader: measureShader,
      entry: "main",
      params: { rows: part.count, before: part.from, all: rows, d, scale: scale ? 1 : 0 },
      bind: { x: partOf(input(0), part, d), result: output(0) },
      workgroups: grid(Math.ceil(d / COLUMNS), limits),
    })),
  };
};

/** Part after part of both sides' rows, onto what those before have brought. */
export const columns = ({ inputs: [dx, , danchors] }: Call<Record<string, never>>, limits: Limits): Plan => {
  const [B, d] = dx.shape;
  const [K] = danchors.shape;
  const [own, others] = [rowsIn(B, [d], limits), rowsIn(K, [d], limits)];
  return {
    passes: Array.from({ length: Math.max(own.length, others.length) }, (_, i) => {
      const [row, anchor] = [own[i] ?? own[0], others[i] ?? others[0]];
      return {
        shader: statisticsShader,
        entry: "collect",
        params: { rows: own[i]?.count ?? 0, anchors: others[i]?.count ?? 0, all: 0, d, scale: 1, onto: i === 0 ? 0 : 1 },
        bind: {
          dx: partOf(input(0), row, d),
          x: partOf(input(1), row, d),
          danchors: partOf(input(2), anchor, d),
          anchors: partOf(input(3), anchor, d),
          statistics: input(4),
          result: output(0),
        },
        workgroups: grid(Math.ceil(d / COLUMNS), limits),
      };
    }),
  };
};

export const statisticsBackward = ({ attrs: { scale, onto }, inputs: [, x] }: Call<StatisticsBackwardAttrs>, limits: Limits): Plan => {
  const [rows, d] = x.shape;
  return {
    passes: rowsIn(rows, [d], limits).map((part) => ({
      shader: statisticsShader,
      entry: "spread",
      params: { rows: part.count, anchors: 0, all: rows, d, scale: scale ? 1 : 0, onto: onto ? 1 : 0 },
      bind: {
        g: input(0),
        x: partOf(input(1), part, d),
        statistics: input(2),
        dx: onto ? partOf(input(3), part, d) : input(0),
        result: partOf(output(0), part, d),
      },
      workgroups: grid(Math.ceil((part.count * d) / THREADS), limits),
    })),
  };
};

/** Blocks as in the projection: a row's list, which is its result, goes on from those of the anchors before. */
const lists = (
  { attrs: { similarity, standardised, most }, inputs: [x, anchors] }: Call<ListAttrs>,
  limits: Limits,
  shader: Shader,
  more: (row: Part) => Pick<Pass, "params" | "bind">,
): Plan => {
  const [B, d] = x.shape;
  if (B === 0) return { passes: [] };
  const columns = rowsIn(anchors.shape[0], [d], limits);
  return {
    passes: rowsIn(B, [d, most], limits).flatMap((row) =>
      columns.map((column) => ({
        shader,
        entry: "main",
        constants: { KIND: code(similarity), SIDE: SMALL_TILE / 4 },
        params: {
          rows: row.count,
          anchors: column.count,
          before: column.from,
          d,
          standardised: standardised ? 1 : 0,
          factor: factorOf(similarity, d),
          most,
          ...more(row).params,
        },
        bind: {
          x: partOf(input(0), row, d),
          anchors: partOf(input(1), column, d),
          statistics: standardised ? input(2) : partOf(input(0), row, d),
          values: partOf(output(0), row, most),
          places: partOf(output(1), row, most),
          ...more(row).bind,
        },
        workgroups: grid(Math.ceil(row.count / SMALL_TILE), limits),
      })),
    ),
  };
};

export const top = (call: Call<ListAttrs>, limits: Limits): Plan => lists(call, limits, topShader, () => ({ params: {}, bind: {} }));

export const range = (call: Call<ListAttrs>, limits: Limits): Plan =>
  lists(call, limits, rangeShader, (row) => ({ params: { all: call.inputs[1].shape[0] }, bind: { counts: partOf(output(2), row, 1) } }));
