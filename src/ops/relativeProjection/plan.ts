import {
  backward as backwardShader,
  measure as measureShader,
  project as projectShader,
  statistics as statisticsShader,
  top as topShader,
} from "../../generated/relativeProjection.ts";
import { type BufferRef, type Call, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
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

/** Rows [from, from + count) of an operand that has `all` of them. */
interface Part {
  readonly from: number;
  readonly count: number;
  readonly all: number;
}
/** Rows at whose multiples a binding may begin, however long they are. */
const PART_ROWS = 64;

/** As few parts as fit one binding each, of rows of `longest` elements at the most; all in one, which the device refuses, where 64 do not fit. */
const partsOf = (all: number, longest: number, limits: Limits): readonly Part[] => {
  const most = Math.floor(limits.bindingBytes / 4 / Math.max(1, longest));
  const aligned = Math.floor(most / PART_ROWS) * PART_ROWS;
  if (all <= most || aligned === 0) return [{ from: 0, count: all, all }];
  const count = Math.ceil(all / Math.ceil(all / aligned) / PART_ROWS) * PART_ROWS;
  return Array.from({ length: Math.ceil(all / count) }, (_, i) => ({ from: i * count, count: Math.min(count, all - i * count), all }));
};
/** Those rows of a buffer, of `size` elements each. */
const rowsOf = (ref: BufferRef, { from, count, all }: Part, size: number): BufferRef =>
  count === all ? ref : { ...ref, window: { from: from * size, length: count * size } };

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
  const columns = partsOf(K, d, limits);
  const passes = partsOf(B, Math.max(d, K), limits).flatMap((row) =>
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
          x: rowsOf(input(0), row, d),
          anchors: rowsOf(input(1), column, d),
          statistics: standardised ? input(2) : rowsOf(input(0), row, d),
          y: rowsOf(output(0), row, K),
          norms_of_x: hasNorms(similarity) ? rowsOf(output(1), row, 1) : scratch(0),
          norms_of_anchors: hasNorms(similarity) ? rowsOf(output(2), column, 1) : scratch(1),
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
  const [rows, columns] = [partsOf(B, Math.max(d, K), limits), partsOf(K, d, limits)];
  const passes = (ofX ? rows : columns).flatMap((own) =>
    (ofX ? columns : rows).flatMap((other, i) => {
      const [row, column] = ofX ? [own, other] : [other, own];
      const g = rowsOf(input(0), row, K);
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
          own: rowsOf(input(ofX ? 1 : 2), own, d),
          other: rowsOf(input(ofX ? 2 : 1), other, d),
          statistics: standardised ? input(3) : g,
          y: readsResult(similarity) ? rowsOf(input(given), row, K) : g,
          own_norms: hasNorms(similarity) ? rowsOf(input(given + (ofX ? 1 : 2)), own, 1) : g,
          other_norms: hasNorms(similarity) ? rowsOf(input(given + (ofX ? 2 : 1)), other, 1) : g,
          out: rowsOf(output(0), own, d),
        },
      });
    }),
  );
  return { passes };
};

export const statistics = ({ attrs: { scale }, inputs: [x] }: Call<StatisticsAttrs>, limits: Limits): Plan => {
  const [rows, d] = x.shape;
  return {
    passes: partsOf(rows, d, limits).map((part) => ({
      shader: measureShader,
      entry: "main",
      params: { rows: part.count, before: part.from, all: rows, d, scale: scale ? 1 : 0 },
      bind: { x: rowsOf(input(0), part, d), result: output(0) },
      workgroups: grid(Math.ceil(d / COLUMNS), limits),
    })),
  };
};

/** Part after part of both sides' rows, onto what those before have brought. */
export const columns = ({ inputs: [dx, , danchors] }: Call<Record<string, never>>, limits: Limits): Plan => {
  const [B, d] = dx.shape;
  const [K] = danchors.shape;
  const [own, others] = [partsOf(B, d, limits), partsOf(K, d, limits)];
  return {
    passes: Array.from({ length: Math.max(own.length, others.length) }, (_, i) => {
      const [row, anchor] = [own[i] ?? own[0], others[i] ?? others[0]];
      return {
        shader: statisticsShader,
        entry: "collect",
        params: { rows: own[i]?.count ?? 0, anchors: others[i]?.count ?? 0, all: 0, d, scale: 1, onto: i === 0 ? 0 : 1 },
        bind: {
          dx: rowsOf(input(0), row, d),
          x: rowsOf(input(1), row, d),
          danchors: rowsOf(input(2), anchor, d),
          anchors: rowsOf(input(3), anchor, d),
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
    passes: partsOf(rows, d, limits).map((part) => ({
      shader: statisticsShader,
      entry: "spread",
      params: { rows: part.count, anchors: 0, all: rows, d, scale: scale ? 1 : 0, onto: onto ? 1 : 0 },
      bind: {
        g: input(0),
        x: rowsOf(input(1), part, d),
        statistics: input(2),
        dx: onto ? rowsOf(input(3), part, d) : input(0),
        result: rowsOf(output(0), part, d),
      },
      workgroups: grid(Math.ceil((part.count * d) / THREADS), limits),
    })),
  };
};

/** Blocks as in the projection: a row's list, which is its result, goes on from those of the anchors before. */
export const top = ({ attrs: { similarity, standardised, most }, inputs: [x, anchors] }: Call<TopAttrs>, limits: Limits): Plan => {
  const [B, d] = x.shape;
  if (B === 0) return { passes: [] };
  const columns = partsOf(anchors.shape[0], d, limits);
  return {
    passes: partsOf(B, Math.max(d, most), limits).flatMap((row) =>
      columns.map((column) => ({
        shader: topShader,
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
        },
        bind: {
          x: rowsOf(input(0), row, d),
          anchors: rowsOf(input(1), column, d),
          statistics: standardised ? input(2) : rowsOf(input(0), row, d),
          values: rowsOf(output(0), row, most),
          places: rowsOf(output(1), row, most),
        },
        workgroups: grid(Math.ceil(row.count / SMALL_TILE), limits),
      })),
    ),
  };
};
