/** Networks with their matrices rounded: the same predictions where they are sharp, on every device. */
import { describe, expect, test } from "vitest";
import { permutationMatrices, rotationGroup } from "../src/data/permutations.ts";
import { createRandom, range, shuffle } from "../src/data/random.ts";
import type { Device } from "../src/device.ts";
import { ArgumentError, StateError } from "../src/errors.ts";
import { noGrad } from "../src/gradMode.ts";
import type { Symmetry } from "../src/nn/convolutions.ts";
import { shiftTwist } from "../src/nn/group.ts";
import { initializer } from "../src/nn/init.ts";
import { Linear } from "../src/nn/layers.ts";
import type { Module } from "../src/nn/module.ts";
import { DigitNetwork } from "../src/nn/networks.ts";
import { ResidualNetwork } from "../src/nn/residual.ts";
import { FactorisedWeightSharingConv1d, WeightSharingConv3d, WeightSharingLift1d } from "../src/nn/weightSharing.ts";
import { WeightSharingLinear } from "../src/nn/weightSharingLinear.ts";
import type { Shape } from "../src/op.ts";
import { openDevice } from "../src/open.ts";
import { scope } from "../src/scope.ts";
import { roundNetwork } from "../src/symmetry/round.ts";

const normal = (length: number, seed: number): Float32Array => {
  const random = createRandom(seed);
  return Float32Array.from({ length }, () => random.normal());
};

const answers = async (device: Device, network: Module, shape: Shape): Promise<Float64Array> => {
  using x = device.tensor(
    normal(
      shape.reduce((a, b) => a * b),
      4,
    ),
    shape,
  );
  using y = noGrad(() => scope(() => network.forward(x)));
  return Float64Array.from(await y.read());
};

const largest = (a: Float64Array, b?: Float64Array): number => a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b?.[i] ?? 0))), 0);

/** Logits whose matrices are permutations to float32's last digits (or as soft as wanted), random ones. */
const sharpen = (device: Device, network: Module, height: number): void => {
  for (const [name, parameter] of network.namedParameters()) {
    if (!name.endsWith("representations")) continue;
    const [count, d] = parameter.shape;
    const elements = Array.from({ length: count }, (_, i) => shuffle(range(d), createRandom(i + d)));
    const noise = normal(parameter.size, d);
    device.write(
      parameter,
      permutationMatrices(elements).map((value, i) => height * value + 0.3 * noise[i]),
    );
  }
};

describe.each(["reference", "native"] as const)("on %s", (kind) => {
  test.each([
    ["dense", { kind: "learned", elements: 3 }],
    ["factorised", { kind: "learned", elements: 3, factorised: true }],
    ["shared", { kind: "learned", elements: 3, shared: "learned" }],
  ] as const)("a %s network keeps its answers", async (_, symmetry: Symmetry) => {
    await using device = await openDevice({ device: kind });
    using network = new DigitNetwork(initializer(device, 2), symmetry, { width: 3, kernelSize: 3, layers: 3, pool: 2, classes: 5, hidden: 2 });
    sharpen(device, network, 40);
    const { network: hard, distances, sets } = await roundNetwork(network);
    using _hard = hard;
    expect(sets.map(({ length }) => length)).toEqual([3, 3, 3]);
    expect(Math.max(...distances)).toBeLessThan(1e-6);
    expect(hard.learnedStacks()).toEqual([]);
    const [soft, rounded] = [await answers(device, network, [2, 1, 14, 14]), await answers(device, hard, [2, 1, 14, 14])];
    expect(largest(soft, rounded)).toBeLessThan(1e-5 * Math.max(1, largest(soft)));
  });
});

test("a residual network keeps its answers, with the statistics that training has measured", async () => {
  await using device = await openDevice({ device: "native" });
  using network = new ResidualNetwork(
    initializer(device, 2),
    { kind: "learned", elements: 3 },
    { width: 2, kernelSize: 3, hidden: 4, inChannels: 1 },
  );
  sharpen(device, network, 40);
  for (let step = 0; step < 3; step++) await answers(device, network, [4, 1, 8, 8]);
  const { network: hard, sets, distances } = await roundNetwork(network.eval());
  using _hard = hard;
  expect([sets.length, hard.training, hard.learnedStacks()]).toEqual([5, false, []]);
  expect(Math.max(...distances)).toBeLessThan(1e-6);
  const [soft, rounded] = [await answers(device, network, [2, 1, 8, 8]), await answers(device, hard, [2, 1, 8, 8])];
  expect(largest(soft, rounded)).toBeLessThan(1e-5 * Math.max(1, largest(soft)));
});

describe("rounding", () => {
  test("of soft matrices takes the nearest permutations, and says how far they were", async () => {
    await using device = await openDevice({ device: "native" });
    using network = new DigitNetwork(initializer(device, 2), { kind: "learned", elements: 4 }, { width: 3, kernelSize: 3, layers: 2 });
    const C4 = rotationGroup(3).elements;
    for (const [i, stack] of network.learnedStacks().entries()) {
      const set = i === 0 ? C4 : shiftTwist(C4);
      device.write(
        stack.representations,
        permutationMatrices(set.slice(1)).map((value) => 3 * value),
      );
    }
    const { network: hard, sets, distances } = await roundNetwork(network);
    using fixed = new DigitNetwork(initializer(device, 2), { kind: "fixed", group: C4 }, { width: 3, kernelSize: 3, layers: 2 });
    expect(sets).toEqual([C4, shiftTwist(C4)]);
    expect(Math.min(...distances)).toBeGreaterThan(0.5);
    // The rounded network is the group network with the same kernels.
    for (const [name, parameter] of fixed.namedParameters()) {
      const values = await hard.namedParameters().get(name)?.read();
      device.write(parameter, Float32Array.from(values ?? []));
    }
    const [a, b] = [await answers(device, hard, [2, 1, 9, 9]), await answers(device, fixed, [2, 1, 9, 9])];
    expect(largest(a, b)).toBeLessThan(1e-6);
    // Rounded again nothing changes.
    const again = await roundNetwork(hard);
    expect(again.distances).toEqual([0, 0]);
    expect(await answers(device, again.network, [2, 1, 9, 9])).toEqual(a);
    for (const each of [hard, again.network]) each.dispose();
  });

  test("of single layers, of any number of axes", async () => {
    await using device = await openDevice({ device: "native" });
    const init = initializer(device, 1);
    const shape = { inChannels: 2, outChannels: 3, kernelSize: 3, elements: 3, padding: 1 };
    const cases: [Module, Shape][] = [
      [new WeightSharingLift1d(init, shape), [2, 2, 7]],
      [new FactorisedWeightSharingConv1d(init, shape), [2, 2, 3, 7]],
      [new WeightSharingConv3d(init, { ...shape, kernelSize: 2, inElements: 2 }), [1, 2, 2, 3, 3, 3]],
      [new WeightSharingLinear(init, { features: 6, kernels: 2, elements: 3 }), [4, 6]],
    ];
    for (const [layer, input] of cases) {
      sharpen(device, layer, 40);
      using _layer = layer;
      const { network: hard } = await roundNetwork(layer);
      using _hard = hard;
      expect(largest(await answers(device, layer, input), await answers(device, hard, input))).toBeLessThan(1e-5);
    }
    using other = new Linear(init, 2, 2);
    await expect(roundNetwork(other)).rejects.toThrow(ArgumentError);
  });

  test("leaves nothing behind", async () => {
    await using device = await openDevice({ device: "native" });
    {
      using network = new DigitNetwork(initializer(device, 2), { kind: "learned", elements: 2 }, { width: 2, kernelSize: 3, layers: 2 });
      (await roundNetwork(network)).network.dispose();
      network.head.weight.dispose();
      await expect(roundNetwork(network)).rejects.toThrow(StateError);
    }
    expect(device.counters.liveBuffers).toBe(0);
  });
});
