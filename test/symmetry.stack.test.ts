import { describe, expect, it } from "vitest";
import {
  cayleyTable,
  cyclicGroup,
  dihedralGroup,
  firstElements,
  flipGroup,
  generateGroup,
  type Permutation,
  permutationMatrices,
  permutationMatrix,
  rotationGroup,
} from "../src/data/permutations.ts";
import { createRandom, range, shuffle } from "../src/data/random.ts";
import { ArgumentError, DataError } from "../src/errors.ts";
import { analyzeStack } from "../src/symmetry/analysis.ts";
import { closure } from "../src/symmetry/closure.ts";
import { compareElements } from "../src/symmetry/elements.ts";
import {
  assign,
  nearestPermutation,
  permutationDistance,
  permutationMass,
  relativeRowEntropy,
  rowAgreement,
  rowArgmax,
  rowEntropy,
} from "../src/symmetry/matrices.ts";

/** (1 − t)·P + t·U with some noise: doubly stochastic up to the noise, sharp for small t. */
const soften = (stack: Float32Array, d: number, t: number, noise = 0, seed = 1): Float32Array => {
  const random = createRandom(seed);
  return stack.map((value) => (1 - t) * value + (t / d) * (1 + noise * (random.uniform() - 0.5)));
};

describe("assignment", () => {
  it("is optimal: equal to the best of all permutations", () => {
    const random = createRandom(2);
    const d = 5;
    const all = generateGroup([Int32Array.of(1, 2, 3, 4, 0), Int32Array.of(1, 0, 2, 3, 4)]);
    for (let trial = 0; trial < 30; trial++) {
      const matrix = Float32Array.from({ length: d * d }, () => random.normal());
      const nearest = nearestPermutation(matrix, d);
      const best = Math.max(...all.map((p) => permutationMass(matrix, p)));
      expect(permutationMass(matrix, nearest)).toBeCloseTo(best, 6);
      expect(permutationDistance(matrix, nearest)).toBeCloseTo(Math.min(...all.map((p) => permutationDistance(matrix, p))), 6);
    }
  });

  it("finds permutations again, large and soft ones too", () => {
    for (const d of [1, 2, 25, 100, 196]) {
      const p: Permutation = shuffle(range(d), createRandom(d));
      const exact = permutationMatrix(p);
      expect(nearestPermutation(exact, d)).toEqual(p);
      expect(nearestPermutation(soften(exact, d, 0.9, 1), d)).toEqual(p);
      expect(rowArgmax(exact, d)).toEqual(p);
      expect([rowAgreement(exact, p), permutationDistance(exact, p), rowEntropy(exact, d), relativeRowEntropy(exact, d)]).toEqual([1, 0, 0, 0]);
    }
  });

  it("leaves rows or columns over in rectangles", () => {
    expect(Array.from(assign(Float64Array.of(1, 5, 2, 9, 0, 8.5), 3, 2))).toEqual([-1, 0, 1]);
    expect(Array.from(assign(Float64Array.of(1, 5, 3, 2, 9, 0), 2, 3))).toEqual([2, 1]);
  });

  it("measures the uniform matrix", () => {
    const d = 25;
    const uniform = new Float32Array(d * d).fill(1 / d);
    expect(rowEntropy(uniform, d)).toBeCloseTo(Math.log(d), 5);
    expect(relativeRowEntropy(uniform, d)).toBeCloseTo(1, 6);
    expect(permutationDistance(uniform, range(d))).toBeCloseTo(Math.sqrt(d - 1), 5);
    expect(permutationMass(uniform, range(d))).toBeCloseTo(1 / d, 6);
  });

  it("refuses wrong sizes and numbers that are none", () => {
    expect(() => nearestPermutation(new Float32Array(5), 2)).toThrow(ArgumentError);
    expect(() => assign(new Float64Array(0), 0, 0)).toThrow(ArgumentError);
    expect(() => rowAgreement(new Float32Array(5), range(2))).toThrow(ArgumentError);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) expect(() => nearestPermutation(Float32Array.of(1, bad, 0, 1), 2)).toThrow(DataError);
    const matrix = Float32Array.of(1, 0, 0, 1);
    for (const [call, message] of [
      [() => rowArgmax([1, 0, 0, 1] as never, 2), "rowArgmax: expected a Float32Array or Float64Array for `matrix`, but received [1, 0, 0, 1]"],
      [() => rowEntropy(matrix, 1.5), "rowEntropy: expected a positive integer for `d`, but received 1.5"],
      [() => relativeRowEntropy(matrix, 1), "relativeRowEntropy: expected 1·1 values for `matrix`, but received Float32Array [1, 0, 0, 1]"],
      [
        () => permutationMass(matrix, Int32Array.of(0, 2)),
        "an Int32Array with each of 0 … length − 1 once for `permutation`, but received Int32Array [0, 2]",
      ],
      [() => permutationDistance(matrix, [0, 1] as never), "permutationDistance: expected an Int32Array with each of 0 … length − 1 once"],
      [() => compareElements(matrix, 2, [Int32Array.of(0)]), "compareElements: expected an Int32Array with each of 0 … 1 once for `planted[0]`"],
      [() => closure(Float64Array.of(1e300), 1), "closure: expected finite numbers below 2^128 for `stack`, but received 1e+300 at position 0"],
      [() => analyzeStack(matrix, 2, { symmetries: [] }), "analyzeStack: expected at least one permutation for `symmetries`, but received []"],
    ] as const)
      expect(call).toThrow(message);
  });
});

describe("elements", () => {
  const planted = rotationGroup(5).elements;
  const exact = permutationMatrices(planted);
  const reorder = (order: readonly number[]): Float32Array => permutationMatrices(order.map((i) => planted[i]));

  it("are recovered exactly from the group itself", () => {
    for (const indexed of [true, false]) {
      const result = compareElements(exact, 25, planted, { indexed });
      expect(result.recovered).toBe(true);
      expect(result.meanAgreement).toBe(1);
      expect(result.elements.map((element) => element.planted)).toEqual([0, 1, 2, 3]);
      for (const element of result.elements) expect([element.correct, element.agreement, element.entropy, element.distance]).toEqual([true, 1, 0, 0]);
    }
  });

  it("are recovered from soft matrices, with an honest entropy", () => {
    const result = compareElements(soften(exact, 25, 0.5, 0.5), 25, planted);
    expect(result.recovered).toBe(true);
    expect(result.meanAgreement).toBe(1);
    for (const element of result.elements) {
      expect(element.relativeEntropy).toBeGreaterThan(0.5);
      expect(element.distance).toBeGreaterThan(2);
    }
  });

  it("are matched by agreement unless the task indexes them", () => {
    const mixed = soften(reorder([0, 3, 1, 2]), 25, 0.3, 0.5);
    const free = compareElements(mixed, 25, planted);
    expect(free.elements.map((element) => element.planted)).toEqual([0, 3, 1, 2]);
    expect(free.recovered).toBe(true);
    const indexed = compareElements(mixed, 25, planted, { indexed: true });
    expect(indexed.recovered).toBe(false);
    expect(indexed.elements.map((element) => element.correct)).toEqual([true, false, false, false]);
    expect(indexed.meanAgreement).toBeLessThan(0.1);
  });

  it("keep the fixed identity in place, and out of the mean", () => {
    // Element 1 looks like the identity too; it must not take element 0's partner.
    const stack = reorder([0, 0, 2, 3]);
    const result = compareElements(stack, 25, planted);
    expect(result.elements.map((element) => element.planted)).toEqual([0, 1, 2, 3]);
    expect(result.elements[1].correct).toBe(false);
    expect(result.meanAgreement).toBeCloseTo((1 / 25 + 2) / 3, 6);
    const free = compareElements(reorder([1, 0, 2, 3]), 25, planted, { fixedIdentity: false });
    expect(free.elements.map((element) => element.planted)).toEqual([1, 0, 2, 3]);
    expect([free.recovered, free.meanAgreement]).toEqual([true, 1]);
  });

  it("break ties of agreement by weight", () => {
    const d = 2;
    // Both rows of both matrices have equal argmaxes for either partner; the second entry decides.
    const stack = Float32Array.of(0.5, 0.5, 0.6, 0.4, 0.6, 0.4, 0.5, 0.5);
    const result = compareElements(stack, d, [Int32Array.of(1, 0), Int32Array.of(0, 1)], { fixedIdentity: false });
    expect(result.elements.map((element) => element.planted)).toEqual([0, 1]);
  });

  it("are not recovered when one row is wrong", () => {
    const wrong = exact.slice();
    const at = 625;
    for (let m = 0; m < 25; m++) [wrong[at + m], wrong[at + 25 + m]] = [wrong[at + 25 + m], wrong[at + m]];
    const result = compareElements(wrong, 25, planted, { indexed: true });
    expect(result.recovered).toBe(false);
    expect(result.elements[1].agreement).toBe(23 / 25);
    expect(result.meanAgreement).toBeCloseTo((23 / 25 + 2) / 3, 6);
  });

  it("may be more or fewer than planted, or compared with nothing", () => {
    const more = compareElements(exact, 25, flipGroup(5).elements);
    expect(more.recovered).toBe(false);
    expect(more.elements.filter((element) => element.planted === undefined).length).toBe(2);
    const fewer = compareElements(reorder([0, 2]), 25, planted);
    expect(fewer.recovered).toBe(true);
    expect(fewer.elements.map((element) => element.planted)).toEqual([0, 2]);
    const alone = compareElements(exact, 25);
    expect([alone.recovered, alone.meanAgreement]).toEqual([false, 1]);
  });

  it("of random matrices agree about as often as chance", () => {
    const random = createRandom(8);
    const noise = Float32Array.from({ length: 4 * 625 }, () => random.uniform());
    const result = compareElements(noise, 25, planted, { indexed: true, fixedIdentity: false });
    expect(result.recovered).toBe(false);
    expect(result.meanAgreement).toBeLessThan(0.2);
  });

  it("refuse what does not fit", () => {
    expect(() => compareElements(exact.slice(1), 25, planted)).toThrow(ArgumentError);
    expect(() => compareElements(exact, 25, rotationGroup(4).elements)).toThrow(ArgumentError);
    expect(() => compareElements(exact, 25, planted.slice(1), { indexed: true })).toThrow(ArgumentError);
    expect(() => compareElements(exact, 25, undefined, { indexed: true })).toThrow(ArgumentError);
    expect(() => compareElements(exact, 0, planted)).toThrow(ArgumentError);
    expect(() => compareElements(exact, 25, planted, null as never)).toThrow(ArgumentError);
    expect(() => analyzeStack(exact, 25, null as never)).toThrow(ArgumentError);
    expect(() =>
      compareElements(
        exact.map(() => Number.NaN),
        25,
        planted,
      ),
    ).toThrow(DataError);
  });
});

describe("closure", () => {
  it.each([
    ["C8", cyclicGroup(8)],
    ["C4", rotationGroup(5)],
    ["D4", dihedralGroup(3)],
  ])("of %s is exact, with its Cayley table", (_, group) => {
    const d = group.elements[0].length;
    const result = closure(permutationMatrices(group.elements), d);
    expect([result.mean, result.max]).toEqual([0, 0]);
    expect(result.table).toEqual(cayleyTable(group.elements));
    expect(result.products).toEqual(result.table);
  });

  it("fails for half of a group", () => {
    const half = firstElements(cyclicGroup(8));
    const result = closure(permutationMatrices(half.elements), 8);
    expect(result.table).toBeUndefined();
    // Two different shifts share no entry: ‖P − Q‖ / ‖P‖ = √2.
    expect(result.max).toBeCloseTo(Math.SQRT2, 6);
    expect(Array.from(result.errors).filter((error) => error === 0).length).toBe(10);
  });

  it("is small for a slightly soft group, and the table is still found", () => {
    const { elements } = rotationGroup(5);
    const sharp = closure(soften(permutationMatrices(elements), 25, 0.02, 0.5), 25);
    const soft = closure(soften(permutationMatrices(elements), 25, 0.2, 0.5), 25);
    expect(sharp.max).toBeLessThan(0.05);
    expect(soft.mean).toBeGreaterThan(sharp.mean);
    expect(soft.table).toEqual(cayleyTable(elements));
  });

  it("is large for random permutations, and equal elements are no group", () => {
    const random = createRandom(6);
    const unrelated = [range(25), shuffle(range(25), random), shuffle(range(25), random)];
    const result = closure(permutationMatrices(unrelated), 25);
    expect(result.max).toBeGreaterThan(1);
    expect(result.table).toBeUndefined();
    expect(closure(permutationMatrices([range(4), range(4)]), 4).table).toBeUndefined();
  });
});
