/** Layers and networks: published counts, exact equivariance, the same gradients on every device. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compose, dihedralGroup, equalPermutations, type Permutation, permutationMatrices, rotationGroup } from "../src/data/permutations.ts";
import { createRandom } from "../src/data/random.ts";
import { transformImage } from "../src/data/transforms.ts";
import type { Device } from "../src/device.ts";
import { noGrad } from "../src/gradMode.ts";
import type { Symmetry } from "../src/nn/convolutions.ts";
import { GroupConv2d, GroupLift2d, shiftTwist } from "../src/nn/group.ts";
import { initializer } from "../src/nn/init.ts";
import type { Module } from "../src/nn/module.ts";
import { DigitNetwork } from "../src/nn/networks.ts";
import { entropyRegularizer, normRegularizer } from "../src/nn/regularizers.ts";
import { WeightSharingConv2d, WeightSharingLift2d } from "../src/nn/weightSharing.ts";
import { openDevice } from "../src/open.ts";
import { softmaxCrossEntropy } from "../src/ops/crossEntropy/index.ts";
import { scope } from "../src/scope.ts";
import type { Tensor } from "../src/tensor.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice({ device: "reference" });
});
afterAll(async () => {
  await device.close();
});

const C4 = rotationGroup(5).elements;
const image = (size: number, seed = 3): Float32Array => {
  const random = createRandom(seed);
  return Float32Array.from({ length: size * size }, () => random.normal());
};
const rotated = (values: Float32Array, size: number, turns: number): Float32Array => transformImage(values, size, size, "rot90", turns);
const run = async (network: Module, values: Float32Array, size: number): Promise<Float64Array> => {
  using input = network.parameters()[0].device.tensor(values, [1, 1, size, size]);
  using output = noGrad(() => scope(() => network.forward(input)));
  return Float64Array.from(await output.read());
};
const distance = (a: Float64Array, b: Float64Array): number => Math.max(...a.map((value, i) => Math.abs(value - b[i])));

describe("parameter counts of the paper's digit networks", () => {
  const count = (symmetry: Symmetry, width: number): number => {
    using network = new DigitNetwork(initializer(device, 0), symmetry, { width });
    return network.parameterCount;
  };
  test("plain, 64 channels", () => expect(count({ kind: "none" }, 64)).toBe(412_170));
  test("C4, 32 channels", () => expect(count({ kind: "fixed", group: C4 }, 32)).toBe(410_890));
  test("C4, 16 channels", () => expect(count({ kind: "fixed", group: C4 }, 16)).toBe(103_050));
  test("learned, 32 channels", () => expect(count({ kind: "learned", elements: 4 }, 32)).toBe(410_890 + 121_875));
});

describe.each([
  ["C4", (k: number) => rotationGroup(k).elements],
  ["D4", (k: number) => dihedralGroup(k).elements],
] as const)("%s", (_, group: (k: number) => readonly Permutation[]) => {
  test("a network of true permutations is invariant, its layers equivariant", async () => {
    const k = 3;
    const size = 9;
    using network = new DigitNetwork(initializer(device, 1), { kind: "fixed", group: group(k) }, { width: 3, kernelSize: k, layers: 3 });
    const x = image(size);
    const plain = await run(network, x, size);
    expect(Math.max(...plain.map(Math.abs))).toBeGreaterThan(1e-3);
    for (const turns of [1, 2, 3]) expect(distance(await run(network, rotated(x, size, turns), size), plain)).toBeLessThan(1e-6);
    if (group(k).length === 8) expect(distance(await run(network, transformImage(x, size, size, "flip", 1), size), plain)).toBeLessThan(1e-6);
  });

  test("pooling behind the lifting layer keeps the network invariant", async () => {
    const size = 10;
    const options = { width: 3, kernelSize: 3, layers: 2, pool: 2 };
    using network = new DigitNetwork(initializer(device, 1), { kind: "fixed", group: group(3) }, options);
    const x = image(size);
    const plain = await run(network, x, size);
    for (const turns of [1, 2, 3]) expect(distance(await run(network, rotated(x, size, turns), size), plain)).toBeLessThan(1e-6);
  });

  test("units of each element keep the network invariant; with the equivariant head the logits of elements change places", async () => {
    const size = 8;
    const options = { width: 3, kernelSize: 3, layers: 2, hidden: 4, classes: 5 };
    const elements = group(3);
    const x = image(size);
    using pooled = new DigitNetwork(initializer(device, 1), { kind: "fixed", group: elements }, options);
    using apart = new DigitNetwork(initializer(device, 1), { kind: "fixed", group: elements }, { ...options, head: "equivariant" });
    const [plain, each] = [await run(pooled, x, size), await run(apart, x, size)];
    expect([plain.length, each.length]).toEqual([5, 5 * elements.length]);
    const rows = (values: Float64Array): Float64Array[] => elements.map((_, g) => values.slice(5 * g, 5 * g + 5));
    for (const turns of [1, 2, 3]) {
      const turned = rotated(x, size, turns);
      expect(distance(await run(pooled, turned, size), plain)).toBeLessThan(1e-6);
      const after = rows(await run(apart, turned, size));
      const rotation = elements.findIndex((element) => equalPermutations(element, rotationGroup(3).elements[turns]));
      for (const [g, before] of rows(each).entries()) {
        const next = elements.findIndex((element) => equalPermutations(element, compose(elements[rotation], elements[g])));
        expect(distance(after[next], before)).toBeLessThan(1e-6);
      }
    }
    expect(distance(rows(each)[0], rows(each)[1])).toBeGreaterThan(1e-3);
  });

  test("learned layers with sharp logits are the fixed ones", async () => {
    const k = 3;
    const elements = group(k);
    const g = elements.length;
    const init = initializer(device, 2);
    using lift = new WeightSharingLift2d(init, { inChannels: 1, outChannels: 2, kernelSize: k, elements: g });
    using conv = new WeightSharingConv2d(init, { inChannels: 2, outChannels: 2, kernelSize: k, elements: g });
    using fixedLift = new GroupLift2d(init, { inChannels: 1, outChannels: 2, kernelSize: k, group: elements });
    using fixedConv = new GroupConv2d(init, { inChannels: 2, outChannels: 2, kernelSize: k, group: elements });
    device.write(
      lift.matrices.representations,
      permutationMatrices(elements.slice(1)).map((entry) => 60 * entry),
    );
    device.write(
      conv.matrices.representations,
      permutationMatrices(shiftTwist(elements).slice(1)).map((entry) => 60 * entry),
    );
    for (const [from, to] of [
      [lift, fixedLift],
      [conv, fixedConv],
    ] as const) {
      device.write(to.weight, await from.weight.read());
    }
    using x = device.tensor(image(7), [1, 1, 7, 7]);
    const outputs = scope(() => [conv.forward(lift.forward(x)).detach(), fixedConv.forward(fixedLift.forward(x)).detach()]);
    const [learned, fixed] = await Promise.all(outputs.map((tensor) => tensor.read()));
    expect(learned.length).toBeGreaterThan(0);
    expect(distance(Float64Array.from(learned), Float64Array.from(fixed))).toBeLessThan(1e-9);
    for (const tensor of outputs) tensor.dispose();
  });
});

describe("regularisers at the start", () => {
  // The paper's code at U[0, 1) logits, measured for matrices of side 25 and 100.
  test.each([
    [5, 1, 28.3, 239],
    [5, 4, 53.0, 1370],
  ])("kernel %i, %i incoming elements", async (kernelSize, inElements, norm, entropy) => {
    const init = initializer(device, 5);
    using layer =
      inElements === 1
        ? new WeightSharingLift2d(init, { inChannels: 1, outChannels: 1, kernelSize, elements: 4 })
        : new WeightSharingConv2d(init, { inChannels: 1, outChannels: 1, kernelSize, elements: 4, inElements });
    const [a, b] = scope(() => [normRegularizer([layer]).detach(), entropyRegularizer([layer]).detach()]);
    expect(Math.abs((await a.item()) - norm)).toBeLessThan(0.3);
    expect(Math.abs((await b.item()) - entropy) / entropy).toBeLessThan(0.01);
    for (const tensor of [a, b]) tensor.dispose();
  });
});

describe("bad input", () => {
  test("a set that is not closed is no group", () => {
    expect(() => new GroupLift2d(initializer(device, 0), { inChannels: 1, outChannels: 1, kernelSize: 5, group: C4.slice(0, 2) })).toThrow(
      /closed under composition/,
    );
    expect(() => new GroupLift2d(initializer(device, 0), { inChannels: 1, outChannels: 1, kernelSize: 3, group: C4 })).toThrow(
      /an Int32Array with each of 0 … 8 once for `group\[0\]`/,
    );
  });
  test("sizes that are no counts", () => {
    for (const width of [0, -1, 1.5, Number.NaN])
      expect(() => new DigitNetwork(initializer(device, 0), { kind: "none" }, { width })).toThrow(/an integer of at least 1 for `width`/);
    expect(() => initializer(device, -1)).toThrow(/for `seed`, but received -1/);
  });
  test("Sinkhorn settings that make no sense", () => {
    const layer = (settings: object) => () =>
      new WeightSharingLift2d(initializer(device, 0), { inChannels: 1, outChannels: 1, kernelSize: 3, elements: 2, ...settings });
    expect(layer({ iterations: Number.NaN })).toThrow(/WeightSharingLift2d: expected an integer of at least 1 for `iterations`, but received NaN/);
    expect(layer({ temperature: -1 })).toThrow(/WeightSharingLift2d: expected a positive number for `temperature`, but received -1/);
  });
  test("images smaller than the network needs", () => {
    using network = new DigitNetwork(initializer(device, 0), { kind: "none" }, { width: 2 });
    using x = device.zeros([1, 1, 20, 28]);
    expect(() => scope(() => network.forward(x))).toThrow(
      /expected images of at least 21×21 as \[B, C, H, W\] for `x`, but received \[1, 1, 20, 28\]/,
    );
  });
});

test("a network's gradients are the same on all three devices", async () => {
  const gradients = async (kind: "reference" | "native" | "webgpu"): Promise<Map<string, Float64Array>> => {
    await using own = await openDevice({ device: kind });
    using network = new DigitNetwork(initializer(own, 4), { kind: "learned", elements: 4 }, { width: 2, kernelSize: 3, layers: 3 });
    const random = createRandom(6);
    using x = own.tensor(
      Float32Array.from({ length: 3 * 100 }, () => random.normal()),
      [3, 1, 10, 10],
    );
    scope(() => softmaxCrossEntropy(network.forward(x), [1, 7, 3]).backward());
    const found = new Map<string, Float64Array>();
    for (const [name, parameter] of network.namedParameters()) found.set(name, Float64Array.from(await (parameter.grad as Tensor).read()));
    return found;
  };
  const [want, ...others] = [await gradients("reference"), await gradients("native"), await gradients("webgpu")];
  expect(want.size).toBe(3 * 3 + 2);
  for (const got of others) {
    for (const [name, values] of want) {
      const scale = Math.max(...values.map(Math.abs));
      expect(distance(got.get(name) ?? new Float64Array(), values) / scale, name).toBeLessThan(1e-4);
    }
  }
});
