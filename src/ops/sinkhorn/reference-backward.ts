/** The backward passes in float64, from the output and the record, as README.md derives them. */
import type { Attrs, Call, Numbers, ReferenceRun } from "../../op.ts";
import {
  type BackwardAttrs,
  EXCLUDED,
  endsBlock,
  type ForwardAttrs,
  orient,
  type RecordLayout,
  recordLayout,
  type TinyAttrs,
  temperatureAt,
} from "./geometry.ts";
import { forward } from "./reference.ts";

/** A matrix of the batch as both backward passes see it: P, and what arrives at P and at the potentials. */
interface Arrived {
  readonly n: number;
  readonly m: number;
  readonly p: Float64Array;
  /** What P is multiplied with in the end, and what is added then: cotangents of P and of log P. */
  readonly rest: Float64Array;
  readonly added: Float64Array;
  readonly barF: Float64Array;
  readonly barG: Float64Array;
  readonly layout: RecordLayout;
  readonly record: Numbers;
  place(i: number, j: number): number;
  /** exp(logits / temperature + f + g) where the mask allows. */
  kernel(temperature: number, f: ArrayLike<number>, g: ArrayLike<number>): Float64Array;
}

const arrive = ({ call, scalars, inputs }: ReferenceRun<BackwardAttrs>, b: number): Arrived => {
  const { order, matrix } = call.attrs;
  const { n, m, rowStep, columnStep } = orient(call.inputs[0].shape, order);
  const layout = recordLayout(n, m, call.attrs);
  const names = ["matrix", "record", ...call.attrs.operands.split(" ")];
  const operand = (name: string, size: number): Numbers | undefined => {
    const values = inputs[names.indexOf(name)];
    return values && (values.length > size ? values.subarray(b * size, (b + 1) * size) : values);
  };
  const place = (i: number, j: number): number => i * rowStep + j * columnStep;
  const record = operand("record", layout.size) as Numbers;
  const mask = operand("mask", n * m);
  const logits = operand(matrix === "logits" ? "matrix" : "logits", n * m);
  const entries = (value: (i: number, j: number) => number): Float64Array =>
    Float64Array.from({ length: n * m }, (_, e) => value(Math.floor(e / m), e % m));
  const kernel: Arrived["kernel"] = (temperature, f, g) =>
    entries((i, j) =>
      mask?.[place(i, j)] === 0 || f[i] <= EXCLUDED || g[j] <= EXCLUDED ? 0 : Math.exp((logits?.[place(i, j)] ?? 0) / temperature + f[i] + g[j]),
    );
  const values = operand("matrix", n * m) as Numbers;
  const p =
    matrix === "logits"
      ? kernel(scalars.temperature, record.subarray(layout.f, layout.f + n), record.subarray(layout.g, layout.g + m))
      : entries((i, j) => (matrix === "P" ? values[place(i, j)] : Math.exp(values[place(i, j)])));
  const arriving = operand("gradient", n * m);
  const logarithmic = matrix === "logP";
  // A cotangent counts where there is something to change. P may be too small for a float where its logarithm is none.
  const counts = (i: number, j: number): boolean => (logarithmic ? values[place(i, j)] > EXCLUDED : p[i * m + j] > 0);
  const gradient = entries((i, j) => (arriving && counts(i, j) ? arriving[place(i, j)] : 0));
  const potentials = operand("recordGradient", layout.size);
  const barF = Float64Array.from({ length: n }, (_, i) => potentials?.[layout.f + i] ?? 0);
  const barG = Float64Array.from({ length: m }, (_, j) => potentials?.[layout.g + j] ?? 0);
  for (const [e, value] of gradient.entries()) {
    const w = logarithmic ? value : value * p[e];
    barF[Math.floor(e / m)] += w;
    barG[e % m] += w;
  }
  const none = new Float64Array(n * m);
  return { n, m, p, rest: logarithmic ? none : gradient.slice(), added: logarithmic ? gradient : none, barF, barG, layout, record, place, kernel };
};

/** What both passes write. */
const deliver = (run: ReferenceRun<BackwardAttrs>, b: number, { n, m, place }: Arrived, x: Float64Array, vectors: readonly Float64Array[]): void => {
  const [dx, dvectors] = run.outputs;
  for (let e = 0; e < n * m; e++) dx[b * n * m + place(Math.floor(e / m), e % m)] = x[e];
  const all = vectors.flatMap((vector) => [...vector]);
  if (dvectors.length > 0) for (const [i, value] of all.entries()) dvectors[b * all.length + i] = value;
};

/** û_t = exp(f_t − f_T) for t = first…T: the recorded scalings divided by all that was absorbed after them. */
const anchored = (size: number, first: number, last: number, annealed: number, scaling: (t: number, i: number) => number): Float64Array[] => {
  const result = Array.from({ length: last + 1 }, () => new Float64Array(size));
  for (let i = 0; i < size; i++) {
    let absorbed = 1;
    for (let t = last; t >= first; t--) {
      const value = scaling(t, i);
      if (t > Math.max(1, annealed) && (t === last || endsBlock(t, annealed))) absorbed *= value;
      result[t][i] = absorbed > 0 ? value / absorbed : 0;
    }
  }
  return result;
};

/** Of the iterations as they were run. */
export const backward = (run: ReferenceRun<BackwardAttrs>): void => {
  const { call, scalars } = run;
  const { annealed, unbalanced, order } = call.attrs;
  for (let b = 0; b < orient(call.inputs[0].shape, order).count; b++) {
    const arrived = arrive(run, b);
    const { n, m, layout, record, kernel } = arrived;
    const done = record[layout.iterations];
    const at = (t: number): number => layout.history + (t - 1) * layout.stride;
    const inverse = (t: number, side: "rows" | "columns", i: number): number =>
      record[unbalanced ? at(t) + n + m + (side === "rows" ? 0 : n) + i : layout[side] + i];
    // Annealed iterations recorded potentials; where the constant temperature begins, scalings are 1.
    const alive = (side: "rows" | "columns", i: number): number => (record[layout[side] + i] > 0 ? 1 : 0);
    const u = anchored(n, annealed + 1, done, annealed, (t, i) => record[at(t) + i]);
    const v = anchored(m, annealed, done, annealed, (t, j) =>
      t === 0 ? record[layout.start + j] : t === annealed ? alive("columns", j) : record[at(t) + n + j],
    );
    let barF = arrived.barF;
    let barG = arrived.barG;
    const massRows = new Float64Array(n);
    const massColumns = new Float64Array(m);
    /** One iteration back: from the cotangents behind it to those before it; what belongs to the logits goes into `into`. */
    const step = (t: number, k: Float64Array, hereU: ArrayLike<number>, hereV: ArrayLike<number>, beforeV: ArrayLike<number>, into: Float64Array) => {
      const temperature = temperatureAt(t, annealed, scalars);
      const y = barG.map((value, j) => {
        const e = value / (1 + scalars.leak_columns * temperature);
        massColumns[j] += e * record[layout.columns + j];
        return hereV[j] * e * inverse(t, "columns", j);
      });
      const next = new Float64Array(m);
      for (let i = 0; i < n; i++) {
        let product = 0;
        for (let j = 0; j < m; j++) product += k[i * m + j] * y[j];
        const e = (barF[i] - hereU[i] * product) / (1 + scalars.leak_rows * temperature);
        massRows[i] += e * record[layout.rows + i];
        const z = hereU[i] * e * inverse(t, "rows", i);
        for (let j = 0; j < m; j++) {
          next[j] -= beforeV[j] * k[i * m + j] * z;
          into[i * m + j] -= hereU[i] * y[j] + z * beforeV[j];
        }
      }
      barF = new Float64Array(n);
      barG = next;
    };
    for (let t = done; t > annealed; t--) step(t, arrived.p, u[t], v[t], v[t - 1], arrived.rest);
    const x = arrived.p.map((share, e) => (share * arrived.rest[e] + arrived.added[e]) / scalars.temperature);
    for (let t = annealed; t >= 1; t--) {
      const temperature = temperatureAt(t, annealed, scalars);
      const f = record.subarray(at(t), at(t) + n);
      const g = record.subarray(at(t) + n, at(t) + n + m);
      const ratio = temperature / temperatureAt(t + 1, annealed, scalars);
      barG = barG.map((value) => value * ratio);
      const k = kernel(temperature, f, g);
      const scale = t === 1 ? 1 : temperatureAt(t - 1, annealed, scalars) / temperature;
      const before = Float64Array.from({ length: m }, (_, j) =>
        alive("columns", j) === 0 ? 0 : t === 1 ? record[layout.start + j] : Math.exp(scale * record[at(t - 1) + n + j] - g[j]),
      );
      const into = new Float64Array(n * m);
      step(t, k, new Float64Array(n).fill(1), new Float64Array(m).fill(1), before, into);
      for (const [e, value] of into.entries()) x[e] += (k[e] * value) / temperature;
    }
    deliver(run, b, arrived, x, [massRows, massColumns, barG]);
  }
};

/** Of the fixed point, at the row and column sums that P has: see README.md. Conjugate gradients on the columns. */
export const implicit = (run: ReferenceRun<BackwardAttrs>): void => {
  const { call, scalars } = run;
  for (let b = 0; b < orient(call.inputs[0].shape, call.attrs.order).count; b++) {
    const arrived = arrive(run, b);
    const { n, m, p, barF, barG, record, layout } = arrived;
    const r = new Float64Array(n);
    const c = new Float64Array(m);
    for (const [e, share] of p.entries()) {
      r[Math.floor(e / m)] += share;
      c[e % m] += share;
    }
    const inverse = (values: Float64Array, leak: number): Float64Array =>
      values.map((value) => (value > 0 ? 1 / (value * (1 + leak * scalars.temperature)) : 0));
    const inverseR = inverse(r, scalars.leak_rows);
    const inverseC = inverse(c, scalars.leak_columns);
    const times = (y: Float64Array): Float64Array => r.map((_, i) => y.reduce((total, value, j) => total + p[i * m + j] * value, 0));
    const transposed = (z: Float64Array): Float64Array => c.map((_, j) => z.reduce((total, value, i) => total + p[i * m + j] * value, 0));
    /** (diag(c′) − Pᵀ diag(1/r′) P) y */
    const schur = (y: Float64Array): Float64Array => {
      const product = transposed(times(y).map((value, i) => value * inverseR[i]));
      return y.map((value, j) => (inverseC[j] > 0 ? value / inverseC[j] : 0) - product[j]);
    };
    const dot = (a: Float64Array, c2: Float64Array): number => a.reduce((total, value, i) => total + value * c2[i], 0);
    const right = transposed(barF.map((value, i) => value * inverseR[i]));
    const beta = new Float64Array(m);
    const rest = barG.map((value, j) => (inverseC[j] > 0 ? value - right[j] : 0));
    let search = rest.map((value, j) => value * inverseC[j]);
    let energy = dot(rest, search);
    const enough = energy * 1e-24;
    for (let k = 0; k < 4 * m && energy > enough; k++) {
      const product = schur(search);
      const curvature = dot(search, product);
      if (!(curvature > 0)) break;
      const length = energy / curvature;
      for (let j = 0; j < m; j++) {
        beta[j] += length * search[j];
        rest[j] -= length * product[j];
      }
      const conditioned = rest.map((value, j) => value * inverseC[j]);
      const next = dot(rest, conditioned);
      const old = search;
      const share = next / energy;
      search = conditioned.map((value, j) => value + share * old[j]);
      energy = next;
    }
    const reached = times(beta);
    const alpha = barF.map((value, i) => (value - reached[i]) * inverseR[i]);
    if (scalars.leak_rows === 0 && scalars.leak_columns === 0) {
      // α + κ and β − κ solve it as well. As in the iterations, scaling all masses of the side met first changes nothing.
      const shift = dot(r, alpha) / r.reduce((total, value) => total + value, 0) || 0;
      for (let i = 0; i < n; i++) alpha[i] -= shift;
      for (let j = 0; j < m; j++) beta[j] += shift;
    }
    const x = p.map((share, e) => (share * (arrived.rest[e] - alpha[Math.floor(e / m)] - beta[e % m]) + arrived.added[e]) / scalars.temperature);
    const vectors = [
      alpha.map((value, i) => value * r[i] * record[layout.rows + i]),
      beta.map((value, j) => value * c[j] * record[layout.columns + j]),
      new Float64Array(m),
    ];
    deliver(run, b, arrived, x, vectors);
  }
};

/** Of a plain run that kept no record: with the record that it would have left. */
export const tiny = ({ call, scalars, inputs, outputs, fault }: ReferenceRun<TinyAttrs>): void => {
  const { n, m, count } = orient(call.inputs[0].shape, call.attrs.order);
  const [logits, gradient] = inputs;
  const common = { ...call.attrs, annealed: 0, unbalanced: false, record: "history" as const };
  const p = new Float64Array(logits.length);
  const record = new Float64Array(count * recordLayout(n, m, common).size);
  const rest = { scalars: { ...scalars, hot: 1, cooling: 1, leak_rows: 0, leak_columns: 0, tolerance: 0 }, fault };
  const like = <A extends Attrs>(attrs: A): Call<A> => ({ ...call, attrs }) as unknown as Call<A>;
  const run: ForwardAttrs = { ...common, plan: "P", error: false, checkEvery: 0, backward: "exact", operands: "" };
  forward({ ...rest, call: like(run), inputs: [logits], outputs: [p, record] });
  const back: BackwardAttrs = { ...common, matrix: "P", plain: false, vectors: false, operands: "gradient" };
  backward({ ...rest, call: like(back), inputs: [p, record, gradient], outputs: [...outputs, new Float64Array(0)] });
};
