/** Sums inside subgroups, where the device has them, are those through workgroup memory: the same bits. */
import { expect, test } from "vitest";
import { intern } from "../../src/apply.ts";
import type { Device } from "../../src/device.ts";
import { FLOOR_LIMITS } from "../../src/op.ts";
import { openDevice } from "../../src/open.ts";
import { type BackwardAttrs, recordLayout } from "../../src/ops/sinkhorn/geometry.ts";
import { type SinkhornOptions, sinkhorn } from "../../src/ops/sinkhorn/index.ts";
import { backward } from "../../src/ops/sinkhorn/op.ts";
import { testRandom } from "../../src/testing/random.ts";
import { foreignDevice } from "../support/webgpu.ts";

const OPTIONS: readonly SinkhornOptions[] = [
  { iterations: 20, order: "column", rho: 2 },
  { iterations: 40, tolerance: 1e-2, checkEvery: 3 },
  { iterations: 30, backward: "implicit" },
];

const bits = async (device: Device, shapes: readonly (readonly [number, number])[]): Promise<Uint32Array[]> => {
  const found: Uint32Array[] = [];
  for (const shape of shapes) {
    for (const options of OPTIONS) {
      const random = testRandom(7);
      const normals = (): Float32Array => Float32Array.from({ length: 9 * shape[0] * shape[1] }, () => 3 * random.normal());
      using logits = device.tensor(normals(), [9, ...shape]);
      using cotangent = device.tensor(normals(), [9, ...shape]);
      logits.requiresGrad = true;
      using p = sinkhorn(logits, options);
      p.backward(cotangent);
      for (const tensor of [p, logits.grad]) found.push(new Uint32Array(Float32Array.from((await tensor?.read()) ?? []).buffer));
      logits.grad?.dispose();
    }
  }
  return found;
};

test("a device without subgroups gives the same bits as one with them", async () => {
  const gpuDevice = await foreignDevice();
  const without = await openDevice({ device: "webgpu", gpuDevice });
  const best = await openDevice({ device: "webgpu" });
  expect(without.info.details.subgroups).toBe(false);
  // Where this fails the driver has no subgroups, and the test shows nothing.
  expect(best.info.details.subgroups).toMatch(/threads/);
  const shapes = [[5, 8], ...(best.backend.limits.subgroupMinSize >= 16 ? [[12, 30] as const] : [])] as const;
  expect(await bits(best, shapes)).toEqual(await bits(without, shapes));
  await Promise.all([best.close(), without.close()]);
  gpuDevice.destroy();
});

test("matrices go to subgroups where every subgroup holds whole ones", () => {
  const attrs: BackwardAttrs = {
    iterations: 3,
    annealed: 0,
    order: "row",
    unbalanced: false,
    operands: "",
    record: "history",
    matrix: "P",
    plain: true,
    vectors: false,
  };
  const shaderOf = (n: number, subgroupMinSize: number, subgroupMaxSize: number): string => {
    const inputs = [
      [2, n, n],
      [2, recordLayout(n, n, attrs).size],
    ].map((shape) => ({ shape, dtype: "float32" as const }));
    const call = intern(backward, inputs, attrs);
    return backward.plan(call, { ...FLOOR_LIMITS, subgroupMinSize, subgroupMaxSize }).passes[0].shader.name;
  };
  const through = "sinkhorn/resident-backward";
  expect([5, 8].map((n) => shaderOf(n, 4, 4))).toEqual([`${through}-subgroups`, `${through}-subgroups`]);
  expect([4, 9].map((n) => shaderOf(n, 4, 4))).toEqual([through, through]);
  expect([9, 32].map((n) => shaderOf(n, 16, 32))).toEqual([`${through}-subgroups`, `${through}-subgroups`]);
  expect([9, 33].map((n) => shaderOf(n, 8, 32))).toEqual([through, through]);
  expect([5, 32].map((n) => shaderOf(n, 32, 128))).toEqual([through, through]);
  expect(shaderOf(8, 0, 0)).toBe(through);
});
