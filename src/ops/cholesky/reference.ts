/** The inverse of a Cholesky factor, in float64. */
import type { ReferenceRun } from "../../op.ts";

/** A pivot of at most this, times n and the diagonal entry, is rounding of float32. */
export const PIVOT_EPS = 2 ** -23;

/** W = L⁻¹ of a = L Lᵀ; reads the lower triangle. A pivot that is none counts as 1. */
export const inverse = ({ call, inputs: [a], outputs: [w], fault }: ReferenceRun<Record<string, never>>): void => {
  const [n] = call.inputs[0].shape;
  const l = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let rest = a[i * n + j];
      for (let k = 0; k < j; k++) rest -= l[i * n + k] * l[j * n + k];
      if (i > j) l[i * n + j] = rest / l[j * n + j];
      else if (rest > n * PIVOT_EPS * a[j * n + j] && rest < Number.POSITIVE_INFINITY) l[j * n + j] = Math.sqrt(rest);
      else {
        fault(rest);
        l[j * n + j] = 1;
      }
    }
  }
  w.fill(0);
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let rest = i === j ? 1 : 0;
      for (let k = j; k < i; k++) rest -= l[i * n + k] * w[k * n + j];
      w[i * n + j] = rest / l[i * n + i];
    }
  }
};

export interface LowerAttrs extends Readonly<Record<string, boolean>> {
  /** Whether the result is −Φ(x + xᵀ) instead of Φ(x). */
  readonly fold: boolean;
}

/** Φ: the lower triangle, with half the diagonal. */
export const lower = ({ call, inputs: [x], outputs: [y] }: ReferenceRun<LowerAttrs>): void => {
  const [n] = call.inputs[0].shape;
  const { fold } = call.attrs;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const value = fold ? -(x[i * n + j] + x[j * n + i]) : x[i * n + j];
      y[i * n + j] = i > j ? value : i === j ? value / 2 : 0;
    }
  }
};
