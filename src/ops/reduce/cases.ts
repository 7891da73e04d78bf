import { elements, type Op, type Shape } from "../../op.ts";
import {
  type Case,
  defineCase,
  distinct,
  EXACT,
  type Fill,
  minimalBytes,
  normal,
  type Room,
  summed,
  type Tolerance,
  values,
} from "../../testing/cases.ts";
import { argmax, backward, forward, ops } from "./op.ts";
import { PART_TERMS, SIDE_BY_SIDE, TERMS_PER_THREAD } from "./plan.ts";
import { KINDS, type ReduceKind, termsOf } from "./reference.ts";

const EXPONENTIAL: Tolerance = { relative: 4e-6, absolute: 1e-6, reason: "WGSL's exp has (3 + 2|x|) ulp, and the exponents reach 10" };
const isExtreme = (kind: ReduceKind): boolean => kind === "max" || kind === "min";

const reduceCase = (
  kind: ReduceKind,
  name: string,
  shape: Shape,
  axes: readonly number[],
  more: Partial<Case> & { readonly keepDims?: boolean; readonly fill?: Fill } = {},
): Case => {
  const { keepDims = false, fill = isExtreme(kind) ? distinct : normal(), ...rest } = more;
  const terms = termsOf(shape, axes);
  return defineCase({
    name: `${kind} ${name}`,
    op: forward(kind),
    inputs: [{ shape, fill }],
    attrs: { kind, axes, keepDims },
    forward: isExtreme(kind) ? EXACT : kind === "logsumexp" ? EXPONENTIAL : summed(kind === "mean" ? 1 : terms),
    backward: kind === "logsumexp" ? EXPONENTIAL : { relative: 3e-7, absolute: 1e-37, reason: "one product, and for a mean its quotient" },
    ...rest,
  });
};

/** Every order in which kept and reduced axes can lie. */
const layouts: readonly (readonly [string, Shape, readonly number[]])[] = [
  ["scalar", [], []],
  ["nothing reduced", [3, 4], []],
  ["all", [3, 5, 7], [0, 1, 2]],
  ["rows", [5, 7], [1]],
  ["columns", [5, 7], [0]],
  ["middle", [3, 4, 5], [1]],
  ["outer and inner", [3, 4, 5], [0, 2]],
  ["channels", [2, 3, 4, 5], [0, 2, 3]],
  ["alternating, eight axes", [2, 3, 2, 2, 2, 3, 2, 2], [0, 2, 4, 6]],
  ["axes of size 1", [1, 6, 1], [0, 1]],
  ["one entry", [1], [0]],
];
const layoutCases = KINDS.flatMap((kind) => layouts.map(([name, shape, axes], i) => reduceCase(kind, name, shape, axes, { keepDims: i % 2 === 1 })));

/** Vector widths and their tails, and one below, at and above the thresholds of the plan. */
const lengths = [2, TERMS_PER_THREAD, TERMS_PER_THREAD + 1, 8, 15, 16, 17, 31, 33, 63, 65, 127, 129, 255, 257, 1023, 1025];
const lengthCases = lengths.flatMap((length) => [
  reduceCase("sum", `${length} terms, contiguous`, [3, length], [1]),
  reduceCase("sum", `${length} terms, strided`, [length, 3], [0]),
  reduceCase("logsumexp", `${length} terms, contiguous`, [3, length], [1]),
  reduceCase("max", `${length} terms, contiguous`, [3, length], [1]),
]);
const widths = [1, 4, 7, 8, 9, 15, 16, 17, SIDE_BY_SIDE - 1, SIDE_BY_SIDE + 1, 100];
const widthCases = widths.flatMap((width) => [
  reduceCase("mean", `of ${width} columns`, [37, width], [0]),
  reduceCase("logsumexp", `of ${width} columns`, [37, width], [0]),
  reduceCase("min", `of ${width} columns`, [37, width], [0]),
  reduceCase("sum", `of ${width} columns in planes`, [2, 9, width], [1]),
  reduceCase("sum", `of ${width} short rows`, [width, 3], [1]),
]);

const partCases = [PART_TERMS - 1, PART_TERMS, PART_TERMS + 1, 2 * PART_TERMS + 1, 50001].flatMap((terms) =>
  KINDS.map((kind) =>
    reduceCase(kind, `in parts, ${terms} terms`, [terms], [0], { finiteDifferences: { off: "the gradient of many terms is that of few" } }),
  ),
);
const stridedParts = KINDS.map((kind) =>
  reduceCase(kind, "in parts, strided", [5003, 2, 3], [0, 1], { finiteDifferences: { off: "the gradient of many terms is that of few" } }),
);
const manyOutputs = reduceCase("sum", "with many outputs", [3, 70001], [0], {
  finiteDifferences: { off: "the gradient of many outputs is that of few" },
});
const large = (["sum", "logsumexp", "max"] as const).map((kind) =>
  reduceCase(kind, "of a million", [1 << 20], [0], { large: true, finiteDifferences: { off: "the gradient of many terms is that of few" } }),
);

const emptyCases = [
  ...(["sum", "mean", "logsumexp"] as const).flatMap((kind) => [
    reduceCase(kind, "of nothing", [0], [0]),
    reduceCase(kind, "of empty rows", [3, 0], [1]),
    reduceCase(kind, "of empty columns", [0, 40], [0]),
  ]),
  ...KINDS.map((kind) => reduceCase(kind, "over an empty batch", [0, 4], [1])),
];

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const noDifferences = { off: "ties, infinities and NaN have no derivative; the convention is PyTorch's" } as const;
/** Rows: ties, signed zeros, one NaN, infinities, all −inf, huge, close to the smallest. */
const special = [2, 2, 1, 2, 0, -0, -1, 0, 1, nan, 3, nan, inf, 1, -inf, inf, -inf, -inf, -inf, -inf, 3e38, -3e38, 1, 2, 1e-38, -1e-38, 3e-38, 0];
const specialCases = (["max", "min", "logsumexp"] as const).flatMap((kind) =>
  [["rows", [7, 4], [1]] as const, ["columns", [4, 7], [0]] as const].map(([name, shape, axes]) =>
    reduceCase(kind, `of special values, ${name}`, shape, axes, { fill: values(special), finiteDifferences: noDifferences }),
  ),
);
const far = [-300, 0, 88, 1e4].map((offset) =>
  reduceCase("logsumexp", `around ${offset}`, [4, 9], [1], {
    fill: (random) => offset + random.normal(),
    forward: { relative: 4e-6, absolute: 2e-6, reason: "float32 rounding of the entries themselves is in both" },
    backward: { relative: 4e-6 + 3e-7 * Math.abs(offset), absolute: 1e-6, reason: "exp(x − y) has the absolute rounding of y, half an ulp" },
    finiteDifferences: offset > 1000 ? { off: "a step relative to the entries is too long" } : { tolerance: 1e-5 },
  }),
);
const manyTies = reduceCase("max", "with 300 ties", [2, 600], [1], { fill: (_random, i) => i % 2, finiteDifferences: noDifferences });
const offset = reduceCase("sum", "of numbers far from 0", [70000], [0], {
  fill: (random) => 1000 + random.uniform(),
  forward: { relative: 2e-6, absolute: 0, reason: "all terms have one sign: a straight float32 sum would be off by 1e-3" },
  finiteDifferences: { off: "the sum is 7e7" },
});

const argmaxCase = (name: string, shape: Shape, axes: readonly number[], fill: Fill = normal()): Case =>
  defineCase({ name: `argmax ${name}`, op: argmax, inputs: [{ shape, fill }], attrs: { axes, keepDims: name.length % 2 === 0 }, forward: EXACT });
const argmaxCases = [
  ...layouts.map(([name, shape, axes]) => argmaxCase(name, shape, axes)),
  ...[15, 16, 17, 33, 255, 257, 1025, PART_TERMS + 1].flatMap((terms) => [
    argmaxCase(`of ${terms}`, [2, terms], [1]),
    argmaxCase(`of ${terms} with ties`, [terms, 2], [0], (random) => Math.floor(3 * random.uniform())),
  ]),
  argmaxCase("in parts with ties", [20000], [0], (random) => Math.floor(3 * random.uniform())),
  argmaxCase("of special rows", [7, 4], [1], values(special)),
  argmaxCase("of special columns", [4, 7], [0], values(special)),
  argmaxCase("over an empty batch", [0, 4], [1]),
];

const backwardAlone = defineCase({
  name: "backward without the forward op",
  op: backward,
  inputs: [{ shape: [5] }],
  attrs: { kind: "mean" as const, axes: [0, 2], shape: [3, 5, 2] },
  forward: summed(1),
});

export const cases: readonly Case[] = [
  ...layoutCases,
  ...lengthCases,
  ...widthCases,
  ...partCases,
  ...stridedParts,
  manyOutputs,
  ...large,
  ...emptyCases,
  ...specialCases,
  ...far,
  manyTies,
  offset,
  ...argmaxCases,
  backwardAlone,
];

export const room: Room = {
  name: "reduce",
  ops: ops as readonly Op[],
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: elements(call.inputs[0]?.shape ?? []) }),
};
