import { elements, type Shape } from "../../op.ts";
import { type Case, constant, defineCase, type Fill, minimalBytes, type Room, summed, type Tolerance, uniform } from "../../testing/cases.ts";
import { backward, fixed, forward, ops, track } from "./op.ts";
import { NARROW_INNER, PART_TERMS } from "./plan.ts";
import { type NormAttrs, termsOf, type View } from "./reference.ts";

const layer = (rows: number, length: number): View => ({ outer: 1, groups: rows, inner: length, by: "element", channels: 0 });
const instance = (samples: number, channels: number, places: number): View => ({
  outer: 1,
  groups: samples * channels,
  inner: places,
  by: "channel",
  channels,
});
const batch = (samples: number, channels: number, places: number): View => ({
  outer: samples,
  groups: channels,
  inner: places,
  by: "channel",
  channels,
});

const shapeOf = ({ outer, groups, inner }: View): Shape => [outer, groups, inner];
const affineShape = ({ by, inner, channels }: View): Shape => [by === "element" ? inner : channels];

/** Errors are relative to the largest entry; the derivative of a short row is a difference of terms up to 1/√eps ≈ 300 that cancel. */
const gradientTolerance = (view: View): Tolerance => {
  const terms = Math.max(termsOf(view), elements(shapeOf(view)) / Math.max(1, elements(affineShape(view))));
  return { ...summed(terms), relative: 4e-6 + 2.4e-7 * Math.sqrt(terms), absolute: 2e-5 };
};

interface Options {
  readonly weight?: boolean;
  readonly bias?: boolean;
  readonly fill?: Fill;
  readonly forward?: Tolerance;
  readonly backward?: Tolerance;
  readonly statistics?: boolean;
  readonly off?: string;
}

/** Every normalised group has mean 0 and a variance of at most 1. */
const normalized: NonNullable<Case["invariants"]> = ({ outputs: [y], call }) => {
  const { outer, groups, inner, weight, bias } = call.attrs as NormAttrs;
  const terms = outer * inner;
  if (weight || bias || terms === 0) return;
  for (let b = 0; b < groups; b++) {
    let [sum, squares] = [0, 0];
    for (let k = 0; k < terms; k++) {
      const value = y[(Math.floor(k / inner) * groups + b) * inner + (k % inner)];
      sum += value;
      squares += value * value;
    }
    if (!(Math.abs(sum) <= 1e-3 * terms && squares <= 1.001 * terms))
      throw new Error(`group ${b} has mean ${sum / terms} and mean square ${squares / terms}`);
  }
};

const forwardCase = (name: string, view: View, options: Options = {}): Case => {
  const { weight = false, bias = false, fill, statistics = false, off } = options;
  const parameters = [weight, bias].filter((there) => there).map(() => ({ shape: affineShape(view), gradient: !statistics }));
  return defineCase({
    name,
    op: forward,
    inputs: [{ shape: shapeOf(view), ...(fill && { fill }), gradient: !statistics }, ...parameters],
    attrs: { ...view, weight, bias },
    scalars: { eps: 1e-5 },
    forward: options.forward ?? {
      ...summed(termsOf(view)),
      relative: 4e-6,
      reason: "float32 rounding of the mean, of the deviation and of 1/√variance",
    },
    backward: options.backward ?? gradientTolerance(view),
    outputs: statistics ? [0, 1, 2] : [0],
    ...(off ? { finiteDifferences: { off } } : {}),
    invariants: normalized,
  });
};

const both = { weight: true, bias: true };

/** Vector-width tails, and the steps at which more threads share a row. */
const lengths = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 257, 1023, 1025].map((length) =>
  forwardCase(`layer, rows of ${length}`, layer(3, length), both),
);

const layers = [
  forwardCase("layer without weight and bias", layer(5, 12)),
  forwardCase("layer with weight alone", layer(5, 12), { weight: true }),
  forwardCase("layer with bias alone", layer(5, 12), { bias: true }),
  forwardCase("layer, statistics", layer(7, 19), { statistics: true }),
  forwardCase("layer, one row of one element", layer(1, 1), both),
  forwardCase("layer, no rows", layer(0, 6), both),
  forwardCase("layer, empty rows", layer(3, 0), { ...both, statistics: true }),
  forwardCase("layer, 301 rows of 5", layer(301, 5), both),
  forwardCase("layer, 70 rows of 40", layer(70, 40), both),
];

const instances = [
  forwardCase("instance 2x3x35", instance(2, 3, 35), both),
  forwardCase("instance 1x1x2", instance(1, 1, 2), both),
  forwardCase("instance without weight", instance(3, 2, 9)),
  forwardCase("instance with bias alone", instance(3, 2, 9), { bias: true }),
  forwardCase("instance, no samples", instance(0, 3, 4), both),
  forwardCase("instance, no places", instance(2, 3, 0), { ...both, statistics: true }),
];

const batches = [
  forwardCase("batch 4x3x25", batch(4, 3, 25), both),
  forwardCase("batch 5x2x16, statistics", batch(5, 2, 16), { ...both, statistics: true }),
  forwardCase("batch, features only", batch(9, 5, 1), both),
  forwardCase("batch, one feature", batch(9, 1, 1), both),
  ...[1, 3, 15, 17, 33, 40].map((channels) =>
    forwardCase(`batch, 37 samples of ${channels} features`, batch(37, channels, 1), { ...both, statistics: channels === 17 }),
  ),
  forwardCase("batch without weight", batch(4, 3, 6)),
  ...[NARROW_INNER - 1, NARROW_INNER, NARROW_INNER + 1].map((places) => forwardCase(`batch with ${places} places`, batch(6, 5, places), both)),
  forwardCase("batch of one sample", batch(1, 4, 6), both),
  forwardCase("batch, no samples", batch(0, 4, 6), { ...both, statistics: true }),
];

const slow = "hundreds of thousands of evaluations; the same code runs at smaller sizes";
/** One below, at and above the number of terms at which several workgroups, or blocks of native code, share a group. */
const thresholds = [PART_TERMS - 1, PART_TERMS, PART_TERMS + 1].flatMap((terms) => [
  forwardCase(`layer, rows of ${terms}`, layer(2, terms), { ...both, off: slow }),
  forwardCase(`batch, ${terms} samples of one feature`, batch(terms, 1, 1), { ...both, off: slow }),
  forwardCase(`layer, ${terms} rows of one`, layer(terms, 1), { ...both, off: slow }),
]);

const parts = [
  forwardCase("batch in three parts", batch(40, 2, 961), { ...both, off: slow }),
  forwardCase("batch in three parts, statistics", batch(40, 2, 961), { statistics: true, off: slow }),
  forwardCase("features in three parts", batch(40003, 3, 1), { ...both, off: slow }),
  forwardCase("instance in two parts", instance(2, 2, 20000), { ...both, off: slow }),
];

const far: Fill = (random) => 1000 + random.normal();
const FAR: Tolerance = {
  relative: 1e-5,
  absolute: 0,
  reason: "inputs near 1000 are multiples of 6e-5; differences from the group's first element are exact, so no more is lost",
};
const FAR_BACK: Tolerance = {
  relative: 2e-4,
  absolute: 1e-5,
  reason: "the mean is stored in float32: off by up to 3e-5 at 1000 with a standard deviation of 1",
};
const outlier: Fill = (random, index) => (index === 0 ? 1e5 : random.normal());
const numerics = [
  forwardCase("layer, mean 1000", layer(3, 500), { fill: far, forward: FAR, backward: FAR_BACK }),
  forwardCase("batch, mean 1000", batch(8, 2, 60), { fill: far, forward: FAR, backward: FAR_BACK }),
  forwardCase("batch in parts, mean 1000", batch(40, 1, 961), { fill: far, forward: FAR, backward: FAR_BACK, off: slow }),
  forwardCase("features, mean 1000", batch(64, 3, 1), { fill: far, forward: FAR, backward: FAR_BACK }),
  forwardCase("layer, statistics at mean 1000", layer(2, 300), { fill: far, statistics: true }),
  forwardCase("layer, first element far off", layer(1, 1000), { fill: outlier, off: "entries of very different size" }),
  forwardCase("layer, constant rows", layer(3, 33), { ...both, fill: constant(7), off: "differences divide by √eps", statistics: true }),
  forwardCase("batch, constant channels", batch(3, 4, 9), { ...both, fill: constant(-2.5), off: "differences divide by √eps" }),
];

const fixedCase = (name: string, view: View, { weight = false, bias = false }: Options = {}): Case =>
  defineCase({
    name,
    op: fixed,
    inputs: [
      { shape: shapeOf(view) },
      { shape: [view.groups], gradient: false },
      { shape: [view.groups], gradient: false, fill: uniform(0.2, 2) },
      ...[weight, bias].filter((there) => there).map(() => ({ shape: affineShape(view) })),
    ],
    attrs: { ...view, weight, bias },
    scalars: { eps: 1e-5 },
    forward: { relative: 1e-6, absolute: 1e-6, reason: "a few float32 roundings" },
    backward: gradientTolerance(view),
  });

const fixedCases = [
  fixedCase("fixed, batch 4x3x25", batch(4, 3, 25), both),
  fixedCase("fixed, features", batch(9, 35, 1), both),
  fixedCase("fixed, without weight", batch(3, 2, 7)),
  fixedCase("fixed, weight alone", batch(3, 2, 7), { weight: true }),
  fixedCase("fixed, bias alone", batch(3, 2, 7), { bias: true }),
  fixedCase("fixed, no samples", batch(0, 3, 4), both),
  fixedCase("fixed, by element", layer(4, 19), both),
];

const trackCase = (channels: number): Case =>
  defineCase({
    name: `track ${channels} channels`,
    op: track,
    inputs: [0, 1, 2, 3].map((i) => ({ shape: [channels], fill: uniform(i % 2, 2) })),
    attrs: { terms: 12 },
    scalars: { momentum: 0.1 },
    forward: { relative: 4e-7, absolute: 1e-7, reason: "a few float32 roundings" },
  });

const backwardAlone = defineCase({
  name: "backward without the forward op",
  op: backward,
  inputs: [{ shape: [1, 3, 8] }, { shape: [1, 3, 8] }, { shape: [3] }, { shape: [3], fill: uniform(0.5, 2) }],
  attrs: { ...layer(3, 8), weight: false, fixed: false },
  scalars: { eps: 1e-5 },
  forward: { relative: 2e-6, absolute: 1e-6, reason: "a few float32 roundings" },
});

export const cases: readonly Case[] = [
  ...lengths,
  ...layers,
  ...instances,
  ...batches,
  ...thresholds,
  ...parts,
  ...numerics,
  ...fixedCases,
  ...[1, 16, 257].map(trackCase),
  backwardAlone,
];

export const room: Room = {
  name: "norm",
  ops,
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: 8 * elements(call.inputs[0].shape) }),
};
