/** The formulas: each with its derivatives, in float64. */
import type { ReferenceRun } from "../../op.ts";
import { broadcastStrides, collapse, walk } from "../../shapes.ts";

/** erf to float64 accuracy, by its Maclaurin series below 3 and the continued fraction of erfc above. */
export const erf = (x: number): number => {
  const a = Math.abs(x);
  if (a < 3) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = a;
  for (let k = 60; k >= 1; k--) fraction = a + k / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / fraction);
};

const sigmoid = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const normalCdf = (x: number): number => 0.5 * (1 + erf(x / Math.SQRT2));
const normalPdf = (x: number): number => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);

interface Unary {
  readonly value: (x: number) => number;
  /** From what `saves` names: the input x, or the output y. */
  readonly derivative: (saved: number) => number;
  readonly saves: "input" | "output";
}

/** Kinks take the derivative that PyTorch takes: 0 at 0 for abs and relu. */
export const UNARY = {
  neg: { value: (x) => -x, derivative: () => -1, saves: "input" },
  exp: { value: Math.exp, derivative: (y) => y, saves: "output" },
  log: { value: Math.log, derivative: (x) => 1 / x, saves: "input" },
  sqrt: { value: Math.sqrt, derivative: (y) => 0.5 / y, saves: "output" },
  abs: { value: Math.abs, derivative: Math.sign, saves: "input" },
  square: { value: (x) => x * x, derivative: (x) => 2 * x, saves: "input" },
  reciprocal: { value: (x) => 1 / x, derivative: (y) => -y * y, saves: "output" },
  relu: { value: (x) => (x < 0 ? 0 : x), derivative: (y) => (y > 0 ? 1 : 0), saves: "output" },
  gelu: { value: (x) => x * normalCdf(x), derivative: (x) => normalCdf(x) + x * normalPdf(x), saves: "input" },
  sigmoid: { value: sigmoid, derivative: (y) => y * (1 - y), saves: "output" },
  tanh: { value: Math.tanh, derivative: (y) => 1 - y * y, saves: "output" },
  silu: { value: (x) => x * sigmoid(x), derivative: (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))), saves: "input" },
  softplus: { value: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), derivative: sigmoid, saves: "input" },
} as const satisfies Record<string, Unary>;

interface Binary {
  readonly value: (a: number, b: number) => number;
  /** Partial derivatives; at a tie the gradient is split in halves, as PyTorch does. */
  readonly partials: readonly [(a: number, b: number) => number, (a: number, b: number) => number];
  /** Whether the derivatives depend on the operands. */
  readonly linear: boolean;
}

const share = (x: number): number => (x > 0 ? 1 : x === 0 ? 0.5 : 0);

/** IEEE 754's power, as in C and PyTorch: 1 to anything is 1, and so is -1 to an infinity, where JavaScript has NaN. */
const power = (a: number, b: number): number => (a === 1 || (a === -1 && Math.abs(b) === Number.POSITIVE_INFINITY) ? 1 : a ** b);

export const BINARY = {
  add: { value: (a, b) => a + b, partials: [() => 1, () => 1], linear: true },
  sub: { value: (a, b) => a - b, partials: [() => 1, () => -1], linear: true },
  mul: { value: (a, b) => a * b, partials: [(_, b) => b, (a) => a], linear: false },
  div: { value: (a, b) => a / b, partials: [(_, b) => 1 / b, (a, b) => -a / (b * b)], linear: false },
  pow: {
    value: power,
    partials: [(a, b) => (b === 0 ? 0 : b * power(a, b - 1)), (a, b) => (a === 0 && b >= 0 ? 0 : power(a, b) * Math.log(a))],
    linear: false,
  },
  maximum: { value: Math.max, partials: [(a, b) => share(a - b), (a, b) => share(b - a)], linear: false },
  minimum: { value: Math.min, partials: [(a, b) => share(b - a), (a, b) => share(a - b)], linear: false },
} as const satisfies Record<string, Binary>;

export type UnaryKind = keyof typeof UNARY;
/** What other rooms may apply to a result before they write it. */
export const ACTIVATIONS = ["relu", "gelu", "sigmoid", "tanh", "silu", "softplus"] as const satisfies readonly UnaryKind[];
export type Activation = (typeof ACTIVATIONS)[number];
export type BinaryKind = keyof typeof BINARY;

export const unary = ({ call, inputs: [x], outputs: [y] }: ReferenceRun<{ kind: UnaryKind }>): void => {
  const { value } = UNARY[call.attrs.kind];
  for (let i = 0; i < y.length; i++) y[i] = value(x[i]);
};

export const unaryBackward = ({ call, inputs: [g, saved], outputs: [dx] }: ReferenceRun<{ kind: UnaryKind }>): void => {
  const { derivative } = UNARY[call.attrs.kind];
  for (let i = 0; i < dx.length; i++) dx[i] = g[i] * derivative(saved[i]);
};

export const affine = ({ scalars, inputs: [x], outputs: [y] }: ReferenceRun): void => {
  for (let i = 0; i < y.length; i++) y[i] = scalars.scale * x[i] + scalars.shift;
};

export const binary = ({ call, inputs: [a, b], outputs: [y] }: ReferenceRun<{ kind: BinaryKind }>): void => {
  const { value } = BINARY[call.attrs.kind];
  const { shape } = call.outputs[0];
  let i = 0;
  walk(
    collapse(
      shape,
      call.inputs.map((spec) => broadcastStrides(spec.shape, shape)),
    ),
    (atA, atB) => {
      y[i++] = value(a[atA], b[atB]);
    },
  );
};

export interface BinaryBackwardAttrs extends Record<string, string | number | readonly number[]> {
  readonly kind: BinaryKind;
  /** Which operand's gradient: 0 or 1. */
  readonly wrt: number;
  /** That operand's shape. */
  readonly shape: readonly number[];
}

export const binaryBackward = ({ call, inputs, outputs: [d] }: ReferenceRun<BinaryBackwardAttrs>): void => {
  const { kind, wrt, shape: own } = call.attrs;
  const partial = BINARY[kind].partials[wrt === 0 ? 0 : 1];
  const [g, a = g, b = g] = inputs;
  const [{ shape }, specA = call.inputs[0], specB = call.inputs[0]] = call.inputs;
  d.fill(0);
  let i = 0;
  walk(
    collapse(shape, [broadcastStrides(own, shape), broadcastStrides(specA.shape, shape), broadcastStrides(specB.shape, shape)]),
    (at, atA, atB) => {
      d[at] += g[i++] * partial(a[atA], b[atB]);
    },
  );
};
