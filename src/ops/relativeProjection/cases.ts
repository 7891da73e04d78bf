import { elements, type Shape } from "../../op.ts";
import { type Case, constant, defineCase, type Fill, minimalBytes, normal, type Room, summed, type Tolerance } from "../../testing/cases.ts";
import { columns, ops, project, range, statistics, statisticsBackward, top } from "./op.ts";
import { COLUMNS, SMALL_TILE, TILE } from "./plan.ts";
import { DISTANCES, hasNorms, isDistance, type Kind, PRODUCTS, type ProjectionAttrs } from "./reference.ts";

export const KINDS: readonly Kind[] = [...PRODUCTS, ...DISTANCES];

/** Means and positive deviations of [2, d]. */
const given: Fill = (random, i, count) => (i < count / 2 ? random.normal() : 0.5 + random.uniform());

const forwardOf = (similarity: Kind, d: number): Tolerance => {
  const { relative, absolute, reason } = summed(d + 1);
  if (similarity === "angular") return { relative, absolute, reason: `${reason}; arccos magnifies by 1 / √(1 − cos²), a few times` };
  if (similarity === "lp") return { relative: relative + 4e-6, absolute, reason: `${reason}; WGSL's log2 and exp2 are off by 2^-21, times p` };
  return { relative, absolute, reason: `${reason}, of standardised numbers` };
};
/** Sums over the other side's rows, of weights that hold the result and its own error. */
const backwardOf = (similarity: Kind, terms: number): Tolerance => {
  const { relative, absolute, reason } = summed(terms);
  if (similarity === "angular")
    return { relative: 4 * relative, absolute: 1e-5, reason: `${reason}; weights 1 / √(1 − cos²), and their errors, a few times larger` };
  if (similarity === "lp") return { relative: relative + 1e-5, absolute, reason: `${reason}; WGSL's log2 and exp2 are off by 2^-21, times p` };
  return { relative, absolute, reason: `${reason}, of results and norms that have an error of their own` };
};

interface Variant extends Partial<Omit<Case, "op" | "attrs" | "inputs">> {
  readonly standardised?: boolean;
  readonly p?: number;
  readonly x?: Fill;
  readonly anchors?: Fill;
  readonly statistics?: Fill;
}

const projection = (name: string, similarity: Kind, B: number, K: number, d: number, variant: Variant = {}): Case => {
  const { standardised = false, p = similarity === "lp" ? 3 : 2, x, anchors, statistics: fill = given, ...more } = variant;
  const attrs: ProjectionAttrs = { similarity, standardised, through: "given", scale: true };
  return defineCase({
    name: `${name}, ${similarity} ${B}x${d} on ${K}${standardised ? ", standardised" : ""}`,
    op: project(similarity),
    inputs: [
      { shape: [B, d], fill: x ?? normal() },
      { shape: [K, d], fill: anchors ?? normal() },
      ...(standardised ? [{ shape: [2, d], fill }] : []),
    ],
    attrs,
    scalars: { p },
    forward: forwardOf(similarity, d),
    backward: backwardOf(similarity, B + K),
    ...(hasNorms(similarity) ? { outputs: [0] } : {}),
    finiteDifferences: similarity === "l1" || similarity === "linf" ? { step: 1e-6, tolerance: 1e-4 } : { tolerance: 1e-5 },
    ...more,
  });
};

const everyKind = (make: (similarity: Kind) => Case | readonly Case[]): Case[] => KINDS.flatMap(make);

const small = everyKind((similarity) => [
  projection("tiny", similarity, 2, 3, 4),
  projection("tiny", similarity, 2, 3, 4, { standardised: true }),
  projection("odd", similarity, 5, 7, 11, { standardised: true }),
  projection("one of each", similarity, 1, 1, 5),
  projection("no rows", similarity, 0, 3, 4, { standardised: true }),
  projection("more steps than one", similarity, 9, 6, 37),
]);

/** Around the tile and its half, in rows, anchors and features. */
const around = (n: number): number[] => [n - 1, n, n + 1];
const edges = [
  ...[SMALL_TILE, TILE]
    .flatMap(around)
    .flatMap((size) => [
      projection("edge", "cosine", size, 5, 6, { standardised: true }),
      projection("edge", "cosine", 5, size, 6),
      projection("edge", "l2", 5, 6, size, { standardised: true }),
      projection("edge", "cosine", 3, 4, size, { standardised: true }),
    ]),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 31, 33].flatMap((size) => [
    projection("vectors", "cosine", 13, size, 19),
    projection("vectors", "inner", size, 33, 17, { standardised: true }),
    projection("vectors", "scaledInner", 7, 9, size),
    projection("vectors", "l1", 13, size, 7, { standardised: true }),
    projection("vectors", "l2", size, 3, 9),
  ]),
  projection("no features", "inner", 3, 4, 0),
  projection("no features", "cosine", 3, 4, 0),
  projection("no features", "l2", 3, 4, 0),
  projection("large tiles", "cosine", 11 * TILE + 3, 12 * TILE - 3, 21, {
    standardised: true,
    large: true,
    finiteDifferences: { off: "the gradient of many rows is that of few" },
  }),
  projection("large tiles", "l1", 11 * TILE + 3, 12 * TILE - 3, 5, {
    standardised: true,
    large: true,
    finiteDifferences: { off: "the gradient of many rows is that of few" },
  }),
];

/** Blocks of features, of anchors and of rows of the CPU. */
const blocks = [
  ...[511, 512, 513].map((d) => projection("blocks of features", "cosine", 9, 10, d, { standardised: true })),
  projection("blocks of features", "l2", 9, 10, 1030, { standardised: true }),
  projection("blocks of features", "linf", 9, 10, 1030),
  ...around(960).map((rows) => projection("blocks of rows", "cosine", rows, 3, 5, { large: true })),
  ...around(3072).map((rows) => projection("blocks of anchors", "cosine", 3, rows, 5, { large: true })),
  ...around(3072).map((d) => projection("blocks of features", "angular", 3, 4, d, { standardised: true, large: true })),
  projection("blocks of rows", "l1", 1030, 3, 5, { large: true }),
  projection("blocks everywhere", "cosine", 1000, 530, 600, {
    standardised: true,
    large: true,
    finiteDifferences: { off: "the gradient of many rows is that of few" },
  }),
];

/** Row 1 is zero, or becomes it; feature 2 has no deviation. */
const zeroRow =
  (d: number, values?: Fill): Fill =>
  (random, i, count) => {
    const value = (values ?? normal())(random, i, count);
    return Math.floor(i / d) === 1 ? 0 : value;
  };
const noDeviation: Fill = (random, i, count) => (i === count / 2 + 2 ? 0 : given(random, i, count));
const noDerivative = { off: "a vector of zeros has no direction, a distance of zero no gradient: both are taken as 0" } as const;
const degenerate = everyKind((similarity) => [
  projection("a feature without deviation", similarity, 4, 5, 6, {
    standardised: true,
    statistics: noDeviation,
    finiteDifferences: { off: "its deviation is not differentiable at 0" },
  }),
  projection("rows of zeros", similarity, 4, 5, 6, {
    x: zeroRow(6),
    anchors: zeroRow(6),
    finiteDifferences: noDerivative,
    forward: { ...forwardOf(similarity, 6), absolute: 2e-6 },
  }),
]);

/** Powers that the CPU takes by multiplications, and others; edges of its vectors and blocks. */
const powers = [1.5, 2.5, 3, 3.5, 4, 5, 6, 7].flatMap((p) => [
  projection(`power ${p}`, "lp", 4, 5, 6, { p }),
  projection(`power ${p}`, "lp", 13, 33, 19, { p, standardised: true }),
  projection(`power ${p}, equal rows`, "lp", 4, 5, 6, { p, x: zeroRow(6), anchors: zeroRow(6), finiteDifferences: noDerivative }),
]);

const far = [
  projection("means far from 0", "cosine", 6, 7, 40, {
    standardised: true,
    x: (random) => 1000 + random.normal(),
    anchors: (random) => 1000 + random.normal(),
    statistics: (_, i, count) => (i < count / 2 ? 1000 : 1),
    finiteDifferences: { off: "a step relative to the entries is too long" },
  }),
];

const statisticsCase = (name: string, n: number, d: number, scale: boolean, fill: Fill = normal(), more: Partial<Case> = {}): Case =>
  defineCase({
    name: `${name}, ${n}x${d}${scale ? "" : ", means alone"}`,
    op: statistics,
    inputs: [{ shape: [n, d], fill }],
    attrs: { scale },
    forward: { relative: 4e-7, absolute: 1e-7, reason: "Welford's update of distances from the first row: a few roundings, averaged" },
    backward: { relative: 1e-6, absolute: 1e-7, reason: "standardised numbers, from rounded statistics" },
    finiteDifferences: { tolerance: 1e-5 },
    ...more,
  });
const statisticsCases = [
  ...[1, 2, 15, 16, 17, 33, 300].map((n) =>
    statisticsCase("statistics", n, 5, true, normal(), n === 1 ? { finiteDifferences: { off: "a deviation of 0" } } : {}),
  ),
  ...[1, 4, COLUMNS - 1, COLUMNS, COLUMNS + 1, 31, 32, 33, 63, 65, 130].map((d) => statisticsCase("statistics", 9, d, true)),
  statisticsCase("statistics", 9, 5, false),
  statisticsCase("statistics of nothing", 3, 0, true),
  statisticsCase("statistics of constants", 7, 3, true, constant(0.1), {
    finiteDifferences: { off: "a deviation of 0" },
    invariants: ({ outputs: [result] }) => {
      for (let i = 3; i < 6; i++) if (result[i] !== 0) throw new Error(`a constant has deviation ${result[i]}`);
    },
  }),
  statisticsCase("statistics far from 0", 200, 6, true, (random) => 1000 + random.normal(), {
    forward: { relative: 4e-7, absolute: 1e-7, reason: "the same, relative to the mean" },
    backward: { relative: 1e-4, absolute: 1e-6, reason: "the mean is a float32 at 1000, and standardised numbers are seen to 3e-5" },
    finiteDifferences: { off: "a step relative to the entries is too long" },
  }),
  statisticsCase("statistics of many rows", 5000, 40, true, normal(), {
    large: true,
    finiteDifferences: { off: "the gradient of many rows is that of few" },
  }),
];

const columnsCase = (B: number, K: number, d: number, large = false): Case =>
  defineCase({
    name: `gradient of statistics, ${B} and ${K} rows of ${d}`,
    op: columns,
    inputs: [{ shape: [B, d] }, { shape: [B, d] }, { shape: [K, d] }, { shape: [K, d] }, { shape: [2, d], fill: noDeviation }],
    attrs: {},
    forward: summed((B + K) / 4),
    ...(large ? { large } : {}),
  });
const columnsCases = [
  columnsCase(5, 3, 6),
  columnsCase(0, 1, 6),
  columnsCase(40, 17, COLUMNS + 1),
  columnsCase(2, 3, 130),
  columnsCase(255, 257, 9),
  columnsCase(3000, 700, 70, true),
];
const spread = [true, false].flatMap((onto) =>
  [
    [3, 5],
    [40, 17],
  ].map(([n, d]) =>
    defineCase({
      name: `back through statistics, ${n}x${d}${onto ? ", onto another gradient" : ""}`,
      op: statisticsBackward,
      inputs: [{ shape: [2, d] }, { shape: [n, d] }, { shape: [2, d], fill: noDeviation }, ...(onto ? [{ shape: [n, d] }] : [])],
      attrs: { scale: n === 3, onto },
      forward: summed(4),
    }),
  ),
);

/** Around the rows of a workgroup, the anchors of a tile, and the blocks of the CPU. */
const topCase = (name: string, similarity: Kind, B: number, K: number, d: number, most: number, variant: Variant = {}): Case => {
  const { inputs, scalars, forward, ...entry } = projection(name, similarity, B, K, d, variant);
  return defineCase({
    name: `top ${most}: ${entry.name}`,
    op: top,
    inputs,
    attrs: { similarity, standardised: variant.standardised ?? false, most },
    ...(scalars ? { scalars } : {}),
    forward,
    ...(variant.large ? { large: true } : {}),
  });
};
const tops = [
  ...everyKind((similarity) => [topCase("some", similarity, 5, 9, 6, 3), topCase("all", similarity, 4, 7, 5, 7, { standardised: true })]),
  ...around(SMALL_TILE).flatMap((size) => [
    topCase("rows", "cosine", size, 40, 6, 5),
    topCase("anchors", "l2", 3, size, 6, 4, { standardised: true }),
  ]),
  topCase("no rows", "cosine", 0, 4, 3, 2),
  topCase("one anchor", "cosine", 3, 1, 4, 1),
  topCase("equal ones, the first of them", "cosine", 3, 70, 5, 6, { anchors: (_, i) => (((i % 5) * ((Math.floor(i / 5) % 3) + 1)) % 7) + 1 }),
  topCase("blocks", "cosine", 1000, 1030, 12, 9, { standardised: true, large: true }),
  topCase("blocks of anchors", "l1", 5, 3100, 4, 20, { large: true }),
];

/** About a third of the similarities of normal rows of six features. */
const LEAST: Readonly<Record<Kind, number>> = {
  ...{ cosine: 0.2, angular: 0.55, inner: 1, scaledInner: 0.4 },
  ...{ l1: -6, l2: -3, linf: -1.8, lp: -2.3 },
};
const rangeCase = (
  name: string,
  similarity: Kind,
  B: number,
  K: number,
  d: number,
  most: number,
  { least = LEAST[similarity], ...variant }: Variant & { readonly least?: number } = {},
): Case => {
  const { inputs, scalars, forward, ...entry } = projection(name, similarity, B, K, d, variant);
  return defineCase({
    name: `from ${least} on, room for ${most}: ${entry.name}`,
    op: range,
    inputs,
    attrs: { similarity, standardised: variant.standardised ?? false, most },
    scalars: { p: 2, ...scalars, least },
    forward,
    ...(variant.large ? { large: true } : {}),
  });
};
const ranges = [
  ...everyKind((similarity) => [
    rangeCase("more than there is room for", similarity, 5, 9, 6, 2),
    rangeCase("some", similarity, 4, 7, 6, 7, { standardised: true }),
  ]),
  ...around(SMALL_TILE).flatMap((size) => [
    rangeCase("rows", "cosine", size, 40, 6, 12),
    rangeCase("anchors", "l2", 3, size, 6, 4, { standardised: true }),
  ]),
  rangeCase("no rows", "cosine", 0, 4, 3, 2),
  rangeCase("none", "cosine", 3, 40, 6, 3, { least: 2 }),
  rangeCase("all", "l1", 3, 70, 6, 70, { least: -1e9 }),
  rangeCase("a bound that is met", "inner", 3, 20, 4, 5, { least: 4, x: (_, i) => i % 3, anchors: (_, i) => (i % 7) - 2 }),
  rangeCase("blocks", "cosine", 1000, 1030, 12, 9, { standardised: true, large: true, least: 0.7 }),
  rangeCase("blocks of anchors", "l1", 5, 3100, 4, 20, { large: true, least: -1 }),
];

export const cases: readonly Case[] = [
  ...small,
  ...edges,
  ...blocks,
  ...degenerate,
  ...powers,
  ...far,
  ...statisticsCases,
  ...columnsCases,
  ...spread,
  ...tops,
  ...ranges,
];

const size = (shape: Shape): number => elements(shape);

export const room: Room = {
  name: "relativeProjection",
  ops,
  cases,
  cost: (call) => {
    const [a, b] = call.inputs;
    const rows = call.op.name === "relativeProjection" ? size(a.shape) * b.shape[0] : size(a.shape);
    const operations = isDistance((call.attrs as unknown as ProjectionAttrs).similarity) ? 3 * rows : 2 * rows;
    return { bytes: minimalBytes(call), operations };
  },
};
