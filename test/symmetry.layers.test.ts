/** Consistency between layers, and equivariance on and off the grid. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dihedralGroup, firstElements, type Permutation, permutationMatrices, rotationGroup } from "../src/data/permutations.ts";
import { createRandom } from "../src/data/random.ts";
import type { Device } from "../src/device.ts";
import { ArgumentError } from "../src/errors.ts";
import { shiftTwist } from "../src/nn/group.ts";
import { initializer } from "../src/nn/init.ts";
import { Conv2d } from "../src/nn/layers.ts";
import { DigitNetwork } from "../src/nn/networks.ts";
import { openDevice } from "../src/open.ts";
import { equivarianceError, networkEquivariance } from "../src/symmetry/equivariance.ts";
import { layerConsistency } from "../src/symmetry/layers.ts";

const soften = (stack: Float32Array, d: number, t: number): Float32Array => stack.map((value) => (1 - t) * value + t / d);

/** Shift-twist of a group whose input axis comes in one order and whose elements come in another. */
const reordered = (group: readonly Permutation[], axis: readonly number[], order: readonly number[]): Permutation[] => {
  const s = group[0].length;
  const twisted = shiftTwist(group);
  return order.map((b) =>
    Int32Array.from({ length: group.length * s }, (_, at) => {
      const source = twisted[b][axis[Math.floor(at / s)] * s + (at % s)];
      return axis.indexOf(Math.floor(source / s)) * s + (source % s);
    }),
  );
};

describe("layers", () => {
  test.each([
    ["C4", rotationGroup(3).elements],
    ["D4", dihedralGroup(3).elements],
  ] as const)("of %s agree, exact and soft, in any order of their elements", (_, group) => {
    const g = group.length;
    const order = [0, ...Array.from({ length: g - 1 }, (__, i) => g - 1 - i)];
    const straight = group.map((__, i) => i);
    const stacks = [reordered(group, straight, order), reordered(group, order, straight)].map(permutationMatrices);
    const lifting = permutationMatrices(group);
    for (const t of [0, 0.4]) {
      const found = layerConsistency(
        soften(lifting, 9, t),
        9,
        stacks.map((stack) => soften(stack, 9 * g, t)),
      );
      expect(found.map(({ consistent }) => consistent)).toEqual([true, true]);
      expect(found[0].labels).toEqual(order);
      expect(found[1].labels).toEqual(straight);
      for (const { spaceAgreements, groupAgreements, productErrors } of found) {
        expect([...spaceAgreements, ...groupAgreements]).toEqual(new Array(2 * g).fill(1));
        if (t === 0) expect(Math.max(...productErrors)).toBe(0);
      }
    }
  });

  test("that do something else on the group axis, or on the pixels, do not", () => {
    const C4 = rotationGroup(3).elements;
    const lifting = permutationMatrices(C4);
    const exact = shiftTwist(C4);
    // The pixels turn, the group axis stands still.
    const still = C4.map((element) => Int32Array.from({ length: 36 }, (_, at) => Math.floor(at / 9) * 9 + element[at % 9]));
    const [layer] = layerConsistency(lifting, 9, [permutationMatrices(still)]);
    expect([layer.consistent, layer.labels, layer.spaceAgreements, layer.groupAgreements]).toEqual([false, [0, 1, 2, 3], [1, 1, 1, 1], [1, 0, 0, 0]]);
    const [mirrored] = layerConsistency(permutationMatrices(dihedralGroup(3).elements.slice(4)), 9, [permutationMatrices(exact)]);
    expect(mirrored.consistent).toBe(false);
    // Noise is no product.
    const random = createRandom(1);
    const noise = Float32Array.from({ length: 4 * 36 * 36 }, () => random.uniform() ** 8);
    const [wild] = layerConsistency(lifting, 9, [noise]);
    expect(wild.consistent).toBe(false);
    expect(Math.min(...wild.productErrors)).toBeGreaterThan(0.3);
    expect(() => layerConsistency(lifting, 9, [noise.subarray(1)])).toThrow(ArgumentError);
  });

  test("of a part of a group are held against the products that it has", () => {
    const half = firstElements(rotationGroup(3)).elements;
    // b·a for a, b in {0°, 90°}: 90°·90° is not in the set, so that row says nothing.
    const twist = half.map((element, b) => Int32Array.from({ length: 18 }, (_, at) => ((Math.floor(at / 9) + b) % 2) * 9 + element[at % 9]));
    const [layer] = layerConsistency(permutationMatrices(half), 9, [permutationMatrices(twist)]);
    expect([layer.labels, layer.groupAgreements, layer.consistent]).toEqual([[0, 1], [1, 1], false]);
  });
});

describe("equivariance", () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice({ device: "native" });
  });
  afterAll(() => device.close());

  /** Smooth, and zero at the edge. */
  const blobs = (size: number, count: number): Float32Array => {
    const random = createRandom(3);
    const image = new Float32Array(count * size * size);
    for (let b = 0; b < count; b++) {
      for (let k = 0; k < 4; k++) {
        const [y, x, height] = [0.6 * random.normal() + size / 2, 0.12 * size * random.normal() + size / 2, random.normal()];
        for (let i = 0; i < size * size; i++)
          image[b * size * size + i] += height * Math.exp(-((Math.floor(i / size) - y) ** 2 + ((i % size) - x) ** 2) / (2 * (size / 12) ** 2));
      }
    }
    return image;
  };

  test.each([
    ["C4", rotationGroup(3).elements],
    ["D4", dihedralGroup(3).elements],
  ] as const)("of a network of %s is rounding on the grid, in every layer", async (_, group) => {
    using network = new DigitNetwork(initializer(device, 1), { kind: "fixed", group }, { width: 3, kernelSize: 3, layers: 3, pool: 2 });
    using x = device.tensor(blobs(18, 2), [2, 1, 18, 18]);
    const rows = await networkEquivariance(network, x, { degrees: [90, 180, -90, 30], group });
    expect(rows.map(({ onGroup }) => onGroup)).toEqual([true, true, true, false]);
    for (const { layers, network: answers } of rows.slice(0, 3)) expect(Math.max(...layers, answers)).toBeLessThan(1e-5);
    expect(rows[3].layers.length).toBe(3);
    expect(rows[3].network).toBeGreaterThan(1e-4);
    // Each layer alone, from a group to a group.
    using features = device.tensor(
      Float32Array.from({ length: 3 * group.length * 49 }, (__, i) => Math.sin(i * i)),
      [1, 3, group.length, 7, 7],
    );
    const quarter = Int32Array.from(group, (__, a) => (group.length === 4 ? (a + 3) % 4 : a < 4 ? (a + 3) % 4 : 4 + ((a + 3) % 4)));
    const forward = network.blocks[1].forward.bind(network.blocks[1]);
    expect(await equivarianceError(forward, features, { degrees: 90, group: quarter })).toBeLessThan(1e-5);
    expect(await equivarianceError(forward, features, { degrees: 180, group: quarter })).toBeGreaterThan(0.1);
  });

  test("of a learned network is rounding where its matrices are a group, and grows as they soften", async () => {
    const C4 = rotationGroup(3).elements;
    const options = { width: 3, kernelSize: 3, layers: 2, constraint: "none" } as const; // the logits are the matrices
    using network = new DigitNetwork(initializer(device, 1), { kind: "learned", elements: 4 }, options);
    using x = device.tensor(blobs(15, 4), [4, 1, 15, 15]);
    let before = [0, 0, 0];
    for (const t of [0, 0.01, 0.03, 0.1, 0.3]) {
      for (const [i, { representations }] of network.learnedStacks().entries())
        device.write(representations, soften(permutationMatrices((i === 0 ? C4 : shiftTwist(C4)).slice(1)), i === 0 ? 9 : 36, t));
      const [row] = await networkEquivariance(network, x, { degrees: [90], group: C4 });
      const errors = [...row.layers, row.network];
      if (t === 0) expect(Math.max(...errors)).toBeLessThan(1e-5);
      else for (const [i, error] of errors.entries()) expect(error).toBeGreaterThan(1.5 * before[i]);
      before = errors;
    }
  });

  test("of a network without symmetry is large, of a wrong group too", async () => {
    using plain = new DigitNetwork(initializer(device, 1), { kind: "none" }, { width: 6, kernelSize: 3, layers: 2 });
    using wrong = new DigitNetwork(
      initializer(device, 1),
      { kind: "fixed", group: [dihedralGroup(3).elements[0], dihedralGroup(3).elements[4]] },
      { width: 6, kernelSize: 3, layers: 2 },
    );
    using x = device.tensor(blobs(15, 4), [4, 1, 15, 15]);
    for (const network of [plain, wrong]) {
      const [row] = await networkEquivariance(network, x, { degrees: [90] });
      expect(row.onGroup).toBe(false);
      expect(Math.min(...row.layers)).toBeGreaterThan(0.05);
    }
  });

  test("off the grid is interpolation's alone for a kernel that every rotation leaves as it is", async () => {
    using blur = new Conv2d(initializer(device, 1), { inChannels: 1, outChannels: 1, kernelSize: 5 });
    device.write(
      blur.weight,
      Float32Array.from({ length: 25 }, (_, i) => Math.exp(-((Math.floor(i / 5) - 2) ** 2 + ((i % 5) - 2) ** 2) / 2)),
    );
    using sideways = new Conv2d(initializer(device, 1), { inChannels: 1, outChannels: 1, kernelSize: 5 });
    device.write(
      sideways.weight,
      Float32Array.from({ length: 25 }, (_, i) => (i % 5) - 2),
    );
    using x = device.tensor(blobs(40, 2), [2, 1, 40, 40]);
    for (const degrees of [15, 45, 60]) {
      expect(await equivarianceError((image) => blur.forward(image), x, { degrees })).toBeLessThan(0.05);
      expect(await equivarianceError((image) => sideways.forward(image), x, { degrees })).toBeGreaterThan(0.15);
    }
    expect(await equivarianceError((image) => blur.forward(image), x, { degrees: 270 })).toBeLessThan(1e-6);
  });

  test("refuses what it cannot turn", async () => {
    using layer = new Conv2d(initializer(device, 1), { inChannels: 1, outChannels: 1, kernelSize: 3 });
    using x = device.ones([1, 1, 5, 6]);
    using group = device.ones([1, 1, 4, 5, 5]);
    const run = (input: typeof x, degrees: number): Promise<number> => equivarianceError((image) => layer.forward(image), input, { degrees });
    await expect(run(x, 90)).rejects.toThrow(/square images/);
    await expect(run(x, Number.NaN)).rejects.toThrow(ArgumentError);
    await expect(run(group, 90)).rejects.toThrow("an Int32Array with each of 0 … 3 once for `group`, but received undefined");
  });
});
