import { elements } from "../../op.ts";
import {
  type Case,
  type CaseInput,
  constant,
  defineCase,
  type Fill,
  minimalBytes,
  normal,
  type Room,
  type Tolerance,
  values,
} from "../../testing/cases.ts";
import { forward, ops } from "./op.ts";
import { ENOUGH_WORKGROUPS, FEATURES_PER_THREAD } from "./plan.ts";
import { type HyperConnectionAttrs, positionsOf, sizesOf } from "./reference.ts";

const forwardTolerance = (d: number): Tolerance => ({
  relative: d > 0 ? 2e-6 : 0,
  absolute: 1e-6,
  reason: "entries are shares of 1, with a rounding of each division; the logits round before the softmax, and streams are summed over at most 8",
});

/** Of what an entry is when eps is most of a column: a small number that is known to the rounding of the logits, divided by a small sum. */
const sharpTolerance: Tolerance = {
  relative: 0,
  absolute: 4e-6,
  reason: "exp of -14, the logarithm of eps, has the rounding of its argument, and columns without a favourite divide by sums of such numbers",
};

/** `terms`: how many numbers the longest sum behind a gradient adds up, those over the features of a stream left out. */
const gradientTolerance = (deviation: number, iterations: number, d: number, terms: number): Tolerance => ({
  relative: (deviation <= 1 ? 2e-6 : deviation <= 5 ? 5e-6 : 5e-5) + 3e-8 * iterations,
  absolute: 4e-7 * Math.sqrt(Math.max(1, d) * terms),
  reason:
    "sharp matrices are ill-conditioned, and 2 T divisions round what passes through all of them; what is left of a cotangent of size √d, or of a sum of such numbers, after cancellation has the rounding of what cancelled",
});

/** Entries are shares; with the last half-step a column sums to s / (s + eps), whatever came before. */
const invariants: NonNullable<Case["invariants"]> = ({ outputs: [p], call }) => {
  const { n, m, count } = sizesOf({ inputs: call.inputs, attrs: call.attrs as HyperConnectionAttrs });
  for (let b = 0; b < count; b++) {
    for (let j = 0; j < m; j++) {
      let total = 0;
      for (let i = 0; i < n; i++) {
        const entry = p[(b * n + i) * m + j];
        if (!(entry > 0)) throw new Error(`entry (${i}, ${j}) of matrix ${b} is ${entry}`);
        total += entry;
      }
      if (!(total > 0.05 && total <= 1 + 1e-6)) throw new Error(`column ${j} of matrix ${b} sums to ${total}`);
    }
  }
};

interface Settings {
  readonly m?: number;
  readonly batch?: readonly number[];
  readonly iterations?: number;
  readonly eps?: number;
  readonly temperature?: number;
  readonly deviation?: number;
  readonly fill?: Fill;
  /** One for all matrices, or one per matrix. */
  readonly scale?: "shared" | "full";
  readonly bias?: "shared" | "full";
  /** Features of a stream. */
  readonly d?: number;
  readonly large?: boolean;
  readonly forward?: Tolerance;
  readonly finiteDifferences?: Case["finiteDifferences"];
  /** Inputs that want no gradient. */
  readonly constants?: readonly ("logits" | "scale" | "bias" | "streams")[];
}

const hyperCase = (name: string, n: number, settings: Settings = {}): Case => {
  const { m = n, batch = [3], iterations = 20, eps = 1e-6, temperature = 1, deviation = 1, fill = normal(deviation) } = settings;
  const { scale, bias, d, large, constants = [] } = settings;
  const wants = (input: NonNullable<Settings["constants"]>[number]) => (constants.includes(input) ? { gradient: false } : {});
  const inputs: CaseInput[] = [{ shape: [...batch, n, m], fill, ...wants("logits") }];
  if (scale) inputs.push({ shape: scale === "full" ? batch : [], fill: (random) => 0.5 + random.uniform(), ...wants("scale") });
  if (bias) inputs.push({ shape: bias === "full" ? [...batch, n, m] : [n, m], ...wants("bias") });
  if (d !== undefined) inputs.push({ shape: [...batch, m, d], ...wants("streams") });
  const effective = deviation / temperature;
  const summed = scale === "shared" || bias === "shared" ? elements(batch) : 1;
  const terms = Math.max(1, summed) * (scale ? n * m : 1);
  return defineCase({
    name,
    op: forward,
    inputs,
    attrs: { iterations, scale: scale !== undefined, bias: bias !== undefined, streams: d !== undefined },
    scalars: { temperature, eps },
    forward: settings.forward ?? (effective > 5 ? sharpTolerance : forwardTolerance(d ?? 0)),
    backward: gradientTolerance(effective, iterations, d ?? 0, terms),
    finiteDifferences: settings.finiteDifferences ?? { step: effective > 10 ? 1e-6 : 1e-5, tolerance: effective > 10 ? 1e-4 : 1e-6 },
    ...(d === undefined ? { invariants } : {}),
    ...(large ? { large } : {}),
  });
};

const sides = [1, 2, 3, 4, 5, 6, 7, 8];
const bySide = sides.flatMap((n) => [
  hyperCase(`n=${n}`, n),
  hyperCase(`n=${n} with everything, shared`, n, { scale: "shared", bias: "shared", d: 5, batch: [5] }),
  hyperCase(`n=${n} with everything, per matrix`, n, { scale: "full", bias: "full", d: 6, batch: [5] }),
]);
const rectangular = [
  [1, 8],
  [8, 1],
  [2, 4],
  [4, 3],
  [4, 5],
  [7, 6],
  [3, 8],
].flatMap(([n, m]) => [
  hyperCase(`${n}x${m}`, n, { m }),
  hyperCase(`${n}x${m} with everything`, n, { m, scale: "shared", bias: "full", d: 7, batch: [4] }),
]);

/** Around the widths of vectors and workgroups. */
const batches = [[], [0], [1], [2], [5, 13], [15], [16], [17], [31], [32], [33], [63], [64], [65], [67], [2, 64], [129]];
const byBatch = batches.flatMap((batch) => [
  hyperCase(`n=4 batch [${batch}]`, 4, { batch, iterations: 5 }),
  hyperCase(`n=6 batch [${batch}]`, 6, { batch, iterations: 2 }),
  hyperCase(`n=4 batch [${batch}] scaled and shifted`, 4, { batch, iterations: 3, scale: "full", bias: "shared" }),
  hyperCase(`n=4 batch [${batch}] with streams`, 4, { batch, iterations: 3, scale: "shared", bias: "full", d: 3 }),
]);

const byIterations = [1, 2, 3, 4, 5, 8, 9, 12, 13, 16, 17, 20, 24, 25, 30, 31, 100].flatMap((iterations) => [
  hyperCase(`n=4 T=${iterations}`, 4, { iterations, deviation: 2, batch: [5] }),
  hyperCase(`n=7 T=${iterations}`, 7, { iterations, deviation: 2, batch: [2] }),
  hyperCase(`n=4 T=${iterations} with streams`, 4, { iterations, scale: "shared", bias: "shared", d: 4, batch: [5] }),
]);
/** Around the iterations whose divisors fit beside the matrices with streams. */
const byHistory = [
  [4, 22],
  [4, 23],
  [4, 24],
  [7, 10],
  [7, 11],
  [7, 12],
].map(([n, iterations]) => hyperCase(`n=${n} T=${iterations} with streams and divisors`, n, { iterations, d: 4, batch: [2] }));
const manyIterations = [4, 8].map((n) => hyperCase(`n=${n} T=1000`, n, { iterations: 1000, batch: [2] }));

const byDeviation = [0.1, 5, 20].flatMap((deviation) =>
  [1e-6, 1e-3].flatMap((eps) =>
    [2, 4, 5, 8].map((n) => hyperCase(`n=${n} logits of deviation ${deviation}, eps ${eps}`, n, { deviation, eps, batch: [9] })),
  ),
);
const byEps = [1e-12, 1e-9, 0.1, 1].flatMap((eps) => [3, 8].map((n) => hyperCase(`n=${n} eps ${eps}`, n, { eps, iterations: 7 })));
const byTemperature = [0.3, 4].flatMap((temperature) => [
  hyperCase(`n=4 temperature ${temperature}`, 4, { temperature, scale: "full" }),
  hyperCase(`n=5 temperature ${temperature}`, 5, { temperature, bias: "shared" }),
]);

/** Every combination of operands, and gradients for some of them only. */
const present = [undefined, "shared", "full"] as const;
const operands = present.flatMap((scale) =>
  present.flatMap((bias) =>
    [undefined, 6].map((d) => {
      const name = `n=4 scale ${scale ?? "absent"}, bias ${bias ?? "absent"}, streams ${d ?? "absent"}`;
      return hyperCase(name, 4, { iterations: 4, batch: [2, 3], ...(scale && { scale }), ...(bias && { bias }), ...(d && { d }) });
    }),
  ),
);
const everything = { iterations: 4, batch: [6], scale: "shared", bias: "full", d: 9 } as const;
const partial = (
  [
    ["logits", "scale", "bias"],
    ["scale", "bias", "streams"],
    ["logits", "bias", "streams"],
    ["logits", "scale", "streams"],
    ["logits"],
    ["scale", "streams"],
    ["logits", "scale", "bias", "streams"],
  ] as const
).map((constants) => hyperCase(`no gradient of ${constants.join(", ")}`, 4, { ...everything, constants }));
const biasAlone = hyperCase("the gradient of bias alone, without a scale", 4, { bias: "shared", constants: ["logits"], batch: [5] });

/** Around the widths of vectors, and the numbers of features at which another number of threads shares a matrix. */
const features = [0, 1, 2, 3, 4, 5, 15, 16, 17, 32, 33, 63, 64, 65, 127, 128, 129, 130, 257].flatMap((d) =>
  [4, 7].map((n) => hyperCase(`n=${n} d=${d}`, n, { iterations: 3, d, batch: [3], scale: "shared" })),
);
const wide = [
  hyperCase("n=4 d=1280", 4, { d: 1280, batch: [5], scale: "shared", bias: "shared", finiteDifferences: { off: "smaller d are checked" } }),
  hyperCase("8x3 d=600", 8, { m: 3, d: 600, batch: [4], iterations: 2, finiteDifferences: { off: "smaller d are checked" } }),
  hyperCase("n=4 many matrices with streams", 4, { d: 9, batch: [1100], iterations: 2, finiteDifferences: { off: "fewer are checked" } }),
];
const manyWorkgroups = hyperCase("more matrices than workgroups", 1, {
  d: 128 * FEATURES_PER_THREAD,
  batch: [ENOUGH_WORKGROUPS + 1],
  iterations: 1,
  finiteDifferences: { off: "fewer are checked" },
});
const large = [
  hyperCase("n=4 many matrices", 4, {
    batch: [70_000],
    large: true,
    scale: "shared",
    bias: "shared",
    finiteDifferences: { off: "fewer are checked" },
  }),
  hyperCase("n=4 many matrices, wide", 4, { batch: [600], d: 640, large: true, finiteDifferences: { off: "fewer are checked" } }),
];

const special = [
  hyperCase("constant logits", 4, { fill: constant(-7) }),
  hyperCase("constant logits, n=6", 6, { fill: constant(3) }),
  hyperCase("one-hot rows", 4, { fill: values([0, 90, 0, 0, 90, 0, 0, 0, 0, 0, 0, 90, 0, 0, 90, 0]), deviation: 20 }),
  hyperCase("a shared favourite column", 5, { fill: (_, index) => (index % 5 === 2 ? 60 : 0.1 * (index % 7)), deviation: 20 }),
  hyperCase("logits far from 0", 4, {
    fill: (random) => 1000 + random.normal(),
    forward: { relative: 0, absolute: 5e-5, reason: "the softmax sees logits near 1000, exactly; what is compared is a difference of two of them" },
    finiteDifferences: { step: 1e-8, tolerance: 1e-5 },
  }),
  hyperCase("logits beyond the exponential's range", 4, {
    fill: values([1e30, -1e30, 0, 1, 200, -200, 0, 3e38, -3e38, 1, 2, 3, 1, 2, 4, 3]),
    deviation: 20,
    finiteDifferences: { off: "a step is lost in such numbers" },
  }),
];

export const cases: readonly Case[] = [
  ...bySide,
  ...rectangular,
  ...byBatch,
  ...byIterations,
  ...byHistory,
  ...manyIterations,
  ...byDeviation,
  ...byEps,
  ...byTemperature,
  ...operands,
  ...partial,
  biasAlone,
  ...features,
  ...wide,
  manyWorkgroups,
  ...large,
  ...special,
];

export const room: Room = {
  name: "hyperConnection",
  ops,
  cases,
  cost: (call) => {
    const attrs = call.attrs as HyperConnectionAttrs;
    const { n, m, count, d } = sizesOf({ inputs: call.inputs, attrs });
    const mixing = positionsOf(attrs).streams === undefined ? 0 : 2 * n * m * d;
    return { bytes: minimalBytes(call), operations: count * (4 * attrs.iterations * n * m + mixing) };
  },
};
