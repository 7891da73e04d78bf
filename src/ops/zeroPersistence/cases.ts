import { elements, type Op } from "../../op.ts";
import {
  type Case,
  constant,
  defineCase,
  type Fill,
  integers,
  minimalBytes,
  normal,
  type Room,
  summed,
  type Tolerance,
  values,
} from "../../testing/cases.ts";
import { forward, loss, ops } from "./op.ts";
import { ENOUGH_WORKGROUPS, STORED_DISTANCES, TILE } from "./plan.ts";
import { FORMS, LOSS_REDUCTIONS, METRICS, type Metric } from "./reference.ts";

/** Lengths are sums of d terms; a gradient is a sum of at most n − 1 quotients, mostly two or three. */
const lengths = (width: number): Tolerance => ({ ...summed(width), reason: `lengths are float32 sums of ${width} terms in any order` });

const offLarge = { finiteDifferences: { off: "the gradient of many points is that of few" } } as const;
const offTies = { finiteDifferences: { off: "edges of equal length change places, and lengths of 0 have a kink" } } as const;

const lengthOf = (x: ArrayLike<number>, a: number, b: number, width: number, metric: unknown): number => {
  const differences = Array.from({ length: width }, (_, k) => Math.abs(x[a * width + k] - x[b * width + k]));
  if (metric === "linf") return Math.max(...differences);
  return metric === "l1" ? differences.reduce((sum, d) => sum + d, 0) : Math.hypot(...differences);
};

/** Lengths of the edges that join two parts of the cloud when edges come in rising order: Kruskal's algorithm. */
const kruskal = (x: ArrayLike<number>, cloud: readonly number[], width: number, metric: unknown): number[] => {
  const part = cloud.map((_, i) => i);
  const rootOf = (i: number): number => {
    let root = i;
    while (part[root] !== root) root = part[root];
    part[i] = root;
    return root;
  };
  const edges = cloud.flatMap((b, j) => cloud.slice(0, j).map((a, i) => ({ i, j, length: lengthOf(x, a, b, width, metric) })));
  return edges
    .sort((a, b) => a.length - b.length)
    .filter(({ i, j }) => {
      const [a, b] = [rootOf(i), rootOf(j)];
      part[a] = b;
      return a !== b;
    })
    .map(({ length }) => length);
};

/** Each cloud's lengths are Kruskal's, each place holds the length of its own edge, and partners lead to the cloud's first point. */
const isSpanningTree: Case["invariants"] = ({ inputs: [points, labels], outputs: [deaths, partners], call }) => {
  const [size, width] = call.inputs[0].shape.slice(-2);
  const { metric } = call.attrs;
  const clouds = new Map<number, number[]>();
  for (let i = 0; i < points.length / width; i++) {
    const cloud = labels ? labels[i] : Math.floor(i / size);
    clouds.set(cloud, [...(clouds.get(cloud) ?? []), i]);
  }
  for (const [label, cloud] of clouds) {
    const [root, ...others] = cloud;
    const partnerOf = new Map<number, number>();
    const own = others.map((point) => {
      const place = labels ? point : point - label - 1;
      const partner = labels ? partners[place] : root + partners[place];
      partnerOf.set(point, partner);
      const length = lengthOf(points, point, partner, width, metric);
      if (Math.abs(deaths[place] - length) > 1e-5 * length)
        throw new Error(`point ${point} dies at ${deaths[place]}, and its edge is ${length} long`);
      return deaths[place];
    });
    for (const point of others) {
      let at: number | undefined = point;
      for (let steps = 0; at !== undefined && at !== root && steps < cloud.length; steps++) at = partnerOf.get(at);
      if (at !== root) throw new Error(`the partners of point ${point} do not lead to ${root}`);
    }
    own.sort((a, b) => a - b);
    for (const [i, length] of kruskal(points, cloud, width, metric).entries())
      if (!(Math.abs(own[i] - length) <= 1e-5 * length)) throw new Error(`death time ${i} of cloud ${label} is ${own[i]}, and Kruskal's ${length}`);
  }
};

interface Variant {
  readonly metric?: Metric;
  readonly points?: Fill;
}

/** Equal clouds. */
const groupCase = (name: string, shape: readonly number[], { metric = "l2", points = normal() }: Variant = {}, more: Partial<Case> = {}): Case =>
  defineCase({
    name: `${metric} ${name}, ${shape.join("x")}`,
    op: forward,
    inputs: [{ shape, fill: points }],
    attrs: { metric, labelled: false, classes: 0 },
    forward: lengths(shape[shape.length - 1]),
    invariants: isSpanningTree,
    ...more,
  });

/** Labelled points. */
const labelCase = (
  name: string,
  [count, width]: readonly [number, number],
  classes: number,
  { metric = "l2", points = normal(), labels = integers(classes) }: Variant & { readonly labels?: Fill } = {},
  more: Partial<Case> = {},
): Case =>
  defineCase({
    name: `${metric} ${name}, ${count}x${width} in ${classes}`,
    op: forward,
    inputs: [
      { shape: [count, width], fill: points },
      { shape: [count], dtype: "int32" as const, fill: labels },
    ],
    attrs: { metric, labelled: true, classes },
    forward: lengths(width),
    invariants: isSpanningTree,
    ...more,
  });

const small = METRICS.flatMap((metric) => [
  groupCase("one pair", [1, 2, 1], { metric }),
  groupCase("one cloud", [5, 3], { metric }),
  groupCase("clouds", [4, 7, 5], { metric }),
  groupCase("two batch axes", [2, 3, 4, 2], { metric }),
  labelCase("any mix", [13, 3], 3, { metric }),
  labelCase("one class", [6, 2], 1, { metric }),
]);

const empty = [
  groupCase("no clouds", [0, 4, 3]),
  groupCase("clouds of one", [3, 1, 2]),
  groupCase("clouds of none", [3, 0, 2]),
  labelCase("no points", [0, 3], 2),
  labelCase("classes without points and with one", [3, 2], 6, { labels: values([4, 1, 4]) }),
];

/** Tiles of the distances, coordinates at a time, threads of a workgroup. */
const thresholds = [
  ...[TILE - 1, TILE, TILE + 1, 2 * TILE + 1].map((n, i) => groupCase("around a tile", [2, n, 3], { metric: METRICS[i % 3] })),
  ...[31, 32, 33, 63, 65].map((d, i) => groupCase("around the coordinates at a time", [2, 3, d], { metric: METRICS[i % 3] })),
  ...[7, 8, 9, 15, 17].map((d, i) => labelCase("around a vector", [9, d], 2, { metric: METRICS[i % 3] })),
  groupCase("more coordinates than threads", [2, 4, 257], { metric: "l1" }, offLarge),
  groupCase("more coordinates than threads", [2, 3, 300], { metric: "linf" }, offLarge),
  groupCase("as many points as threads", [1, 256, 2], {}, offLarge),
  groupCase("more points than threads", [2, 257, 2], { metric: "l1" }, offLarge),
  labelCase("more points than threads", [270, 4], 12, {}, offLarge),
  labelCase("clouds of many tiles", [260, 3], 3, { metric: "linf" }, offLarge),
  labelCase("one cloud of many", [150, 2], 20, { labels: (random, i) => (i % 50 === 0 ? Math.floor(20 * random.uniform()) : 7) }, offLarge),
];

/** Integers, so that lengths are exact on every device and many are equal. */
const ties = METRICS.flatMap((metric) => [
  groupCase("ties and duplicates", [3, 20, 3], { metric, points: integers(3) }, offTies),
  groupCase("one point over and over", [2, 9, 4], { metric, points: constant(2) }, offTies),
  groupCase("a grid", [1, 25, 2], { metric, points: (_, i) => (i % 2 === 0 ? Math.floor(i / 2) % 5 : Math.floor(i / 10)) }, offTies),
  labelCase("ties and duplicates", [60, 2], 4, { metric, points: integers(4) }, offTies),
]);

/** Far from the origin the differences are small beside the coordinates: products in place of differences would lose them. */
const far = groupCase("a cloud far from the origin", [2, 12, 6], { points: (random) => 4096 + Math.round(64 * random.normal()) / 64 }, offLarge);

const wide = groupCase("embeddings", [4, 16, 768], {}, offLarge);
const large = [
  groupCase("a large batch of embeddings", [16, 16, 768], {}, { ...offLarge, large: true }),
  groupCase("a large cloud", [700, 5], {}, { ...offLarge, large: true }),
  // Kruskal would sort eight million edges.
  groupCase("more distances than are stored", [260, 256, 2], {}, { ...offLarge, large: true, invariants: () => undefined }),
  labelCase("more distances than are stored", [Math.sqrt(STORED_DISTANCES) + 4, 3], 1100, {}, { ...offLarge, large: true }),
  labelCase("more clouds than workgroups are enough", [40, 2], ENOUGH_WORKGROUPS + 1, { labels: integers(30) }, { ...offLarge, large: true }),
  labelCase("many labelled points", [1500, 8], 40, {}, { ...offLarge, large: true }),
];

const lossCase = (form: (typeof FORMS)[number], reduction: (typeof LOSS_REDUCTIONS)[number], count: number, more: Partial<Case> = {}): Case =>
  defineCase({
    name: `loss: ${reduction} of ${form}, ${count} places`,
    op: loss,
    inputs: [
      { shape: [count], fill: (random) => 1 + 0.5 * random.normal() },
      { shape: [count], dtype: "int32" as const, fill: (_, i) => (i % 4 === 0 ? -1 : i - 1) },
    ],
    attrs: { form, reduction },
    scalars: { beta: 0.9 },
    outputs: [0],
    forward: summed(count),
    ...more,
  });

const losses = [
  ...FORMS.flatMap((form) => LOSS_REDUCTIONS.flatMap((reduction) => [0, 1, 7, 30].map((count) => lossCase(form, reduction, count)))),
  ...[255, 257, 1000].map((count, i) => lossCase(FORMS[i], LOSS_REDUCTIONS[i % 2], count, offLarge)),
];

export const cases: readonly Case[] = [...small, ...empty, ...thresholds, ...ties, far, wide, ...large, ...losses];

export const room: Room = {
  name: "zeroPersistence",
  ops: ops as readonly Op[],
  cases,
  cost: (call) => {
    const [{ shape }] = call.inputs;
    const pairs = shape.length < 2 ? 1 : (shape[shape.length - 2] - 1) / 2;
    return { bytes: minimalBytes(call), operations: 3 * elements(shape) * Math.max(1, pairs) };
  },
};
