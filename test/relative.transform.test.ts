/** Transforms: each by its definition, undone, in sequence, through JSON; what random ones keep; and what is refused. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRandom } from "../src/data/random.ts";
import { ArgumentError, DataError } from "../src/errors.ts";
import { fitAlignment } from "../src/relative/alignment.ts";
import type { HostMatrix } from "../src/relative/matrix.ts";
import { applyTransform, type FittedStep, fitTransform, invertTransform, type Transform, type TransformStep } from "../src/relative/transform.ts";

const matrix = (rows: number, columns: number, value: (i: number, j: number) => number): HostMatrix => ({
  shape: [rows, columns],
  data: Float64Array.from({ length: rows * columns }, (_, i) => value(Math.floor(i / columns), i % columns)),
});
/** Features of different means and deviations, which depend on each other. */
const points = (rows: number, columns: number, seed = 1): HostMatrix => {
  const random = createRandom(seed);
  const normal = matrix(rows, columns, () => random.normal());
  return matrix(rows, columns, (i, j) => 3 * j - 4 + (j + 1) * (at(normal, i, j) + 0.5 * at(normal, i, (j + 1) % columns)));
};
const at = ({ shape, data }: HostMatrix, i: number, j: number): number => data[i * shape[1] + j];
const difference = (a: HostMatrix, b: HostMatrix): number => {
  expect(a.shape).toEqual(b.shape);
  return Math.max(0, ...Array.from(a.data, (value, i) => Math.abs(value - b.data[i])));
};
const distances = (x: HostMatrix): HostMatrix =>
  matrix(x.shape[0], x.shape[0], (i, j) => Math.hypot(...Array.from({ length: x.shape[1] }, (_, k) => at(x, i, k) - at(x, j, k))));
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const column = (x: HostMatrix, j: number): number[] => Array.from({ length: x.shape[0] }, (_, i) => at(x, i, j));
const covariance = (x: HostMatrix): HostMatrix => {
  const centred = Array.from({ length: x.shape[1] }, (_, j) => column(x, j).map((value, _i, all) => value - mean(all)));
  return matrix(x.shape[1], x.shape[1], (i, j) => mean(centred[i].map((value, k) => value * centred[j][k])));
};
const identity = (n: number): HostMatrix => matrix(n, n, (i, j) => Number(i === j));
const fitted = (x: HostMatrix, ...steps: readonly TransformStep[]): Transform => fitTransform(x, steps);
const linear = (transform: Transform): Extract<FittedStep, { kind: "linear" }> => {
  const [step] = transform;
  if (step.kind !== "linear") throw new Error(`a step of kind ${step.kind}`);
  return step;
};

const x = points(40, 5);
const fresh = points(7, 5, 2);

describe("each step is what its definition says, of points that it was not fitted to", () => {
  const means = Array.from({ length: 5 }, (_, j) => mean(column(x, j)));
  const deviations = Array.from({ length: 5 }, (_, j) => Math.sqrt(mean(column(x, j).map((value) => (value - means[j]) ** 2))));
  const norm = (y: HostMatrix, i: number, p: number): number => {
    const sizes = Array.from({ length: 5 }, (_, j) => Math.abs(at(y, i, j)));
    return p === Number.POSITIVE_INFINITY ? Math.max(...sizes) : sizes.reduce((sum, size) => sum + size ** p, 0) ** (1 / p);
  };
  const mapped = (map: (i: number, j: number) => number, columns = 5): HostMatrix => matrix(7, columns, map);
  const check = (step: TransformStep, want: HostMatrix): void => {
    expect(difference(applyTransform(fitted(x, step), fresh), want)).toBeLessThan(1e-13);
  };
  it("centre, scale, standardise", () => {
    check(
      { kind: "centre" },
      mapped((i, j) => at(fresh, i, j) - means[j]),
    );
    check(
      { kind: "scale" },
      mapped((i, j) => at(fresh, i, j) / deviations[j]),
    );
    check(
      { kind: "standardise" },
      mapped((i, j) => (at(fresh, i, j) - means[j]) / deviations[j]),
    );
  });
  it("unitNorm, meanNorm", () => {
    for (const [p, power] of [
      [undefined, 2] as const,
      [1, 1] as const,
      [2.5, 2.5] as const,
      [3, 3] as const,
      ["inf", Number.POSITIVE_INFINITY] as const,
    ]) {
      const options = p === undefined ? {} : { p };
      check(
        { kind: "unitNorm", ...options },
        mapped((i, j) => at(fresh, i, j) / norm(fresh, i, power)),
      );
      const average = mean(Array.from({ length: 40 }, (_, i) => norm(x, i, power)));
      check(
        { kind: "meanNorm", ...options },
        mapped((i, j) => at(fresh, i, j) / average),
      );
    }
  });
  it("isotropic, padding", () => {
    check(
      { kind: "isotropic", factor: -3 },
      mapped((i, j) => -3 * at(fresh, i, j)),
    );
    check({ kind: "padding", dimension: 5 }, fresh);
    check(
      { kind: "padding", dimension: 8 },
      mapped((i, j) => (j < 5 ? at(fresh, i, j) : 0), 8),
    );
  });
  it("permutation: the same features, in another order", () => {
    const y = applyTransform(fitted(x, { kind: "permutation", seed: 4 }), fresh);
    const order = Array.from({ length: 5 }, (_, j) =>
      Array.from({ length: 5 }, (_, k) => k).find((k) => column(fresh, k).join() === column(y, j).join()),
    );
    expect(order.toSorted()).toEqual([0, 1, 2, 3, 4]);
    expect(order).not.toEqual([0, 1, 2, 3, 4]);
  });
  it("features without deviation, zeros, and numbers whose powers leave the range of float64", () => {
    const constant = matrix(6, 2, (i, j) => (j === 0 ? 0.1 : i));
    const scaled = applyTransform(fitted(constant, { kind: "standardise" }), constant);
    expect(column(scaled, 0)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(column(applyTransform(fitted(constant, { kind: "scale" }), constant), 0)).toEqual([0.1, 0.1, 0.1, 0.1, 0.1, 0.1]);
    const extreme = matrix(3, 2, (i) => [0, 1e-140, 1e140][i]);
    for (const p of [1, 2, 3, "inf"] as const) {
      const unit = p === "inf" ? 1 : 0.5 ** (1 / p);
      expect(
        difference(
          applyTransform(fitted(extreme, { kind: "unitNorm", p }), extreme),
          matrix(3, 2, (i) => (i === 0 ? 0 : unit)),
        ),
      ).toBeLessThan(1e-15);
    }
    // Deviations and norms beyond what points may hold.
    for (const size of [1e-300, 9e149]) {
      const few = matrix(5, 3, (i, j) => size * Math.cos(i * (j + 1)));
      for (const kind of ["scale", "standardise", "whiten", "meanNorm"] as const) {
        const transform = fitted(few, kind === "meanNorm" ? { kind, p: 1 } : { kind });
        expect(difference(invertTransform(transform, applyTransform(transform, few)), few) / size).toBeLessThan(1e-12);
      }
    }
    const zeros = matrix(2, 2, () => 0);
    expect(applyTransform(fitted(zeros, { kind: "meanNorm" }), zeros)).toEqual(zeros);
  });
});

describe("whitening", () => {
  it("leaves no covariance, by a symmetric map", () => {
    const transform = fitted(x, { kind: "whiten" });
    const y = applyTransform(transform, x);
    expect(difference(covariance(y), identity(5))).toBeLessThan(1e-12);
    for (let j = 0; j < 5; j++) expect(mean(column(y, j))).toBeCloseTo(0, 12);
    const { weight } = linear(transform);
    expect(
      difference(
        matrix(5, 5, (i, j) => weight[i * 5 + j]),
        matrix(5, 5, (i, j) => weight[j * 5 + i]),
      ),
    ).toBeLessThan(1e-14);
  });
  it("keeps distances of whitened points whatever the space was mapped by", () => {
    const random = createRandom(3);
    const g = matrix(5, 5, (i, j) => random.normal() + 3 * Number(i === j));
    const moved = (y: HostMatrix): HostMatrix =>
      matrix(y.shape[0], 5, (i, j) => 7 - j + Array.from({ length: 5 }, (_, k) => at(y, i, k) * at(g, k, j)).reduce((sum, value) => sum + value, 0));
    const [own, other] = [x, moved(x)].map((space) => fitted(space, { kind: "whiten" }));
    expect(difference(distances(applyTransform(own, fresh)), distances(applyTransform(other, moved(fresh))))).toBeLessThan(1e-11);
  });
  it("with shrinkage is that of (1 − α)·Σ + α·tr(Σ)/d·I, with fewer points than features too", () => {
    for (const [rows, columns] of [
      [40, 5],
      [4, 6],
    ]) {
      const few = points(rows, columns, 5);
      const sigma = covariance(few);
      const average = mean(Array.from({ length: columns }, (_, i) => at(sigma, i, i)));
      for (const shrinkage of [0.2, 1]) {
        const { weight } = linear(fitted(few, { kind: "whiten", shrinkage }));
        const w = matrix(columns, columns, (i, j) => weight[i * columns + j]);
        const shrunken = matrix(columns, columns, (i, j) => (1 - shrinkage) * at(sigma, i, j) + shrinkage * average * Number(i === j));
        const product = (a: HostMatrix, b: HostMatrix): HostMatrix =>
          matrix(columns, columns, (i, j) =>
            Array.from({ length: columns }, (_, k) => at(a, i, k) * at(b, k, j)).reduce((sum, value) => sum + value, 0),
          );
        expect(difference(product(product(w, shrunken), w), identity(columns))).toBeLessThan(1e-12);
      }
    }
  });
});

describe("random isometries", () => {
  it("keep distances and are found again by Procrustes", () => {
    const transform = fitted(x, { kind: "isometry", seed: 7 });
    const y = applyTransform(transform, fresh);
    expect(difference(distances(y), distances(fresh))).toBeLessThan(1e-13);
    const found = fitAlignment(x, applyTransform(transform, x), { normalise: "none" });
    expect(
      difference(
        found.weight,
        matrix(5, 5, (i, j) => linear(transform).weight[i * 5 + j]),
      ),
    ).toBeLessThan(1e-12);
  });
  it("are the same for the same seed, and every one as likely as any other", () => {
    const q = (n: number, seed: number): readonly number[] => linear(fitted(points(1, n), { kind: "isometry", seed })).weight;
    expect(q(4, 9)).toEqual(q(4, 9));
    expect(q(4, 9)).not.toEqual(q(4, 8));
    // Moments of Haar's measure on 3×3 matrices: E q² = 1/3, E q⁴ = 3/(3·5), E q₀₀q₁₁ = 0, E tr² = 1, and as many reflections as rotations.
    const all = Array.from({ length: 4000 }, (_, seed) => q(3, seed));
    for (const i of [0, 4, 5, 8]) {
      expect(mean(all.map((m) => m[i] ** 2))).toBeCloseTo(1 / 3, 1);
      expect(Math.abs(mean(all.map((m) => m[i] ** 4)) - 1 / 5)).toBeLessThan(0.02);
      expect(Math.abs(mean(all.map((m) => m[i])))).toBeLessThan(0.04);
    }
    expect(Math.abs(mean(all.map((m) => m[0] * m[4])))).toBeLessThan(0.03);
    expect(Math.abs(mean(all.map((m) => (m[0] + m[4] + m[8]) ** 2)) - 1)).toBeLessThan(0.1);
    const determinant = (m: readonly number[]): number =>
      m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6]) + m[2] * (m[3] * m[7] - m[4] * m[6]);
    for (const m of all) expect(Math.abs(Math.abs(determinant(m)) - 1)).toBeLessThan(1e-13);
    expect(Math.abs(mean(all.map(determinant)))).toBeLessThan(0.05);
  });
});

describe("sequences", () => {
  const step: fc.Arbitrary<TransformStep> = fc.oneof(
    fc.constantFrom<TransformStep>({ kind: "centre" }, { kind: "scale" }, { kind: "standardise" }, { kind: "meanNorm", p: 3 }),
    fc.nat(99).chain((seed) => fc.constantFrom<TransformStep>({ kind: "isometry", seed }, { kind: "permutation", seed })),
    fc.double({ min: 0.1, max: 10, noNaN: true }).map((factor): TransformStep => ({ kind: "isotropic", factor })),
    fc.double({ min: 0.01, max: 1, noNaN: true }).map((shrinkage): TransformStep => ({ kind: "whiten", shrinkage })),
  );
  it("are undone, one after another is what both are in a row, and JSON keeps every number", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 5 }), fc.array(step, { maxLength: 3 }), fc.integer({ min: 5, max: 8 }), (first, second, dimension) => {
        const transform = fitTransform(x, [...first, { kind: "padding", dimension }, ...second]);
        const y = applyTransform(transform, fresh);
        expect(difference(invertTransform(transform, y), fresh)).toBeLessThan(1e-10);
        const [one, other] = [transform.slice(0, first.length + 1), transform.slice(first.length + 1)];
        expect(applyTransform(other, applyTransform(one, fresh))).toEqual(y);
        expect(applyTransform(JSON.parse(JSON.stringify(transform)), fresh)).toEqual(y);
        // Each step is fitted to what those before make of x.
        expect(fitTransform(applyTransform(one, x), second)).toEqual(other);
      }),
      { numRuns: 60, seed: 1 },
    );
  });
  it("of nothing change nothing", () => {
    expect(fitTransform(x, [])).toEqual([]);
    expect(applyTransform([], fresh)).toEqual(fresh);
    expect(invertTransform([], fresh)).toEqual(fresh);
  });
});

describe("errors", () => {
  const fails = (run: () => unknown, text: string, type: typeof ArgumentError | typeof DataError = ArgumentError): void => {
    expect(run).toThrow(type);
    expect(run).toThrow(text);
  };
  const fitting = (steps: unknown) => () => fitTransform(x, steps as readonly TransformStep[]);
  const applying =
    (...steps: readonly unknown[]) =>
    () =>
      applyTransform(steps as Transform, x);
  it("of what to fit", () => {
    fails(fitting({ kind: "centre" }), "fitTransform: expected a list of steps for `steps`");
    fails(fitting([{ kind: "centre" }, "scale"]), 'fitTransform: expected an object for `steps[1]`, but received "scale"');
    fails(fitting([{ kind: "center" }]), 'for `steps[0].kind`, but received "center"');
    fails(fitting([{ kind: "centre", p: 2 }]), 'fitTransform: expected only kind for `steps[0]`, but received "p"');
    fails(fitting([{ kind: "whiten", shrinkage: 2 }]), "fitTransform: expected a number in [0, 1] for `steps[0].shrinkage`, but received 2");
    fails(fitting([{ kind: "unitNorm", p: 0.5 }]), 'fitTransform: expected a number of at least 1, or "inf", for `steps[0].p`, but received 0.5');
    fails(fitting([{ kind: "isotropic", factor: 0 }]), "for `steps[0].factor`, but received 0");
    fails(fitting([{ kind: "isotropic" }]), "for `steps[0].factor`, but received undefined");
    fails(fitting([{ kind: "isometry", seed: -1 }]), "for `seed`, but received -1");
    fails(fitting([{ kind: "padding", dimension: 4 }]), "for `steps[0].dimension`, but received 4");
    fails(fitting([{ kind: "padding", dimension: 2 ** 31 }]), "for `steps[0].dimension`, but received 2147483648");
    fails(
      () => fitted(points(4, 5), { kind: "whiten" }),
      "fitTransform: expected points that differ in all of their 5 dimensions, or some shrinkage, for whitening, but received points that differ in 3",
      DataError,
    );
    fails(
      () =>
        fitted(
          matrix(3, 2, () => 4),
          { kind: "whiten", shrinkage: 0.5 },
        ),
      "but received points that differ in 0",
      DataError,
    );
    fails(
      () =>
        fitTransform(
          matrix(2, 2, () => Number.NaN),
          [],
        ),
      "fitTransform: expected finite numbers",
    );
  });
  it("of what to apply", () => {
    fails(() => applyTransform({} as Transform, x), "applyTransform: expected a list of steps for `transform`");
    fails(applying({ kind: "centre" }), 'for `transform[0].kind`, but received "centre"');
    fails(
      applying({ kind: "scaling", shift: [0, 0], scale: [1, 1] }),
      "applyTransform: expected points of dimension 2 at transform[0] for `x`, but received 5",
    );
    fails(applying({ kind: "scaling", shift: [0, 0], scale: [1] }), "applyTransform: expected 2 numbers for `transform[0].scale`, but received 1");
    fails(applying({ kind: "scaling", shift: [0], scale: [0] }), "for `transform[0].scale[0]`, but received 0");
    fails(applying({ kind: "scaling", shift: [Number.NaN], scale: [1] }), 'for `transform[0].shift`, but received "NaN at position 0"');
    fails(applying({ kind: "linear", shift: [0, 0], weight: [1, 0, 0, 1], inverse: [1] }), "expected 4 numbers for `transform[0].inverse`");
    fails(applying({ kind: "permutation", order: [0, 0, 1, 2, 3] }), "expected every whole number below 5 once for `transform[0].order`");
    fails(applying({ kind: "padding", from: 5, to: 4 }), "for `transform[0].to`, but received 4");
    fails(applying({ kind: "padding", from: 5, to: 2 ** 30 }), "expected at most 2147483647 numbers in all for `transform[0].to`");
    fails(applying({ kind: "isotropic", factor: 1e200 }, { kind: "isotropic", factor: 1e200 }), "left it", DataError);
    const normed = fitted(x, { kind: "centre" }, { kind: "unitNorm" });
    fails(
      () => invertTransform(normed, x),
      'invertTransform: expected steps with an inverse for `transform[1]`, but received "unitNorm, which leaves nothing of how long a row was"',
    );
    fails(
      () => invertTransform(fitted(x, { kind: "padding", dimension: 6 }), x),
      "expected points of dimension 6 at transform[0] for `y`, but received 5",
    );
  });
});
