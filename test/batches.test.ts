import { describe, expect, it } from "vitest";
import { batches, splitIndices } from "../src/data/batches.ts";
import { isPermutation } from "../src/data/permutations.ts";
import { choice, createRandom, range, shuffle } from "../src/data/random.ts";
import { ArgumentError } from "../src/errors.ts";

describe("random numbers", () => {
  const draws = 1 << 16;
  const list = (draw: () => number, count = draws): number[] => Array.from({ length: count }, draw);
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const correlation = (a: readonly number[], b: readonly number[]): number => {
    const [ma, mb] = [mean(a), mean(b)];
    const covariance = mean(a.map((value, i) => (value - ma) * (b[i] - mb)));
    return covariance / Math.sqrt(mean(a.map((v) => (v - ma) ** 2)) * mean(b.map((v) => (v - mb) ** 2)));
  };

  it("repeat for the same seed and stream only", () => {
    expect(list(createRandom(1, 2).uint32, 8)).toEqual(list(createRandom(1, 2).uint32, 8));
    expect(list(createRandom(1, 2).uint32, 8)).not.toEqual(list(createRandom(2, 2).uint32, 8));
    expect(list(createRandom(1, 2).uint32, 8)).not.toEqual(list(createRandom(2, 1).uint32, 8));
    const random = createRandom(5);
    random.uint32();
    expect(list(random.stream(3).uint32, 4)).toEqual(list(createRandom(5, 3).uint32, 4));
  });

  // Six standard errors: exceeded by chance once in 500 million draws of a seed, and the seeds are fixed.
  const tolerance = 6 / Math.sqrt(draws);

  it.each([0, 1, 12345, 2 ** 32 - 1])("have the moments they should, seed %i", (seed) => {
    const random = createRandom(seed);
    const uniform = list(random.uniform);
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...uniform)).toBeLessThan(1);
    expect(Math.abs(mean(uniform) - 0.5)).toBeLessThan(tolerance / Math.sqrt(12));
    expect(Math.abs(correlation(uniform.slice(1), uniform.slice(0, -1)))).toBeLessThan(tolerance);
    expect(Math.abs(correlation(uniform, list(createRandom(seed, 1).uniform)))).toBeLessThan(tolerance);
    const normal = list(random.normal);
    expect(Math.abs(mean(normal))).toBeLessThan(tolerance);
    expect(Math.abs(mean(normal.map((z) => z * z)) - 1)).toBeLessThan(tolerance * Math.SQRT2);
    expect(Math.abs(mean(normal.map((z) => z ** 4)) - 3)).toBeLessThan(tolerance * Math.sqrt(96));
    expect(Math.abs(correlation(normal.slice(1), normal.slice(0, -1)))).toBeLessThan(tolerance);
  });

  it("set every bit half the time, along counters, streams and seeds", () => {
    const random = createRandom(7);
    const kinds = [() => random.uint32(), (i: number) => createRandom(7, i).uint32(), (i: number) => createRandom(i).uint32()];
    for (const draw of kinds) {
      const words = Array.from({ length: draws }, (_, i) => draw(i));
      for (let bit = 0; bit < 32; bit++) expect(Math.abs(mean(words.map((word) => (word >>> bit) & 1)) - 0.5)).toBeLessThan(tolerance / 2);
    }
  });

  it("shuffle and choose evenly", () => {
    const random = createRandom(3);
    const counts = new Float64Array(16);
    for (let i = 0; i < 20000; i++) {
      const order = shuffle(range(4), random);
      for (let place = 0; place < 4; place++) counts[place * 4 + order[place]]++;
    }
    for (const count of counts) expect(Math.abs(count - 5000)).toBeLessThan(6 * Math.sqrt(5000 * 0.75));
    const chosen = choice(10, 10, random);
    expect(isPermutation(chosen)).toBe(true);
    expect(new Set(choice(100, 30, random)).size).toBe(30);
    expect(choice(5, 0, random).length).toBe(0);
  });

  it("refuse bad arguments", () => {
    for (const seed of [-1, 0.5, 2 ** 32, Number.NaN]) expect(() => createRandom(seed)).toThrow(ArgumentError);
    expect(() => createRandom(0, -1)).toThrow(ArgumentError);
    expect(() => createRandom(0).integer(0)).toThrow(ArgumentError);
    expect(() => choice(3, 4, createRandom(0))).toThrow(ArgumentError);
  });
});

describe("batches", () => {
  const examples = { inputs: Float32Array.from({ length: 20 }, (_, i) => i), labels: range(10), size: 2 };

  it("split without overlap, the same for the same seed", () => {
    const split = splitIndices(10, 3, createRandom(1));
    expect(split).toEqual(splitIndices(10, 3, createRandom(1)));
    expect(isPermutation([...split.train, ...split.heldOut])).toBe(true);
    expect(splitIndices(10, 3, createRandom(1), 2).heldOut).toEqual(split.heldOut);
    expect(splitIndices(10, 3, createRandom(1), 2).train).toEqual(split.train.slice(0, 2));
    for (const [heldOut, train] of [[0], [10], [1.5], [3, 8], [3, 0]])
      expect(() => splitIndices(10, heldOut, createRandom(1), train)).toThrow(ArgumentError);
  });

  it("fill the same arrays, drop the short rest", () => {
    const seen: number[] = [];
    const arrays = new Set<Float32Array>();
    for (const { inputs, labels, count } of batches(examples, { batchSize: 4, random: createRandom(1) })) {
      expect(count).toBe(4);
      arrays.add(inputs);
      for (let row = 0; row < 4; row++) expect(Array.from(inputs.subarray(2 * row, 2 * row + 2))).toEqual([2 * labels[row], 2 * labels[row] + 1]);
      seen.push(...labels);
    }
    expect(arrays.size).toBe(1);
    expect(new Set(seen).size).toBe(8);
    expect([...batches(examples, { batchSize: 11 })]).toEqual([]);
  });

  it("shuffle anew on every pass and leave the given order alone", () => {
    const indices = Int32Array.of(7, 8, 9);
    const random = createRandom(1);
    const pass = (): string => Array.from(batches(examples, { batchSize: 1, indices, random }), (batch) => batch.labels[0]).join();
    expect(new Set(Array.from({ length: 20 }, pass)).size).toBeGreaterThan(3);
    expect(Array.from(indices)).toEqual([7, 8, 9]);
  });

  it("pad the short rest and say how much of it is real", () => {
    const labels = Array.from(batches(examples, { batchSize: 4, indices: Int32Array.of(5, 6, 7, 8, 9), last: "pad" }), (batch) => [
      batch.count,
      ...batch.labels,
    ]);
    expect(labels).toEqual([
      [4, 5, 6, 7, 8],
      [1, 9, 5, 6, 7],
    ]);
  });

  it("refuse bad arguments", () => {
    const first = (options: Parameters<typeof batches>[1]): unknown => batches(examples, options).next();
    expect(() => first({ batchSize: 0 })).toThrow(ArgumentError);
    expect(() => first({ batchSize: 1, indices: Int32Array.of(10) })).toThrow(ArgumentError);
    expect(() => first({ batchSize: 1, last: "keep" as "drop" })).toThrow(ArgumentError);
    expect(() => batches({ ...examples, size: 3 }, { batchSize: 1 }).next()).toThrow(ArgumentError);
  });
});
