import {
  type Case,
  type CaseInput,
  constant,
  defineCase,
  type Fill,
  integers,
  minimalBytes,
  normal,
  type Room,
  type Tolerance,
  values,
} from "../../testing/cases.ts";
import { maximum } from "../elementwise/index.ts";
import { slice } from "../shape/index.ts";
import { BLOCK, type ForwardAttrs, orient, recordLayout } from "./geometry.ts";
import { ops, plain, recorded, rerun } from "./op.ts";
import { RESIDENT } from "./plan.ts";

const forwardTolerance = (scale: number, side: number): Tolerance => ({
  relative: 0,
  absolute: (scale <= 5 ? 1e-6 : 5e-6) * Math.max(1, side / 256),
  reason: "rounding of logits + potentials grows with the logits, and that of sums with n",
});

const gradientTolerance = (scale: number): Tolerance => ({
  relative: scale <= 10 ? 5e-6 : scale <= 20 ? 5e-5 : 5e-4,
  absolute: 1e-6,
  reason: "sharp matrices are ill-conditioned; what is left of the cotangent after cancellation has the rounding of the cotangent",
});

interface Settings {
  readonly n: number;
  readonly m?: number;
  readonly batch?: readonly number[];
  readonly temperature?: number;
  readonly scale?: number;
  readonly fill?: Fill;
  readonly large?: boolean;
  /** Masses of rows and columns, for all matrices or (`each`) one set per matrix. */
  readonly masses?: "shared" | "each" | "some zero";
  readonly start?: "shared" | "each";
  readonly mask?: "shared" | "each";
  readonly sizes?: readonly number[];
  readonly tolerance?: number;
  /** First temperature and factor of a schedule. */
  readonly annealing?: { readonly hot: number; readonly cooling: number; readonly annealed: number };
  readonly leaks?: readonly [number, number];
  /** Looks at potentials, too (at the number of iterations as well where matrices stop early). */
  readonly potentials?: boolean;
  readonly attrs?: Partial<ForwardAttrs>;
}

/** Entries are shares, and the last half-step gives every column its mass, whatever came before. */
const invariants =
  (settings: Settings): NonNullable<Case["invariants"]> =>
  ({ inputs, outputs: [p], call }) => {
    const attrs = call.attrs as ForwardAttrs;
    const { n, m, count, rowStep, columnStep } = orient(call.inputs[0].shape, attrs.order);
    if (attrs.plan !== "P" || settings.leaks || settings.mask || settings.sizes) return;
    const columns = settings.masses ? inputs[2] : undefined;
    for (let b = 0; b < count; b++) {
      for (let j = 0; j < m; j++) {
        const wanted = columns ? columns[columns.length > m ? b * m + j : j] : attrs.uniform ? 1 / m : n / m;
        let total = 0;
        for (let i = 0; i < n; i++) {
          const entry = p[b * n * m + i * rowStep + j * columnStep];
          if (!(entry >= 0)) throw new Error(`entry (${i}, ${j}) of matrix ${b} is ${entry}`);
          total += entry;
        }
        const allowed = 1e-6 * Math.max(1, n / 256, wanted);
        if (!(Math.abs(total - wanted) <= allowed)) throw new Error(`column ${j} of matrix ${b} sums to ${total} and not to ${wanted}`);
      }
    }
  };

const sinkhornCase = (name: string, settings: Settings): Case => {
  const { n: rows, m: columns = rows, batch = [3], temperature = 1, scale = 1, fill = normal(scale), large, masses, start, mask, sizes } = settings;
  const { annealing, leaks, tolerance = 0, potentials = false } = settings;
  const attrs: ForwardAttrs = {
    iterations: 20,
    order: "row",
    plan: "P",
    record: "history",
    error: false,
    checkEvery: 0,
    annealed: annealing?.annealed ?? 0,
    unbalanced: leaks !== undefined,
    uniform: false,
    backward: "exact",
    operands: [...(masses ? ["rows", "columns"] : []), ...(start ? ["start"] : []), ...(mask ? ["mask"] : []), ...(sizes ? ["sizes"] : [])].join(" "),
    ...settings.attrs,
  };
  const shape = [...batch, rows, columns];
  const { n, m } = orient(shape, attrs.order);
  const item = (kind: string, ...size: number[]): number[] => (kind === "each" ? [...batch, ...size] : size);
  // Masses of both sides have the same total, as balanced runs need.
  const mass =
    (size: number): Fill =>
    (_, i) =>
      masses === "some zero" && i % 4 === 2 ? 0 : (1 + (size > 1 ? 0.5 * Math.cos((2 * Math.PI * i) / size) : 0)) / size;
  const inputs: CaseInput[] = [{ shape, fill }];
  if (masses) {
    for (const size of [n, m]) inputs.push({ shape: item(masses, size), fill: mass(size), gradient: masses !== "some zero" });
  }
  if (start) inputs.push({ shape: item(start, m), fill: normal(0.5) });
  // Three of four entries; the first row and column are whole, so that everything has somewhere to go.
  if (mask)
    inputs.push({
      shape: item(mask, rows, columns),
      dtype: "int32",
      fill: (random, i) => Number(random.uniform() < 0.75 || i % columns === 0 || i % (rows * columns) < columns),
    });
  if (sizes) inputs.push({ shape: [...batch, 2], dtype: "int32", fill: values(sizes) });
  const effective = scale / temperature;
  const layout = recordLayout(n, m, attrs);
  const excluded = masses === "some zero" || mask !== undefined || sizes !== undefined;
  const withMatrix = attrs.plan !== "none";
  const part = (record: Parameters<typeof slice>[0], from: number, to: number) => slice(record, { axis: -1, start: from, end: to });
  return defineCase({
    name,
    op: attrs.annealed > 0 || attrs.plan === "none" ? rerun : recorded,
    inputs,
    attrs,
    scalars: {
      temperature,
      hot: annealing?.hot ?? 1,
      cooling: annealing?.cooling ?? 1,
      leak_rows: leaks?.[0] ?? 0,
      leak_columns: leaks?.[1] ?? 0,
      tolerance,
    },
    forward: {
      ...forwardTolerance(effective, Math.max(n, m)),
      ...((potentials || attrs.plan === "logP") && {
        relative: 3e-6,
        reason: "potentials add up logarithms, each with an error of 5e-7, and have the rounding of the logits",
      }),
    },
    backward: gradientTolerance(effective),
    ...((potentials || (excluded && attrs.plan === "logP")) && {
      view: ([p, record]) => {
        // What stands for minus infinity has no error to speak of, and would drown finite differences.
        const shown = excluded && attrs.plan === "logP" ? maximum(p, -100) : p;
        if (!potentials) return [shown];
        const all = part(record, layout.f, layout.g + m);
        const capped = excluded ? maximum(all, -100) : all;
        if (capped !== all) all.dispose();
        const reports = attrs.checkEvery > 0 ? [part(record, layout.iterations, layout.iterations + 1)] : [];
        return [shown, capped, ...reports];
      },
    }),
    outputs: [...(withMatrix ? [0] : []), ...(potentials ? [1] : []), ...(potentials && attrs.checkEvery > 0 ? [2] : [])],
    finiteDifferences:
      Math.max(n, m) > 33
        ? { off: "the formula does not depend on n, and smaller n are checked" }
        : { step: effective > 10 ? 1e-7 : 1e-5, tolerance: effective > 10 ? 1e-4 : 1e-6 },
    invariants: invariants(settings),
    ...(large ? { large } : {}),
  });
};

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

const streamed = [129, 160, 257].flatMap((n) =>
  [1, 2, BLOCK + 2].map((T) => named("over several workgroups", { n, batch: [2], scale: 5, large: n > 200 && T > 2, attrs: { iterations: T } })),
);
const large = [
  ...[196, 300, 1000].map((n) => named("large", { n, batch: [], scale: 5, large: true, attrs: { iterations: n > 500 ? 2 : 20 } })),
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

export const cases: readonly Case[] = [
  ...bySide,
  ...byIterations,
  ...byScale,
  ...byTemperature,
  ...byBatch,
  ...oblong,
  ...byMass,
  ...byMask,
  ...byStart,
  ...early,
  ...byLeak,
  ...annealed,
  ...byPlan,
  ...byImplicit,
  ...streamed,
  ...large,
  ...special,
  ...history,
  ...withoutRecord,
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
