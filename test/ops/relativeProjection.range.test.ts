/** Range search: what the whole matrix holds, in blocks, in bounded memory, with nothing left alive. */
import { describe, expect, test } from "vitest";
import type { Device } from "../../src/device.ts";
import { ArgumentError, DataError } from "../../src/errors.ts";
import { openDevice } from "../../src/open.ts";
import { type RelativeProjectionOptions, type RelativeRange, relativeProjection, relativeRange } from "../../src/ops/relativeProjection/index.ts";
import { ROOM_OF_A_ROW } from "../../src/ops/relativeProjection/range.ts";
import { scope } from "../../src/scope.ts";
import type { Tensor } from "../../src/tensor.ts";
import { testRandom } from "../../src/testing/random.ts";
import { KINDS, withDevice } from "../support/devices.ts";

const random = testRandom(11);
const normal = (device: Device, rows: number, columns: number): Tensor =>
  device.tensor(
    Float32Array.from({ length: rows * columns }, () => random.normal()),
    [rows, columns],
  );

/** The definition, out of the matrix of all similarities. */
const expected = async (x: Tensor, anchors: Tensor, least: number, options: RelativeProjectionOptions): Promise<RelativeRange> => {
  using y = relativeProjection(x, anchors, options);
  const all = await y.read();
  const K = anchors.shape[0];
  const rows = Array.from({ length: x.shape[0] }, (_, b) => {
    const row: { readonly value: number; readonly k: number }[] = [];
    for (let k = 0; k < K; k++) if (Number(all[b * K + k]) >= Math.fround(least)) row.push({ value: Number(all[b * K + k]), k });
    return row.sort((a, b) => b.value - a.value || a.k - b.k);
  });
  const offsets = [0];
  for (const row of rows) offsets.push(offsets[offsets.length - 1] + row.length);
  const found = rows.flat();
  return { offsets: Int32Array.from(offsets), indices: Int32Array.from(found, ({ k }) => k), values: Float32Array.from(found, ({ value }) => value) };
};

describe.each(KINDS)("%s", (kind) => {
  let device: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });

  test("is what the whole matrix holds, largest first", async () => {
    using x = normal(device, 7, 5);
    using anchors = normal(device, 40, 5);
    const calls: readonly (readonly [number, RelativeProjectionOptions])[] = [
      [0.3, {}],
      [0.5, { similarity: "angular", normalise: "centre" }],
      [1, { similarity: "inner", normalise: "standardise", statistics: "batch" }],
      [0.2, { similarity: "scaledInner", normalise: "whiten" }],
      [-4, { similarity: "l1" }],
      [-2, { similarity: "l2" }],
      [-1.5, { similarity: "linf", normalise: "standardise" }],
      [-2.5, { similarity: "lp", p: 3 }],
      [-2, { similarity: "mahalanobis" }],
    ];
    // A software GPU takes a second for every similarity's kernel.
    for (const [least, options] of kind === "webgpu" ? calls.slice(2, 5) : calls) {
      const want = await expected(x, anchors, least, options);
      expect(want.indices.length).toBeGreaterThan(10);
      expect(want.indices.length).toBeLessThan(270);
      expect(await relativeRange(x, anchors, least, options)).toEqual(want);
    }
  });

  test("bounds of float32, equal similarities, all, none, and no rows", async () => {
    using x = device.tensor([
      [1, 0],
      [0, 2],
    ]);
    using anchors = device.tensor([
      [0, 1],
      [1, 0],
      [3, 0],
      [0.1, 0],
    ]);
    expect(await relativeRange(x, anchors, 1)).toEqual({
      offsets: Int32Array.of(0, 3, 4),
      indices: Int32Array.of(1, 2, 3, 0),
      values: Float32Array.of(1, 1, 1, 1),
    });
    // A little more as a float32, on both sides.
    expect((await relativeRange(x, anchors, 0.1, { similarity: "inner" })).indices).toEqual(Int32Array.of(2, 1, 3, 0));
    expect((await relativeRange(x, anchors, Number.NEGATIVE_INFINITY)).offsets).toEqual(Int32Array.of(0, 4, 8));
    expect((await relativeRange(x, anchors, 1.01)).offsets).toEqual(Int32Array.of(0, 0, 0));
    using none = device.zeros([0, 2]);
    expect(await relativeRange(none, anchors, 0)).toEqual({ offsets: Int32Array.of(0), indices: new Int32Array(0), values: new Float32Array(0) });
  });

  test("nothing is left alive, whatever scope it is called in, and after data that is wrong", async () => {
    const before = device.counters.liveBuffers;
    using x = normal(device, 3, 4);
    using anchors = normal(device, 9, 4);
    let range: Promise<RelativeRange> | undefined;
    scope(() => {
      range = relativeRange(x, anchors, 0, { normalise: "standardise" });
    });
    expect((await range)?.offsets).toHaveLength(4);
    using broken = device.tensor([1, 2, Number.NaN, 4], [1, 4]);
    await expect(relativeRange(broken, anchors, 0)).rejects.toThrow(DataError);
    expect(device.counters.liveBuffers - before).toBe(3);
  });
});

describe("lists that are bounded", () => {
  test("100 rows on 50,000 anchors, with statistics of all of them", async () => {
    await using device = await openDevice({ device: "native" });
    using x = normal(device, 100, 3);
    using anchors = normal(device, 50_000, 3);
    for (const options of [
      { normalise: "standardise", statistics: "batch" },
      { normalise: "whiten", statistics: "batch", similarity: "l2" },
    ] as const) {
      const least = "similarity" in options ? -0.1 : 0.9999;
      const want = await expected(x, anchors, least, options);
      expect(want.indices.length).toBeGreaterThan(100);
      expect(await relativeRange(x, anchors, least, options)).toEqual(want);
    }
  });

  test("rows with more results than there is room for at first, and with none", async () => {
    await using device = await openDevice({ device: "native" });
    using anchors = normal(device, 300, 2);
    // Rows near the middle see most anchors, rows far away none.
    using x = device.tensor(
      Float32Array.from({ length: 2 * 90 }, (_, i) => (i % 2 === 0 ? 0.6 * ((i / 2) % 12) : 0)),
      [90, 2],
    );
    const want = await expected(x, anchors, -1.5, { similarity: "l2" });
    const counts = Array.from({ length: 90 }, (_, b) => want.offsets[b + 1] - want.offsets[b]);
    expect(Math.max(...counts)).toBeGreaterThan(2 * ROOM_OF_A_ROW);
    expect(counts.filter((count) => count > 0 && count <= ROOM_OF_A_ROW).length).toBeGreaterThan(10);
    expect(Math.min(...counts)).toBe(0);
    expect(await relativeRange(x, anchors, -1.5, { similarity: "l2" })).toEqual(want);
  });

  test("33,000 rows, more than are searched at a time", async () => {
    await using device = await openDevice({ device: "native" });
    using x = normal(device, 33_000, 2);
    using anchors = normal(device, 70, 2);
    const want = await expected(x, anchors, -0.2, { similarity: "linf" });
    const got = await relativeRange(x, anchors, -0.2, { similarity: "linf" });
    for (const key of ["offsets", "indices", "values"] as const)
      expect(Buffer.from(got[key].buffer).equals(Buffer.from(want[key].buffer)), key).toBe(true);
  });

  test("a matrix that the device could not hold", async () => {
    await using device = await openDevice({ device: "native", memoryLimit: 2 ** 26 });
    using x = normal(device, 1000, 2);
    using anchors = normal(device, 50_000, 2);
    expect(() => relativeProjection(x, anchors)).toThrow("expected");
    const { offsets, indices, values } = await relativeRange(x, anchors, -0.02, { similarity: "l2" });
    expect(offsets[1000]).toBe(indices.length);
    expect(indices.length).toBeGreaterThan(1000);
    expect(values.every((value) => value >= Math.fround(-0.02))).toBe(true);
  });
});

test("errors", async () => {
  await using device = await openDevice({ device: "reference" });
  const x = device.ones([2, 3]);
  const fails = async (run: () => Promise<unknown>, text: string): Promise<void> => {
    await expect(run).rejects.toThrow(ArgumentError);
    await expect(run).rejects.toThrow(text);
  };
  await fails(() => relativeRange(x, x, Number.NaN), "relativeRange: expected a number for `least`, but received NaN");
  await fails(() => relativeRange(x, x, "1" as never), 'relativeRange: expected a number for `least`, but received "1"');
  await fails(() => relativeRange(x, device.ones([2, 4]), 0), "relativeRange: expected shape [K, 3] to fit x [2, 3] for `anchors`");
  await fails(
    () => relativeRange(x, x, 0, { similarity: "changeOfBasis" }),
    "relativeRange: expected a similarity, not coefficients for `similarity`",
  );
});
