/** Class-balanced batches: what is in them, how often, and that groups do not come back. */
import { describe, expect, test } from "vitest";
import { type ClassBalancedOptions, classBalancedBatches } from "../src/data/balanced.ts";
import { ArgumentError } from "../src/errors.ts";

const labels = Int32Array.from({ length: 103 }, (_, i) => [0, 0, 0, 7, -2][i % 5]);
const firstBatches = (count: number, options: ClassBalancedOptions, of: ArrayLike<number> = labels): number[][] => {
  const generator = classBalancedBatches(of, options);
  return Array.from({ length: count }, () => [...generator.next().value]);
};

test("a batch has as many of each class, class after class, and no example twice", () => {
  for (const batch of firstBatches(50, { samples: 8 })) {
    expect(batch.length).toBe(24);
    expect(new Set(batch).size).toBe(24);
    const classes = [0, 8, 16].map((from) => new Set(batch.slice(from, from + 8).map((index) => labels[index])));
    for (const own of classes) expect(own.size).toBe(1);
    expect(new Set(classes.flatMap((own) => [...own]))).toEqual(new Set([0, 7, -2]));
  }
});

test("every pass of a class shows as many of its examples as fill batches, in new groups", () => {
  // 20 examples of classes -2 and 7 and 8 a batch: 2 batches a pass.
  const of = Int32Array.from({ length: 40 }, (_, i) => i % 2);
  const batches = firstBatches(200, { samples: 8 }, of);
  const groups = batches.map((batch) =>
    batch
      .filter((index) => of[index] === 0)
      .sort((a, b) => a - b)
      .join(),
  );
  expect(new Set(groups).size).toBe(200);
  for (let pass = 0; pass < 200; pass += 2) expect(new Set([...batches[pass], ...batches[pass + 1]]).size).toBe(32);
  const times = new Array<number>(40).fill(0);
  for (const batch of batches) for (const index of batch) times[index]++;
  // 200 · 8 / 20 = 80 each; what is left over changes from pass to pass.
  for (const count of times) expect(Math.abs(count - 80)).toBeLessThan(20);
});

test("fewer classes than there are take turns", () => {
  const batches = firstBatches(30, { samples: 2, classes: 1 });
  for (let turn = 0; turn < 30; turn += 3) {
    const classes = batches.slice(turn, turn + 3).map(([index]) => labels[index]);
    expect(new Set(classes)).toEqual(new Set([0, 7, -2]));
  }
});

test("a seed repeats, another gives other batches", () => {
  expect(firstBatches(5, { samples: 4, seed: 3 })).toEqual(firstBatches(5, { samples: 4, seed: 3 }));
  expect(firstBatches(5, { samples: 4, seed: 3 })).not.toEqual(firstBatches(5, { samples: 4, seed: 4 }));
});

describe("wrong arguments are named", () => {
  test.each([
    [{ samples: 0 }, labels, "expected a positive integer for `samples`, but received 0"],
    [{ samples: 30 }, labels, "expected at least 30 examples of class 7 for `labels`, but received 20"],
    [{ samples: 1, classes: 4 }, labels, "expected an integer in [1, 3], the classes that occur, for `classes`, but received 4"],
    [{ samples: 1 }, [], "for `classes`, but received 0"],
    [{ samples: 1 }, [0, 0.5], "expected an integer for `labels[1]`, but received 0.5"],
    [{ samples: 1, seed: -1 }, labels, "for `seed`, but received -1"],
  ] as const)("%j", (options, of, text) => {
    const first = () => classBalancedBatches(of, options).next();
    expect(first).toThrow(ArgumentError);
    expect(first).toThrow(text);
  });
});
