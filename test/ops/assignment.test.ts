/** Values by hand and by brute force, ties, faults, dispatches, slices and wrong calls of the assignments. */
import { describe, expect, test } from "vitest";
import { intern } from "../../src/apply.ts";
import { openNative } from "../../src/backends/native/index.ts";
import { createRandom, range, shuffle } from "../../src/data/random.ts";
import type { Device } from "../../src/device.ts";
import { ArgumentError, DataError } from "../../src/errors.ts";
import { FLOOR_LIMITS, type Plan, type Shape } from "../../src/op.ts";
import { deviceOf, openDevice } from "../../src/open.ts";
import { checkGreedy } from "../../src/ops/assignment/cases.ts";
import { assignmentMatrix, greedyAssignment, optimalAssignment } from "../../src/ops/assignment/index.ts";
import { largestAssignment } from "../../src/ops/assignment/jonkerVolgenant.ts";
import { greedy } from "../../src/ops/assignment/op.ts";
import { SMALL_COLUMNS, SMALL_ROWS } from "../../src/ops/assignment/plan.ts";
import { KINDS, take, withDevice } from "../support/devices.ts";

const uniforms = (count: number, seed: number): Float32Array => {
  const random = createRandom(seed);
  return Float32Array.from({ length: count }, () => random.uniform());
};

/** Score of an assignment. */
const total = (scores: ArrayLike<number>, assignment: ArrayLike<number>, columns: number): number =>
  Array.from(assignment).reduce((sum, column, row) => sum + (column >= 0 ? scores[row * columns + column] : 0), 0);

/** The largest score of all assignments, by trying them. */
const bestTotal = (scores: ArrayLike<number>, rows: number, columns: number, row = 0, taken: readonly number[] = []): number => {
  if (row === rows) return taken.filter((column) => column >= 0).length === Math.min(rows, columns) ? 0 : Number.NEGATIVE_INFINITY;
  const free = [...range(columns)].filter((column) => !taken.includes(column));
  const options = free.map((column) => scores[row * columns + column] + bestTotal(scores, rows, columns, row + 1, [...taken, column]));
  if (rows > columns) options.push(bestTotal(scores, rows, columns, row + 1, [...taken, -1]));
  return Math.max(...options);
};

describe.each(KINDS)("on %s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });
  const rounded = async (scores: ArrayLike<number>, shape: Shape): Promise<number[]> => {
    using x = device.tensor(scores, shape);
    return take(greedyAssignment(x));
  };

  test("the largest entry comes first, even where that costs more later", async () => {
    expect(await rounded([5, 4, 4, 0], [2, 2])).toEqual([0, 1]);
    expect(await rounded([1, 9, 8, 9, 2, 3, 7, 9, 9], [3, 3])).toEqual([1, 0, 2]);
    expect(await rounded([0.9, 0.8, 0.7, 0.1, 0, 0.3], [3, 2])).toEqual([0, -1, 1]);
  });

  test("of equals the first in row-major order comes first, and -0 equals 0", async () => {
    expect(await rounded(new Float32Array(12).fill(2), [3, 4])).toEqual([0, 1, 2]);
    expect(await rounded([-0, 0, 0, -0], [2, 2])).toEqual([0, 1]);
    expect(await rounded([1, 1, 2, 2, 2, 2], [3, 2])).toEqual([-1, 0, 1]);
    const { POSITIVE_INFINITY: inf } = Number;
    expect(await rounded([-inf, -inf, -inf, inf, inf, -inf], [2, 3])).toEqual([1, 0]);
  });

  test("a permutation under noise is found again, by both", async () => {
    for (const side of [3, 40, 100]) {
      const permutation = shuffle(range(side), createRandom(side));
      const noise = uniforms(side * side, 5);
      using scores = device.tensor(
        noise.map((value, i) => 0.45 * value + Number(permutation[Math.floor(i / side)] === i % side)),
        [side, side],
      );
      expect(await take(greedyAssignment(scores))).toEqual([...permutation]);
      expect(await take(await optimalAssignment(scores))).toEqual([...permutation]);
    }
  });

  test("the total of scores from 0 on is at least half of the best", async () => {
    for (const [rows, columns] of [
      [6, 6],
      [5, 7],
      [7, 4],
      [33, 33],
      [70, 66],
    ]) {
      for (let seed = 0; seed < 4; seed++) {
        const scores = uniforms(rows * columns, seed);
        const got = total(scores, await rounded(scores, [rows, columns]), columns);
        const best = total(scores, largestAssignment(scores, rows, columns), columns);
        expect(got).toBeGreaterThanOrEqual(best / 2);
        expect(got).toBeLessThanOrEqual(best + 1e-9);
      }
    }
    // Near the bound: 1 + ε against 1 + 1.
    expect(await rounded([1, 1.001, 0, 1], [2, 2])).toEqual([1, 0]);
  });

  test("hard matrices of both, with rows that have none", async () => {
    using scores = device.tensor([5, 4, 4, 0, 9, 9], [3, 2]);
    using assignment = greedyAssignment(scores);
    expect(await take(assignmentMatrix(assignment, 2))).toEqual([0, 1, 0, 0, 1, 0]);
    using optimal = await optimalAssignment(scores);
    expect([optimal.shape, optimal.dtype, optimal.device]).toEqual([[3], "int32", device]);
    expect(await take(assignmentMatrix(optimal, 2))).toEqual([1, 0, 0, 0, 0, 1]);
  });

  test("NaN is a fault of the next read alone", async () => {
    for (const shape of [
      [2, 3, 3],
      [2, SMALL_ROWS + 1, SMALL_COLUMNS + 1],
    ] as const) {
      const [, rows, columns] = shape;
      const scores = uniforms(2 * rows * columns, 1);
      scores[scores.length - 2] = Number.NaN;
      using x = device.tensor(scores, shape);
      using result = greedyAssignment(x);
      await expect(result.read()).rejects.toThrow(new DataError("greedyAssignment: expected numbers for `scores`, but received NaN"));
      expect(await rounded([1, 2, 3], [1, 3])).toEqual([2]);
    }
  });

  test("columns that are none are a fault", async () => {
    for (const broken of [-2, 3, 2 ** 31 - 1]) {
      using assignment = device.tensor(Int32Array.of(0, broken));
      using result = assignmentMatrix(assignment, 3);
      await expect(result.read()).rejects.toThrow(`assignmentMatrix: expected integers in [-1, 3) for \`assignment\`, but received ${broken}`);
    }
  });

  test("a tensor that requires a gradient may be rounded", async () => {
    using x = device.tensor([[1, 2]]);
    x.requiresGrad = true;
    using y = greedyAssignment(x);
    expect([y.requiresGrad, ...(await y.read())]).toEqual([false, 1]);
  });

  test("the same for any split of a batch", async () => {
    for (const [batch, rows, columns] of [
      [19, 4, 4],
      [9, 33, 40],
      [5, 20, 90],
    ]) {
      const [scores, size] = [uniforms(batch * rows * columns, 3), rows * columns];
      const whole = await rounded(scores, [batch, rows, columns]);
      for (const [from, to] of [
        [0, 1],
        [1, batch - 1],
        [batch - 1, batch],
      ]) {
        const part = await rounded(scores.subarray(from * size, to * size), [to - from, rows, columns]);
        expect(part).toEqual(whole.slice(from * rows, to * rows));
      }
    }
  });
});

test("the largest matrices, random and of equal rows, on any number of threads", async () => {
  const side = 4096;
  const scores = uniforms(side * side, 7);
  let first: Int32Array | undefined;
  for (const threads of [1, 3]) {
    await using device = deviceOf(await openNative({ threads }));
    using x = device.tensor(scores, [side, side]);
    using y = greedyAssignment(x);
    const result = (await y.read()) as Int32Array;
    first ??= result;
    expect(result).toEqual(first);
    checkGreedy(scores, result, side, side);
    const order = shuffle(range(1000), createRandom(3));
    using equal = device.tensor(
      Float32Array.from({ length: 1000 * 1000 }, (_, i) => order[i % 1000]),
      [1000, 1000],
    );
    using columns = greedyAssignment(equal);
    expect([...(await columns.read())]).toEqual(Array.from({ length: 1000 }, (_, row) => order.indexOf(999 - row)));
  }
});

describe("the optimal assignment", () => {
  test("is the best of all, up to 7 rows or columns", () => {
    for (let rows = 1; rows <= 7; rows++) {
      for (let columns = 1; columns <= (rows > 5 ? 7 : 6); columns++) {
        const random = createRandom(10 * rows + columns);
        for (const scores of [
          Float64Array.from({ length: rows * columns }, () => random.normal()),
          Float64Array.from({ length: rows * columns }, () => Math.floor(3 * random.uniform())),
        ]) {
          const assignment = largestAssignment(scores, rows, columns);
          const used = assignment.filter((column) => column >= 0);
          expect(new Set(used).size).toBe(Math.min(rows, columns));
          expect(used.length).toBe(Math.min(rows, columns));
          expect(total(scores, assignment, columns)).toBeCloseTo(bestTotal(scores, rows, columns), 12);
        }
      }
    }
  });

  test("of the documentation of SciPy, as costs", () => {
    expect([
      ...largestAssignment(
        Float64Array.of(4, 1, 3, 2, 0, 5, 3, 2, 2).map((cost) => -cost),
        3,
        3,
      ),
    ]).toEqual([1, 0, 2]);
  });

  test("of batches, and of none", async () => {
    await using device = await openDevice({ device: "reference" });
    const scores = device.tensor([5, 4, 4, 0, 1, 0, 0, 1], [2, 2, 2]);
    const assignment = await optimalAssignment(scores);
    expect([assignment.shape, [...(await assignment.read())]]).toEqual([
      [2, 2],
      [1, 0, 0, 1],
    ]);
    expect((await optimalAssignment(device.zeros([0, 2, 3]))).shape).toEqual([0, 2]);
  });
});

test("dispatches", async () => {
  await using device = await openDevice({ device: "webgpu" });
  const count = (shape: Shape): number => {
    using x = device.zeros(shape);
    const before = device.counters.dispatches;
    greedyAssignment(x).dispose();
    return device.counters.dispatches - before;
  };
  expect(count([3, SMALL_ROWS, SMALL_COLUMNS])).toBe(1);
  expect(count([SMALL_ROWS + 1, SMALL_COLUMNS])).toBe(2);
  expect(count([SMALL_ROWS, SMALL_COLUMNS + 1])).toBe(2);
  expect(count([0, 3, 3])).toBe(0);
  using assignment = device.tensor(Int32Array.of(0, 1));
  const before = device.counters.dispatches;
  assignmentMatrix(assignment, 2).dispose();
  expect(device.counters.dispatches - before).toBe(1);
});

describe("the plan", () => {
  const plan = (shape: Shape, bindingBytes = FLOOR_LIMITS.bindingBytes): Plan =>
    greedy.plan(intern(greedy, [{ shape, dtype: "float32" }], {}), { ...FLOOR_LIMITS, bindingBytes });

  test("packs small matrices into workgroups, as far as the marks of their columns fit", () => {
    expect(plan([1000, 16, 16]).passes[0].workgroups).toEqual([63, 1, 1]);
    expect(plan([1000, 1, 64]).passes[0].workgroups).toEqual([4, 1, 1]);
    expect(plan([1000, 1, 4096]).passes[1].workgroups).toEqual([250, 1, 1]);
  });

  test("cuts a batch that does not fit one binding", () => {
    const { passes } = plan([512, 64, 64], 4 * 64 * 64 * 128);
    expect(passes.map(({ bind: { scores } }) => scores.window)).toEqual(
      [0, 1, 2, 3].map((slice) => ({ from: slice * 128 * 4096, length: 128 * 4096 })),
    );
  });
});

test("errors", async () => {
  await using device = await openDevice({ device: "reference" });
  const sides = "shape [..., n, m] with n and m from 1 to 4096 for `scores`, but received";
  for (const shape of [[], [3], [0, 3], [2, 3, 0], [1, 4097], [4097, 1]]) {
    const scores = device.zeros(shape);
    const shown = `[${shape.join(", ")}]`;
    expect(() => greedyAssignment(scores)).toThrow(new ArgumentError(`greedyAssignment: expected ${sides} ${shown}`));
    await expect(optimalAssignment(scores)).rejects.toThrow(new ArgumentError(`optimalAssignment: expected ${sides} ${shown}`));
  }
  const integers = device.zeros([2, 2], "int32");
  expect(() => greedyAssignment(integers)).toThrow('greedyAssignment: expected dtype float32 for `scores`, but received "int32"');
  await expect(optimalAssignment(integers)).rejects.toThrow('optimalAssignment: expected dtype float32 for `scores`, but received "int32"');
  // @ts-expect-error: a tensor, not its values
  expect(() => greedyAssignment([1, 2])).toThrow("greedyAssignment: expected a tensor for `scores`, but received [1, 2]");
  // @ts-expect-error: a tensor, not its values
  await expect(optimalAssignment([1, 2])).rejects.toThrow("optimalAssignment: expected a tensor for `scores`, but received [1, 2]");
  for (const broken of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
    await expect(optimalAssignment(device.tensor([[1, broken]]))).rejects.toThrow(
      new DataError(`optimalAssignment: expected finite numbers for \`scores\`, but received ${broken}`),
    );
  const assignment = device.zeros([2], "int32");
  for (const columns of [0, -1, 1.5, Number.NaN, 2 ** 31])
    expect(() => assignmentMatrix(assignment, columns)).toThrow(
      `assignmentMatrix: expected a positive integer below 2^31 for \`columns\`, but received ${columns}`,
    );
  expect(() => assignmentMatrix(device.zeros([2]), 2)).toThrow('assignmentMatrix: expected dtype int32 for `assignment`, but received "float32"');
  expect(() => assignmentMatrix(device.zeros([], "int32"), 2)).toThrow(
    "assignmentMatrix: expected at least one axis for `assignment`, but received []",
  );
  // @ts-expect-error: a tensor, not its values
  expect(() => assignmentMatrix([0, 1], 2)).toThrow("assignmentMatrix: expected a tensor for `assignment`, but received [0, 1]");
});
