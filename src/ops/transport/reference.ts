/** The definition in float64; see README.md. */
import type { ReferenceRun, Spec } from "../../op.ts";

/** A potential at or below this is that of a row or column without mass. */
export const EXCLUDED = -1e29;

export interface PlanAttrs extends Record<string, string | number | boolean> {
  /** Where a matrix's potentials of rows and of columns begin in its part of `potentials`. */
  readonly rowOffset: number;
  readonly columnOffset: number;
  /** Whether the last input is a mask. */
  readonly masked: boolean;
}

export interface TransportAttrs extends PlanAttrs {
  /** P itself, P · x, Pᵀ · x, or the sums over the columns of x ∘ P. */
  readonly kind: "plan" | "rows" | "columns" | "cost";
}

export interface Sizes {
  readonly count: number;
  /** Rows and columns of the logits. */
  readonly n: number;
  readonly m: number;
  /** Numbers per matrix in `potentials`. */
  readonly stride: number;
}

export const sizesOf = ([{ shape }, potentials]: readonly Spec[]): Sizes => {
  const [n, m] = shape.slice(-2);
  return {
    count: shape.slice(0, -2).reduce((product, size) => product * size, 1),
    n,
    m,
    stride: potentials.shape[potentials.shape.length - 1],
  };
};

/** Elements from one matrix's item to the next: 0 when all share one. */
export const stepOf = ({ shape }: Spec, perItem: number): number => {
  const size = shape.reduce((product, length) => product * length, 1);
  return size === perItem ? 0 : perItem;
};

/** Whether `mask` is the same for all matrices. */
const planOf = ({ call, scalars, inputs }: ReferenceRun<PlanAttrs>, b: number): Float64Array => {
  const { n, m, stride } = sizesOf(call.inputs);
  const { rowOffset, columnOffset, masked } = call.attrs;
  const [logits, potentials] = inputs;
  const mask = masked ? inputs[inputs.length - 1] : undefined;
  const step = masked ? stepOf(call.inputs[inputs.length - 1], n * m) : 0;
  return Float64Array.from({ length: n * m }, (_, e) => {
    const f = potentials[b * stride + rowOffset + Math.floor(e / m)];
    const g = potentials[b * stride + columnOffset + (e % m)];
    if (f <= EXCLUDED || g <= EXCLUDED || mask?.[b * step + e] === 0) return 0;
    return Math.exp(logits[b * n * m + e] / scalars.temperature + f + g);
  });
};

export const transport = (run: ReferenceRun<TransportAttrs>): void => {
  const { call, inputs } = run;
  const [y] = run.outputs;
  const { count, n, m } = sizesOf(call.inputs);
  const { kind } = call.attrs;
  const x = inputs[2];
  for (let b = 0; b < count; b++) {
    const p = planOf(run, b);
    if (kind === "plan") {
      for (const [e, share] of p.entries()) y[b * n * m + e] = share;
      continue;
    }
    const spec = call.inputs[2];
    const d = kind === "cost" ? 1 : spec.shape[spec.shape.length - 1];
    const from = b * stepOf(spec, kind === "cost" ? n * m : (kind === "rows" ? m : n) * d);
    const size = kind === "columns" ? m : n;
    y.fill(0, b * size * d, (b + 1) * size * d);
    for (const [e, share] of p.entries()) {
      const [i, j] = [Math.floor(e / m), e % m];
      if (kind === "cost") y[b * n + i] += share * x[from + e];
      else {
        const [to, source] = kind === "rows" ? [i, j] : [j, i];
        for (let c = 0; c < d; c++) y[(b * size + to) * d + c] += share * x[from + source * d + c];
      }
    }
  }
};

/** logits, potentials, cotangent of P -> gradients of logits and potentials. */
export const backward = (run: ReferenceRun<PlanAttrs>): void => {
  const { call, scalars, inputs } = run;
  const [dlogits, dpotentials] = run.outputs;
  const { count, n, m, stride } = sizesOf(call.inputs);
  const { rowOffset, columnOffset } = call.attrs;
  dpotentials.fill(0);
  for (let b = 0; b < count; b++) {
    for (const [e, share] of planOf(run, b).entries()) {
      const w = share * inputs[2][b * n * m + e];
      dlogits[b * n * m + e] = w / scalars.temperature;
      dpotentials[b * stride + rowOffset + Math.floor(e / m)] += w;
      dpotentials[b * stride + columnOffset + (e % m)] += w;
    }
  }
};
