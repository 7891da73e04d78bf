/** Anchor selections: what each promises, checked against brute force, and what they refuse. */
import { describe, expect, it } from "vitest";
import { createRandom } from "../src/data/random.ts";
import { ArgumentError } from "../src/errors.ts";
import { parallelAnchors, stratifiedAnchors, uniformAnchors } from "../src/relative/anchors.ts";
import type { HostMatrix } from "../src/relative/matrix.ts";
import { coverageAnchors, farthestPointAnchors, kMeansAnchors } from "../src/relative/selection.ts";

const cloud = (n: number, d: number, seed = 1): HostMatrix => {
  const random = createRandom(seed);
  return { shape: [n, d], data: Float32Array.from({ length: n * d }, () => random.normal()) };
};
const distance = ({ shape: [, d], data }: HostMatrix, i: number, j: number): number =>
  Math.hypot(...Array.from({ length: d }, (_, k) => data[i * d + k] - data[j * d + k]));
const nearest = (points: HostMatrix, i: number, anchors: Iterable<number>): number => Math.min(...Array.from(anchors, (a) => distance(points, i, a)));
const rows = (points: HostMatrix): number[] => Array.from({ length: points.shape[0] }, (_, i) => i);
const radius = (points: HostMatrix, anchors: Iterable<number>): number => Math.max(...rows(points).map((i) => nearest(points, i, anchors)));
const cost = (points: HostMatrix, anchors: Iterable<number>): number => rows(points).reduce((sum, i) => sum + nearest(points, i, anchors), 0);
const subsets = (n: number, k: number, from = 0): number[][] =>
  k === 0
    ? [[]]
    : rows({ shape: [n], data: new Float32Array() }).flatMap((i) => (i < from ? [] : subsets(n, k - 1, i + 1).map((rest) => [i, ...rest])));

describe("uniform", () => {
  it("draws every point equally often, none twice, the same for the same seed", () => {
    const counts = new Int32Array(10);
    for (let seed = 0; seed < 2000; seed++) for (const index of uniformAnchors(10, 3, { seed })) counts[index]++;
    // 600 each; six standard deviations of √(2000·0.3·0.7).
    for (const count of counts) expect(Math.abs(count - 600)).toBeLessThan(123);
    expect(uniformAnchors(50, 50, { seed: 3 }).toSorted()).toEqual(Int32Array.from({ length: 50 }, (_, i) => i));
    expect(uniformAnchors(50, 5, { seed: 3 })).toEqual(uniformAnchors(50, 5, { seed: 3 }));
    expect(uniformAnchors(50, 5, { seed: 3 })).not.toEqual(uniformAnchors(50, 5, { seed: 4 }));
  });
});

describe("stratified", () => {
  const labels = [...new Array(60).fill(0), ...new Array(30).fill(5), ...new Array(10).fill(2)];
  const count = (indices: Int32Array, label: number): number => indices.filter((i) => labels[i] === label).length;
  it("keeps the classes' shares, or gives all the same", () => {
    for (const seed of [0, 1, 2]) {
      const indices = stratifiedAnchors(labels, 20, { seed });
      expect(new Set(indices).size).toBe(20);
      expect([0, 5, 2].map((label) => count(indices, label))).toEqual([12, 6, 2]);
      const equal = stratifiedAnchors(labels, 36, { seed, allocation: "equal" });
      expect([0, 5, 2].map((label) => count(equal, label))).toEqual([13, 13, 10]);
      expect(new Set(equal).size).toBe(36);
    }
    expect(stratifiedAnchors(labels, 100).toSorted()).toEqual(Int32Array.from({ length: 100 }, (_, i) => i));
  });
});

describe("farthest point", () => {
  it("stays within twice the least radius", () => {
    for (const seed of [1, 2, 3]) {
      const points = cloud(10, 2, seed);
      const best = Math.min(...subsets(10, 3).map((anchors) => radius(points, anchors)));
      expect(radius(points, farthestPointAnchors(points, 3, { seed }))).toBeLessThanOrEqual(2 * best + 1e-12);
    }
  });
  it("takes the farthest point every time, by Euclidean distance or by angle", () => {
    const points = cloud(60, 5);
    const chosen = farthestPointAnchors(points, 12, { seed: 4 });
    for (let k = 1; k < 12; k++) {
      const before = [...chosen.subarray(0, k)];
      expect(nearest(points, chosen[k], before)).toBeCloseTo(radius(points, before), 10);
    }
    const rays = { shape: [4, 2], data: Float32Array.of(1, 0, 100, 1, 0, 1e-3, -5, 0.1) };
    expect(farthestPointAnchors(rays, 3, { first: 0, metric: "cosine" })).toEqual(Int32Array.of(0, 3, 2));
    expect(farthestPointAnchors(rays, 2, { first: 0 })).toEqual(Int32Array.of(0, 1));
  });
});

describe("k-means", () => {
  it("finds clusters that are far apart, and their middles", () => {
    const random = createRandom(5);
    const centres = [0, 10, 20, 30].flatMap((x) => [0, 10, 20].map((y) => [x, y]));
    const data = Float32Array.from(
      centres.flatMap(([x, y]) => Array.from({ length: 20 }, () => [x + 0.3 * random.normal(), y + 0.3 * random.normal()]).flat()),
    );
    const points = { shape: [240, 2], data };
    // Lloyd's rounds end in a local optimum; the best of a few starts is the global one here.
    const runs = [0, 1, 2, 3, 4, 5, 6, 7].map((seed) => kMeansAnchors(points, 12, { seed }));
    const best = runs.reduce((a, b) => (b.inertia < a.inertia ? b : a));
    expect(best.indices.map((i) => Math.floor(i / 20)).toSorted()).toEqual(Int32Array.from({ length: 12 }, (_, k) => k));
    for (const { indices, centres: means, assignment, inertia } of runs) {
      expect(new Set(indices).size).toBe(12);
      const sums = new Float64Array(24);
      const sizes = new Float64Array(12);
      for (const [i, k] of assignment.entries()) {
        sizes[k]++;
        for (const j of [0, 1]) sums[2 * k + j] += data[2 * i + j];
      }
      let total = 0;
      for (const [i, k] of assignment.entries()) for (const j of [0, 1]) total += (data[2 * i + j] - means.data[2 * k + j]) ** 2;
      expect(inertia).toBeCloseTo(total, 8);
      for (let k = 0; k < 24; k++) expect(means.data[k]).toBeCloseTo(sums[k] / sizes[k >> 1], 10);
      for (const [k, index] of indices.entries()) expect(assignment[index]).toBe(k);
    }
  });
  it("comes to rest: no point has a nearer centre", () => {
    const points = cloud(200, 3, 8);
    const { centres, assignment, iterations } = kMeansAnchors(points, 15, { seed: 2 });
    expect(iterations).toBeLessThan(100);
    const all = { shape: [215, 3], data: Float64Array.of(...points.data, ...centres.data) };
    for (const [i, k] of assignment.entries()) expect(distance(all, i, 200 + k)).toBeLessThanOrEqual(nearest(all, i, rows(all).slice(200)) + 1e-12);
  });
  it("fills clusters that lose all of their points", () => {
    // Found by search among a hundred thousand clouds on a grid: in each of these Lloyd's rounds empty a cluster.
    for (const seed of [9538, 19979, 53092, 81040, 82795]) {
      const random = createRandom(seed);
      const [d, n, k] = [1 + random.integer(3), 6 + random.integer(30), 3 + random.integer(8)];
      const points = { shape: [n, d], data: Float32Array.from({ length: n * d }, () => random.integer(12)) };
      const { indices, centres, assignment } = kMeansAnchors(points, k, { seed });
      expect(new Set(assignment).size).toBe(k);
      expect(new Set(indices).size).toBe(k);
      expect(centres.data.every(Number.isFinite)).toBe(true);
    }
  });
  it("takes as many anchors as points, duplicates among the points, one round, and directions alone", () => {
    expect(kMeansAnchors(cloud(7, 2), 7).indices.toSorted()).toEqual(Int32Array.of(0, 1, 2, 3, 4, 5, 6));
    const twins = { shape: [6, 1], data: Float32Array.of(1, 1, 1, 2, 2, 9) };
    for (const seed of [0, 1, 2, 3]) {
      const { indices, inertia } = kMeansAnchors(twins, 3, { seed });
      expect([Array.from(indices, (i) => twins.data[i]).toSorted(), inertia]).toEqual([[1, 2, 9], 0]);
    }
    expect(kMeansAnchors(cloud(50, 2), 5, { iterations: 1 }).iterations).toBe(1);
    const rays = { shape: [4, 2], data: Float32Array.of(1, 0, 100, 1, 0, 3, 0.01, 1) };
    expect(kMeansAnchors(rays, 2, { metric: "cosine" }).assignment).toSatisfy((a: Int32Array) => a[0] === a[1] && a[2] === a[3] && a[0] !== a[2]);
  });
});

describe("greedy coverage", () => {
  it("takes a point that lowers the sum most, as looking at every candidate every time does", () => {
    for (const seed of [1, 2, 3]) {
      const points = cloud(40, 3, seed);
      const chosen = [...coverageAnchors(points, 8)];
      for (const [k, anchor] of chosen.entries()) {
        const before = chosen.slice(0, k);
        const least = Math.min(...rows(points).map((c) => cost(points, [...before, c])));
        expect(cost(points, [...before, anchor])).toBeCloseTo(least, 10);
      }
    }
  });
  it("saves at least 1 − 1/e of what the best anchors beside the medoid save", () => {
    for (const seed of [1, 2, 3, 4]) {
      const points = cloud(11, 2, seed);
      const [medoid, ...rest] = coverageAnchors(points, 4);
      const start = cost(points, [medoid]);
      const best = Math.min(...subsets(11, 3).map((anchors) => cost(points, [medoid, ...anchors])));
      expect(start - cost(points, [medoid, ...rest])).toBeGreaterThanOrEqual((1 - 1 / Math.E) * (start - best));
    }
  });
});

describe("parallel anchors", () => {
  it("are the same rows of both", () => {
    const [x, y] = [cloud(9, 2), cloud(9, 4, 2)];
    const anchors = parallelAnchors(x, y, [7, 1]);
    expect(anchors.x).toEqual({ shape: [2, 2], data: Float32Array.of(x.data[14], x.data[15], x.data[2], x.data[3]) });
    expect(anchors.y.data).toEqual(Float32Array.of(...y.data.subarray(28, 32), ...y.data.subarray(4, 8)));
  });
});

describe("refused", () => {
  const points = cloud(5, 2);
  const twins = { shape: [3, 1], data: Float32Array.of(1, 1, 2) };
  it.each<[string, () => unknown, RegExp]>([
    ["no anchor", () => uniformAnchors(5, 0), /uniformAnchors: expected an integer in \[1, 5\] for `anchors`, but received 0/],
    ["more anchors than points", () => farthestPointAnchors(points, 6), /an integer in \[1, 5\] for `anchors`, but received 6/],
    ["half an anchor", () => kMeansAnchors(points, 1.5), /an integer in \[1, 5\]/],
    ["a seed", () => uniformAnchors(5, 1, { seed: -1 }), /an integer in \[0, 2\^32\)/],
    ["a metric", () => coverageAnchors(points, 2, { metric: "l1" as never }), /one of euclidean, cosine for `metric`, but received "l1"/],
    ["a first row", () => farthestPointAnchors(points, 2, { first: 5 }), /an integer in \[0, 4\] for `first`/],
    ["NaN", () => kMeansAnchors({ shape: [1, 1], data: Float32Array.of(Number.NaN) }, 1), /finite numbers of at most 1e\+150 for `points`/],
    [
      "squares that overflow",
      () => farthestPointAnchors({ shape: [2, 1], data: Float64Array.of(1e200, 0) }, 2),
      /finite numbers of at most 1e\+150 for `points`, but received "1e\+200 in row 0, column 0"/,
    ],
    ["labels", () => stratifiedAnchors([0, -1], 1), /whole numbers from 0 for `labels`, but received "-1 at position 1"/],
    ["no labels", () => stratifiedAnchors([], 1), /at least one label/],
    ["an allocation", () => stratifiedAnchors([0], 1, { allocation: "fair" as never }), /one of proportional, equal/],
    [
      "fewer different points, far",
      () => farthestPointAnchors(twins, 3),
      /at least 3 different points, one per anchor, for `points`, but received "2"/,
    ],
    ["fewer different points, means", () => kMeansAnchors(twins, 3), /at least 3 different points/],
    ["fewer different points, coverage", () => coverageAnchors(twins, 3), /at least 3 different points/],
    ["another number of rows", () => parallelAnchors(points, twins, [0]), /5 rows like `x` for `y`, but received "3 rows"/],
    ["an anchor twice", () => parallelAnchors(points, points, [1, 1]), /every index once for `indices`, but received "1 twice"/],
    ["no parallel anchor", () => parallelAnchors(points, points, []), /at least one index/],
  ])("%s", (_, run, message) => {
    expect(run).toThrow(ArgumentError);
    expect(run).toThrow(message);
  });
});
