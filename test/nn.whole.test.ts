/** Layers and networks are made whole or not at all, and hold nothing after a pass but its result. */
import { expect, test } from "vitest";
import { openReference } from "../src/backends/reference/index.ts";
import { ArgumentError, OutOfMemoryError } from "../src/errors.ts";
import { noGrad } from "../src/gradMode.ts";
import {
  BatchNorm,
  Conv2d,
  DigitNetwork,
  type Initializer,
  initializer,
  LearnedMatrices,
  Linear,
  ResidualNetwork,
  rotationGroup,
  type Symmetry,
  TiedMatrices,
  WeightSharingConv2d,
  WeightSharingLinear,
} from "../src/index.ts";
import { deviceOf } from "../src/open.ts";
import type { Tensor } from "../src/tensor.ts";
import { scarce } from "./support/fuzz/scarce.ts";

const SYMMETRIES: readonly Symmetry[] = [
  { kind: "none" },
  { kind: "fixed", group: rotationGroup(3).elements },
  { kind: "learned", elements: 2 },
  { kind: "learned", elements: 2, factorised: true },
  { kind: "learned", elements: 2, shared: "learned" },
  { kind: "learned", elements: 2, shared: "tied" },
];

type Made = Disposable & { forward(x: Tensor): Tensor };
const MADE: readonly (readonly [string, (init: Initializer) => Made, readonly number[]])[] = [
  ["Linear", (init) => new Linear(init, 3, 2), [2, 3]],
  ["Conv2d", (init) => new Conv2d(init, { inChannels: 1, outChannels: 2, kernelSize: 3 }), [1, 1, 4, 4]],
  ["BatchNorm", (init) => new BatchNorm(init, 2), [3, 2]],
  ["WeightSharingLinear", (init) => new WeightSharingLinear(init, { features: 3, kernels: 2, elements: 3 }), [2, 3]],
  ["WeightSharingConv2d", (init) => new WeightSharingConv2d(init, { inChannels: 1, outChannels: 1, kernelSize: 2, elements: 2 }), [1, 1, 2, 4, 4]],
  ...SYMMETRIES.flatMap((symmetry): typeof MADE => {
    const name = JSON.stringify(symmetry.kind === "fixed" ? { kind: "fixed" } : symmetry);
    return [
      [`DigitNetwork ${name}`, (init) => new DigitNetwork(init, symmetry, { width: 1, kernelSize: 3, layers: 2, hidden: 2 }), [1, 1, 6, 6]],
      [`ResidualNetwork ${name}`, (init) => new ResidualNetwork(init, symmetry, { width: 1, kernelSize: 3, hidden: 2 }), [2, 3, 4, 4]],
    ];
  }),
];

test.each(MADE)("%s: wherever memory runs out, nothing is held; nor behind a pass", async (_, make, shape) => {
  const backend = scarce(openReference());
  const device = deviceOf(backend);
  for (let allocations = 0; ; allocations++) {
    backend.left = allocations;
    let made: Made | undefined;
    try {
      made = make(initializer(device, 1));
    } catch (error) {
      expect(error).toBeInstanceOf(OutOfMemoryError);
    }
    backend.left = Number.POSITIVE_INFINITY;
    if (made) {
      const x = device.ones(shape);
      // Layers keep their expanded kernels from here on.
      noGrad(() => made.forward(x)).dispose();
      const { liveBuffers } = device.counters;
      noGrad(() => made.forward(x)).dispose();
      expect(device.counters.liveBuffers).toBe(liveBuffers);
      x.dispose();
      made[Symbol.dispose]();
    }
    expect(device.counters.liveBuffers, `after ${allocations} allocations`).toBe(0);
    if (made) break;
  }
  await device.close();
});

test("the matrices of a stack that follows from another leave nothing behind", async () => {
  const device = deviceOf(openReference());
  using space = new LearnedMatrices(initializer(device, 1), { elements: 2, side: 4 });
  const { liveBuffers } = device.counters;
  noGrad(() => new TiedMatrices(space).stack()).dispose();
  expect(device.counters.liveBuffers).toBe(liveBuffers);
});

test("symmetries of no kind, and sizes beyond all memory", async () => {
  const device = deviceOf(openReference());
  const init = initializer(device, 1);
  const options = { width: 1, kernelSize: 3, layers: 2 };
  const bad: unknown[] = [undefined, 1, {}, { kind: "some" }, { kind: "permuted" }, { kind: "permuted", sets: [1, 2] }];
  for (const symmetry of [...bad, { kind: "learned", elements: 2, factorised: 1 }, { kind: "learned", elements: 2 ** 40 }]) {
    expect(() => new DigitNetwork(init, symmetry as Symmetry, options)).toThrow(ArgumentError);
    expect(() => new ResidualNetwork(init, symmetry as Symmetry, { width: 1, kernelSize: 3 })).toThrow(ArgumentError);
  }
  expect(() => new DigitNetwork(init, { kind: "none" }, { ...options, layers: 1e9 })).toThrow("an integer of at most 1000 for `layers`");
  expect(() => new ResidualNetwork(init, { kind: "none" }, { width: 1, blocks: 1e9 })).toThrow("an integer of at most 31 for `blocks`");
  expect(device.counters.liveBuffers).toBe(0);
  await device.close();
});
