import { elements, type Op } from "../../op.ts";
import { type Case, defineCase, type Fill, integers, minimalBytes, normal, type Room, type Tolerance, values } from "../../testing/cases.ts";
import { backward, forward, ops } from "./op.ts";
import { TERMS_PER_THREAD, WHOLE_ELEMENTS } from "./plan.ts";
import type { Reduction } from "./reference.ts";

const EXPONENTIAL: Tolerance = {
  relative: 4e-6,
  absolute: 2e-6,
  reason: "WGSL's exp has (3 + 2|x|) ulp, and the exponents reach 10; its log has 2⁻²¹ absolute",
};

interface Variant {
  readonly reduction?: Reduction;
  readonly smoothing?: number;
  readonly logits?: Fill;
  readonly labels?: Fill;
}

const entropyCase = (name: string, batch: number, classes: number, variant: Variant = {}, more: Partial<Case> = {}): Case => {
  const { reduction = "mean", smoothing = 0, logits = normal(2), labels = integers(classes) } = variant;
  return defineCase({
    name: `${reduction} ${name}`,
    op: forward,
    inputs: [
      { shape: [batch, classes], fill: logits },
      { shape: [batch], dtype: "int32" as const, fill: labels },
    ],
    attrs: { reduction, smooth: smoothing !== 0 },
    scalars: { smoothing },
    outputs: [0],
    forward: EXPONENTIAL,
    ...more,
  });
};

const reductions = ["mean", "sum", "none"] as const;
const small = reductions.flatMap((reduction) =>
  [
    [0, 3],
    [1, 1],
    [1, 2],
    [4, 10],
    [7, 5],
    [64, 10],
  ].flatMap(([batch, classes]) =>
    [0, 0.1].map((smoothing) => entropyCase(`${batch}x${classes}, smoothing ${smoothing}`, batch, classes, { reduction, smoothing })),
  ),
);
const widths = [
  TERMS_PER_THREAD,
  TERMS_PER_THREAD + 1,
  2 * TERMS_PER_THREAD + 1,
  15,
  16,
  17,
  31,
  33,
  63,
  65,
  127,
  129,
  255,
  257,
  1023,
  1024,
  1025,
].map((classes, i) => entropyCase(`of ${classes} classes`, 3, classes, { reduction: reductions[i % 3], smoothing: i % 2 === 0 ? 0 : 0.2 }));
const batches = [15, 16, 17, 255, 256, 257].map((batch) => entropyCase(`of ${batch} rows`, batch, 3));
const offLarge = { finiteDifferences: { off: "the gradient of a large batch is that of a small one" } } as const;
const thresholds = [WHOLE_ELEMENTS / 16 - 1, WHOLE_ELEMENTS / 16, WHOLE_ELEMENTS / 16 + 1].flatMap((batch) =>
  [0, 0.1].map((smoothing) => entropyCase(`at the end of one workgroup, ${batch}x16, smoothing ${smoothing}`, batch, 16, { smoothing }, offLarge)),
);
const wide = entropyCase("of few rows and many classes", 2, 20001, { reduction: "none" }, offLarge);
const large = entropyCase("of a large batch", 4096, 100, { reduction: "sum" }, { ...offLarge, large: true });

const noDifferences = { finiteDifferences: { off: "infinities and NaN have no derivative; the convention is PyTorch's" } } as const;
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
/** Rows: −inf beside the label, −inf at the label, all −inf, +inf, NaN, as far apart as floats go. */
const broken = values([1, -inf, 2, -inf, 1, 2, -inf, -inf, -inf, inf, 1, 2, nan, 1, 2, 3e38, -3e38, 0]);
const special = (["none", "mean"] as const).map((reduction) =>
  entropyCase("of rows with infinities and NaN", 6, 3, { reduction, logits: broken, labels: values([0]) }, noDifferences),
);
const confident = [-50, 50, 1e4].flatMap((shift) =>
  [0, 0.1].map((smoothing) =>
    entropyCase(
      `around ${shift}, smoothing ${smoothing}`,
      5,
      6,
      { smoothing, reduction: "none", logits: (random, i) => shift + 8 * random.normal() + (i % 6 === 2 ? 20 : 0), labels: values([2]) },
      {
        forward: {
          relative: 4e-6,
          absolute: 2e-6 + (smoothing > 0 ? 3e-7 * Math.abs(shift) : 0),
          reason: "with smoothing, the mean logit is rounded at the size of the logits",
        },
        finiteDifferences: shift > 1000 ? { off: "a step relative to the entries is too long" } : { tolerance: 1e-5 },
      },
    ),
  ),
);
const one = entropyCase("all of the target smoothed", 4, 5, { smoothing: 1 });

const backwardAlone = defineCase({
  name: "backward without the forward op",
  op: backward,
  inputs: [
    { shape: [] },
    { shape: [2, 3], fill: values([0, 1, 2, 2, 1, 0]) },
    { shape: [2], dtype: "int32" as const, fill: values([0, 2]) },
    { shape: [2, 2], fill: values([2, 1.5032147]) },
  ],
  attrs: { reduction: "sum" as const, smooth: false },
  scalars: { smoothing: 0 },
  forward: EXPONENTIAL,
});

export const cases: readonly Case[] = [...small, ...widths, ...batches, ...thresholds, wide, large, ...special, ...confident, one, backwardAlone];

export const room: Room = {
  name: "crossEntropy",
  ops: ops as readonly Op[],
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: 4 * elements(call.inputs[0].shape) }),
};
