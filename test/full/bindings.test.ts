/** Operands that exceed one binding, in calls that take many pipelines. */
import { expect, test } from "vitest";
import { exp, mul } from "../../src/ops/elementwise/index.ts";
import { linear, matmul } from "../../src/ops/matmul/index.ts";
import { type RelativeProjectionOptions, relativeProjection, relativeTopK } from "../../src/ops/relativeProjection/index.ts";
import { scope } from "../../src/scope.ts";
import type { Tensor } from "../../src/tensor.ts";
import { compare, numbers, withNarrowDevice } from "../support/bindings.ts";
import { take } from "../support/devices.ts";

const devices = withNarrowDevice();
const product = (a: Tensor, b: Tensor): Tensor => matmul(a, b);

test("elementwise ops", async () => {
  await compare(devices, [[150, 41]], (x) => scope(() => exp(mul(x, 0.5))));
  await compare(
    devices,
    [
      [150, 41],
      [150, 41],
    ],
    mul,
  );
  await compare(devices, [[41], [150, 41]], mul);
  await compare(
    devices,
    [
      [150, 41],
      [150, 1],
    ],
    mul,
  );
  await compare(devices, [[150, 41], []], mul);
});

test("products", async () => {
  await compare(
    devices,
    [
      [150, 33],
      [33, 20],
    ],
    product,
  );
  await compare(devices, [[150, 33], [8, 33], [8]], (x, w, bias) => linear(x, w, bias, { activation: "gelu" }));
  await compare(
    devices,
    [
      [140, 6, 9],
      [140, 9, 8],
    ],
    product,
  );
  await compare(
    devices,
    [
      [140, 6, 9],
      [9, 8],
    ],
    product,
  );
  await compare(
    devices,
    [
      [6, 9],
      [140, 9, 8],
    ],
    product,
  );
  await compare(devices, [[150, 33], [33]], product);
  // Sums that several workgroups share in every part, finished by the last part.
  await compare(devices, [[3000, 2], [3000, 4], [4]], (a, b, bias) => matmul(a, b, { transposeA: true, bias, activation: "gelu" }));
});

test("relative projections by whitening, distances of Mahalanobis and changes of basis", async () => {
  const project =
    (options: RelativeProjectionOptions) =>
    (x: Tensor, anchors: Tensor): Tensor =>
      relativeProjection(x, anchors, { detachAnchors: false, detachStatistics: false, ...options });
  const [many, few] = [
    [700, 8],
    [20, 8],
  ];
  await compare(devices, [many, few], project({ normalise: "whiten", statistics: "batch" }), 1e-4);
  await compare(devices, [many, few], project({ similarity: "mahalanobis" }), 1e-4);
  await compare(devices, [many, few], project({ similarity: "changeOfBasis", normalise: "standardise" }), 1e-4);
  await compare(devices, [many, [5, 8]], project({ similarity: "changeOfBasis", shrinkage: 0.1 }), 1e-4);
  const [want, got] = await Promise.all(
    devices.map((device) => {
      const [x, anchors] = numbers(device, [many, [600, 8]]);
      const { values, indices } = relativeTopK(x, anchors, 2, { normalise: "whiten" });
      for (const tensor of [x, anchors, values]) tensor.dispose();
      return take(indices);
    }),
  );
  expect(got).toEqual(want);
});
