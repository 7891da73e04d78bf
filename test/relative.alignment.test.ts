/** Alignments and the inverse projection: exact recovery of planted maps, first-order conditions of every least-squares problem, and what is refused. */
import { describe, expect, it } from "vitest";
import { createRandom } from "../src/data/random.ts";
import { ArgumentError } from "../src/errors.ts";
import { ALIGNMENT_METHODS, type AlignmentOptions, applyAlignment, fitAlignment } from "../src/relative/alignment.ts";
import { applyInverseProjection, fitInverseProjection } from "../src/relative/inverse.ts";
import { multiply, multiplyByTransposed, multiplyTransposed, svd, transposed } from "../src/relative/linalg.ts";
import { type Dense, dense, type HostMatrix, hostMatrix } from "../src/relative/matrix.ts";
import { centred } from "../src/relative/standardise.ts";

const random = (rows: number, columns: number, seed = 1): Dense => {
  const numbers = createRandom(seed);
  return dense(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, () => numbers.normal()),
  );
};
const asDense = ({ shape: [rows, columns], data }: HostMatrix): Dense => dense(rows, columns, Float64Array.from(data));
const orthogonal = (n: number, seed = 3): Dense => svd(random(n, n, seed)).u;
const scaled = (a: Dense, factors: ArrayLike<number>): Dense => ({ ...a, data: a.data.map((value, i) => value * factors[i % a.columns]) });
const shifted = (a: Dense, by: ArrayLike<number>): Dense => ({ ...a, data: a.data.map((value, i) => value + by[i % a.columns]) });
const largest = ({ data }: { data: Float32Array | Float64Array }): number =>
  Array.from(data).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const difference = (a: { data: Float32Array | Float64Array }, b: { data: Float32Array | Float64Array }): number => {
  expect(a.data.length).toBe(b.data.length);
  return largest({ data: Float64Array.from(a.data, (value, i) => value - b.data[i]) });
};
const fitted = (x: Dense, y: Dense, options: AlignmentOptions) => fitAlignment(hostMatrix(x), hostMatrix(y), options);
/** Largest error of the map on points that it was not fitted to. */
const heldOut = (options: AlignmentOptions, map: (x: Dense) => Dense, d: number): number => {
  const alignment = fitted(random(60, d, 1), map(random(60, d, 1)), options);
  const fresh = random(25, d, 2);
  return difference(applyAlignment(alignment, hostMatrix(fresh)), map(fresh));
};

describe("a planted map is found exactly", () => {
  const [q, b] = [orthogonal(6), random(1, 6, 4).data];
  it("rotation, by every method without normalisation", () => {
    for (const method of ALIGNMENT_METHODS) expect(heldOut({ method, normalise: "none" }, (x) => multiply(x, q), 6)).toBeLessThan(1e-12);
  });
  it("rotation and translation, by every method that centres", () => {
    for (const method of ALIGNMENT_METHODS)
      expect(heldOut({ method, normalise: "centre" }, (x) => shifted(multiply(x, q), b), 6)).toBeLessThan(1e-12);
  });
  it("permutation, signs, scales and translation, by every method that standardises", () => {
    const p = dense(6, 6);
    for (const [i, j] of [3, 1, 5, 0, 2, 4].entries()) p.data[i * 6 + j] = i % 2 ? -1 : 1;
    const map = (x: Dense): Dense => shifted(scaled(multiply(x, p), [1, 20, 0.3, 4, 5, 6]), b);
    for (const method of ALIGNMENT_METHODS) expect(heldOut({ method }, map, 6)).toBeLessThan(1e-11);
  });
  it("any affine map, by the affine method, into fewer and more dimensions", () => {
    for (const columns of [3, 6, 9]) {
      const [w, c] = [random(6, columns, 5), random(1, columns, 6).data];
      for (const normalise of ["none", "centre", "standardise"] as const)
        expect(heldOut({ method: "affine", normalise }, (x) => shifted(multiply(x, w), c), 6)).toBeLessThan(1e-11);
    }
  });
  it("and the residual says so", () => {
    const x = random(60, 6);
    expect(fitted(x, multiply(x, q), { normalise: "none" }).residual).toBeLessThan(1e-14);
    expect(fitted(x, random(60, 6, 9), { method: "affine" }).residual).toBeGreaterThan(0.5);
    expect(fitted(x, random(60, 6, 9), { method: "affine" }).residual).toBeLessThan(1);
    expect(fitted(x, dense(60, 2, new Float64Array(120).fill(0.1)), {}).residual).toBeNaN();
  });
});

describe("Procrustes", () => {
  it("is orthogonal, and beats every other orthogonal map", () => {
    const [x, y] = [random(40, 5), random(40, 5, 2)];
    const q = asDense(fitted(x, y, { normalise: "none" }).weight);
    expect(
      difference(
        multiply(transposed(q), q),
        dense(
          5,
          5,
          Float64Array.from({ length: 25 }, (_, i) => Number(i % 6 === 0)),
        ),
      ),
    ).toBeLessThan(1e-12);
    const error = (map: Dense): number => {
      const z = multiply(x, map);
      return z.data.reduce((sum, value, i) => sum + (value - y.data[i]) ** 2, 0);
    };
    for (let seed = 10; seed < 60; seed++) expect(error(orthogonal(5, seed))).toBeGreaterThan(error(q));
    // Small rotations in every plane make it worse, too: it is a minimum, not a saddle.
    for (let i = 0; i < 5; i++) {
      for (let j = 0; j < i; j++) {
        for (const angle of [-1e-3, 1e-3]) {
          const turn = dense(5, 5);
          for (let k = 0; k < 5; k++) turn.data[k * 6] = k === i || k === j ? Math.cos(angle) : 1;
          turn.data[i * 5 + j] = Math.sin(angle);
          turn.data[j * 5 + i] = -Math.sin(angle);
          expect(error(multiply(q, turn))).toBeGreaterThan(error(q));
        }
      }
    }
  });
  it("of different dimensions is what padding with zeros gives", () => {
    const padded = (a: Dense, columns: number): Dense =>
      dense(
        a.rows,
        columns,
        Float64Array.from({ length: a.rows * columns }, (_, i) =>
          i % columns < a.columns ? a.data[Math.floor(i / columns) * a.columns + (i % columns)] : 0,
        ),
      );
    for (const [d, e] of [
      [4, 7],
      [7, 4],
    ]) {
      const [x, y, fresh] = [random(30, d), random(30, e, 2), random(5, d, 3)];
      for (const normalise of ["none", "standardise"] as const) {
        const got = applyAlignment(fitted(x, y, { normalise }), hostMatrix(fresh));
        const square = applyAlignment(fitted(padded(x, 7), padded(y, 7), { normalise }), hostMatrix(padded(fresh, 7)));
        const cropped = { data: square.data.filter((_, i) => i % 7 < e) };
        expect(difference(got, cropped)).toBeLessThan(1e-12);
      }
    }
  });
});

describe("least squares", () => {
  /** Xᵀ(XW − Y) + (what regularises)·W */
  const gradient = (x: Dense, y: Dense, w: Dense, regularised: number, share = 1): number => {
    const error = multiply(x, w);
    for (let i = 0; i < error.data.length; i++) error.data[i] = share * error.data[i] - y.data[i];
    const g = multiplyTransposed(x, error);
    return largest({ data: g.data.map((value, i) => value + regularised * w.data[i]) });
  };
  const [x, y] = [random(30, 8), random(30, 3, 2)];
  it("makes the gradient 0, with and without ridge and shrinkage", () => {
    const weight = (options: AlignmentOptions, a = x, b = y): Dense =>
      asDense(fitted(a, b, { method: "linear", normalise: "none", ...options }).weight);
    expect(gradient(x, y, weight({}), 0)).toBeLessThan(1e-11);
    expect(gradient(x, y, weight({ ridge: 2.5 }), 2.5)).toBeLessThan(1e-11);
    const average = x.data.reduce((sum, value) => sum + value ** 2, 0) / 8;
    expect(gradient(x, y, weight({ shrinkage: 0.3 }), 0.3 * average, 0.7)).toBeLessThan(1e-11);
    expect(gradient(x, y, weight({ shrinkage: 1 }), average, 0)).toBeLessThan(1e-11);
    const [cx, cy] = [centred(x), centred(y)];
    const affine = fitted(x, y, { method: "affine", normalise: "none", ridge: 4 });
    expect(gradient(cx, cy, asDense(affine.weight), 4)).toBeLessThan(1e-11);
  });
  it("takes fewer anchors than dimensions: the smallest map that fits, and finite with ridge", () => {
    const [few, to] = [random(5, 12), random(5, 4, 2)];
    const map = fitted(few, to, { method: "linear", normalise: "none" });
    expect(map.residual).toBeLessThan(1e-13);
    // W = Xᵀ·Z for some Z: nothing of it lies outside of the anchors' span.
    const { v } = svd(few);
    const w = asDense(map.weight);
    expect(difference(multiply(v, multiplyTransposed(v, w)), w)).toBeLessThan(1e-12);
    for (const method of ["linear", "affine", "linearOrthogonal"] as const) {
      const regular = fitted(few, to, { method, ridge: 1, shrinkage: 0.1 });
      expect(regular.weight.data.every(Number.isFinite)).toBe(true);
    }
  });
  it("leaves out directions that only float32's rounding gave", () => {
    // Rank 3 in exact arithmetic, 6 in float32.
    const exact = multiply(random(40, 3), random(3, 6, 2));
    const [x32, y32] = [exact, random(40, 2, 3)].map(({ rows: n, columns, data }) => ({ shape: [n, columns], data: Float32Array.from(data) }));
    const weights = largest(fitAlignment(x32, y32, { method: "linear", normalise: "none" }).weight);
    expect(weights).toBeLessThan(10);
    expect(fitInverseProjection(x32, { similarity: "inner" }).rank).toBe(3);
    const widened = { shape: x32.shape, data: Float64Array.from(x32.data) };
    expect(largest(fitAlignment(widened, y32, { method: "linear", normalise: "none" }).weight)).toBeGreaterThan(1e4);
  });
  it("survives features that are constant", () => {
    const data = random(20, 4).data.map((value, i) => (i % 4 === 2 ? 0.1 : value));
    for (const method of ALIGNMENT_METHODS) {
      const map = fitted(dense(20, 4, data), dense(20, 4, data), { method });
      expect(map.residual).toBeLessThan(1e-12);
    }
  });
});

describe("the inverse projection", () => {
  const anchors = random(20, 6);
  const points = svd(random(9, 9, 2)).u;
  it("gives points back that were projected by inner products, and directions by cosines", () => {
    const x = dense(
      9,
      6,
      points.data.filter((_, i) => i % 9 < 6),
    );
    const inner = fitInverseProjection(hostMatrix(anchors), { similarity: "inner" });
    expect(inner.rank).toBe(6);
    expect(difference(applyInverseProjection(inner, hostMatrix(multiplyByTransposed(x, anchors))), x)).toBeLessThan(1e-13);
    const lengths = (a: Dense): Float64Array =>
      Float64Array.from({ length: a.rows }, (_, i) => Math.hypot(...a.data.subarray(i * a.columns, (i + 1) * a.columns)));
    const unit = (a: Dense): Dense => ({ ...a, data: a.data.map((value, i) => value / lengths(a)[Math.floor(i / a.columns)]) });
    const cosines = multiplyByTransposed(unit(x), unit(anchors));
    expect(difference(applyInverseProjection(fitInverseProjection(hostMatrix(anchors)), hostMatrix(cosines)), unit(x))).toBeLessThan(1e-13);
  });
  it("translates between rotated spaces without having seen a pair of points", () => {
    const q = orthogonal(6);
    const inverse = fitInverseProjection(hostMatrix(multiply(anchors, q)), { similarity: "inner" });
    const x = random(7, 6, 8);
    expect(difference(applyInverseProjection(inverse, hostMatrix(multiplyByTransposed(x, anchors))), multiply(x, q))).toBeLessThan(1e-12);
  });
  it("with too few anchors projects onto their span, and says the rank and the condition", () => {
    const few = dense(2, 3, Float64Array.of(3, 0, 0, 0, 1, 0));
    const inverse = fitInverseProjection(hostMatrix(few), { similarity: "inner" });
    expect([inverse.rank, inverse.condition]).toEqual([2, expect.closeTo(3, 12)]);
    expect([...applyInverseProjection(inverse, { shape: [1, 2], data: Float64Array.of(6, 5) }).data]).toEqual(
      [2, 5, 0].map((value) => expect.closeTo(value, 12)),
    );
    const ridge = fitInverseProjection(hostMatrix(few), { similarity: "inner", ridge: 1 });
    expect([...applyInverseProjection(ridge, { shape: [1, 2], data: Float64Array.of(6, 5) }).data]).toEqual(
      [1.8, 2.5, 0].map((v) => expect.closeTo(v, 12)),
    );
  });
});

describe("refused", () => {
  const host = (rows: number, columns: number): HostMatrix => hostMatrix(random(rows, columns));
  it.each<[string, () => unknown, RegExp]>([
    ["other rows", () => fitAlignment(host(3, 2), host(4, 2)), /fitAlignment: expected 3 rows like `x` for `y`, but received "4 rows"/],
    ["one anchor", () => fitAlignment(host(1, 2), host(1, 2)), /at least 2 anchors, whose statistics are taken, for `x`, but received "1"/],
    [
      "a method",
      () => fitAlignment(host(3, 2), host(3, 2), { method: "sgd" as never }),
      /one of procrustes, linear, linearOrthogonal, affine for `method`/,
    ],
    ["a normalisation", () => fitAlignment(host(3, 2), host(3, 2), { normalise: "z" as never }), /one of none, centre, standardise for `normalise`/],
    [
      "negative ridge",
      () => fitAlignment(host(3, 2), host(3, 2), { method: "linear", ridge: -1 }),
      /a number of at least 0 for `ridge`, but received -1/,
    ],
    [
      "NaN shrinkage",
      () => fitAlignment(host(3, 2), host(3, 2), { method: "linear", shrinkage: Number.NaN }),
      /a number in \[0, 1\] for `shrinkage`/,
    ],
    ["ridge of a rotation", () => fitAlignment(host(3, 2), host(3, 2), { ridge: 1 }), /no regularisation with method "procrustes"/],
    [
      "NaN",
      () => fitAlignment(host(2, 1), { shape: [2, 1], data: Float32Array.of(1, Number.NaN) }),
      /finite numbers of at most 1e\+150 for `y`, but received "NaN in row 1, column 0"/,
    ],
    ["another dimension", () => applyAlignment(fitAlignment(host(3, 2), host(3, 2)), host(1, 3)), /points of dimension 2 for `x`, but received 3/],
    ["no anchor", () => fitInverseProjection({ shape: [0, 2], data: new Float32Array(0) }), /at least one of each for `anchors`/],
    [
      "an anchor of zeros",
      () => fitInverseProjection({ shape: [2, 1], data: Float32Array.of(1, 0) }),
      /anchors with a direction for `anchors`, but received "zeros in row 1"/,
    ],
    [
      "anchors of zeros",
      () => fitInverseProjection({ shape: [2, 1], data: new Float32Array(2) }, { similarity: "inner" }),
      /anchors that are not all zero/,
    ],
    ["a similarity", () => fitInverseProjection(host(2, 2), { similarity: "l1" as never }), /one of cosine, inner for `similarity`/],
    [
      "other anchors",
      () => applyInverseProjection(fitInverseProjection(host(3, 2)), host(1, 2)),
      /3 columns, one per anchor, for `relative`, but received 2/,
    ],
  ])("%s", (_, run, message) => {
    expect(run).toThrow(ArgumentError);
    expect(run).toThrow(message);
  });
});
