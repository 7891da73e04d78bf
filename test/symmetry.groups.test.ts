/** Orders, coefficients and matching: exact groups, perturbed ones, and brute force. */
import { describe, expect, it } from "vitest";
import {
  compose,
  cyclicGroup,
  dihedralGroup,
  firstElements,
  generateGroup,
  identityPermutation,
  inverse,
  type Permutation,
  permutationMatrices,
  rotationGroup,
} from "../src/data/permutations.ts";
import { createRandom, range, shuffle } from "../src/data/random.ts";
import { ArgumentError, DataError } from "../src/errors.ts";
import { analyzeStack } from "../src/symmetry/analysis.ts";
import { fitCoefficients } from "../src/symmetry/coefficients.ts";
import { identifyGroup } from "../src/symmetry/identify.ts";
import { matchGroup } from "../src/symmetry/relabelling.ts";
import { cube, symmetric } from "./support/groups.ts";

/**
 * Blurred, and every entry moved by as much as the nearest permutations bear, or by a share of it: another permutation that differs in k rows lies k·(1 − t) lower, and what moves
 * entries by less than (1 − t)/2 each makes good less than that.
 */
const soften = (stack: Float32Array, d: number, t: number, share = 0.999): Float32Array => {
  const random = createRandom(d);
  return stack.map((value) => (1 - t) * value + t / d + share * (1 - t) * (random.uniform() - 0.5));
};

describe("orders", () => {
  it("are those of brute force for random generators, transitive or not", () => {
    const random = createRandom(5);
    let compared = 0;
    for (let trial = 0; trial < 25; trial++) {
      const n = 2 + random.integer(4);
      const single = Array.from({ length: 1 + random.integer(3) }, (_, i) => shuffle(range(n), random.stream(1000 * trial + i)));
      // The same generators on two orbits at once, in another order: diagonal and mixed products.
      const double = single.map((p, i) => Int32Array.from({ length: 2 * n }, (_, m) => (m < n ? p[m] : n + single[(i + 1) % single.length][m - n])));
      for (const generators of [single, double]) {
        const { order, exact, elements, table } = { ...identifyGroup(generators), table: generateGroup(generators, 10 ** 6) };
        expect([Number(order), exact]).toEqual([table.length, true]);
        if (elements) expect(new Set(elements.map((p) => p.join()))).toEqual(new Set(table.map((p) => p.join())));
        compared++;
      }
    }
    expect(compared).toBe(50);
  });

  it("of what unfinished training leaves are those of all or all even permutations", () => {
    for (const d of [25, 196]) {
      const found = identifyGroup([1, 2, 3].map((seed) => shuffle(range(d), createRandom(seed))));
      expect(found.exact).toBe(true);
      expect(found.name).toMatch(new RegExp(`^[AS]${d}$`));
      expect(found.elements).toBeUndefined();
    }
  });

  it("refuse what is no permutation", () => {
    for (const bad of [[], [Int32Array.of(0, 0)], [Int32Array.of(0, 1), Int32Array.of(0)], [new Int32Array()]]) {
      expect(() => identifyGroup(bad)).toThrow(ArgumentError);
    }
  });
});

describe("coefficients", () => {
  it.each([
    ["C8", cyclicGroup(8).elements, true],
    ["C4 on 5×5", rotationGroup(5).elements, true],
    // Edges and corners together hold every irreducible representation.
    ["the cube", generateGroup(cube), true],
    ["S4 on four points", generateGroup(symmetric(4)), false],
  ] as const)("of %s itself are one-hot", (_, elements, unique) => {
    const d = elements[0].length;
    const fit = fitCoefficients(permutationMatrices(elements), d, elements);
    for (let i = 0; i < elements.length; i++) {
      for (let k = 0; k < elements.length; k++) expect(fit.coefficients[i * elements.length + k]).toBeCloseTo(Number(i === k), 12);
      expect(fit.distances[i]).toBeLessThan(1e-7);
    }
    expect(fit.unique).toBe(unique);
  });

  it("of mixtures are their weights, and of noise are optimal", () => {
    const random = createRandom(9);
    for (const elements of [cyclicGroup(8).elements, rotationGroup(5).elements, generateGroup(symmetric(4)), generateGroup(cube)]) {
      const d = elements[0].length;
      const count = elements.length;
      const matrices = permutationMatrices(elements);
      const weights = elements.map(() => (random.integer(2) ? random.uniform() : 0));
      weights[0] += 0.1;
      const total = weights.reduce((a, b) => a + b, 0);
      const mixture = new Float64Array(d * d);
      for (let k = 0; k < count; k++) for (let at = 0; at < d * d; at++) mixture[at] += (weights[k] / total) * matrices[k * d * d + at];
      const clean = fitCoefficients(mixture, d, elements);
      expect(clean.distances[0]).toBeLessThan(1e-7);
      if (clean.unique) for (let k = 0; k < count; k++) expect(clean.coefficients[k]).toBeCloseTo(weights[k] / total, 7);

      const noisy = mixture.map((value) => value + 0.3 * random.normal());
      const { coefficients, distances, gaps } = fitCoefficients(noisy, d, elements);
      expect(Math.min(...coefficients)).toBeGreaterThanOrEqual(0);
      expect(coefficients.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
      expect(gaps[0]).toBeLessThan(1e-9);
      // Convexity: a step towards any vertex of the simplex gains nothing.
      const norm = (c: ArrayLike<number>): number => {
        let sum = 0;
        for (let at = 0; at < d * d; at++) {
          let value = -noisy[at];
          for (let k = 0; k < count; k++) if (c[k] > 0) value += c[k] * matrices[k * d * d + at];
          sum += value * value;
        }
        return Math.sqrt(sum);
      };
      expect(norm(coefficients)).toBeCloseTo(distances[0], 10);
      for (let k = 0; k < count; k++)
        expect(norm(coefficients.map((c, l) => 0.999 * c + 0.001 * Number(l === k)))).toBeGreaterThanOrEqual(distances[0] - 1e-12);
    }
  });

  it("of a soft element keep its weight on it", () => {
    const { elements } = rotationGroup(5);
    const { coefficients } = fitCoefficients(soften(permutationMatrices(elements), 25, 0.4), 25, elements);
    for (let i = 0; i < 4; i++) expect(coefficients[5 * i]).toBeGreaterThan(0.6);
  });

  it("refuse what does not fit", () => {
    const stack = permutationMatrices(cyclicGroup(3).elements);
    expect(() => fitCoefficients(stack, 3, [])).toThrow(ArgumentError);
    expect(() => fitCoefficients(stack, 3, cyclicGroup(4).elements)).toThrow(ArgumentError);
    expect(() => fitCoefficients(stack, 4, cyclicGroup(4).elements)).toThrow(ArgumentError);
    expect(() => fitCoefficients(stack, 3, new Float32Array(10))).toThrow("a positive multiple of 3·3 values for `candidates`");
    expect(() => fitCoefficients(stack, 3, new Float64Array(9).fill(Number.NaN))).toThrow(DataError);
    expect(() => fitCoefficients(stack.fill(Number.NaN), 3, cyclicGroup(3).elements)).toThrow(DataError);
  });
});

describe("matching", () => {
  const { elements } = rotationGroup(5);
  const grid = dihedralGroup(5).elements;
  const pick = (order: readonly number[]): Permutation[] => order.map((i) => elements[i]);

  it("tells order, orientation and parts", () => {
    expect(matchGroup(elements, elements, grid)).toEqual({ symmetry: 0, labels: [0, 1, 2, 3], missing: [], relation: "same" });
    expect(matchGroup(pick([0, 3, 2, 1]), elements)).toMatchObject({ labels: [0, 3, 2, 1], relation: "inverse" });
    // A mirror turns the orientation round.
    const turned = matchGroup(pick([0, 3, 2, 1]), elements, grid);
    expect([turned.relation, turned.symmetry]).toEqual(["same", 4]);
    expect(matchGroup(pick([0, 2, 1, 3]), elements, grid).relation).toBe("relabelled");
    expect(matchGroup(pick([0, 2]), elements, grid)).toMatchObject({ missing: [1, 3], relation: "partial" });
    expect(matchGroup(pick([0, 1, 1, 3]), elements).relation).toBe("partial");
    expect(matchGroup(grid, elements).relation).toBe("different");
    expect(() => matchGroup(elements, rotationGroup(3).elements)).toThrow(ArgumentError);
  });

  it("finds what is a candidate as seen from elsewhere", () => {
    const random = createRandom(2);
    const h = shuffle(range(25), random);
    const hidden = elements.map((p) => compose(compose(inverse(h), p), h));
    expect(matchGroup(hidden, elements, grid).relation).toBe("different");
    expect(matchGroup(hidden, elements, [...grid, h])).toMatchObject({ symmetry: 8, relation: "same" });
  });
});

describe("analysis of a stack", () => {
  it("of exact and of soft groups gives the right name, coefficients and table", () => {
    for (const [name, elements] of [
      ["C8", cyclicGroup(8).elements],
      ["C4", rotationGroup(7).elements],
      ["D4", dihedralGroup(3).elements],
      ["S4", generateGroup(cube)],
    ] as const) {
      const d = elements[0].length;
      const exact = permutationMatrices(elements);
      for (const stack of [exact, soften(exact, d, 0.3, 0), soften(exact, d, 0.5)]) {
        const found = analyzeStack(stack, d, { candidate: elements, symmetries: [identityPermutation(d)] });
        expect([found.group.name, found.complete, found.recovered, found.match?.relation]).toEqual([name, true, true, "same"]);
        expect(found.table).not.toContain(-1);
      }
      expect(analyzeStack(exact, d).closure.max).toBe(0);
    }
  });

  it("of a part of a group says so", () => {
    const half = firstElements(cyclicGroup(8)).elements;
    const found = analyzeStack(permutationMatrices(half), 8);
    expect([found.group.name, found.complete, found.table.includes(-1), found.coefficients]).toEqual(["C8", false, true, undefined]);
  });
});
