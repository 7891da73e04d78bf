import { type Case, type CaseInput, constant, defineCase, type Fill, minimalBytes, normal, type Room, summed } from "../../testing/cases.ts";
import { backward, ops, transport } from "./op.ts";
import { TILE_FEATURES, TILE_ROWS } from "./plan.ts";
import { sizesOf, type TransportAttrs } from "./reference.ts";

interface Settings {
  readonly batch?: readonly number[];
  readonly n: number;
  readonly m: number;
  readonly d?: number;
  readonly mask?: "shared" | "each";
  readonly sharedX?: boolean;
  /** Columns first in `potentials`, and other numbers around them. */
  readonly turned?: boolean;
  readonly excluded?: boolean;
  readonly temperature?: number;
  /** Logits in float16. */
  readonly half?: boolean;
  readonly large?: boolean;
}

const transportCase = (kind: TransportAttrs["kind"], settings: Settings): Case => {
  const { batch = [2], n, m, d = 3, mask, sharedX = false, turned = false, excluded = false, temperature = 1, half = false, large } = settings;
  const shape = [...batch, n, m];
  const [rowOffset, columnOffset, stride] = turned ? [2 + m, 2, 5 + n + m] : [0, n, n + m];
  // Potentials that make every entry about 1 / m; every third row without mass where asked for.
  const fill: Fill = (random, index) => {
    const at = index % stride;
    const row = at >= rowOffset && at < rowOffset + n;
    if (excluded && row && at % 3 === 1) return -1e30;
    return 0.5 * random.normal() - (row ? Math.log(Math.max(1, m)) : 0);
  };
  const item = kind === "cost" ? [n, m] : [kind === "rows" ? m : n, d];
  const inputs: CaseInput[] = [
    { shape, dtype: half ? "float16" : "float32" },
    { shape: [...batch, stride], fill, gradient: !excluded },
  ];
  if (kind !== "plan") inputs.push({ shape: sharedX ? item : [...batch, ...item] });
  if (mask) inputs.push({ shape: mask === "each" ? shape : [n, m], dtype: "int32", fill: (random) => Number(random.uniform() < 0.7) });
  const extra = [
    mask && `mask ${mask}`,
    sharedX && "one x",
    turned && "turned",
    excluded && "rows without mass",
    temperature !== 1 && `temperature ${temperature}`,
    half && "float16",
  ];
  return defineCase({
    name: [`${kind} [${batch}] ${n}×${m}${kind === "plan" || kind === "cost" ? "" : `×${d}`}`, ...extra.filter((text) => text)].join(", "),
    op: transport,
    inputs,
    attrs: { kind, rowOffset, columnOffset, masked: mask !== undefined },
    scalars: { temperature },
    forward: summed(kind === "columns" ? n : m),
    backward: summed(n + m + d),
    finiteDifferences: half
      ? { off: "steps are smaller than float16 can take" }
      : n * m * d > 3000
        ? { off: "the formula does not depend on sizes" }
        : {},
    ...(large ? { large } : {}),
  });
};

const both = ["rows", "columns"] as const;
const all = ["plan", "rows", "columns", "cost"] as const;
const around = (size: number): number[] => [size - 1, size, size + 1];

const cases: readonly Case[] = [
  ...all.flatMap((kind) => [
    transportCase(kind, { n: 5, m: 7, half: true }),
    transportCase(kind, { n: 33, m: 19, batch: [], mask: "shared", turned: true, temperature: 0.5, half: true }),
  ]),
  ...all.flatMap((kind) => [
    transportCase(kind, { n: 1, m: 1, d: 1 }),
    transportCase(kind, { n: 3, m: 5, batch: [] }),
    transportCase(kind, { n: 4, m: 4, batch: [0] }),
    transportCase(kind, { n: 4, m: 0 }),
    transportCase(kind, { n: 0, m: 4 }),
    transportCase(kind, { n: 7, m: 2, batch: [3, 2], temperature: 0.5 }),
    transportCase(kind, { n: 6, m: 9, turned: true, mask: "shared" }),
    transportCase(kind, { n: 5, m: 6, mask: "each", excluded: true, batch: [3] }),
    ...(kind === "plan" ? [] : [transportCase(kind, { n: 5, m: 4, sharedX: true, batch: [3] })]),
  ]),
  ...both.flatMap((kind) => [
    ...around(TILE_ROWS).flatMap((size) => [transportCase(kind, { n: size, m: 5 }), transportCase(kind, { n: 3, m: size })]),
    ...[4, TILE_FEATURES].flatMap(around).map((d) => transportCase(kind, { n: 5, m: 6, d })),
    transportCase(kind, { n: 70, m: 33, d: 10, batch: [] }),
    transportCase(kind, { n: 300, m: 140, d: 130, batch: [], large: true }),
  ]),
  ...[8, 16, 64].flatMap(around).flatMap((m) => [transportCase("cost", { n: 3, m }), transportCase("plan", { n: 2, m })]),
];

/** The gradients alone, where what arrives is the same everywhere. */
const weighed = defineCase({
  name: "backward of equal cotangents",
  op: backward,
  inputs: [
    { shape: [2, 3, 4], gradient: false },
    { shape: [2, 7], fill: normal(0.3), gradient: false },
    { shape: [2, 3, 4], fill: constant(2), gradient: false },
  ],
  attrs: { rowOffset: 0, columnOffset: 3, masked: false },
  scalars: { temperature: 2 },
  forward: summed(4),
});

export const room: Room = {
  name: "transport",
  ops,
  cases: [...cases, weighed],
  cost: (call) => {
    const { n, m, count } = sizesOf(call.inputs);
    const x = call.inputs[2]?.shape ?? [1];
    return { bytes: minimalBytes(call), operations: 2 * count * n * m * x[x.length - 1] };
  },
};
