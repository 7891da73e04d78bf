/** Learned matrices with every option: what they are at the start, what they become, their gradients, on every device. */
import { describe, expect, test } from "vitest";
import { cyclicGroup, equalPermutations, type Permutation, permutationMatrices, rotationGroup } from "../src/data/permutations.ts";
import type { Device } from "../src/device.ts";
import { noGrad } from "../src/gradMode.ts";
import type { Symmetry } from "../src/nn/convolutions.ts";
import { GroupConv2d, GroupLift2d, shiftTwist } from "../src/nn/group.ts";
import { initializer } from "../src/nn/init.ts";
import {
  constrained,
  LearnedMatrices,
  type LearnedStack,
  type MatrixOptions,
  matrixSettings,
  type Regularized,
  TiedMatrices,
} from "../src/nn/matrices.ts";
import type { Module } from "../src/nn/module.ts";
import { DigitNetwork } from "../src/nn/networks.ts";
import {
  closureRegularizer,
  entropyRegularizer,
  identityRegularizer,
  normRegularizer,
  overlapRegularizer,
  sharpnessRegularizer,
} from "../src/nn/regularizers.ts";
import {
  FactorisedWeightSharingConv1d,
  FactorisedWeightSharingConv2d,
  FactorisedWeightSharingConv3d,
  WeightSharingConv1d,
  WeightSharingConv3d,
  WeightSharingLift1d,
  WeightSharingLift2d,
  WeightSharingLift3d,
} from "../src/nn/weightSharing.ts";
import { WeightSharingLinear } from "../src/nn/weightSharingLinear.ts";
import type { Shape } from "../src/op.ts";
import { conv1d, conv3d } from "../src/ops/conv/index.ts";
import { add, mul, square } from "../src/ops/elementwise/index.ts";
import { sum } from "../src/ops/reduce/index.ts";
import { reshape } from "../src/ops/shape/index.ts";
import { AdamW, exponential, scheduleTemperature } from "../src/optim.ts";
import { scope } from "../src/scope.ts";
import type { Tensor } from "../src/tensor.ts";
import { gradcheck } from "../src/testing/gradcheck.ts";
import { testRandom } from "../src/testing/random.ts";
import { KINDS, withDevice } from "./support/devices.ts";

const random = testRandom(11);
const filled = (device: Device, shape: Shape): Tensor =>
  device.tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal()),
    shape,
  );
const values = async (make: () => Tensor): Promise<number[]> => {
  using y = noGrad(() => scope(make));
  return [...(await y.read())];
};
const close = (got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number): void => {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < got.length; i++) expect(Math.abs(got[i] - want[i]), `entry ${i}`).toBeLessThan(tolerance);
};
/** Logits whose matrices are these permutations. */
const sharp = (elements: readonly Permutation[]): Float32Array => permutationMatrices(elements).map((entry) => 60 * entry);
const sizes = { inChannels: 2, outChannels: 2, kernelSize: 2, elements: 3 };

const options: readonly [string, MatrixOptions][] = [
  ["the paper's", {}],
  ["row stochastic", { constraint: "rowStochastic" }],
  ["unconstrained", { constraint: "none" }],
  ["near the identity, colder", { start: { kind: "identity" }, temperature: 0.5 }],
  ["near permutations", { start: { kind: "permutations", sharpness: 0.7 } }],
];
const networks: readonly [string, Symmetry][] = [
  ["dense", { kind: "learned", elements: 3 }],
  ["factorised", { kind: "learned", elements: 3, factorised: true }],
  ["shared", { kind: "learned", elements: 3, shared: "learned" }],
  ["tied", { kind: "learned", elements: 3, shared: "tied" }],
];
const REGULARIZERS = [normRegularizer, entropyRegularizer, sharpnessRegularizer, closureRegularizer, identityRegularizer, overlapRegularizer];
const regularized = (layers: readonly Regularized[]): Tensor => REGULARIZERS.map((term) => term(layers)).reduce((a, b) => add(a, b));

const gradients = async (network: Module, loss: () => Tensor): Promise<Map<string, number[]>> => {
  scope(() => loss().backward());
  const found = new Map<string, number[]>();
  for (const [name, { grad }] of network.namedParameters()) found.set(name, [...(await (grad as Tensor).read())]);
  return found;
};

describe("on the reference", () => {
  let device: Device;
  withDevice("reference", (opened) => {
    device = opened;
  });
  const init = (seed = 1): ReturnType<typeof initializer> => initializer(device, seed);
  const stackOf = (own: MatrixOptions, side = 4, elements = 3): Promise<number[]> => {
    using matrices = new LearnedMatrices(init(), { elements, side, ...own });
    return values(() => matrices.stack());
  };

  test("starts: sharpness 0 is the paper's, 1 the target itself, permutations differ", async () => {
    const paper = await stackOf({});
    for (const kind of ["identity", "permutations"] as const) close(await stackOf({ start: { kind, sharpness: 0 } }), paper, 1e-6);
    const identity = await stackOf({ start: { kind: "identity", sharpness: 1 } });
    close(
      identity,
      [0, 1].flatMap(() => [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]),
      1e-6,
    );
    // All five that three positions have beside the identity.
    const all = await stackOf({ start: { kind: "permutations", sharpness: 1 } }, 3, 6);
    const rows = Array.from({ length: 15 }, (_, row) => all.slice(3 * row, 3 * row + 3).findIndex((entry) => entry > 0.999));
    const found = Array.from({ length: 5 }, (_, i) => Int32Array.from(rows.slice(3 * i, 3 * i + 3)));
    expect(rows).not.toContain(-1);
    for (const [i, a] of found.entries()) {
      expect(a.join()).not.toBe("0,1,2");
      for (const b of found.slice(0, i)) expect(equalPermutations(a, b)).toBe(false);
    }
  });

  test("constraints: rows alone sum to 1; without one the matrices begin as Sinkhorn makes them", async () => {
    const rows = await stackOf({ constraint: "rowStochastic", start: { kind: "permutations" } });
    for (let row = 0; row < 8; row++) expect(rows.slice(4 * row, 4 * row + 4).reduce((a, b) => a + b)).toBeCloseTo(1, 6);
    expect(Math.abs(rows[0] + rows[4] + rows[8] + rows[12] - 1)).toBeGreaterThan(1e-3);
    close(await stackOf({ constraint: "none" }), await stackOf({}), 1e-6);
  });

  test("frozen matrices are no parameters and have nothing to regularise", async () => {
    using layer = new WeightSharingLift2d(init(), { ...sizes, frozen: true, start: { kind: "permutations", sharpness: 1 } });
    using free = new WeightSharingLift2d(init(), sizes);
    expect([...layer.namedParameters().keys()]).toEqual(["weight", "bias"]);
    expect([...free.namedParameters().keys()]).toEqual(["weight", "bias", "matrices.representations"]);
    expect(layer.matrices.representations.requiresGrad).toBe(false);
    expect(() => normRegularizer([layer])).toThrow(/at least one layer with learned matrices/);
    expect(await values(() => normRegularizer([layer, free]))).toEqual(await values(() => normRegularizer([free])));
  });

  test.each([
    ["1D", WeightSharingLift1d, WeightSharingConv1d, FactorisedWeightSharingConv1d, [4], conv1d],
    ["3D", WeightSharingLift3d, WeightSharingConv3d, FactorisedWeightSharingConv3d, [3, 3, 4], conv3d],
  ] as const)("%s: as expansion by sums and a plain convolution", async (_, Lift, Conv, Factorised, image, plain) => {
    const conv = plain as typeof conv1d;
    for (const [layer, groups] of [
      [new Lift(init(), sizes), 1],
      [new Conv(init(), { ...sizes, inElements: 2 }), 2],
      [new Factorised(init(), { ...sizes, inElements: 2 }), 2],
    ] as const) {
      using x = filled(device, [2, 2, ...(groups === 1 ? [] : [groups]), ...image]);
      const R = await values(() => layer.action());
      const w = [...(await layer.weight.read())];
      const d = w.length / 4;
      const kernel = Float32Array.from({ length: 2 * 3 * 2 * d }, (__, at) => {
        const [o, g, i, n] = [Math.floor(at / (6 * d)), Math.floor(at / (2 * d)) % 3, Math.floor(at / d) % 2, at % d];
        const own = w.slice((o * 2 + i) * d, (o * 2 + i + 1) * d);
        return g === 0 ? own[n] : own.reduce((total, value, m) => total + R[((g - 1) * d + n) * d + m] * value, 0);
      });
      using expanded = device.tensor(kernel, [6, 2 * groups, ...image.map(() => 2)]);
      const got = await values(() => layer.forward(x));
      close(got, await values(() => conv(reshape(x, [2, 2 * groups, ...image]), expanded)), 1e-5);
      layer.dispose();
    }
  });

  test("tied to true rotations, the group axis is the regular representation: the layers of the group, one stack in all", async () => {
    const group = rotationGroup(3).elements;
    const shape = { inChannels: 2, outChannels: 2, kernelSize: 3 };
    using space = new LearnedMatrices(init(), { elements: 4, side: 9 });
    device.write(space.representations, sharp(group.slice(1)));
    using lift = new WeightSharingLift2d(init(), { ...shape, elements: 4, matrices: space });
    using conv = new FactorisedWeightSharingConv2d(init(), { ...shape, elements: 4, matrices: { space, group: new TiedMatrices(space) } });
    close(await values(() => conv.action()), permutationMatrices(shiftTwist(group).slice(1)), 1e-4);
    using fixedLift = new GroupLift2d(init(), { ...shape, group });
    using fixedConv = new GroupConv2d(init(), { ...shape, group });
    device.write(fixedLift.weight, await lift.weight.read());
    device.write(fixedConv.weight, await conv.weight.read());
    using x = filled(device, [1, 2, 7, 7]);
    close(await values(() => conv.forward(lift.forward(x))), await values(() => fixedConv.forward(fixedLift.forward(x))), 1e-3);
    expect(conv.namedParameters().get("group.representations")).toBeUndefined();
    expect(await values(() => normRegularizer([lift, conv]))).toEqual(await values(() => normRegularizer([lift])));
  });

  test("a shared group is counted once", () => {
    const count = (symmetry: Symmetry): number => {
      using network = new DigitNetwork(init(), symmetry, { width: 2, kernelSize: 3, layers: 3 });
      return network.parameterCount;
    };
    const plain = count({ kind: "fixed", group: rotationGroup(3).elements });
    expect(count({ kind: "learned", elements: 4 })).toBe(plain + 3 * 81 + 2 * 3 * 36 * 36);
    expect(count({ kind: "learned", elements: 4, factorised: true })).toBe(plain + 3 * 81 + 2 * 3 * (81 + 16));
    expect(count({ kind: "learned", elements: 4, shared: "learned" })).toBe(plain + 3 * (81 + 16));
    expect(count({ kind: "learned", elements: 4, shared: "tied" })).toBe(plain + 3 * 81);
  });

  test("regularisers of groups, of half a group, of uniform and of equal matrices", async () => {
    const of = async (elements: readonly Permutation[] | undefined, term: (layers: readonly Regularized[]) => Tensor): Promise<number> => {
      using layer = new LearnedMatrices(init(), { elements: elements?.length ?? 3, side: 4 });
      device.write(layer.representations, elements ? sharp(elements.slice(1)) : new Float32Array(32));
      return (await values(() => term([layer])))[0];
    };
    const C4 = cyclicGroup(4).elements;
    const half = C4.slice(0, 2);
    const same = [C4[0], C4[0]];
    for (const term of [sharpnessRegularizer, closureRegularizer, identityRegularizer, overlapRegularizer])
      expect(await of(C4, term)).toBeCloseTo(0, 6);
    // A shift by one twice is a shift by two, which differs everywhere from both elements.
    expect(await of(half, closureRegularizer)).toBeCloseTo(2, 6);
    expect(await of(half, identityRegularizer)).toBeCloseTo(2, 6);
    expect(await of(same, closureRegularizer)).toBeCloseTo(0, 6);
    expect(await of(same, overlapRegularizer)).toBeCloseTo(1, 6);
    expect(await of(undefined, sharpnessRegularizer)).toBeCloseTo(0.75, 6);
    expect(await of(undefined, overlapRegularizer)).toBeCloseTo(0.25, 6);
    expect(await of(undefined, closureRegularizer)).toBeCloseTo(0, 3);
    expect(await of(C4, (layers) => closureRegularizer(layers, { softness: 0 }))).toBeCloseTo(0, 6);
  });

  test.each(options)("gradients by finite differences: %s", async (_, own) => {
    using matrices = new LearnedMatrices(init(), { elements: 3, side: 4, iterations: 4, ...own });
    const settings = matrixSettings("test", { iterations: 4, ...own });
    const stack = (representations: Tensor): LearnedStack => ({
      representations,
      constraint: settings.constraint,
      stack: () => constrained(representations, settings),
    });
    const check = await gradcheck((logits: Tensor) => regularized([stack(logits)]), [matrices.representations], { samples: 16 });
    expect(check.passed, JSON.stringify(check)).toBe(true);
  });

  test("a temperature that changes needs no new plan, and sharpens what layers compute", async () => {
    using layer = new WeightSharingLift2d(init(), sizes);
    const set = scheduleTemperature([layer], exponential(10, 0.01));
    const before = await values(() => sharpnessRegularizer([layer]));
    set(5);
    expect(layer.matrices.temperature).toBeCloseTo(0.1, 9);
    set(10);
    expect((await values(() => sharpnessRegularizer([layer])))[0]).toBeLessThan(before[0]);
    expect(() => scheduleTemperature([layer], () => 0)(1)).toThrow(/a positive factor at step 1/);
    expect(() => scheduleTemperature([{}], () => 1)).toThrow(/layers, or stacks with a `temperature`,/);
  });

  test.each([
    [{ start: { kind: "other" } }, /"uniform", "identity" or "permutations" for `start.kind`, but received "other"/],
    [{ start: { kind: "identity", sharpness: 2 } }, /a number in \[0, 1\] for `start.sharpness`, but received 2/],
    [{ elements: 25, start: { kind: "permutations" } }, /at most 23 permutations, as many as 4 positions have/],
    [{ constraint: "columns" }, /"doublyStochastic", "rowStochastic" or "none" for `constraint`, but received "columns"/],
    [{ frozen: 1 }, /true or false for `frozen`, but received 1/],
    [{ matrices: 3 }, /LearnedMatrices for `matrices`, but received 3/],
  ])("bad options %#", (own, message) => {
    const make = (): unknown => new WeightSharingLift2d(init(), { ...sizes, ...own } as never);
    expect(make).toThrow(message);
    expect(make).toThrow(/^WeightSharingLift2d: /);
  });

  test("matrices that do not fit, and options beside given ones", () => {
    using matrices = new LearnedMatrices(init(), { elements: 3, side: 9 });
    expect(() => new WeightSharingLift2d(init(), { ...sizes, matrices })).toThrow(
      /matrices of shape \[2, 4, 4\] for `matrices`, but received \[2, 9, 9\]/,
    );
    expect(() => new WeightSharingLift2d(init(), { ...sizes, kernelSize: 3, matrices, temperature: 2 })).toThrow(
      /no `temperature` beside `matrices`/,
    );
    const twisted = { ...sizes, kernelSize: 3, inElements: 2, matrices: { space: matrices, group: new TiedMatrices(matrices) } };
    expect(() => new FactorisedWeightSharingConv2d(init(), twisted)).toThrow(
      /matrices of shape \[2, 2, 2\] for `matrices.group`, but received \[2, 3, 3\]/,
    );
    expect(() => new DigitNetwork(init(), { kind: "learned", elements: 2, shared: "yes" as never }, { width: 1 })).toThrow(
      /"learned" or "tied" for `shared`/,
    );
    expect(() => closureRegularizer([matrices], { softness: -1 })).toThrow(/non-negative number for `softness`/);
  });
});

describe.each(KINDS.slice(1))("%s as the reference", (kind) => {
  let device: Device;
  let reference: Device;
  withDevice(kind, (opened) => {
    device = opened;
  });
  withDevice("reference", (opened) => {
    reference = opened;
  });

  const compare = async (make: (own: Device) => { network: Module; loss: () => Tensor; free: () => void }): Promise<void> => {
    const [got, want] = await Promise.all(
      [device, reference].map(async (own) => {
        const { network, loss, free } = make(own);
        const found = await gradients(network, loss);
        network.dispose();
        free();
        return found;
      }),
    );
    for (const [name, numbers] of want) {
      const scale = Math.max(1e-3, ...numbers.map(Math.abs));
      expect(scale, name).toBeGreaterThan(1e-3);
      close(
        (got.get(name) as number[]).map((value) => value / scale),
        numbers.map((value) => value / scale),
        2e-4,
      );
    }
  };

  // A software GPU compiles for a minute what networks need: there the tied stack alone, unless everything is asked for.
  const all = kind !== "webgpu" || process.env.BIRKHOFF_TEST_FULL === "1";
  if (kind === "webgpu")
    test("gradients of what follows from a stack", () =>
      compare((own) => {
        const network = new LearnedMatrices(initializer(own, 2), { elements: 3, side: 4, start: { kind: "permutations" } });
        return { network, free: () => undefined, loss: () => sum(square(new TiedMatrices(network).stack())) };
      }));

  test.each(all ? networks : [])("gradients of a network: %s", (_, symmetry) =>
    compare((own) => {
      const network = new DigitNetwork(initializer(own, 2), symmetry, { width: 2, kernelSize: 2, layers: 2, classes: 3 });
      const x = own.tensor(
        Float32Array.from({ length: 18 }, (__, i) => Math.sin(i)),
        [2, 1, 3, 3],
      );
      return { network, free: () => x.dispose(), loss: () => add(sum(square(network.forward(x))), regularized(network.learnedStacks())) };
    }),
  );

  test.each(all ? options : [])("gradients of a layer: %s", (_, own) =>
    compare((on) => {
      const network = new WeightSharingLinear(initializer(on, 3), { features: 4, kernels: 2, elements: 3, ...own });
      const x = on.tensor(
        Float32Array.from({ length: 8 }, (__, i) => Math.cos(i)),
        [2, 4],
      );
      return { network, free: () => x.dispose(), loss: () => add(sum(square(network.forward(x))), mul(regularized([network]), 0.1)) };
    }),
  );

  test("a training step with a falling temperature runs no more dispatches and allocates nothing", async () => {
    using network = new WeightSharingLinear(initializer(device, 3), { features: 4, kernels: 2, elements: 3 });
    using x = device.ones([2, 4]);
    using optimizer = new AdamW(network.parameters(), { lr: 0.01 });
    const set = scheduleTemperature([network], exponential(10, 0.1));
    const counts: [number, number][] = [];
    for (let step = 0; step < 6; step++) {
      const { dispatches, allocations } = device.counters;
      set(step);
      scope(() => sum(square(network.forward(x))).backward());
      optimizer.step();
      optimizer.zeroGrad();
      await device.synchronize();
      counts.push([device.counters.dispatches - dispatches, device.counters.allocations - allocations]);
    }
    expect(counts.slice(3)).toEqual([0, 0, 0].map(() => [counts[0][0], 0]));
  });
});
