/** Measures of spaces, scores of predictions, and statistics: published and closed-form values, and what may not change them. */
import { describe, expect, it } from "vitest";
import { createRandom } from "../src/data/random.ts";
import { ArgumentError, DataError } from "../src/errors.ts";
import { multiply, svd } from "../src/relative/linalg.ts";
import { type Dense, dense, type HostMatrix, hostMatrix } from "../src/relative/matrix.ts";
import { meanReciprocalRank, neighbourhoodJaccard } from "../src/relative/neighbours.ts";
import { classificationScores } from "../src/relative/scores.ts";
import { linearCka, linearHsic, rbfCka, svcca } from "../src/relative/similarity.ts";
import { minimumDetectableEffect, pairedTTest, studentCdf, studentQuantile, summarize } from "../src/relative/statistics.ts";

const random = (rows: number, columns: number, seed = 1): Dense => {
  const numbers = createRandom(seed);
  return dense(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, () => numbers.normal()),
  );
};
const host = (rows: number, columns: number, seed = 1): HostMatrix => hostMatrix(random(rows, columns, seed));
const changed = (x: HostMatrix, by: (value: number, row: number, column: number) => number): HostMatrix => ({
  shape: x.shape,
  data: Float64Array.from(x.data, (value, i) => by(value, Math.floor(i / x.shape[1]), i % x.shape[1])),
});
const mapped = (x: HostMatrix, map: Dense): HostMatrix => hostMatrix(multiply(dense(x.shape[0], x.shape[1], Float64Array.from(x.data)), map));

type Kernel = (space: HostMatrix) => (i: number, j: number) => number;
const rowsOf = ({ shape: [n, d], data }: HostMatrix): number[][] => Array.from({ length: n }, (_, i) => Array.from(data.slice(i * d, (i + 1) * d)));
const linear: Kernel = (space) => {
  const rows = rowsOf(space);
  return (i, j) => rows[i].reduce((sum, value, k) => sum + value * rows[j][k], 0);
};
const gaussian =
  (bandwidth: number): Kernel =>
  (space) => {
    const rows = rowsOf(space);
    const distance = (i: number, j: number): number => Math.hypot(...rows[i].map((value, k) => value - rows[j][k]));
    const all = rows.flatMap((_, i) => Array.from({ length: i }, (_, j) => distance(i, j))).sort((a, b) => a - b);
    const sigma = (bandwidth * (all[(all.length - 1) >> 1] + all[all.length >> 1])) / 2;
    return (i, j) => Math.exp(-(distance(i, j) ** 2) / (2 * sigma ** 2));
  };

/** HSIC by its definitions, with the n×n matrices written out. */
const plainHsic = (x: HostMatrix, y: HostMatrix, unbiased: boolean, kernel = linear): number => {
  const n = x.shape[0];
  const gram = (space: HostMatrix): number[][] => {
    const between = kernel(space);
    return Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => (unbiased && i === j ? 0 : between(i, j))));
  };
  const [k, l] = [gram(x), gram(y)];
  const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
  const rows = (m: number[][]): number[] => m.map(sum);
  const trace = sum(k.map((row, i) => sum(row.map((value, j) => value * l[j][i]))));
  const [r, s] = [rows(k), rows(l)];
  const cross = sum(r.map((value, i) => value * s[i]));
  if (unbiased) return (trace + (sum(r) * sum(s)) / ((n - 1) * (n - 2)) - (2 * cross) / (n - 2)) / (n * (n - 3));
  return (trace - (2 * cross) / n + (sum(r) * sum(s)) / n ** 2) / (n - 1) ** 2;
};

describe("CKA", () => {
  it("is what the definitions give, whichever way is shorter", () => {
    for (const [n, d, e] of [
      [12, 3, 4],
      [6, 20, 30],
      [4, 1, 1],
    ]) {
      const [x, y] = [changed(host(n, d), (value) => value + 2), host(n, e, 2)];
      for (const unbiased of [false, true]) {
        const want = plainHsic(x, y, unbiased);
        expect(linearHsic(x, y, { unbiased })).toBeCloseTo(want, 9);
        const scale = Math.sqrt(plainHsic(x, x, unbiased) * plainHsic(y, y, unbiased));
        expect(linearCka(x, y, { unbiased })).toBeCloseTo(want / scale, 9);
      }
    }
  });
  it.each([
    [12, 3, 4],
    [7, 1, 2],
    [4, 20, 3],
  ])("with Gaussian kernels: %i rows of %i and %i columns, as the definitions give it", (n, d, e) => {
    const [x, y] = [host(n, d), host(n, e, 2)];
    for (const unbiased of [false, true])
      for (const bandwidth of [0.5, 1, 2]) {
        const plain = (a: HostMatrix, b: HostMatrix): number => plainHsic(a, b, unbiased, gaussian(bandwidth));
        expect(rbfCka(x, y, { unbiased, bandwidth })).toBeCloseTo(plain(x, y) / Math.sqrt(plain(x, x) * plain(y, y)), 9);
      }
    // A kernel far wider than the space is linear in the distances' squares, so that what is left is the linear CKA.
    expect(rbfCka(x, y, { bandwidth: 1e3 })).toBeCloseTo(linearCka(x, y), 4);
  });
  it.each([
    ["linear", linearCka],
    ["Gaussian", rbfCka],
  ])("%s: does not change under rotation, one scale and translation, and does under scales per axis", (_, cka) => {
    const [x, y] = [host(30, 5), host(30, 4, 2)];
    const { u } = svd(random(5, 5, 3));
    for (const unbiased of [false, true]) {
      const value = cka(x, y, { unbiased });
      const moved = changed(mapped(x, u), (entry, _, column) => -3e5 * entry + column);
      expect(cka(moved, y, { unbiased })).toBeCloseTo(value, 9);
      expect(cka(x, moved, { unbiased })).toBeCloseTo(1, 9);
      const stretched = changed(x, (entry, _, column) => entry * (1 + 10 * column));
      expect(Math.abs(cka(stretched, y, { unbiased }) - value)).toBeGreaterThan(1e-3);
      expect(cka(y, x, { unbiased })).toBeCloseTo(value, 12);
    }
    expect(
      cka(
        changed(x, (entry) => entry * 1e140),
        y,
      ),
    ).toBeCloseTo(cka(x, y), 9);
  });
  it("without bias has mean 0 for unrelated spaces, with bias not", () => {
    const values = Array.from({ length: 200 }, (_, i) =>
      [false, true].map((unbiased) => linearCka(host(20, 15, 2 * i), host(20, 15, 2 * i + 1), { unbiased })),
    );
    const mean = (k: number): number => values.reduce((sum, pair) => sum + pair[k], 0) / values.length;
    expect(mean(0)).toBeGreaterThan(0.3);
    // Standard error about 0.004.
    expect(Math.abs(mean(1))).toBeLessThan(0.02);
  });
});

describe("SVCCA", () => {
  it("does not change under any invertible map of what is kept", () => {
    const [x, y] = [host(40, 4), host(40, 3, 2)];
    const value = svcca(x, y, { variance: 1 });
    expect(value.directions).toEqual([4, 3]);
    expect(
      svcca(
        changed(mapped(x, random(4, 4, 5)), (v) => v + 7),
        y,
        { variance: 1 },
      ).similarity,
    ).toBeCloseTo(value.similarity, 9);
    expect(svcca(x, mapped(x, random(4, 4, 6)), { variance: 1 }).similarity).toBeCloseTo(1, 9);
    expect(svcca(x, mapped(x, random(4, 4, 6)), { variance: 1 }).correlations.every((rho) => rho <= 1)).toBe(true);
  });
  it("of one column each is |Pearson's r|", () => {
    const x = { shape: [5, 1], data: Float64Array.of(1, 2, 3, 4, 5) };
    const y = { shape: [5, 1], data: Float64Array.of(-2, -4, -5, -4, -5) };
    expect(svcca(x, y).similarity).toBeCloseTo(0.7745966692414834, 12);
  });
  it("drops directions that explain little", () => {
    const x = changed(host(50, 3), (value, _, column) => value * [1, 1, 1e-3][column]);
    expect(svcca(x, x).directions).toEqual([2, 2]);
    expect(svcca(x, x, { variance: 1 }).directions).toEqual([3, 3]);
  });
});

describe("neighbourhoods", () => {
  it("are the same under rotation, scale and translation, whatever the dimension", () => {
    const x = host(30, 3);
    const wide = { shape: [30, 5], data: Float64Array.from({ length: 150 }, (_, i) => (i % 5 < 3 ? x.data[3 * Math.floor(i / 5) + (i % 5)] : 4)) };
    expect(neighbourhoodJaccard(x, wide, { metric: "euclidean", k: 7 })).toBe(1);
    expect(neighbourhoodJaccard(x, mapped(x, svd(random(3, 3, 4)).u), { k: 5 })).toBe(1);
    expect(
      neighbourhoodJaccard(
        x,
        changed(x, (value, row) => value * (1 + row)),
        { k: 5 },
      ),
    ).toBe(1);
    expect(
      neighbourhoodJaccard(
        x,
        changed(x, (value, row) => value * (1 + row)),
        { k: 5, metric: "euclidean" },
      ),
    ).toBeLessThan(1);
  });
  it("of unrelated spaces share what chance gives", () => {
    // |A ∩ B| is hypergeometric with mean k²/(n − 1).
    expect(neighbourhoodJaccard(host(200, 4), host(200, 4, 2), { k: 20 })).toBeCloseTo(2 / (2 * 20 - 2), 1);
  });
  it("overlap by a value worked out by hand", () => {
    const x = { shape: [4, 1], data: Float64Array.of(0, 1, 3, 7) };
    const y = { shape: [4, 1], data: Float64Array.of(0, 3, 1, 7) };
    // Two nearest of each: {1,2} {0,2} {1,0} {2,1} and, with 1 and 2 exchanged, {2,1} {2,0} {0,1} {1,2}.
    expect(neighbourhoodJaccard(x, y, { k: 2, metric: "euclidean" })).toBe(1);
    // The nearest: 1 0 1 2 and 2 2 0 1.
    expect(neighbourhoodJaccard(x, y, { k: 1, metric: "euclidean" })).toBe(0);
  });
  it("take the lower number of two that are as near", () => {
    // Rows 1 and 2 of x are as near to row 0, and one of them has no place beside row 3.
    const x = { shape: [4, 1], data: Float64Array.of(0, 2, -2, 1) };
    const y = { shape: [4, 1], data: Float64Array.of(0, 2, -9, 1) };
    expect(neighbourhoodJaccard(x, y, { k: 2, metric: "euclidean" })).toBe(1);
  });
  it("rank a partner, with ties against it", () => {
    const x = host(25, 4);
    expect(meanReciprocalRank(x, x)).toBe(1);
    expect(
      meanReciprocalRank(
        x,
        changed(x, () => 1),
      ),
    ).toBeCloseTo(1 / 25, 12);
    const reversed = changed(x, (_, row, column) => x.data[(24 - row) * 4 + column]);
    expect(meanReciprocalRank(x, reversed)).toBeLessThan(0.3);
  });
});

describe("scores", () => {
  it("are scikit-learn's", () => {
    // The example of its documentation: weighted precision 0.22, recall 0.33, F1 0.26.
    const scores = classificationScores([0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1]);
    expect(scores).toMatchObject({ precision: expect.closeTo(2 / 9, 12), recall: expect.closeTo(1 / 3, 12), f1: expect.closeTo(4 / 15, 12) });
    expect(scores.mae).toBeCloseTo(4 / 6, 12);
    // f1_score([0,0,0,0,1,1,2], [0,0,1,2,1,0,2], average="weighted") and its companions.
    const uneven = classificationScores([0, 0, 0, 0, 1, 1, 2], [0, 0, 1, 2, 1, 0, 2]);
    expect(uneven.accuracy).toBeCloseTo(4 / 7, 12);
    expect(uneven.precision).toBeCloseTo((4 * (2 / 3) + 2 * 0.5 + 0.5) / 7, 12);
    expect(uneven.f1).toBeCloseTo((4 * (4 / 7) + 2 * 0.5 + 2 / 3) / 7, 12);
  });
  it("of everything right and everything wrong", () => {
    expect(classificationScores([3, 1], [3, 1])).toMatchObject({ accuracy: 1, precision: 1, recall: 1, f1: 1, mae: 0, classes: 4 });
    expect(classificationScores([0, 0], [4, 4])).toMatchObject({ accuracy: 0, precision: 0, recall: 0, f1: 0, mae: 4 });
    expect(classificationScores(Int32Array.of(0, 1), Float32Array.of(1, 1), { classes: 3 }).confusion).toEqual(
      Int32Array.of(0, 1, 0, 0, 1, 0, 0, 0, 0),
    );
  });
});

describe("statistics", () => {
  it.each([
    // scipy.stats.t.ppf, which agrees with the printed tables.
    [0.975, 1, 12.706204736174694],
    [0.975, 2, 4.302652729749462],
    [0.975, 4, 2.7764451051977934],
    [0.95, 10, 1.8124611228116756],
    [0.995, 14, 2.9768427343708344],
    [0.8, 14, 0.8680547815574207],
    [0.975, 100, 1.9839715185235518],
    [0.9999, 3, 22.203742273205],
  ])("the %d quantile with %d degrees of freedom", (p, degrees, want) => {
    const got = studentQuantile(p, degrees);
    expect(Math.abs(got - want) / want).toBeLessThan(1e-12);
    expect(studentQuantile(1 - p, degrees)).toBeCloseTo(-got, 6);
    expect(studentCdf(got, degrees)).toBeCloseTo(p, 13);
  });
  it("the distribution has its closed forms", () => {
    for (const t of [-1e8, -30, -2, -0.1, 0, 1e-9, 0.5, 1, 7, 1e5]) {
      expect(studentCdf(t, 1)).toBeCloseTo(0.5 + Math.atan(t) / Math.PI, 13);
      expect(studentCdf(t, 2)).toBeCloseTo(0.5 + t / (2 * Math.sqrt(2 + t * t)), 13);
      expect(studentCdf(t, 3)).toBeCloseTo(0.5 + (t / Math.sqrt(3) / (1 + (t * t) / 3) + Math.atan(t / Math.sqrt(3))) / Math.PI, 13);
    }
    // Far out with full relative accuracy: P(T > t) ≈ 1/(πt) with one degree.
    expect(studentCdf(-1e10, 1) * Math.PI * 1e10).toBeCloseTo(1, 12);
    expect(studentCdf(Number.NEGATIVE_INFINITY, 3)).toBe(0);
    expect(studentCdf(1.959963984540054, 1e6)).toBeCloseTo(0.975, 6);
  });
  it("pairs", () => {
    const test = pairedTTest([61, 62, 60, 63, 61], [60, 60, 60, 61, 60]);
    // scipy.stats.ttest_rel
    expect(test).toMatchObject({ count: 5, mean: expect.closeTo(1.2, 12), degreesOfFreedom: 4, t: expect.closeTo(3.2071349029490923, 12) });
    expect(test.p).toBeCloseTo(0.03267792333680301, 12);
    expect(test.interval).toEqual([expect.closeTo(0.16114936631643229, 10), expect.closeTo(2.2388506336835676, 10)]);
    expect(pairedTTest([1, 2], [1, 2])).toMatchObject({ t: 0, p: 1 });
    expect(pairedTTest([2, 3], [1, 2])).toMatchObject({ t: Number.POSITIVE_INFINITY, p: 0, interval: [1, 1] });
  });
  it("rejects as often as the level says, and sees the detectable effect as often as the power says", () => {
    const numbers = createRandom(11);
    const [rounds, count] = [4000, 10];
    const effect = minimumDetectableEffect(1, count);
    const [rejected, seen] = [0, effect].map((shift) => {
      let hits = 0;
      for (let r = 0; r < rounds; r++) {
        const differences = Float64Array.from({ length: count }, () => shift + numbers.normal());
        if (pairedTTest(differences, new Float64Array(count)).p < 0.05) hits++;
      }
      return hits / rounds;
    });
    // Four standard errors of a share.
    expect(Math.abs(rejected - 0.05)).toBeLessThan(4 * Math.sqrt((0.05 * 0.95) / rounds));
    expect(Math.abs(seen - 0.8)).toBeLessThan(4 * Math.sqrt((0.8 * 0.2) / rounds));
  });
  it("summarize", () => {
    expect(summarize([5])).toEqual({ count: 1, mean: 5, deviation: Number.NaN });
    expect(summarize([1e9 + 1, 1e9 + 2, 1e9 + 3])).toEqual({ count: 3, mean: 1e9 + 2, deviation: 1 });
  });
});

describe("refused", () => {
  const x = host(5, 2);
  it.each<[string, () => unknown, RegExp]>([
    ["other rows", () => linearCka(x, host(4, 2)), /linearCka: expected 5 rows like `x` for `y`/],
    ["too few rows without bias", () => linearCka(host(3, 2), host(3, 2), { unbiased: true }), /at least 4 rows for `x`, but received 3/],
    ["a bandwidth", () => rbfCka(x, x, { bandwidth: 0 }), /a positive number for `bandwidth`, but received 0/],
    ["a share", () => svcca(x, x, { variance: 0 }), /a share in \(0, 1\] for `variance`/],
    ["one row", () => neighbourhoodJaccard(host(1, 2), host(1, 2)), /at least 2 rows/],
    ["too many neighbours", () => neighbourhoodJaccard(x, x, { k: 5 }), /an integer in \[1, 4\] for `k`, but received 5/],
    ["a metric", () => meanReciprocalRank(x, x, { metric: "l1" as never }), /one of euclidean, cosine/],
    ["other columns", () => meanReciprocalRank(x, host(5, 3)), /2 columns like `x` for `y`, but received 3/],
    ["no label", () => classificationScores([], []), /at least one label/],
    ["other predictions", () => classificationScores([1], [1, 2]), /1 labels for `predictions`, but received 2/],
    ["half a label", () => classificationScores([0.5], [1]), /whole numbers from 0 for `labels`, but received "0\.5 at position 0"/],
    [
      "labels out of range",
      () => classificationScores([0, 3], [0, 0], { classes: 3 }),
      /classes in 0 … 2 for `labels`, but received "3 at position 1"/,
    ],
    ["predictions out of range", () => classificationScores([0], [7], { classes: 3 }), /classes in 0 … 2 for `predictions`/],
    ["one pair", () => pairedTTest([1], [1]), /at least 2 numbers for `a`/],
    ["other pairs", () => pairedTTest([1, 2], [1, 2, 3]), /2 numbers like `a` for `b`, but received 3/],
    ["NaN", () => summarize([1, Number.NaN]), /finite numbers for `values`, but received "NaN at position 1"/],
    ["nothing", () => summarize([]), /at least 1 number for `values`/],
    ["p", () => studentQuantile(1, 3), /a number in \(0, 1\) for `p`/],
    ["degrees", () => studentCdf(1, 0), /a positive number for `degreesOfFreedom`/],
    ["one seed", () => minimumDetectableEffect(1, 1), /an integer in \[2, /],
    ["power", () => minimumDetectableEffect(1, 5, { power: 1 }), /a number in \(0, 1\) for `power`/],
  ])("%s", (_, run, message) => {
    expect(run).toThrow(ArgumentError);
    expect(run).toThrow(message);
  });
  it("spaces that are one point", () => {
    const point = { shape: [5, 2], data: new Float32Array(10).fill(0.1) };
    for (const run of [() => linearCka(x, point), () => rbfCka(x, point), () => svcca(point, x)]) {
      expect(run).toThrow(DataError);
      expect(run).toThrow(/at least two different rows for `[xy]`, but all are the same/);
    }
  });
});
