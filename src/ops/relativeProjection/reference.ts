/** Similarities of rows to anchors, and statistics of columns, in float64. */
import type { Attrs, Numbers, ReferenceRun } from "../../op.ts";

/** Functions of u · v. */
export const PRODUCTS = ["cosine", "angular", "inner", "scaledInner"] as const;
/** Functions of u − v. */
export const DISTANCES = ["l1", "l2", "linf", "lp"] as const;
export type Kind = (typeof PRODUCTS)[number] | (typeof DISTANCES)[number];

export interface ProjectionAttrs extends Readonly<Record<string, boolean | string>> {
  readonly similarity: Kind;
  /** Whether input 2 holds statistics, [2, d]: means, then deviations. */
  readonly standardised: boolean;
  /** Whose function the statistics are, so that their gradient goes there; "given": they are operands of their own. */
  readonly through: "given" | "anchors" | "x";
  /** Whether their deviations are functions too, or all 1. */
  readonly scale: boolean;
}
export interface ListAttrs extends Readonly<Record<string, boolean | string | number>> {
  readonly similarity: Kind;
  readonly standardised: boolean;
  /** Room for so many of a row. */
  readonly most: number;
}

export interface BackwardAttrs extends Readonly<Record<string, boolean | string>> {
  readonly similarity: Kind;
  readonly standardised: boolean;
  /** Whose gradient. */
  readonly side: "x" | "anchors";
}
export interface StatisticsAttrs extends Readonly<Record<string, boolean>> {
  /** Whether deviations are taken; else they are 1. */
  readonly scale: boolean;
}
export interface StatisticsBackwardAttrs extends StatisticsAttrs {
  /** Whether the last input is a gradient that this one is added to. */
  readonly onto: boolean;
}

/** Whether rows are divided by their norms. */
export const hasNorms = (similarity: Kind): boolean => similarity === "cosine" || similarity === "angular";
/** Whether the backward pass reads the result. */
export const readsResult = (similarity: Kind): boolean => similarity !== "inner" && similarity !== "scaledInner";
export const isDistance = (similarity: Kind): boolean => (DISTANCES as readonly string[]).includes(similarity);

/** Rows of (x − mean) / deviation: 0 where the deviation is 0, for NaN and infinities too. */
const standardise = (x: Numbers, d: number, statistics: Numbers | undefined): Float64Array =>
  Float64Array.from(x, (value, i) => {
    if (!statistics) return value;
    const deviation = statistics[d + (i % d)];
    return deviation === 0 ? 0 : (value - statistics[i % d]) / deviation;
  });

const dot = (a: Float64Array, i: number, b: Float64Array, j: number, d: number): number => {
  let total = 0;
  for (let l = 0; l < d; l++) total += a[i * d + l] * b[j * d + l];
  return total;
};

const distance = (similarity: Kind, p: number, u: Float64Array, i: number, v: Float64Array, j: number, d: number): number => {
  let [total, most] = [0, 0];
  for (let l = 0; l < d; l++) {
    const size = Math.abs(u[i * d + l] - v[j * d + l]);
    total += similarity === "l1" ? size : similarity === "l2" ? size * size : size ** p;
    most = Math.max(most, size);
  }
  return similarity === "linf" ? most : similarity === "l1" ? total : similarity === "l2" ? Math.sqrt(total) : total ** (1 / p);
};

/** 1 / ‖row‖, 0 for a row of zeros. */
const inverseNorms = (u: Float64Array, rows: number, d: number): Float64Array =>
  Float64Array.from({ length: rows }, (_, i) => {
    const square = dot(u, i, u, i, d);
    return square === 0 ? 0 : 1 / Math.sqrt(square);
  });

/** Similarities of all rows, and 1 / norm of the rows of x and of the anchors. */
const similarities = (
  { call, scalars: { p }, inputs: [x, anchors, statistics], fault }: ReferenceRun<Attrs>,
  similarity: Kind,
): { readonly y: Float64Array; readonly norms: readonly [Float64Array, Float64Array] } => {
  const [B, d] = call.inputs[0].shape;
  const [K] = call.inputs[1].shape;
  const [u, v] = [standardise(x, d, statistics), standardise(anchors, d, statistics)];
  for (const [rows, of] of [[B, u] as const, [K, v] as const]) {
    for (let i = 0; i < rows; i++) {
      const square = dot(of, i, of, i, d);
      if (!Number.isFinite(square)) fault(square);
    }
  }
  const norms = [inverseNorms(u, B, d), inverseNorms(v, K, d)] as const;
  const of = (b: number, k: number): number => {
    if (isDistance(similarity)) return -distance(similarity, p, u, b, v, k, d);
    const product = dot(u, b, v, k, d);
    if (similarity === "inner") return product;
    if (similarity === "scaledInner") return d === 0 ? 0 : product / Math.sqrt(d);
    const cosine = Math.max(-1, Math.min(1, product * norms[0][b] * norms[1][k]));
    return similarity === "cosine" ? cosine : 1 - Math.acos(cosine) / Math.PI;
  };
  return { y: Float64Array.from({ length: B * K }, (_, i) => of(Math.floor(i / K), i % K)), norms };
};

/** y and, where rows are divided by them, 1 / norm of the rows of x, and of the anchors. */
export const project = (run: ReferenceRun<ProjectionAttrs>): void => {
  const {
    outputs: [y, ...norms],
  } = run;
  const result = similarities(run as never, run.call.attrs.similarity);
  y.set(result.y);
  for (const [i, output] of norms.entries()) output.set(result.norms[i]);
};

/** The largest similarities of every row, in falling order, and their anchors; of equal ones the first. */
export const top = (run: ReferenceRun<ListAttrs>): void => {
  const {
    call: { attrs, inputs },
    outputs: [values, places],
  } = run;
  const { y } = similarities(run as never, attrs.similarity);
  const [B] = inputs[0].shape;
  const [K] = inputs[1].shape;
  for (let b = 0; b < B; b++) {
    const row = y.subarray(b * K, (b + 1) * K);
    const order = [...row.keys()].sort((i, j) => row[j] - row[i] || i - j).slice(0, attrs.most);
    for (const [at, k] of order.entries()) {
      values[b * attrs.most + at] = row[k];
      places[b * attrs.most + at] = k;
    }
  }
};

/** The first `most` similarities of every row that are `least` at least, in the order of the anchors, then 0 at −1; their anchors; how many there are. */
export const range = (run: ReferenceRun<ListAttrs>): void => {
  const {
    call: { attrs, inputs },
    scalars: { least },
    outputs: [values, places, counts],
  } = run;
  const { y } = similarities(run as never, attrs.similarity);
  const [B] = inputs[0].shape;
  const [K] = inputs[1].shape;
  values.fill(0);
  places.fill(-1);
  for (let b = 0; b < B; b++) {
    const row = y.subarray(b * K, (b + 1) * K);
    const found = [...row.keys()].filter((k) => row[k] >= least);
    counts[b] = found.length;
    for (const [at, k] of found.slice(0, attrs.most).entries()) {
      values[b * attrs.most + at] = row[k];
      places[b * attrs.most + at] = k;
    }
  }
};

/** d y / d(u · v / (‖u‖ ‖v‖)) or, of distances, what every feature's part of the gradient is multiplied by. */
const slope = (similarity: Kind, y: number, p: number, d: number): number => {
  switch (similarity) {
    case "angular": {
      const sine = Math.sin(Math.PI * y);
      return y <= 0 || y >= 1 ? 0 : 1 / (Math.PI * sine);
    }
    case "scaledInner":
      return 1 / Math.sqrt(d);
    case "l2":
      return y === 0 ? 0 : 1 / y;
    case "lp":
      return y === 0 ? 0 : -((-y) ** (1 - p));
    case "l1":
    case "linf":
      return -1;
    default:
      return 1;
  }
};

/** Of features nearer than this to the largest difference, all have a derivative: they were the largest, but for rounding. */
export const LINF_REACH = 1 - 1e-6;

/** How a distance's power sum moves with one difference. */
const part = (similarity: Kind, difference: number, p: number, reach: number): number => {
  switch (similarity) {
    case "l2":
      return difference;
    case "l1":
      return Math.sign(difference);
    case "linf":
      return Math.abs(difference) >= reach ? Math.sign(difference) : 0;
    default:
      return difference === 0 ? 0 : Math.sign(difference) * Math.abs(difference) ** (p - 1);
  }
};

/** g, x, anchors, statistics?, y?, inverse norms of both? -> the gradient of x, or of the anchors. */
export const backward = ({ call, scalars: { p }, inputs: [g, x, anchors, ...rest], outputs: [out] }: ReferenceRun<BackwardAttrs>): void => {
  const { similarity, standardised, side } = call.attrs;
  const [B, d] = call.inputs[1].shape;
  const [K] = call.inputs[2].shape;
  const statistics = standardised ? rest[0] : undefined;
  const [y, ...norms] = rest.slice(standardised ? 1 : 0);
  const [u, v] = [standardise(x, d, statistics), standardise(anchors, d, statistics)];
  const ofX = side === "x";
  const [own, other, rows, others] = ofX ? [u, v, B, K] : [v, u, K, B];
  const [ownNorms, otherNorms] = ofX ? norms : [...norms].reverse();
  const sum = new Float64Array(d);
  for (let i = 0; i < rows; i++) {
    sum.fill(0);
    let along = 0;
    for (let j = 0; j < others; j++) {
      const at = ofX ? i * K + j : j * K + i;
      const weight = g[at] * slope(similarity, y?.[at] ?? 0, p, d);
      if (isDistance(similarity)) {
        const reach = -y[at] * LINF_REACH;
        for (let l = 0; l < d; l++) sum[l] += weight * part(similarity, own[i * d + l] - other[j * d + l], p, reach);
        continue;
      }
      const size = hasNorms(similarity) ? otherNorms[j] : 1;
      for (let l = 0; l < d; l++) sum[l] += weight * other[j * d + l] * size;
      if (hasNorms(similarity)) along += weight * (similarity === "angular" ? -Math.cos(Math.PI * y[at]) : y[at]);
    }
    const size = hasNorms(similarity) ? ownNorms[i] : 1;
    for (let l = 0; l < d; l++) {
      const inverse = statistics ? (statistics[d + l] === 0 ? 0 : 1 / statistics[d + l]) : 1;
      out[i * d + l] = inverse * size * (sum[l] - along * size * own[i * d + l]);
    }
  }
};

/** [2, d]: means, then deviations √(Σ (x − mean)² / n), or ones. */
export const statistics = ({ call, inputs: [x], outputs: [result], fault }: ReferenceRun<StatisticsAttrs>): void => {
  const [n, d] = call.inputs[0].shape;
  for (let l = 0; l < d; l++) {
    let [mean, square] = [0, 0];
    for (let i = 0; i < n; i++) mean += (x[i * d + l] - x[l]) / n;
    for (let i = 0; i < n; i++) square += (x[i * d + l] - x[l] - mean) ** 2 / n;
    result[l] = n === 0 ? 0 : x[l] + mean;
    result[d + l] = call.attrs.scale ? Math.sqrt(square) : 1;
    if (!Number.isFinite(square)) fault(square);
  }
};

/** dx, x, danchors, anchors, statistics -> the gradient of the statistics: −Σ dx, −Σ dx · (x − mean) / deviation, over the rows of both. */
export const columns = ({ call, inputs: [dx, x, danchors, anchors, statistics], outputs: [out] }: ReferenceRun<Record<string, never>>): void => {
  const [, d] = call.inputs[0].shape;
  out.fill(0);
  for (const [gradient, of] of [
    [dx, x],
    [danchors, anchors],
  ]) {
    const standardised = standardise(of, d, statistics);
    for (let i = 0; i < gradient.length; i++) {
      out[i % d] -= gradient[i];
      out[d + (i % d)] -= gradient[i] * standardised[i];
    }
  }
};

/** The gradient of the statistics, x, the statistics, and what it is added to -> the gradient of x. */
export const statisticsBackward = ({ call, inputs: [g, x, statistics, onto], outputs: [dx] }: ReferenceRun<StatisticsBackwardAttrs>): void => {
  const [n, d] = call.inputs[1].shape;
  const standardised = standardise(x, d, statistics);
  for (let i = 0; i < n * d; i++) dx[i] = (onto?.[i] ?? 0) + (g[i % d] + (call.attrs.scale ? g[d + (i % d)] * standardised[i] : 0)) / n;
};
