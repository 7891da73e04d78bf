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
import { ops, plain, recorded } from "./op.ts";
import { RESIDENT } from "./plan.ts";
import { BLOCK, batchOf } from "./reference.ts";

const forwardTolerance = (scale: number, n: number): Tolerance => ({
  relative: 0,
  absolute: (scale <= 5 ? 1e-6 : 5e-6) * Math.max(1, n / 256),
  reason: "rounding of logits + potentials grows with the logits, and that of sums with n",
});

const gradientTolerance = (scale: number): Tolerance => ({
  relative: scale <= 10 ? 5e-6 : scale <= 20 ? 5e-5 : 5e-4,
  absolute: 1e-6,
  reason: "sharp matrices are ill-conditioned; what is left of the cotangent after cancellation has the rounding of the cotangent",
});

/** Entries are shares, and the last half-step makes the columns sum to 1 whatever came before. */
const invariants: NonNullable<Case["invariants"]> = ({ outputs: [p], call }) => {
  const { n, count } = batchOf(call.inputs[0].shape);
  for (let b = 0; b < count; b++) {
    for (let j = 0; j < n; j++) {
      let total = 0;
      for (let i = 0; i < n; i++) {
        const entry = p[(b * n + i) * n + j];
        if (!(entry >= 0)) throw new Error(`entry (${i}, ${j}) of matrix ${b} is ${entry}`);
        total += entry;
      }
      if (!(Math.abs(total - 1) <= 1e-6 * Math.max(1, n / 256))) throw new Error(`column ${j} of matrix ${b} sums to ${total}`);
    }
  }
};

interface Settings {
  readonly batch?: readonly number[];
  readonly iterations?: number;
  readonly temperature?: number;
  readonly scale?: number;
  readonly fill?: Fill;
  readonly large?: boolean;
}

const sinkhornCase = (name: string, n: number, settings: Settings = {}): Case => {
  const { batch = [3], iterations = 20, temperature = 1, scale = 1, fill = normal(scale), large } = settings;
  const effective = scale / temperature;
  const logits: CaseInput = { shape: [...batch, n, n], fill };
  return defineCase({
    name,
    op: recorded,
    inputs: [logits],
    attrs: { iterations, history: true },
    scalars: { temperature },
    forward: forwardTolerance(effective, n),
    backward: gradientTolerance(effective),
    outputs: [0],
    finiteDifferences:
      n > 33
        ? { off: "the formula does not depend on n, and smaller n are checked" }
        : { step: scale > 10 ? 1e-7 : 1e-5, tolerance: scale > 10 ? 1e-4 : 1e-6 },
    invariants,
    ...(large ? { large } : {}),
  });
};

/** Around every vector width, every threshold of the plan and of the native kernels. */
const around = RESIDENT.flatMap(({ n }) => [n - 1, n, n + 1]);
const sides = [...new Set([1, 2, 3, 5, 15, 16, 17, 24, 25, 31, 32, 33, 40, 48, 49, 63, 64, 65, 100, 128, ...around])].sort((a, b) => a - b);

const bySide = sides.map((n) => sinkhornCase(`n=${n}`, n, { iterations: n > 100 ? 6 : 20 }));
const byIterations = [1, 2, 3, BLOCK, BLOCK + 1, BLOCK + 2, 2 * BLOCK + 1, 2 * BLOCK + 2, 100].flatMap((iterations) =>
  [4, 13, 37].map((n) => sinkhornCase(`n=${n} T=${iterations}`, n, { iterations, scale: 3 })),
);
const byScale = [0.1, 5, 20, 100].flatMap((scale) =>
  [2, 4, 7, 16, 30, 64, 100].map((n) => sinkhornCase(`n=${n} logits of deviation ${scale}`, n, { scale })),
);
const byTemperature = [0.25, 0.3, 4].flatMap((temperature) =>
  [4, 25].map((n) => sinkhornCase(`n=${n} temperature ${temperature}`, n, { temperature })),
);
const byBatch = [[], [0], [1], [2], [5, 13], [67]].flatMap((batch) =>
  [3, 8, 20].map((n) => sinkhornCase(`n=${n} batch [${batch}]`, n, { batch, iterations: 5 })),
);

const streamed = [129, 160, 257].flatMap((n) =>
  [1, 2, BLOCK + 2].map((iterations) =>
    sinkhornCase(`n=${n} T=${iterations} over several workgroups`, n, { batch: [2], iterations, scale: 5, large: n > 200 && iterations > 2 }),
  ),
);
const large = [196, 300, 1000].map((n) => sinkhornCase(`n=${n} large`, n, { batch: [], iterations: n > 500 ? 2 : 20, scale: 5, large: true }));

const special = [
  ...[1, 6, 20, 130].map((n) => sinkhornCase(`n=${n} constant logits`, n, { fill: constant(-7), iterations: 3 })),
  sinkhornCase("one-hot rows", 4, { fill: values([0, 9, 0, 0, 9, 0, 0, 0, 0, 0, 0, 9, 0, 0, 9, 0]), scale: 10 }),
  sinkhornCase("a shared favourite column", 5, { fill: (_, index) => (index % 5 === 2 ? 60 : 0.1 * (index % 7)), scale: 60 }),
  sinkhornCase("logits far from 0", 9, { fill: (random) => 1000 + random.normal(), scale: 100 }),
];

/** What is recorded is compared too, once without the backward pass and once with logits that need several blocks. */
const history = [4, 12, 21, 129].map((n) =>
  defineCase({
    name: `n=${n} the recorded scalings`,
    op: recorded,
    inputs: [{ shape: [2, n, n], gradient: false }],
    attrs: { iterations: BLOCK + 3, history: true },
    scalars: { temperature: 1 },
    forward: { relative: 3e-6, absolute: 1e-6, reason: "a few roundings in each of the sums behind a ratio" },
  }),
);
const withoutHistory = [1, 4, 10, 33, 64, 129].map((n) =>
  defineCase({
    name: `n=${n} without gradient`,
    op: plain,
    inputs: [{ shape: [3, n, n], gradient: false }],
    attrs: { iterations: 5, history: false },
    scalars: { temperature: 1 },
    forward: forwardTolerance(1, n),
    invariants,
  }),
);

export const cases: readonly Case[] = [
  ...bySide,
  ...byIterations,
  ...byScale,
  ...byTemperature,
  ...byBatch,
  ...streamed,
  ...large,
  ...special,
  ...history,
  ...withoutHistory,
];

export const room: Room = {
  name: "sinkhorn",
  ops,
  cases,
  cost: (call) => {
    const { n, count } = batchOf(call.inputs[0].shape);
    return { bytes: minimalBytes(call), operations: 4 * Number(call.attrs.iterations) * n * n * count };
  },
};
