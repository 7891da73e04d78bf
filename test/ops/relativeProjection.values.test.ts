/** What each projection is invariant to and what not, values where something is zero or broken, and the same results by other ways, on every device. */
import { describe, expect, test } from "vitest";
import type { Device } from "../../src/device.ts";
import { div, sub } from "../../src/ops/elementwise/index.ts";
import {
  featureStatistics,
  type RelativeProjectionOptions,
  RunningStatistics,
  relativeProjection,
  relativeTopK,
} from "../../src/ops/relativeProjection/index.ts";
import { scope } from "../../src/scope.ts";
import type { Tensor } from "../../src/tensor.ts";
import { testRandom } from "../../src/testing/random.ts";
import { KINDS, take, withDevice } from "../support/devices.ts";

type Rows = readonly (readonly number[])[];
const random = testRandom(5);
const matrix = (rows: number, columns: number): number[][] =>
  Array.from({ length: rows }, () => Array.from({ length: columns }, () => random.normal()));

/** Columns made orthonormal one after the other. */
const orthogonal = (n: number): number[][] => {
  const q: number[][] = [];
  for (const row of matrix(n, n)) {
    for (let again = 0; again < 2; again++) {
      for (const other of q) {
        const along = row.reduce((total, value, i) => total + value * other[i], 0);
        row.forEach((value, i) => {
          row[i] = value - along * other[i];
        });
      }
    }
    const norm = Math.hypot(...row);
    q.push(row.map((value) => value / norm));
  }
  return q;
};
const times = (rows: Rows, by: Rows): number[][] =>
  rows.map((row) => by.map((column) => row.reduce((total, value, i) => total + value * column[i], 0)));

const [B, K, d] = [60, 96, 16];
const [x, anchors] = [B, K].map((n) => {
  const mixing = matrix(d, d).map((row, i) => row.map((value, j) => 0.2 * value + (i === j ? 1 : 0)));
  return times(matrix(n, d), mixing).map((row) => row.map((value) => value + 0.3));
});
const shuffled = [...Array(d).keys()].map((i) => (5 * i + 3) % d);
/** From 1 to 30. */
const factors = Array.from({ length: d }, (_, i) => 30 ** (((7 * i) % d) / (d - 1)) / 5.5);
const [left, right] = [orthogonal(d), orthogonal(d)];
/** Of condition 30: two rotations with those factors between. */
const general = times(
  left.map((row) => row.map((value, i) => value * factors[i])),
  right,
);
const offset = Array.from({ length: d }, (_, i) => ((3 * i) % 7) - 2);

const MAPS: Readonly<Record<string, (rows: Rows) => Rows>> = {
  "a common factor": (rows) => rows.map((row) => row.map((value) => 3 * value)),
  rotation: (rows) => times(rows, left),
  translation: (rows) => rows.map((row) => row.map((value, i) => value + offset[i])),
  permutation: (rows) => rows.map((row) => shuffled.map((i) => row[i])),
  "positive factors": (rows) => rows.map((row) => row.map((value, i) => value * factors[i])),
  "factors of any sign": (rows) => rows.map((row) => row.map((value, i) => value * factors[i] * (i % 3 === 0 ? -1 : 1))),
  "P D z + b": (rows) => rows.map((row) => shuffled.map((i) => row[i] * factors[i] + offset[i])),
  "G z + b": (rows) => times(rows, general).map((row) => row.map((value, i) => value + offset[i])),
};

type Form = (x: Tensor, anchors: Tensor) => Tensor;
const standard = (rows: Tensor): Tensor => {
  const { mean, scale } = featureStatistics(rows);
  return div(sub(rows, mean), scale as Tensor);
};
/** Statistics of two updates, of which neither alone is what is averaged; frozen then. */
const running =
  (options: RelativeProjectionOptions): Form =>
  (u, v) => {
    using statistics = new RunningStatistics({ momentum: 0.3, covariance: options.normalise === "whiten" });
    statistics.update(v);
    statistics.update(u);
    statistics.training = false;
    return relativeProjection(u, v, { ...options, statistics });
  };
const form =
  (options: RelativeProjectionOptions): Form =>
  (u, v) =>
    relativeProjection(u, v, options);
/** One row per projection: which of the maps, in their order, it is invariant to. */
const TABLE: readonly (readonly [string, Form, string])[] = [
  ["cosine", form({}), "✓✓✗✓✗✗✗✗"],
  ["centred cosine", form({ normalise: "centre" }), "✓✓✓✓✗✗✗✗"],
  ["robust, statistics of the anchors", form({ normalise: "standardise" }), "✓✗✓✓✓✓✓✗"],
  ["robust, statistics of the batch", form({ normalise: "standardise", statistics: "batch" }), "✓✗✓✓✓✓✓✗"],
  ["robust, statistics of each", (u, v) => relativeProjection(standard(u), standard(v)), "✓✗✓✓✓✓✓✗"],
  ["whitened cosine", form({ normalise: "whiten" }), "✓✓✓✓✓✓✓✓"],
  ["robust, running statistics", running({ normalise: "standardise" }), "✓✗✓✓✓✓✓✗"],
  ["whitened cosine, running statistics", running({ normalise: "whiten" }), "✓✓✓✓✓✓✓✓"],
  ["whitened cosine, statistics of the batch", form({ normalise: "whiten", statistics: "batch" }), "✓✓✓✓✓✓✓✓"],
  ["whitened inner product", form({ normalise: "whiten", similarity: "inner" }), "✓✓✓✓✓✓✓✓"],
  ["whitened with shrinkage", form({ normalise: "whiten", shrinkage: 0.3 }), "✓✓✓✓✗✗✗✗"],
  ["angular", form({ similarity: "angular" }), "✓✓✗✓✗✗✗✗"],
  ["inner product", form({ similarity: "inner" }), "✗✓✗✓✗✗✗✗"],
  ["l2", form({ similarity: "l2" }), "✗✓✓✓✗✗✗✗"],
  ["l1", form({ similarity: "l1" }), "✗✗✓✓✗✗✗✗"],
  ["linf", form({ similarity: "linf" }), "✗✗✓✓✗✗✗✗"],
  ["robust l1", form({ similarity: "l1", normalise: "standardise" }), "✓✗✓✓✓✓✓✗"],
  ["mahalanobis", form({ similarity: "mahalanobis" }), "✓✓✓✓✓✓✓✓"],
];
/** Coefficients in a basis of fewer anchors than features change with none but linear maps … */
const FEW = form({ similarity: "changeOfBasis" });

describe.each(KINDS)("on %s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });
  const run = async (make: Form, u: Rows, v: Rows): Promise<Float64Array> => {
    const result = scope(() => {
      const [a, b] = [u, v].map((rows) => device.tensor(Float64Array.from(rows.flat()), [rows.length, d]));
      return make(a, b);
    });
    try {
      return kind === "reference" && result.dtype === "float32" ? await result.readFloat64() : Float64Array.from(await result.read());
    } finally {
      result.dispose();
    }
  };
  const change = (got: Float64Array, want: Float64Array): number =>
    got.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i])), 0) / want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

  for (const [name, make, row] of TABLE) {
    test(`${name}: invariant ${row}`, async () => {
      const before = await run(make, x, anchors);
      for (const [i, [map, apply]] of Object.entries(MAPS).entries()) {
        const moved = change(await run(make, apply(x), apply(anchors)), before);
        if (row[i] === "✓") expect(moved, map).toBeLessThan(kind === "reference" ? 1e-5 : 1e-4);
        else expect(moved, map).toBeGreaterThan(0.02);
      }
    });
  }

  test("coefficients in a basis do not change with linear maps, and combine the anchors to the rows", async () => {
    const basis = anchors.slice(0, d);
    const before = await run(FEW, x, basis);
    const moved = change(await run(FEW, times(x, general), times(basis, general)), before);
    // The basis has a condition number of some hundreds.
    expect(moved).toBeLessThan(kind === "reference" ? 1e-5 : 2e-3);
    const c = Array.from({ length: B }, (_, b) => [...before.slice(b * d, (b + 1) * d)]);
    const again = Float64Array.from(
      times(
        c,
        basis[0].map((_, l) => basis.map((anchor) => anchor[l])),
      ).flat(),
    );
    expect(change(again, Float64Array.from(x.flat()))).toBeLessThan(kind === "reference" ? 1e-8 : 1e-3);
  });

  test("with more anchors than features, the shortest coefficients", async () => {
    const before = await run(FEW, x, anchors);
    const c = Array.from({ length: B }, (_, b) => [...before.slice(b * K, (b + 1) * K)]);
    const again = Float64Array.from(
      times(
        c,
        anchors[0].map((_, l) => anchors.map((anchor) => anchor[l])),
      ).flat(),
    );
    expect(change(again, Float64Array.from(x.flat()))).toBeLessThan(1e-4);
  });

  test("zeros and features without deviation", async () => {
    const project = (u: number[][], v: number[][], options: RelativeProjectionOptions): Promise<number[]> =>
      take(scope(() => relativeProjection(device.tensor(u), device.tensor(v), options)));
    expect(
      await project(
        [[0, 0]],
        [
          [1, 1],
          [0, 0],
        ],
        {},
      ),
    ).toEqual([0, 0]);
    expect(
      await project(
        [[0, 0]],
        [
          [1, 1],
          [0, 0],
        ],
        { similarity: "angular" },
      ),
    ).toEqual([0.5, 0.5]);
    // The third feature is the same in both anchors, so that it says nothing, even of the row in which it differs.
    const robust = await project(
      [
        [0, 0, 7],
        [1, 2, 7],
        [3, 1, 8],
      ],
      [
        [1, 0, 7],
        [0, 1, 7],
      ],
      { normalise: "standardise" },
    );
    const without = await project(
      [
        [0, 0],
        [1, 2],
        [3, 1],
      ],
      [
        [1, 0],
        [0, 1],
      ],
      { normalise: "standardise" },
    );
    robust.forEach((value, i) => {
      expect(value).toBeCloseTo(without[i], 6);
    });
  });

  test("given, running and the anchors' statistics agree", async () => {
    using running = new RunningStatistics();
    const forms: readonly Form[] = [
      form({ normalise: "standardise" }),
      (u, v) => relativeProjection(u, v, { normalise: "standardise", statistics: featureStatistics(v) }),
      (u, v) => {
        running.update(v);
        return relativeProjection(u, v, { normalise: "standardise", statistics: running });
      },
    ];
    const want = await run(forms[0], x, anchors);
    for (const make of forms.slice(1)) expect(change(await run(make, x, anchors), want)).toBeLessThan(1e-6);
  });

  test("running covariances: averages of updates, shrunk as asked for, and the same from a state", async () => {
    using statistics = new RunningStatistics({ momentum: 0.25, covariance: true });
    const [u, v] = [x, anchors].map((rows) => device.tensor(Float64Array.from(rows.flat()), [rows.length, d]));
    for (const rows of [v, u]) statistics.update(rows);
    const covariance = (rows: Rows): number[] => {
      const means = rows[0].map((_, l) => rows.reduce((total, row) => total + row[l], 0) / rows.length);
      const centred = rows.map((row) => row.map((value, l) => value - means[l]));
      return means.flatMap((_, i) => means.map((_, j) => centred.reduce((total, row) => total + row[i] * row[j], 0) / rows.length));
    };
    const [ofAnchors, ofRows] = [anchors, x].map(covariance);
    const got = await take(statistics.covariance);
    expect(
      change(
        Float64Array.from(got),
        Float64Array.from(ofAnchors, (value, i) => 0.75 * value + 0.25 * ofRows[i]),
      ),
    ).toBeLessThan(2e-6);
    statistics.training = false;
    statistics.update(u);
    expect(await take(statistics.covariance)).toEqual(got);
    const project = (statistics: RunningStatistics, shrinkage: number): Promise<number[]> =>
      take(relativeProjection(u, v, { normalise: "whiten", statistics, shrinkage }));
    const [plain, shrunk] = [await project(statistics, 0), await project(statistics, 0.5)];
    expect(change(Float64Array.from(shrunk), Float64Array.from(plain))).toBeGreaterThan(0.02);
    expect(await project(statistics, 0)).toEqual(plain);
    using again = new RunningStatistics({ covariance: true });
    again.loadStateDict(await statistics.stateDict(), device);
    expect(await project(again, 0.5)).toEqual(shrunk);
    using given = new RunningStatistics({ covariance: true });
    given.update(v);
    const own = relativeProjection(u, v, { normalise: "whiten", statistics: given });
    const want = relativeProjection(u, v, { normalise: "whiten" });
    expect(change(Float64Array.from(await take(own)), Float64Array.from(await take(want)))).toBeLessThan(1e-4);
    for (const tensor of [u, v]) tensor.dispose();
  });

  test("lp of the powers 1 and 2 is l1 and l2", async () => {
    for (const [p, similarity] of [[1, "l1"] as const, [2, "l2"] as const]) {
      const want = await run(form({ similarity, normalise: "standardise" }), x, anchors);
      expect(await run(form({ similarity: "lp", p, normalise: "standardise" }), x, anchors)).toEqual(want);
    }
  });

  test("the largest similarities are those of the whole matrix", async () => {
    for (const options of [{}, { normalise: "standardise" }, { normalise: "whiten", similarity: "inner" }, { similarity: "l1" }] as const) {
      const whole = await run(form(options), x, anchors);
      const values = await run((u, v) => relativeTopK(u, v, 7, options).values, x, anchors);
      const indices = await run((u, v) => relativeTopK(u, v, 7, options).indices, x, anchors);
      for (let b = 0; b < B; b++) {
        const row = [...whole.slice(b * K, (b + 1) * K)];
        const best = [...row].sort((a, c) => c - a).slice(0, 7);
        for (let j = 0; j < 7; j++) {
          expect(values[b * 7 + j]).toBeCloseTo(best[j], 4);
          expect(row[indices[b * 7 + j]]).toBeCloseTo(best[j], 4);
        }
      }
    }
  });

  test("broken numbers are told by the next read", async () => {
    for (const broken of [Number.NaN, Number.POSITIVE_INFINITY]) {
      for (const similarity of ["cosine", "inner", "linf"] as const) {
        for (const first of [true, false]) {
          const [good, bad] = [device.ones([3, 2]), device.tensor([1, 2, broken, 4], [2, 2])];
          const y = relativeProjection(first ? bad : good, first ? good : bad, { similarity });
          await expect(y.read()).rejects.toThrow(
            "relativeProjection: expected rows of finite numbers, whose squares have a finite float32 sum, for `x` and `anchors`, but received",
          );
          for (const tensor of [good, bad, y]) tensor.dispose();
        }
      }
    }
    const huge = device.tensor([1, 1, kind === "reference" ? Number.POSITIVE_INFINITY : 3e30, 4], [2, 2]);
    const robust = relativeProjection(huge, huge, { normalise: "standardise" });
    await expect(robust.read()).rejects.toThrow(
      "featureStatistics: expected finite numbers, whose squared distances from the mean have a finite float32 sum, for `rows`",
    );
    for (const tensor of [huge, robust]) tensor.dispose();
    const flat = device.tensor([1, 1, 2, 2, 3, 3, 4, 4], [4, 2]);
    const y = relativeProjection(flat, flat, { normalise: "whiten" });
    await expect(y.read()).rejects.toThrow("inverseCholesky: expected a positive definite matrix");
    for (const tensor of [flat, y]) tensor.dispose();
  });
});
