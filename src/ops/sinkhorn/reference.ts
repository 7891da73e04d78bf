/** The definition in float64, in the log domain; the backward from the output and the scalings, as README.md derives it. */
import type { ReferenceRun, Shape } from "../../op.ts";

/** After this many scaling iterations the scalings are absorbed into the potentials and start again at 1. */
export const BLOCK = 8;

/** Whether the scalings are absorbed after iteration t (counted from 1; the first one is the log-sum-exp sweep). */
export const endsBlock = (t: number): boolean => t > 1 && (t - 1) % BLOCK === 0;

export interface ForwardAttrs extends Record<string, number | boolean> {
  readonly iterations: number;
  /** Whether the scalings are written for a backward pass. */
  readonly history: boolean;
}
export interface BackwardAttrs extends Record<string, number> {
  readonly iterations: number;
}

/** Rows of history per matrix: v₀, then u and v of every iteration from the second on. */
export const historyRows = (iterations: number): number => 2 * iterations - 1;

/** Side of the matrices and how many there are. */
export const batchOf = (shape: Shape): { readonly n: number; readonly count: number } => ({
  n: shape[shape.length - 1],
  count: shape.slice(0, -2).reduce((product, size) => product * size, 1),
});

const logSumExp = (count: number, term: (index: number) => number): number => {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) largest = Math.max(largest, term(i));
  let total = 0;
  for (let i = 0; i < count; i++) total += Math.exp(term(i) - largest);
  return largest + Math.log(total);
};

export const forward = ({ call, scalars, inputs: [logits], outputs: [p, history], fault }: ReferenceRun<ForwardAttrs>): void => {
  const { iterations } = call.attrs;
  const { n, count } = batchOf(call.inputs[0].shape);
  for (let b = 0; b < count; b++) {
    const x = Float64Array.from(logits.subarray(b * n * n, (b + 1) * n * n), (logit) => logit / scalars.temperature);
    const broken = x.find((value) => !Number.isFinite(value));
    if (broken !== undefined) fault(broken);
    const record = (row: number, value: (index: number) => number): void => {
      if (!history) return;
      for (let i = 0; i < n; i++) history[(b * historyRows(iterations) + row) * n + i] = value(i);
    };
    const f = new Float64Array(n);
    const g = new Float64Array(n);
    let anchorF = f;
    let anchorG = g;
    for (let t = 1; t <= iterations; t++) {
      for (let i = 0; i < n; i++) f[i] = -logSumExp(n, (j) => x[i * n + j] + g[j]);
      for (let j = 0; j < n; j++) g[j] = -logSumExp(n, (i) => x[i * n + j] + f[i]);
      if (t === 1) {
        record(0, (j) => Math.exp(-g[j]));
      } else {
        record(2 * t - 3, (i) => Math.exp(f[i] - anchorF[i]));
        record(2 * t - 2, (j) => Math.exp(g[j] - anchorG[j]));
      }
      if (t === 1 || endsBlock(t)) {
        anchorF = f.slice();
        anchorG = g.slice();
      }
    }
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) p[(b * n + i) * n + j] = Math.exp(x[i * n + j] + f[i] + g[j]);
  }
};

/**
 * û_t = exp(f_t − f_T) for t = 0…T, and the same for v̂ (û_0 is not used): the recorded scalings divided by all that was
 * absorbed after them.
 */
const anchored = (history: ArrayLike<number>, offset: number, n: number, iterations: number, odd: number): Float64Array[] => {
  const result = Array.from({ length: iterations + 1 }, () => new Float64Array(n));
  for (let i = 0; i < n; i++) {
    let absorbed = 1;
    for (let t = iterations; t >= 0; t--) {
      const scaling = t === 1 ? 1 : history[offset + (t === 0 ? 0 : 2 * t - 3 + odd) * n + i];
      if (t > 1 && (t === iterations || endsBlock(t))) absorbed *= scaling;
      result[t][i] = scaling / absorbed;
    }
  }
  return result;
};

export const backward = ({ call, scalars, inputs: [p, history, gradient], outputs: [dx] }: ReferenceRun<BackwardAttrs>): void => {
  const { iterations } = call.attrs;
  const { n, count } = batchOf(call.inputs[0].shape);
  for (let b = 0; b < count; b++) {
    const base = b * n * n;
    const offset = b * historyRows(iterations) * n;
    const u = anchored(history, offset, n, iterations, 0);
    const v = anchored(history, offset, n, iterations, 1);
    const rest = Float64Array.from(gradient.subarray(base, base + n * n));
    const barF = new Float64Array(n);
    const barG = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        const w = p[base + i * n + j] * gradient[base + i * n + j];
        barF[i] += w;
        barG[j] += w;
      }
    }
    for (let t = iterations; t >= 1; t--) {
      const y = barG.map((value, j) => v[t][j] * value);
      const z = new Float64Array(n);
      barG.fill(0);
      for (let i = 0; i < n; i++) {
        let product = 0;
        for (let j = 0; j < n; j++) product += p[base + i * n + j] * y[j];
        z[i] = u[t][i] * ((t === iterations ? barF[i] : 0) - u[t][i] * product);
        for (let j = 0; j < n; j++) {
          barG[j] -= v[t - 1][j] * p[base + i * n + j] * z[i];
          rest[i * n + j] -= u[t][i] * y[j] + z[i] * v[t - 1][j];
        }
      }
    }
    for (let e = 0; e < n * n; e++) dx[base + e] = (p[base + e] * rest[e]) / scalars.temperature;
  }
};
