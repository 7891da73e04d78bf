/** The attributes of the ops, how a matrix is walked, and where everything lies in the record of a run. */
import type { Shape } from "../../op.ts";

/** After this many scaling iterations the scalings are absorbed into the potentials and start again at 1. */
export const BLOCK = 8;

/** Stands for minus infinity where a number is wanted: potentials and log P of rows, columns and entries without mass. */
export const EXCLUDED = -1e30;

/** What ForwardAttrs and BackwardAttrs share. "Rows" are the side that is normalised first: for `order: "column"`, the columns of the logits. */
interface RunAttrs extends Record<string, number | boolean | string> {
  readonly iterations: number;
  readonly order: "row" | "column";
  /** The first so many iterations have temperatures of their own, hot · cooling^(t−1); below `iterations`. */
  readonly annealed: number;
  /** Whether a scalar `leak_rows` or `leak_columns` is not 0. */
  readonly unbalanced: boolean;
  /** Names of the inputs that are there, joined by spaces; see the op. */
  readonly operands: string;
}

export interface ForwardAttrs extends RunAttrs {
  /** What output 0 is; `none` makes it empty. */
  readonly plan: "P" | "logP" | "none";
  /** What output 1 holds: nothing, the head (iterations, error, potentials, masses), or the scalings of every iteration as well. */
  readonly record: "none" | "head" | "history";
  /** Whether the error of the result is measured, which takes half an iteration more. */
  readonly error: boolean;
  /** After every so many iterations a matrix whose error is at most the scalar `tolerance` stops; 0: never. */
  readonly checkEvery: number;
  /** Masses where none are given: 1/n and 1/m of the matrix, rather than 1 and n/m. */
  readonly uniform: boolean;
  /** How gradients are taken: of the iterations as they were run, or of the fixed point. */
  readonly backward: "exact" | "implicit";
}

export interface BackwardAttrs extends RunAttrs {
  /** What the record holds, as in ForwardAttrs. */
  readonly record: "head" | "history";
  /** What the operand `matrix` is. From the logits, P is computed anew. */
  readonly matrix: "P" | "logP" | "logits";
  /** Whether nothing but logits took part: every mass is 1, and every matrix ran all iterations. */
  readonly plain: boolean;
  /** Whether output 1, the gradients of masses and start, is wanted; empty otherwise. */
  readonly vectors: boolean;
}

/** What the gradient of a plain run needs that is run again: see `isTiny`. */
export interface TinyAttrs extends Record<string, number | boolean | string> {
  readonly iterations: number;
  readonly order: "row" | "column";
  readonly uniform: boolean;
}

/** A plain run up to this side and so many iterations is cheaper to run again for its gradient than to record: a record would be ten times the matrix. */
export const TINY = { side: 8, iterations: 24 } as const;

/** Names of the scalars, in the order of native code. A leak is 1/ρ of the KL penalty: 0 for masses that are met exactly. */
export const SCALARS = ["temperature", "hot", "cooling", "leak_rows", "leak_columns"] as const;

export interface Orientation {
  readonly count: number;
  /** Entries of the side that is normalised first, and of the other. */
  readonly n: number;
  readonly m: number;
  /** Distance of neighbours along each, in elements. */
  readonly rowStep: number;
  readonly columnStep: number;
}

/** Of logits `[..., rows, columns]`. */
export const orient = (shape: Shape, order: "row" | "column"): Orientation => {
  const [rows, columns] = shape.slice(-2);
  const count = shape.slice(0, -2).reduce((product, size) => product * size, 1);
  return order === "row"
    ? { count, n: rows, m: columns, rowStep: columns, columnStep: 1 }
    : { count, n: columns, m: rows, rowStep: 1, columnStep: columns };
};

/** Whether the scalings are absorbed after iteration t, counted from 1; so they are after the first and after every annealed one. */
export const endsBlock = (t: number, annealed: number): boolean => t <= Math.max(1, annealed) || (t - Math.max(1, annealed)) % BLOCK === 0;

/** The temperature of iteration t. */
export const temperatureAt = (t: number, annealed: number, scalars: Readonly<Record<string, number>>): number =>
  t <= annealed ? scalars.hot * scalars.cooling ** (t - 1) : scalars.temperature;

/** Offsets into the record of one matrix, in elements. */
export interface RecordLayout {
  readonly iterations: number;
  readonly error: number;
  /** Final potentials, of n and m numbers. */
  readonly f: number;
  readonly g: number;
  /** 1 / mass of rows and columns, 0 where there is none. */
  readonly rows: number;
  readonly columns: number;
  /** v₀ = exp(g₀ − g₁). */
  readonly start: number;
  /** Iteration t has u_t (n), v_t (m) at `history + (t − 1) · stride`, then 1 / masses after either half-step where the run is unbalanced. */
  readonly history: number;
  readonly stride: number;
  readonly size: number;
}

export const recordLayout = (
  n: number,
  m: number,
  { iterations, unbalanced, record }: Pick<ForwardAttrs, "iterations" | "unbalanced" | "record">,
): RecordLayout => {
  const rows = 2 + n + m;
  const start = rows + n + m;
  const history = start + m;
  const stride = (n + m) * (unbalanced ? 2 : 1);
  const size = record === "none" ? 0 : record === "head" ? start : history + iterations * stride;
  return { iterations: 0, error: 1, f: 2, g: 2 + n, rows, columns: rows + n, start, history, stride, size };
};

/** Whether a run gives P alone, has masses that are the same for all rows and for all columns, and is of a size to be run again for its gradient. */
export const isTiny = (shape: Shape, attrs: ForwardAttrs): boolean =>
  Math.max(...shape.slice(-2)) <= TINY.side &&
  attrs.iterations <= TINY.iterations &&
  attrs.plan === "P" &&
  attrs.record === "none" &&
  attrs.operands === "" &&
  !(attrs.error || attrs.unbalanced) &&
  attrs.checkEvery + attrs.annealed === 0;

/** Of a plain run: one number for all rows, one for all columns. */
export const plainMasses = (n: number, m: number, uniform: boolean): { readonly row: number; readonly column: number } =>
  uniform ? { row: 1 / n, column: 1 / m } : { row: 1, column: n / m };
