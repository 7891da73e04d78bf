import { type Case, constant, defineCase, integers, minimalBytes, type Room, values } from "../../testing/cases.ts";
import { forwardTolerance, invariants, type Settings, sinkhornCase } from "./case.ts";
import { BLOCK, type ForwardAttrs, orient, TINY } from "./geometry.ts";
import { ops, plain, recorded } from "./op.ts";
import { RESIDENT } from "./plan.ts";

const plainAttrs: ForwardAttrs = {
  iterations: 5,
  order: "row",
  plan: "P",
  record: "none",
  error: false,
  checkEvery: 0,
  annealed: 0,
  unbalanced: false,
  uniform: false,
  backward: "exact",
  operands: "",
};
const SCALARS_OFF = { temperature: 1, hot: 1, cooling: 1, leak_rows: 0, leak_columns: 0, tolerance: 0 };

const square = (n: number, settings: Omit<Settings, "n"> = {}): Case =>
  sinkhornCase(`n=${n}${settings.attrs?.iterations ? ` T=${settings.attrs.iterations}` : ""}`, { n, ...settings });
const named = (what: string, settings: Settings): Case => {
  const { n, m = n, attrs } = settings;
  return sinkhornCase(`${n}×${m}${attrs?.iterations ? ` T=${attrs.iterations}` : ""} ${what}`, settings);
};

/** Around every vector width, every threshold of the plan and of the native kernels. */
const around = RESIDENT.flatMap(({ n }) => [n - 1, n, n + 1]);
const sides = [...new Set([1, 2, 3, 5, 15, 16, 17, 24, 25, 31, 32, 33, 40, 48, 49, 63, 64, 65, 100, 128, ...around])].sort((a, b) => a - b);

const bySide = sides.map((n) => square(n, n > 100 ? { attrs: { iterations: 6 } } : {}));
const byIterations = [1, 2, 3, BLOCK, BLOCK + 1, BLOCK + 2, 2 * BLOCK + 1, 2 * BLOCK + 2, 100].flatMap((iterations) =>
  [4, 13, 37].map((n) => square(n, { attrs: { iterations }, scale: 3 })),
);
const byScale = [0.1, 5, 20, 100].flatMap((scale) => [2, 4, 7, 16, 30, 64, 100].map((n) => named(`logits of deviation ${scale}`, { n, scale })));
const byTemperature = [0.25, 0.3, 4].flatMap((temperature) => [4, 25].map((n) => named(`temperature ${temperature}`, { n, temperature })));
const byBatch = [[], [0], [1], [2], [5, 13], [67]].flatMap((batch) =>
  [3, 4, 5, 8, 20].map((n) => named(`batch [${batch}]`, { n, batch, scale: n === 4 ? 20 : 1, attrs: { iterations: 10 } })),
);

/** Plain runs that are run again for their gradient; what is larger or longer is among those that are recorded. */
const again = [1, 2, 3, 4, 5, 7, 8].flatMap((n) => [
  ...[1, 2, 3, 20, TINY.iterations].map((T) => named("run again", { n, batch: [67], scale: 2, attrs: { iterations: T, record: "none" } })),
  named("run again, logits of deviation 20", { n, scale: 20, batch: [33], attrs: { record: "none" } }),
  named("run again, uniform masses, columns first", {
    n,
    m: 9 - n,
    batch: [2, 17],
    temperature: 0.7,
    attrs: { iterations: 6, record: "none", order: "column", uniform: true },
  }),
]);
const notAgain = [TINY.side, TINY.side + 1].map((n) => named("recorded", { n, attrs: { iterations: TINY.iterations + 1 } }));

/** One of each regime, square and oblong; the last ones run on several workgroups. */
const SMALL = [
  [3, 3],
  [5, 8],
  [12, 20],
  [40, 33],
] as const;
const REGIMES = [...SMALL, [100, 60], [130, 7], [9, 140]] as const;
const iterations = (n: number, m: number, otherwise: number): number => (Math.max(n, m) > 100 ? 3 : otherwise);
const inRegimes = (
  what: string,
  settings: (n: number, m: number) => Omit<Settings, "n" | "m">,
  list: readonly (readonly [number, number])[] = REGIMES,
): Case[] => list.map(([n, m]) => named(what, { n, m, batch: [2], ...settings(n, m) }));

const oblong = [
  [1, 1],
  [1, 5],
  [5, 1],
  [2, 7],
  [8, 3],
  [4, 9],
  [16, 5],
  [31, 33],
  [64, 2],
  [17, 65],
  [128, 127],
  [1, 128],
].flatMap(([n, m]) => [
  named("", { n, m, attrs: { iterations: 9 } }),
  named("uniform masses, columns first", { n, m, attrs: { iterations: 4, order: "column", uniform: true } }),
]);
const byMass = [
  ...inRegimes("shared masses", (n, m) => ({ masses: "shared", attrs: { iterations: iterations(n, m, 11) }, potentials: true })),
  ...inRegimes("masses of each matrix", (n, m) => ({ masses: "each", attrs: { iterations: iterations(n, m, 5), order: "column" } })),
  ...inRegimes("rows and columns without mass", (n, m) => ({ masses: "some zero", attrs: { iterations: iterations(n, m, 10) }, potentials: true })),
];
const byMask = [
  ...inRegimes("a mask", (n, m) => ({ mask: "shared", attrs: { iterations: iterations(n, m, 4) } })),
  ...inRegimes("a mask for each, columns first", (n, m) => ({
    mask: "each",
    attrs: { iterations: iterations(n, m, 10), order: "column" },
    potentials: true,
  })),
  ...inRegimes("ragged sizes", (n, m) => ({
    batch: [4],
    sizes: [n, m, 1, 1, Math.ceil(n / 2), m, 0, Math.ceil(m / 3)],
    attrs: { iterations: iterations(n, m, 4) },
    potentials: true,
  })),
  ...inRegimes("ragged sizes, uniform masses, columns first", (n, m) => ({
    batch: [2],
    sizes: [Math.ceil(n / 2), m, n, Math.ceil((2 * m) / 3)],
    attrs: { iterations: iterations(n, m, 3), order: "column", uniform: true },
  })),
];
const byStart = [
  ...inRegimes("warm start", (n, m) => ({ start: "each", attrs: { iterations: iterations(n, m, 3) }, potentials: true })),
  ...inRegimes("warm start, masses, a mask and sizes", (n, m) => ({
    start: "shared",
    masses: "each",
    mask: "each",
    sizes: [n, m, Math.ceil(n / 2), m],
    attrs: { iterations: iterations(n, m, 10) },
  })),
];
const early = [
  ...inRegimes("early stop", (n, m) => ({
    batch: [5],
    fill: (random, index) => (index < n * m * 2 ? 0.3 : 2) * random.normal(),
    scale: 2,
    tolerance: 1e-3 * Math.min(n, m),
    potentials: true,
    attrs: { iterations: iterations(n, m, 60), checkEvery: Math.max(n, m) > 100 ? 1 : 3, error: true },
  })),
  ...inRegimes(
    "nothing is good enough",
    (n, m) => ({ tolerance: 0, scale: 3, attrs: { iterations: iterations(n, m, 12), checkEvery: 1, error: true } }),
    SMALL,
  ),
];
const byLeak = [
  ...inRegimes("both masses leak", (n, m) => ({ leaks: [0.7, 0.2], attrs: { iterations: iterations(n, m, 11) }, potentials: true })),
  ...inRegimes("columns leak, given masses", (n, m) => ({ leaks: [0, 1], masses: "each", scale: 2, attrs: { iterations: iterations(n, m, 4) } })),
];
const annealed = [
  ...inRegimes("annealed", (n, m) => ({
    annealing: { hot: 4, cooling: 0.5, annealed: 2 },
    scale: 2,
    potentials: true,
    attrs: { iterations: iterations(n, m, 12) },
  })),
  ...inRegimes("annealed with a mask and masses", (n, m) => ({
    annealing: { hot: 2, cooling: 0.7, annealed: 1 },
    temperature: 0.8,
    mask: "each",
    masses: "shared",
    attrs: { iterations: iterations(n, m, 5), order: "column" },
  })),
];
const byPlan = [
  ...inRegimes("log P", (n, m) => ({ scale: 3, attrs: { iterations: iterations(n, m, 10), plan: "logP" } })),
  ...inRegimes("log P, where P is too small for a float", (n, m) => ({ scale: 100, attrs: { iterations: iterations(n, m, 4), plan: "logP" } })),
  ...inRegimes("log P under a mask", (n, m) => ({ mask: "each", attrs: { iterations: iterations(n, m, 3), plan: "logP" }, potentials: true })),
  ...inRegimes("potentials alone", (n, m) => ({ potentials: true, attrs: { iterations: iterations(n, m, 10), plan: "none" } })),
  ...inRegimes("potentials alone under a mask, columns first", (n, m) => ({
    potentials: true,
    mask: "shared",
    attrs: { iterations: iterations(n, m, 3), plan: "none", order: "column" },
  })),
];
/** At the fixed point, where the two ways to differentiate agree; finite differences see it too. */
const byImplicit = [
  ...inRegimes("implicit gradient", () => ({ masses: "each", attrs: { iterations: 60, backward: "implicit", record: "head" } }), SMALL),
  ...inRegimes(
    "implicit gradient, leaking",
    (n, m) => ({ leaks: [0.3, 0.1], potentials: true, attrs: { iterations: iterations(n, m, 60), backward: "implicit", record: "head" } }),
    SMALL,
  ),
  ...inRegimes(
    "implicit gradient of log P under a mask",
    () => ({ mask: "shared", attrs: { iterations: 80, backward: "implicit", record: "head", plan: "logP" } }),
    SMALL,
  ),
];
/** On both sides of a side of 128, after too few iterations to meet the masses: the fixed point is that of the sums that P has. */
const AROUND_128 = [
  [128, 60],
  [130, 7],
  [9, 140],
  [129, 131],
] as const;
const implicitAround = (what: string, settings: (n: number, m: number) => Omit<Settings, "n" | "m">): Case[] =>
  inRegimes(
    `implicit gradient ${what}`,
    (n, m) => {
      const { attrs, ...rest } = settings(n, m);
      return { ...rest, attrs: { iterations: 3, backward: "implicit", record: "head", ...attrs } };
    },
    AROUND_128,
  );
const byImplicitAround = [
  ...implicitAround("of P, given masses", () => ({ masses: "each", scale: 2 })),
  ...implicitAround("leaking, of potentials too", () => ({ leaks: [0.3, 0.1], potentials: true, temperature: 0.8 })),
  ...implicitAround("of log P under a mask, rows and columns without mass", () => ({ mask: "shared", masses: "some zero", attrs: { plan: "logP" } })),
  ...implicitAround("of potentials alone, leaking under a mask for each", () => ({
    mask: "each",
    leaks: [0.2, 0.5],
    potentials: true,
    attrs: { plan: "none" },
  })),
  ...implicitAround("of ragged sizes, columns first", (n, m) => ({
    batch: [4],
    sizes: [n, m, 1, 1, Math.ceil(n / 2), m, 0, Math.ceil(m / 3)],
    attrs: { order: "column", uniform: true },
  })),
  // One is solved at once, one takes more steps than lie between two looks.
  ...implicitAround("of matrices that take few and many steps", (n, m) => ({
    fill: (random, index) => (index < n * m ? 0.1 : 8) * random.normal(),
    scale: 8,
    attrs: { iterations: 12 },
  })),
  ...[1025, 4096].map((m) =>
    named("implicit gradient, wide", { n: 9, m, batch: [], slow: true, attrs: { iterations: 2, backward: "implicit", record: "head" } }),
  ),
];

const streamed = [129, 160, 257].flatMap((n) =>
  [1, 2, BLOCK + 2].map((T) => named("over several workgroups", { n, batch: [2], scale: 5, large: n > 200 && T > 2, attrs: { iterations: T } })),
);
const large = [
  ...[196, 300, 1000].map((n) => named("large", { n, batch: [], scale: 5, large: true, attrs: { iterations: n > 500 ? 2 : 20 } })),
  // Around every number of threads to a row, and of quads to a thread, of the passes over several workgroups.
  ...[64, 128, 256, 512, 1024].flatMap((m) =>
    [m - 1, m, m + 1].map((side) => named("wide", { n: 130, m: side, batch: [], slow: m > 256, attrs: { iterations: 2 } })),
  ),
  ...[2048, 2049, 3072, 3073, 4096].map((m) => named("wide", { n: 9, m, batch: [], slow: m !== 2049, attrs: { iterations: 2 } })),
  named("large and oblong", { n: 1024, m: 40, batch: [2], masses: "each", large: true, attrs: { iterations: 3 } }),
];

const special = [
  ...[1, 6, 20, 130].map((n) => named("constant logits", { n, fill: constant(-7), attrs: { iterations: 3 } })),
  named("one-hot rows", { n: 4, fill: values([0, 9, 0, 0, 9, 0, 0, 0, 0, 0, 0, 9, 0, 0, 9, 0]), scale: 10 }),
  named("a shared favourite column", { n: 5, fill: (_, index) => (index % 5 === 2 ? 60 : 0.1 * (index % 7)), scale: 60 }),
  named("logits far from 0", { n: 9, fill: (random) => 1000 + random.normal(), scale: 100 }),
  named("logits of whole numbers, ties", { n: 6, fill: integers(3) }),
];

/** What is recorded is compared too, once without the backward pass and once with logits that need several blocks. */
const history = [
  [4, 4],
  [12, 12],
  [21, 18],
  [129, 30],
].map(([n, m]) => {
  const attrs: ForwardAttrs = { ...plainAttrs, iterations: BLOCK + 3, record: "history", error: true };
  return defineCase({
    name: `${n}×${m} the record`,
    op: recorded,
    inputs: [{ shape: [2, n, m], gradient: false }],
    attrs,
    scalars: SCALARS_OFF,
    forward: { relative: 3e-6, absolute: 2e-6, reason: "a few roundings in each of the sums behind a ratio, and those of logarithms" },
  });
});
const withoutRecord = [1, 4, 10, 33, 64, 129].map((n) =>
  defineCase({
    name: `n=${n} without gradient`,
    op: plain,
    inputs: [{ shape: [3, n, n], gradient: false }],
    attrs: plainAttrs,
    scalars: SCALARS_OFF,
    forward: forwardTolerance(1, n),
    invariants: invariants({ n }),
  }),
);

/** Whoever reads logits, from odd places on, too: a thread alone, a few, many, several workgroups. All read them by one function. */
const halves = [
  ...inRegimes(
    "float16, columns first, a mask",
    (n, m) => ({ half: true, mask: "each", attrs: { iterations: iterations(n, m, 12), order: "column" } }),
    [
      [5, 7],
      [40, 33],
      [130, 7],
    ],
  ),
  ...inRegimes(
    "float16, annealed",
    (n, m) => ({ half: true, batch: [3], annealing: { hot: 8, cooling: 0.5, annealed: 2 }, attrs: { iterations: iterations(n, m, 9) } }),
    [
      [5, 7],
      [130, 7],
    ],
  ),
  named("float16, potentials alone, implicit gradient", {
    n: 5,
    m: 7,
    half: true,
    leaks: [0.3, 0.1],
    potentials: true,
    attrs: { iterations: 60, backward: "implicit", record: "head", plan: "none" },
  }),
  named("float16, run again", { n: 3, m: 4, half: true, batch: [67], attrs: { record: "none" } }),
];

export const cases: readonly Case[] = [
  ...bySide,
  ...byIterations,
  ...byScale,
  ...byTemperature,
  ...byBatch,
  ...again,
  ...notAgain,
  ...oblong,
  ...byMass,
  ...byMask,
  ...byStart,
  ...early,
  ...byLeak,
  ...annealed,
  ...byPlan,
  ...byImplicit,
  ...byImplicitAround,
  ...streamed,
  ...large,
  ...special,
  ...history,
  ...withoutRecord,
  ...halves,
];

export const room: Room = {
  name: "sinkhorn",
  ops,
  cases,
  cost: (call) => {
    const { n, m, count } = orient(call.inputs[0].shape, "row");
    return { bytes: minimalBytes(call), operations: 4 * Number(call.attrs.iterations) * n * m * count };
  },
};
