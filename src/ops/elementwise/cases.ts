import { elements, type Op, type Shape } from "../../op.ts";
import {
  type Case,
  defineCase,
  distinct,
  EXACT,
  type Fill,
  minimalBytes,
  normal,
  ROUNDING,
  type Room,
  type Tolerance,
  uniform,
  values,
} from "../../testing/cases.ts";
import { affine, binary, ops, unary } from "./op.ts";
import { GROUP_TERMS } from "./plan.ts";
import { BINARY, type BinaryKind, UNARY, type UnaryKind } from "./reference.ts";

const TRANSCENDENTAL: Tolerance = { relative: 2e-6, absolute: 1e-7, reason: "WGSL's exp has (3 + 2|x|) ulp and its log 2⁻²¹ absolute" };

const fills: Partial<Record<UnaryKind, Fill>> = {
  log: uniform(0.1, 3),
  sqrt: uniform(0.1, 3),
  reciprocal: uniform(0.3, 3),
  abs: distinct,
  relu: distinct,
};
const exact = new Set<UnaryKind>(["neg", "abs", "relu"]);

const unaryCases = (Object.keys(UNARY) as UnaryKind[]).flatMap((kind) =>
  [[], [0], [255], [257], [3, 5, 7]].map((shape: Shape) =>
    defineCase({
      name: `${kind} ${shape.join("x") || "scalar"}`,
      op: unary(kind),
      inputs: [{ shape, fill: fills[kind] ?? normal(2) }],
      attrs: { kind },
      forward: exact.has(kind) ? EXACT : TRANSCENDENTAL,
      backward: TRANSCENDENTAL,
    }),
  ),
);

/** Where a careless formula overflows or loses its digits. */
const extremes = (["sigmoid", "tanh", "gelu", "silu", "softplus"] as const).map((kind) =>
  defineCase({
    name: `${kind} far from 0`,
    op: unary(kind),
    inputs: [{ shape: [12], fill: values([-100, -30, -9, -3, -1e-3, -1e-6, 0, 1e-6, 1e-3, 9, 30, 100]) }],
    attrs: { kind },
    forward: TRANSCENDENTAL,
    backward: TRANSCENDENTAL,
    finiteDifferences: { off: "differences of float64 values near 1 lose the tails" },
  }),
);

const shapes: readonly (readonly [string, Shape, Shape])[] = [
  ["same", [3, 5], [3, 5]],
  ["empty", [0, 4], [0, 4]],
  ["257 elements", [257], [257]],
  ["row", [4, 6], [6]],
  ["column", [4, 6], [4, 1]],
  ["outer", [5, 1], [1, 7]],
  ["scalar", [2, 3, 4], []],
  ["channel", [2, 3, 4, 5], [3, 1, 1]],
  ["four axes interleaved", [2, 1, 3, 1], [1, 4, 1, 5]],
];

const binaryCases = (Object.keys(BINARY) as BinaryKind[]).flatMap((kind) =>
  shapes.map(([name, a, b]) =>
    defineCase({
      name: `${kind} ${name}`,
      op: binary(kind),
      inputs: [
        { shape: a, fill: kind === "pow" ? uniform(0.5, 2) : kind.endsWith("imum") ? distinct : normal() },
        { shape: b, fill: kind === "div" ? uniform(0.5, 2) : normal() },
      ],
      attrs: { kind },
      forward: kind === "pow" ? TRANSCENDENTAL : ROUNDING,
      backward: TRANSCENDENTAL,
    }),
  ),
);

/** One below, at and above the number of terms at which a whole workgroup sums. */
const thresholds = [GROUP_TERMS - 1, GROUP_TERMS, GROUP_TERMS + 1, 700].map((terms) =>
  defineCase({
    name: `mul with ${terms} rows summed`,
    op: binary("mul"),
    inputs: [{ shape: [terms, 5] }, { shape: [5] }],
    attrs: { kind: "mul" as const },
    forward: ROUNDING,
    backward: { relative: 3e-6, absolute: 1e-6, reason: `sums of ${terms} terms` },
  }),
);

const ties = (["maximum", "minimum"] as const).map((kind) =>
  defineCase({
    name: `${kind} with ties`,
    op: binary(kind),
    inputs: [
      { shape: [6], fill: values([1, 2, 3, 1, 2, 3]) },
      { shape: [6], fill: values([1, 1, 4]) },
    ],
    attrs: { kind },
    forward: EXACT,
    backward: ROUNDING,
    finiteDifferences: { off: "a tie has no derivative; the halves are PyTorch's convention" },
  }),
);

const negativeBase = defineCase({
  name: "pow of negative numbers",
  op: binary("pow"),
  inputs: [
    { shape: [6], fill: values([-2, -2, -1.5, 0, 0, -3]) },
    { shape: [6], fill: values([2, 3, -1, 2, 0, 0]), gradient: false },
  ],
  attrs: { kind: "pow" as const },
  forward: TRANSCENDENTAL,
  finiteDifferences: { off: "0 to the power of 0 is a corner" },
});

/** Every kind of base with every kind of exponent, as IEEE 754 has them. */
const powers = ((extraordinary: readonly number[]) =>
  defineCase({
    name: "pow of anything to anything",
    op: binary("pow"),
    inputs: [
      { shape: [extraordinary.length ** 2], fill: values(extraordinary.flatMap((base) => extraordinary.map(() => base))) },
      { shape: [extraordinary.length ** 2], fill: values(extraordinary.flatMap(() => extraordinary)) },
    ],
    attrs: { kind: "pow" as const },
    forward: TRANSCENDENTAL,
    backward: TRANSCENDENTAL,
    finiteDifferences: { off: "NaN, infinities and corners" },
  }))([0, -0, 1, -1, 0.5, -0.5, 2, -2, 3, -2.5, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN]);

const affineCases = [[0], [1], [300]].map((shape: Shape) =>
  defineCase({ name: `affine ${shape}`, op: affine, inputs: [{ shape }], attrs: {}, scalars: { scale: -1.5, shift: 0.25 }, forward: ROUNDING }),
);

export const cases: readonly Case[] = [...unaryCases, ...extremes, ...binaryCases, ...thresholds, ...ties, negativeBase, powers, ...affineCases];

export const room: Room = {
  name: "elementwise",
  ops: ops as readonly Op[],
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: elements(call.outputs[0].shape) }),
};
