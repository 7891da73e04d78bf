/** The definition in float64, and its gradient through every half-iterate. */
import { elements, type ReferenceRun, type Shape, type Spec } from "../../op.ts";

export interface HyperConnectionAttrs extends Record<string, number | boolean> {
  readonly iterations: number;
  /** Which inputs follow the logits, in this order. */
  readonly scale: boolean;
  readonly bias: boolean;
  readonly streams: boolean;
}

/** Which gradients are wanted: those of `scale` and `bias` share one output, see `outputsOf`. */
export interface BackwardAttrs extends HyperConnectionAttrs {
  readonly logitsGradient: boolean;
  readonly scaleGradient: boolean;
  readonly biasGradient: boolean;
  readonly streamsGradient: boolean;
}

/** Where each operand stands among the inputs; undefined for those that are absent. */
export interface Positions {
  readonly logits: number;
  readonly scale: number | undefined;
  readonly bias: number | undefined;
  readonly streams: number | undefined;
  /** Of the backward op: the cotangent, which comes last. */
  readonly gradient: number;
}
export const positionsOf = ({ scale, bias, streams }: HyperConnectionAttrs): Positions => ({
  logits: 0,
  scale: scale ? 1 : undefined,
  bias: bias ? 1 + Number(scale) : undefined,
  streams: streams ? 1 + Number(scale) + Number(bias) : undefined,
  gradient: 1 + Number(scale) + Number(bias) + Number(streams),
});

/** Outputs of the backward op; per matrix, `parameters` holds d bias, when wanted, and then d scale, when wanted. */
export const outputsOf = (attrs: BackwardAttrs): { logits?: number; parameters?: number; streams?: number } => {
  const wanted = [
    ["logits", attrs.logitsGradient],
    ["parameters", attrs.scaleGradient || attrs.biasGradient],
    ["streams", attrs.streamsGradient],
  ] as const;
  return Object.fromEntries(wanted.filter(([, want]) => want).map(([name], i) => [name, i]));
};

export interface Sizes {
  readonly count: number;
  readonly n: number;
  readonly m: number;
  /** Features of a stream; 0 without streams. */
  readonly d: number;
  /** Numbers from one matrix's scale, or bias, to the next one's: 0 where it is shared. */
  readonly scaleStep: number;
  readonly biasStep: number;
  /** Numbers per matrix of the backward op's output `parameters`. */
  readonly parameters: number;
}

export const sizesOf = ({ inputs, attrs }: { inputs: readonly Spec[]; attrs: HyperConnectionAttrs | BackwardAttrs }): Sizes => {
  const at = positionsOf(attrs);
  const shapeAt = (place: number | undefined): Shape => (place === undefined ? [] : inputs[place].shape);
  const [n, m] = inputs[0].shape.slice(-2);
  const streams = shapeAt(at.streams);
  return {
    count: elements(inputs[0].shape.slice(0, -2)),
    n,
    m,
    d: streams[streams.length - 1] ?? 0,
    scaleStep: shapeAt(at.scale).length > 0 ? 1 : 0,
    biasStep: shapeAt(at.bias).length > 2 ? n * m : 0,
    parameters: (attrs.biasGradient ? n * m : 0) + (attrs.scaleGradient ? 1 : 0),
  };
};

interface Normalised {
  /** Before each division, with the divisors; the softmax's result is the first. */
  readonly steps: { readonly x: Float64Array; readonly axis: "row" | "column"; readonly divisors: Float64Array }[];
  readonly softmax: Float64Array;
  readonly p: Float64Array;
}

/** softmax over rows + eps, columns; then rows and columns in turn, each divided by its sum + eps. */
const normalise = (x: Float64Array, n: number, m: number, iterations: number, eps: number): Normalised => {
  const softmax = new Float64Array(n * m);
  for (let i = 0; i < n; i++) {
    const row = x.subarray(i * m, (i + 1) * m);
    const peak = Math.max(...row);
    const total = row.reduce((sum, value) => sum + Math.exp(value - peak), 0);
    for (let j = 0; j < m; j++) softmax[i * m + j] = Math.exp(row[j] - peak) / total;
  }
  let p = softmax.map((share) => share + eps);
  const steps: Normalised["steps"] = [];
  const divide = (axis: "row" | "column"): void => {
    const owner = (e: number): number => (axis === "row" ? Math.floor(e / m) : e % m);
    const divisors = new Float64Array(axis === "row" ? n : m).fill(eps);
    for (let e = 0; e < n * m; e++) divisors[owner(e)] += p[e];
    steps.push({ x: p, axis, divisors });
    p = p.map((value, e) => value / divisors[owner(e)]);
  };
  divide("column");
  for (let t = 1; t < iterations; t++) {
    divide("row");
    divide("column");
  }
  return { steps, softmax, p };
};

type Run = ReferenceRun<HyperConnectionAttrs> | ReferenceRun<BackwardAttrs>;

/** What the prologue makes of matrix b. */
const prologue = ({ call, scalars, inputs }: Run, b: number): Float64Array => {
  const { n, m, scaleStep, biasStep } = sizesOf(call);
  const at = positionsOf(call.attrs);
  const factor = at.scale === undefined ? 1 : inputs[at.scale][b * scaleStep];
  return Float64Array.from({ length: n * m }, (_, e) => {
    const shift = at.bias === undefined ? 0 : inputs[at.bias][b * biasStep + e];
    return (factor * inputs[0][b * n * m + e] + shift) / scalars.temperature;
  });
};

export const forward = (run: ReferenceRun<HyperConnectionAttrs>): void => {
  const { call, scalars, inputs, outputs, fault } = run;
  const { count, n, m, d } = sizesOf(call);
  const at = positionsOf(call.attrs);
  for (const place of [at.logits, at.scale, at.bias]) {
    const broken = place === undefined ? undefined : inputs[place].find((value) => !Number.isFinite(value));
    if (broken !== undefined) fault(broken);
  }
  for (let b = 0; b < count; b++) {
    const { p } = normalise(prologue(run, b), n, m, call.attrs.iterations, scalars.eps);
    if (at.streams === undefined) {
      outputs[0].set(p, b * n * m);
      continue;
    }
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < d; k++) {
        let total = 0;
        for (let j = 0; j < m; j++) total += p[i * m + j] * inputs[at.streams][(b * m + j) * d + k];
        outputs[0][(b * n + i) * d + k] = total;
      }
    }
  }
};

export const backward = (run: ReferenceRun<BackwardAttrs>): void => {
  const { call, scalars, inputs, outputs } = run;
  const { attrs } = call;
  const { count, n, m, d, scaleStep, parameters } = sizesOf(call);
  const at = positionsOf(attrs);
  const to = outputsOf(attrs);
  const gradient = inputs[at.gradient];
  for (let b = 0; b < count; b++) {
    const { steps, softmax, p } = normalise(prologue(run, b), n, m, attrs.iterations, scalars.eps);
    let g = new Float64Array(n * m);
    if (at.streams === undefined) {
      g.set(gradient.subarray(b * n * m, (b + 1) * n * m));
    } else {
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < m; j++) {
          for (let k = 0; k < d; k++) g[i * m + j] += gradient[(b * n + i) * d + k] * inputs[at.streams][(b * m + j) * d + k];
        }
      }
      if (to.streams !== undefined) {
        for (let j = 0; j < m; j++) {
          for (let k = 0; k < d; k++) {
            let total = 0;
            for (let i = 0; i < n; i++) total += p[i * m + j] * gradient[(b * n + i) * d + k];
            outputs[to.streams][(b * m + j) * d + k] = total;
          }
        }
      }
    }
    for (const { x, axis, divisors } of steps.reverse()) {
      // y = x / (Σ x + eps):   dx = (dy − Σ dy ∘ y) / (Σ x + eps)
      const owner = (e: number): number => (axis === "row" ? Math.floor(e / m) : e % m);
      const totals = new Float64Array(divisors.length);
      for (let e = 0; e < n * m; e++) totals[owner(e)] += (g[e] * x[e]) / divisors[owner(e)];
      g = g.map((value, e) => (value - totals[owner(e)]) / divisors[owner(e)]);
    }
    const factor = at.scale === undefined ? 1 : inputs[at.scale][b * scaleStep];
    let scaleGradient = 0;
    for (let i = 0; i < n; i++) {
      let total = 0;
      for (let j = 0; j < m; j++) total += g[i * m + j] * softmax[i * m + j];
      for (let j = 0; j < m; j++) {
        const e = i * m + j;
        const shift = (softmax[e] * (g[e] - total)) / scalars.temperature;
        scaleGradient += shift * inputs[0][b * n * m + e];
        if (to.logits !== undefined) outputs[to.logits][b * n * m + e] = factor * shift;
        if (attrs.biasGradient && to.parameters !== undefined) outputs[to.parameters][b * parameters + e] = shift;
      }
    }
    if (attrs.scaleGradient && to.parameters !== undefined) outputs[to.parameters][(b + 1) * parameters - 1] = scaleGradient;
  }
};
