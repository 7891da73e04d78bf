/** Names of groups, given where nothing else can be meant, and what they are given by. */
import { expect, it } from "vitest";
import { cyclicGroup, dihedralGroup, firstElements, identityPermutation, rotationGroup } from "../src/data/permutations.ts";
import { shiftTwist } from "../src/nn/group.ts";
import { identifyGroup } from "../src/symmetry/identify.ts";
import {
  alternating,
  cube,
  cubeMirror,
  cycles,
  dicyclic,
  plane,
  polygon,
  regular,
  semidirect,
  shift,
  symmetric,
  times,
  wreath,
} from "./support/groups.ts";

it.each([
  ["C1", 1, [identityPermutation(4)]],
  ["C2", 2, shift(2)],
  ["C12", 12, shift(12)],
  ["C4", 4, shiftTwist(rotationGroup(5).elements)],
  ["C2×C2", 4, times(shift(2), shift(2))],
  ["C2×C4", 8, times(shift(4), shift(2))],
  ["C2×C12", 24, times(shift(6), shift(4))],
  ["C4×C4×C4", 64, times(times(shift(4), shift(4)), shift(4))],
  ["S3", 6, polygon(3)],
  ["D4", 8, dihedralGroup(5).elements],
  ["D6", 12, times(symmetric(3), shift(2))],
  ["D7", 14, polygon(7)],
  ["Q8", 8, dicyclic(2)],
  ["Dic3", 12, dicyclic(3)],
  ["Q16", 16, dicyclic(4)],
  ["A4", 12, alternating(4)],
  ["S4", 24, symmetric(4)],
  ["S4", 24, cube],
  ["S4×C2", 48, [...cube, cubeMirror]],
  ["A5", 60, regular(alternating(5))],
  ["S5", 120, regular(symmetric(5))],
  ["A6", 360, alternating(6)],
  ["A7", 2520, alternating(7)],
  ["S8", 40320, symmetric(8)],
  ["S3×S3", 36, times(symmetric(3), symmetric(3))],
  ["D4×C3", 24, times(polygon(4), shift(3))],
] as const)("%s of order %i", (name, order, generators) => {
  const found = identifyGroup(generators);
  expect([found.name, Number(found.order), found.exact]).toEqual([name, order, true]);
  if (found.elements) {
    expect(found.elements.length).toBe(order);
    expect(found.elementOrders?.reduce((sum, { count }) => sum + count, 0)).toBe(order);
  }
});

// Every group of these orders: names come out right or not at all, also where orders of elements agree.
it.each([
  {
    order: 8,
    groups: [
      ["C8", shift(8)],
      ["C2×C4", times(shift(4), shift(2))],
      ["C2×C2×C2", times(times(shift(2), shift(2)), shift(2))],
      ["D4", polygon(4)],
      ["Q8", dicyclic(2)],
    ],
  },
  {
    order: 12,
    groups: [
      ["C12", shift(12)],
      ["C2×C6", times(shift(6), shift(2))],
      ["D6", polygon(6)],
      ["Dic3", semidirect(3, 4, 2)],
      ["A4", alternating(4)],
    ],
  },
  {
    order: 16,
    groups: [
      ["C16", shift(16)],
      ["C4×C4", times(shift(4), shift(4))],
      ["C2×C8", times(shift(8), shift(2))],
      ["C2×C2×C4", times(times(shift(2), shift(2)), shift(4))],
      ["C2×C2×C2×C2", times(times(shift(2), shift(2)), times(shift(2), shift(2)))],
      ["D8", polygon(8)],
      ["Q16", dicyclic(4)],
      ["D4×C2", times(polygon(4), shift(2))],
      ["Q8×C2", times(dicyclic(2), shift(2))],
      [undefined, semidirect(8, 2, 3)],
      [undefined, semidirect(8, 2, 5)],
      [undefined, semidirect(4, 4, 3)],
      [undefined, [cycles(8, [0, 1]), cycles(8, [0, 2], [1, 3], [4, 5, 6, 7])]],
      // Pauli's matrices with their phases, on the phases of two vectors.
      [undefined, [cycles(8, [0, 4], [1, 5], [2, 6], [3, 7]), cycles(8, [4, 6], [5, 7]), cycles(8, [0, 1, 2, 3], [4, 5, 6, 7])]],
    ],
  },
  {
    order: 24,
    groups: [
      ["C24", shift(24)],
      ["C2×C12", times(shift(12), shift(2))],
      ["C2×C2×C6", times(times(shift(6), shift(2)), shift(2))],
      ["S4", symmetric(4)],
      ["D12", polygon(12)],
      ["Dic6", dicyclic(6)],
      ["D4×C3", times(polygon(4), shift(3))],
      ["Q8×C3", times(dicyclic(2), shift(3))],
      ["S3×C4", times(polygon(3), shift(4))],
      ["S3×C2×C2", times(polygon(6), shift(2))],
      ["A4×C2", wreath(shift(2), shift(3))],
      ["Dic3×C2", times(dicyclic(3), shift(2))],
      [undefined, [plane((x, y) => [x + y, y]), plane((x, y) => [x, x + y])]], // SL(2, 3)
      [undefined, semidirect(3, 8, 2)],
      [undefined, [cycles(7, [0, 1, 2]), cycles(7, [0, 1], [3, 4, 5, 6]), cycles(7, [3, 5])]],
    ],
  },
  {
    order: 27,
    groups: [
      ["C27", shift(27)],
      ["C3×C9", times(shift(9), shift(3))],
      ["C3×C3×C3", times(times(shift(3), shift(3)), shift(3))],
      [undefined, [plane((x, y) => [x + 1, y]), plane((x, y) => [x, x + y])]],
      [undefined, semidirect(9, 3, 4)],
    ],
  },
] as const)("of all groups of order $order", ({ order, groups }) => {
  for (const [name, generators] of groups) {
    for (const each of [generators, regular(generators)]) {
      const found = identifyGroup(each);
      expect([found.name, found.order]).toEqual([name, BigInt(order)]);
      expect(found.evidence.length).toBeGreaterThan(20);
      if (name === undefined) expect(found.witnesses).toEqual([]);
      else expect(identifyGroup([identityPermutation(each[0].length), ...found.witnesses]).order).toBe(BigInt(order));
    }
  }
});

it.each([
  ["D4", 8, shift(2), shift(2)],
  ["S3×C3", 18, shift(3), shift(2)],
  ["S4×C2", 48, shift(2), symmetric(3)],
  ["D5×C5", 50, shift(5), shift(2)],
  [undefined, 64, shift(2), shift(4)],
  [undefined, 72, symmetric(3), shift(2)],
  [undefined, 81, shift(3), shift(3)],
  [undefined, 128, polygon(4), shift(2)],
  [undefined, 288, alternating(4), shift(2)],
  [undefined, 384, shift(2), symmetric(4)],
  [undefined, 750, shift(5), symmetric(3)],
  [undefined, 1152, symmetric(4), shift(2)],
  [undefined, 1296, symmetric(3), symmetric(3)],
  [undefined, 3840, shift(2), symmetric(5)],
  [undefined, 28800, symmetric(5), shift(2)],
  [undefined, 82944, symmetric(4), symmetric(3)],
] as const)("of wreath products: %s of order %i", (name, order, base, top) => {
  const found = identifyGroup(wreath(base, top));
  expect([found.name, Number(found.order), found.exact]).toEqual([name, order, true]);
});

it("are honest where nothing decides them", () => {
  const affine = identifyGroup([...shift(5), Int32Array.of(0, 2, 4, 1, 3)]);
  expect([affine.name, affine.description]).toEqual([undefined, "order 20, not abelian, not named"]);
  expect(affine.evidence).toBe("no rule applies: abelian, dihedral, dicyclic, symmetric, alternating, or a direct product of these");
  expect(identifyGroup(wreath(symmetric(3), symmetric(3))).evidence).toContain("direct products of more than 1200 elements are not looked for");
  expect(identifyGroup(wreath(symmetric(5), shift(2))).evidence).toBe("groups of more than 2048 elements are not listed");
  expect(identifyGroup(cube).description).toBe("S4 (rotations of a cube)");
});

it.each([
  [shift(8), "it is abelian, and of abelian groups the orders of the elements leave one", [8]],
  [polygon(4), "r of order 4 and s of order 2, no power of r, with s⁻¹rs = r⁻¹", [4, 2]],
  [dicyclic(2), "r of order 4 and s of order 4, no power of r, with s⁻¹rs = r⁻¹ and s² = r^2", [4, 4]],
  [cube, "3 elements of order 2 satisfy Moore's presentation of S4 and generate all 24", [2, 2, 2]],
  [alternating(4), "2 elements of order 3 satisfy Carmichael's presentation of A4 and generate all 12", [3, 3]],
  [times(polygon(3), shift(5)), "it is the direct product of normal subgroups of orders 6·5; S3: r of order 3 and s of order 2", [3, 2, 5]],
  [symmetric(8), "there are as many elements as permutations of 8 positions", [8, 2]],
] as const)("come with the argument and its elements: %#", (generators, evidence, orders) => {
  const found = identifyGroup(generators);
  expect(found.evidence).toContain(evidence);
  expect(identifyGroup(found.witnesses).generatorOrders).toEqual(orders);
});

it("say orders of elements, orbits, and that part of a group generates all of it", () => {
  const half = identifyGroup(firstElements(cyclicGroup(8)).elements);
  expect([half.name, half.abelian, half.generatorOrders, half.orbits, half.invariantFactors]).toEqual(["C8", true, [1, 8, 4, 8], [8], [8]]);
  expect(half.elementOrders).toEqual([1, 2, 4, 8].map((order) => ({ order, count: order === 1 ? 1 : order / 2 })));
  expect(identifyGroup(rotationGroup(5).elements).orbits).toEqual([4, 4, 4, 4, 4, 4, 1]);
});
