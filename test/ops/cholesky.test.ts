/** Known factors, dispatches and wrong calls of the inverse of a Cholesky factor. */
import { describe, expect, test } from "vitest";
import type { Device } from "../../src/device.ts";
import { openDevice } from "../../src/open.ts";
import { inverseCholesky } from "../../src/ops/cholesky/index.ts";
import { scope } from "../../src/scope.ts";
import { KINDS, withDevice } from "../support/devices.ts";

describe.each(KINDS)("on %s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });
  const inverse = async (rows: number[][]): Promise<number[]> => {
    using w = scope(() => inverseCholesky(device.tensor(rows)));
    return [...(await w.read())];
  };

  test("whole factors", async () => {
    // L = [[2, 0, 0], [6, 1, 0], [-8, 5, 3]], the usual example, and its inverse times 6.
    const w = await inverse([
      [4, 12, -16],
      [12, 37, -43],
      [-16, -43, 98],
    ]);
    [3, 0, 0, -18, 6, 0, 38, -10, 2].forEach((value, i) => {
      expect(w[i]).toBeCloseTo(value / 6, 4);
    });
  });

  test("only the lower triangle is read", async () => {
    expect(
      await inverse([
        [4, Number.NaN],
        [2, 10],
      ]),
    ).toEqual(
      await inverse([
        [4, 2],
        [2, 10],
      ]),
    );
  });

  test("matrices that are not positive definite are told by the next read", async () => {
    const message = "inverseCholesky: expected a positive definite matrix, with pivots above the rounding of float32, for `a`, but received";
    for (const rows of [
      [
        [1, 2],
        [2, 1],
      ],
      [[0]],
      [[-1]],
      [
        [1, 1],
        [1, 1],
      ],
      [[Number.NaN]],
      [[Number.POSITIVE_INFINITY]],
    ])
      await expect(inverse(rows), JSON.stringify(rows)).rejects.toThrow(message);
  });
});

test("dispatches", async () => {
  await using device = await openDevice({ device: "webgpu" });
  const a = device.tensor([
    [4, 2],
    [2, 10],
  ]);
  a.requiresGrad = true;
  const before = device.counters.dispatches;
  const w = inverseCholesky(a);
  expect(device.counters.dispatches - before).toBe(2);
  w.backward(device.ones([2, 2]));
  expect(device.counters.dispatches - before).toBe(7);
});

test("errors", async () => {
  await using device = await openDevice({ device: "reference" });
  expect(() => inverseCholesky(device.ones([2, 3]))).toThrow('inverseCholesky: expected shape [n, n] for `a`, but received "[2, 3]"');
  expect(() => inverseCholesky(device.ones([4]))).toThrow('inverseCholesky: expected shape [n, n] for `a`, but received "[4]"');
  expect(() => inverseCholesky(device.zeros([2, 2], "int32"))).toThrow('inverseCholesky: expected dtype float32 for `a`, but received "int32"');
  // @ts-expect-error: a tensor, not its values
  expect(() => inverseCholesky([[1]])).toThrow("inverseCholesky: expected a tensor for `a`, but received [[1]]");
});
