/** The float64 kit: every factorisation against what it claims, on matrices that are easy, deficient, graded, and badly scaled. */
import { describe, expect, it } from "vitest";
import { createRandom } from "../src/data/random.ts";
import {
  dot,
  filtered,
  inverseFilter,
  multiply,
  multiplyByTransposed,
  multiplyTransposed,
  numericalRank,
  svd,
  transposed,
} from "../src/relative/linalg.ts";
import { checkMatrix, type Dense, dense, takeRows } from "../src/relative/matrix.ts";

const random = (rows: number, columns: number, seed = 1): Dense => {
  const numbers = createRandom(seed);
  return dense(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, () => numbers.normal()),
  );
};
const largest = ({ data }: Dense): number => data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const difference = (a: Dense, b: Dense): number => largest({ ...a, data: a.data.map((value, i) => value - b.data[i]) });
const fromIdentity = (a: Dense): number => largest({ ...a, data: a.data.map((value, i) => value - Number(i % (a.columns + 1) === 0)) });
const scaledColumns = (a: Dense, factors: Float64Array): Dense => ({ ...a, data: a.data.map((value, i) => value * factors[i % a.columns]) });
const upper = dense(
  40,
  40,
  Float64Array.from({ length: 1600 }, (_, i) => Math.sign((i % 40) - Math.floor(i / 40) + 0.5)),
);

describe("svd", () => {
  it.each<[string, Dense]>([
    ["1×1", dense(1, 1, Float64Array.of(-3))],
    ["one column", random(7, 1)],
    ["one row", random(1, 7)],
    ["2×2 of zeros", dense(2, 2)],
    ["square", random(31, 31)],
    ["tall", random(50, 13)],
    ["wide", random(13, 50)],
    ["of rank 5", multiply(random(40, 5), random(5, 30, 2))],
    [
      "with columns of zeros",
      scaledColumns(
        random(20, 12),
        Float64Array.from({ length: 12 }, (_, i) => i % 3),
      ),
    ],
    [
      "the identity",
      dense(
        9,
        9,
        Float64Array.from({ length: 81 }, (_, i) => Number(i % 10 === 0)),
      ),
    ],
    ["all ones", dense(12, 9, new Float64Array(108).fill(1))],
    [
      "graded over 30 decades",
      scaledColumns(
        random(30, 30),
        Float64Array.from({ length: 30 }, (_, i) => 10 ** -i),
      ),
    ],
    ["upper triangular, far from normal", upper],
    [
      "a nilpotent shift",
      dense(
        8,
        8,
        Float64Array.from({ length: 64 }, (_, i) => Number(i % 8 === Math.floor(i / 8) + 1)),
      ),
    ],
    ["huge", scaledColumns(random(10, 10), new Float64Array(10).fill(1e300))],
    ["tiny", scaledColumns(random(10, 10), new Float64Array(10).fill(1e-300))],
  ])("%s", (_, a) => {
    const { u, values, v } = svd(a);
    const scale = largest(a) || 1;
    const n = Math.min(a.rows, a.columns);
    expect([u.rows, u.columns, values.length, v.rows, v.columns]).toEqual([a.rows, n, n, a.columns, n]);
    const unit = { ...a, data: a.data.map((value) => value / scale) };
    const back = multiplyByTransposed(
      scaledColumns(
        u,
        values.map((value) => value / scale),
      ),
      v,
    );
    // Backward error of the algorithm: a small multiple of ε·‖a‖.
    expect(difference(back, unit)).toBeLessThan(1e-14 * n + 1e-14);
    for (const basis of [u, v]) expect(fromIdentity(multiplyTransposed(basis, basis))).toBeLessThan(2e-14);
    expect([...values]).toEqual([...values].sort((x, y) => y - x));
    expect(values.every((value) => value >= 0)).toBe(true);
  });

  it("of 500 matrices with zeros, repeats, whole numbers and powers of ten at random", () => {
    const numbers = createRandom(17);
    for (let round = 0; round < 500; round++) {
      const [rows, columns, kind] = [1 + numbers.integer(9), 1 + numbers.integer(9), numbers.integer(4)];
      const a = dense(rows, columns);
      for (let i = 0; i < a.data.length; i++) {
        const draw = [numbers.integer(3) - 1, numbers.normal(), numbers.integer(2) * 10 ** (numbers.integer(40) - 20), Math.floor(i / columns) % 2];
        a.data[i] = numbers.integer(3) === 0 ? 0 : draw[kind];
      }
      const { u, values, v } = svd(a);
      const scale = largest(a) || 1;
      const back = multiplyByTransposed(scaledColumns(u, values), v);
      expect(difference(back, a) / scale).toBeLessThan(1e-13);
      for (const basis of [u, v]) expect(fromIdentity(multiplyTransposed(basis, basis))).toBeLessThan(1e-14);
    }
  });

  it("gives values that are known", () => {
    expect([...svd(dense(2, 2, Float64Array.of(3, 0, 4, 5))).values]).toEqual([expect.closeTo(Math.sqrt(45), 12), expect.closeTo(Math.sqrt(5), 12)]);
    const hilbert = dense(
      6,
      6,
      Float64Array.from({ length: 36 }, (_, i) => 1 / (1 + Math.floor(i / 6) + (i % 6))),
    );
    // The 6×6 Hilbert matrix: norm 1.6188998589, condition number 1.4951e7.
    const { values } = svd(hilbert);
    expect(values[0]).toBeCloseTo(1.6188998589243391, 12);
    expect(values[0] / values[5]).toBeCloseTo(14951058.641, 0);
    // Second difference matrix of 20 places: 2 − 2·cos(kπ/21).
    const laplace = dense(20, 20);
    for (let i = 0; i < 20; i++) for (let j = 0; j < 20; j++) laplace.data[i * 20 + j] = i === j ? 2 : Math.abs(i - j) === 1 ? -1 : 0;
    for (const [i, value] of svd(laplace).values.entries()) expect(value).toBeCloseTo(2 - 2 * Math.cos(((20 - i) * Math.PI) / 21), 12);
  });

  it("knows the rank", () => {
    const a = multiply(random(40, 5), random(5, 30, 2));
    expect(numericalRank(svd(a).values, 40, 30)).toBe(5);
    expect(numericalRank(svd(dense(3, 3)).values, 3, 3)).toBe(0);
    expect(numericalRank(svd(random(30, 30)).values, 30, 30)).toBe(30);
  });

  it("gives the four equations of Moore and Penrose", () => {
    for (const a of [random(12, 7), random(7, 12), multiply(random(12, 3), random(3, 9, 4))]) {
      const parts = svd(a);
      const eye = dense(a.rows, a.rows);
      for (let i = 0; i < a.rows; i++) eye.data[i * a.rows + i] = 1;
      const inverse = filtered(parts, inverseFilter(parts.values, a.rows, a.columns), eye);
      const [left, right] = [multiply(inverse, a), multiply(a, inverse)];
      expect(difference(multiply(a, left), a)).toBeLessThan(1e-12);
      expect(difference(multiply(inverse, right), inverse)).toBeLessThan(1e-12);
      for (const product of [left, right]) expect(difference(product, transposed(product))).toBeLessThan(1e-12);
    }
  });
});

describe("products", () => {
  it("agree with one another", () => {
    const [a, b] = [random(9, 5), random(5, 11, 2)];
    const c = multiply(a, b);
    expect(difference(multiplyTransposed(transposed(a), b), c)).toBeLessThan(1e-14);
    expect(difference(multiplyByTransposed(a, transposed(b)), c)).toBeLessThan(1e-14);
    expect(dot(Float64Array.of(1, 2, 3, 4, 5), Float64Array.of(1, 1, 1, 1, 2))).toBe(20);
  });
});

describe("host matrices", () => {
  const check = (value: unknown) => () => checkMatrix("here", "x", value as never);
  it("are checked", () => {
    expect(check(undefined)).toThrow(/here: expected a matrix .* for `x`, but received undefined/);
    expect(check([[1, 2]])).toThrow(/a matrix/);
    expect(check({ shape: [1, 1], data: [1] })).toThrow(/Float32Array or Float64Array/);
    expect(check({ shape: [2], data: new Float32Array(2) })).toThrow(/shape \[rows, columns\]/);
    expect(check({ shape: [0, 2], data: new Float32Array(0) })).toThrow(/at least one of each/);
    expect(check({ shape: [2, 2], data: new Float32Array(3) })).toThrow(/2·2 values for `x`, but received 3/);
    expect(check({ shape: [2, 2], data: Float32Array.of(1, 2, 3, Number.NaN) })).toThrow(
      /finite numbers of at most 1e\+150 for `x`, but received .NaN in row 1, column 1/,
    );
    expect(check({ shape: [1, 1], data: Float64Array.of(Number.POSITIVE_INFINITY) })).toThrow(/Infinity in row 0/);
  });
  it("give rows in any order, in their own precision", () => {
    const taken = takeRows({ shape: [2, 1], data: Float64Array.of(0.1, 0.2) }, [1, 0, 1]);
    expect(taken).toEqual({ shape: [3, 1], data: Float64Array.of(0.2, 0.1, 0.2) });
    expect(() => takeRows(taken, [-1])).toThrow(/an integer in \[0, 2\] for `indices`/);
  });
});
