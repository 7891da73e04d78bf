import { describe, expect, it } from "vitest";
import { diskRotations } from "../src/data/interpolated.ts";
import {
  cayleyTable,
  compose,
  cubeGroup,
  cyclicGroup,
  dihedralGroup,
  equalPermutations,
  firstElements,
  flipGroup,
  flipPermutation,
  generateGroup,
  inverse,
  isPermutation,
  permutationMatrices,
  permutationMatrix,
  permute,
  rotationGroup,
} from "../src/data/permutations.ts";
import { plantedTask } from "../src/data/planted.ts";
import { createRandom, range } from "../src/data/random.ts";
import { plantedSet, randomTransform, transformImage, transformPlanes } from "../src/data/transforms.ts";
import { ArgumentError } from "../src/errors.ts";

describe("permutations", () => {
  it("follow numpy: roll, rot90 counter-clockwise, fliplr", () => {
    const line = Float32Array.of(0, 1, 2, 3);
    expect(Array.from(permute(line, cyclicGroup(4).elements[1]))).toEqual([3, 0, 1, 2]);
    const square = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9);
    expect(Array.from(permute(square, rotationGroup(3).elements[1]))).toEqual([3, 6, 9, 2, 5, 8, 1, 4, 7]);
    expect(Array.from(permute(square, flipPermutation(3)))).toEqual([3, 2, 1, 6, 5, 4, 9, 8, 7]);
  });

  it("compose and invert as their matrices do, with R[n, p[n]] = 1", () => {
    const { elements } = dihedralGroup(3);
    const values = Float32Array.from({ length: 9 }, (_, i) => i * i);
    const apply = (matrix: Float32Array, x: Float32Array): number[] =>
      Array.from({ length: 9 }, (_, n) => x.reduce((sum, value, m) => sum + matrix[n * 9 + m] * value, 0));
    for (const a of elements) {
      expect(apply(permutationMatrix(a), values)).toEqual(Array.from(permute(values, a)));
      expect(Array.from(compose(a, inverse(a)))).toEqual(Array.from(range(9)));
      for (const b of elements) expect(apply(permutationMatrix(a), permute(values, b))).toEqual(Array.from(permute(values, compose(a, b))));
    }
    expect(permutationMatrices(elements).length).toBe(8 * 81);
  });

  it("have the Cayley tables of C_n, C4 and D4", () => {
    const n = 5;
    expect(Array.from(cayleyTable(cyclicGroup(n).elements))).toEqual(Array.from({ length: n * n }, (_, i) => (Math.floor(i / n) + (i % n)) % n));
    const c4 = cayleyTable(rotationGroup(4).elements);
    expect(Array.from(c4)).toEqual(Array.from({ length: 16 }, (_, i) => (Math.floor(i / 4) + (i % 4)) % 4));
    const d4 = cayleyTable(dihedralGroup(3).elements);
    expect(d4).not.toContain(-1);
    for (let flip = 4; flip < 8; flip++) expect(d4[flip * 8 + flip]).toBe(0);
    expect(d4[1 * 8 + 4]).toBe(5);
    expect(d4[4 * 8 + 1]).toBe(7);
    const half = firstElements(cyclicGroup(8));
    expect(half.elements.length).toBe(4);
    expect(half.name).toBe("4 of C8");
    expect(cayleyTable(half.elements)).toContain(-1);
  });

  it("are generated from generators", () => {
    const { elements } = dihedralGroup(3);
    const generated = generateGroup([elements[1], elements[4]]);
    expect(new Set(generated.map((p) => p.join()))).toEqual(new Set(elements.map((p) => p.join())));
    expect(generated[0].join()).toBe(elements[0].join());
    expect(generateGroup([Int32Array.of(1, 2, 3, 4, 0), Int32Array.of(1, 0, 2, 3, 4)]).length).toBe(120);
    expect(() => generateGroup([Int32Array.of(1, 2, 3, 4, 0), Int32Array.of(1, 0, 2, 3, 4)], 119)).toThrow(ArgumentError);
  });

  it("refuse what is none", () => {
    expect(isPermutation([0, 0])).toBe(false);
    expect(isPermutation([0, 2])).toBe(false);
    expect(() => inverse(Int32Array.of(0, 0))).toThrow(ArgumentError);
    expect(() => permutationMatrix(Int32Array.of(1))).toThrow(ArgumentError);
    expect(() => compose(Int32Array.of(0), Int32Array.of(0, 1))).toThrow(ArgumentError);
    expect(() => generateGroup([])).toThrow(ArgumentError);
    expect(() => cyclicGroup(0)).toThrow(ArgumentError);
    for (const group of [rotationGroup, flipGroup, dihedralGroup]) {
      for (const k of [2.5, -1, Number.POSITIVE_INFINITY, 257]) expect(() => group(k)).toThrow(ArgumentError);
    }
    expect(() => firstElements(cyclicGroup(4), 5)).toThrow(ArgumentError);
  });
});

describe("planted tasks", () => {
  it.each([
    ["cyclic", 8, 8],
    ["half", 8, 8],
    ["rot90", 25, 4],
    ["rot45", 21, 8],
    ["dihedral", 25, 8],
    ["cube", 27, 24],
    ["two-axes", 27, 24],
  ] as const)("%s: kernels are the prototypes as the pairs of elements move them", (name, d, g) => {
    const task = plantedTask(name, { prototypes: 3, seed: 4 });
    expect([task.d, task.elements, task.prototypes.length, task.kernels[0].length, task.pairs.length]).toEqual([d, g, 3 * d, 3 * g * d, g]);
    expect(task.pairs[0]).toEqual([0, 0]);
    for (const which of [0, 1] as const) {
      for (let c = 0; c < 3; c++) {
        for (let i = 0; i < g; i++) {
          const element = task.pairs[i][which];
          for (let n = 0; n < d; n++) {
            let sum = 0;
            for (let m = 0; m < d; m++) sum += task.base.matrices[(element * d + n) * d + m] * task.prototypes[c * d + m];
            expect(task.kernels[which][(c * g + i) * d + n]).toBeCloseTo(sum, 5);
          }
        }
      }
    }
    for (let i = 0; i < g; i++) expect(task.weights.subarray(i * g, (i + 1) * g).reduce((sum, weight) => sum + weight)).toBe(1);
  });

  it("of which a part takes part: the first half of the shifts, 16 of the 24 rotations", () => {
    const taking = (name: "half" | "two-axes"): number => new Set(plantedTask(name, { prototypes: 1 }).pairs.flat()).size;
    expect(taking("half")).toBe(4);
    expect(taking("two-axes")).toBe(16);
    expect(plantedTask("half", { prototypes: 1 }).group).toBeUndefined();
  });

  it("draws the same for the same seed and index, into given arrays", () => {
    const [a, b] = [plantedTask("half", { seed: 1 }), plantedTask("half", { seed: 1 })];
    expect(a.prototypeCount).toBe(16);
    a.signals(4, 7);
    const first = a.signals(4, 3);
    expect(b.signals(4, 3)).toEqual(first);
    expect(new Set(first.choices)).toEqual(new Set([0, 1]));
    const copy = first.x.slice();
    expect(a.signals(4, 4, first)).toBe(first);
    expect(first.x).not.toEqual(copy);
    expect(plantedTask("half", { seed: 2 }).prototypes).not.toEqual(a.prototypes);
    expect(a.classification(6)).toEqual(b.classification(6));
  });

  it("has noise of the size that was asked for", () => {
    const [quiet, noisy] = [plantedTask("cyclic", { prototypes: 2 }), plantedTask("cyclic", { prototypes: 2, noise: 0.5 })];
    const { x, labels } = noisy.classification(2000);
    let sum = 0;
    for (let b = 0; b < 2000; b++) for (let n = 0; n < 8; n++) sum += (x[b * 8 + n] - quiet.kernels[0][labels[b] * 8 + n]) ** 2;
    expect(Math.sqrt(sum / 16000)).toBeCloseTo(0.5, 1);
    expect(new Set(labels).size).toBe(16);
  });

  it("refuses bad options", () => {
    expect(plantedTask("rot90", { size: 3 }).layout).toEqual([3, 3]);
    expect(() => plantedTask("spin" as "cyclic")).toThrow(/one of cyclic, rot90, dihedral, rot45/);
    for (const options of [{ size: 0 }, { prototypes: 1.5 }, { noise: -1 }, { noise: Number.NaN }, { seed: -1 }]) {
      expect(() => plantedTask("cyclic", options)).toThrow(ArgumentError);
    }
    expect(() => plantedTask("cyclic").signals(0, 0)).toThrow(ArgumentError);
    expect(() => plantedTask("cyclic").signals(1, -1)).toThrow(ArgumentError);
    expect(() => plantedTask("cyclic").signals(2, 0, plantedTask("cyclic").signals(3, 0))).toThrow(ArgumentError);
  });
});

describe("cube and disk", () => {
  it("the 24 rotations are a group whose elements do what their labels say", () => {
    for (const k of [2, 3]) {
      const { elements, labels } = cubeGroup(k);
      expect(new Set(elements.map((element) => element.join())).size).toBe(24);
      expect(cayleyTable(elements)).not.toContain(-1);
      expect(new Set(labels).size).toBe(24);
      for (const [i, label] of labels.entries()) {
        const order = { identity: 1, "180°": 2, "120°": 3, "90°": 4 }[label.split(" ")[0]] ?? 0;
        let power = elements[i];
        let count = 1;
        while (!equalPermutations(power, elements[0])) {
          power = compose(power, elements[i]);
          count++;
        }
        expect(count).toBe(order);
      }
    }
    // About z, x goes to y: the value at (1, 0, 0) is afterwards at (0, 1, 0).
    const { elements, labels } = cubeGroup(3);
    const [east, north] = [1 * 9 + 1 * 3 + 2, 1 * 9 + 2 * 3 + 1];
    expect(elements[labels.indexOf("90° about [0, 0, 1]")][north]).toBe(east);
    expect(() => cubeGroup(0)).toThrow(ArgumentError);
  });

  it("rotations of the disk: quarter turns move pixels, others spread them and lose at the rim alone", () => {
    const { d, matrices, labels } = diskRotations(8, 5);
    expect([d, labels[1]]).toEqual([21, "45°"]);
    const rows = (i: number): number[] =>
      Array.from({ length: d }, (_, n) => matrices.subarray((i * d + n) * d, (i * d + n + 1) * d).reduce((a, b) => a + b));
    for (const i of [0, 2, 4, 6]) {
      expect(rows(i)).toEqual(new Array(d).fill(1));
      expect([...matrices.subarray(i * d * d, (i + 1) * d * d)].filter((value) => value !== 0)).toHaveLength(d);
    }
    const turn = rotationGroup(5).elements[1];
    const inside = Array.from({ length: 25 }, (_, n) => n).filter((n) => Math.hypot(Math.floor(n / 5) - 2, (n % 5) - 2) <= 2.5);
    for (const [n, pixel] of inside.entries()) expect(matrices[(2 * d + n) * d + inside.indexOf(turn[pixel])]).toBe(1);
    expect(Math.max(...rows(1))).toBeCloseTo(1, 6);
    expect(Math.min(...rows(1))).toBeGreaterThan(0.4);
    expect(() => diskRotations(8, 1)).toThrow(ArgumentError);
  });
});

describe("image transforms", () => {
  const k = 7;
  const random = createRandom(9);
  const image = Float32Array.from({ length: k * k }, () => random.uniform());

  it("turn by quarters exactly as the planted permutations do", () => {
    const { elements } = rotationGroup(k);
    for (let quarter = 0; quarter < 4; quarter++) {
      const turned = permute(image, elements[quarter]);
      expect(transformImage(image, k, k, "rot90", quarter)).toEqual(turned);
      expect(transformImage(image, k, k, "rot90", quarter - 4)).toEqual(turned);
      expect(transformImage(image, k, k, "rotate", 90 * quarter)).toEqual(turned);
      expect(transformImage(image, k, k, "partial", 90 * quarter + 360)).toEqual(turned);
    }
    expect(transformImage(image, k, k, "flip", 1)).toEqual(permute(image, flipPermutation(k)));
    expect(transformImage(image, k, k, "flip", 0)).toEqual(image);
    expect(transformImage(image, k, k, "none", 0)).toEqual(image);
    expect(transformImage(image, k, k, "scale", 1)).toEqual(image);
  });

  it("turn smoothly between, in the same sense, keeping the centre", () => {
    const nearly = transformImage(image, k, k, "rotate", 89.9999);
    const exact = transformImage(image, k, k, "rotate", 90);
    for (let i = 0; i < k * k; i++) {
      const [r, c] = [Math.floor(i / k), i % k];
      if (r > 0 && r < k - 1 && c > 0 && c < k - 1) expect(nearly[i]).toBeCloseTo(exact[i], 3);
    }
    expect(transformImage(image, k, k, "rotate", 33)[24]).toBeCloseTo(image[24], 6);
    // Where the turned square does not reach, there is the fill value.
    expect(transformImage(new Float32Array(81).fill(1), 9, 9, "rotate", 45)[0]).toBe(0);
  });

  it("turns a rectangle by 180° exactly", () => {
    const rectangle = image.slice(0, 6);
    expect(Array.from(transformImage(rectangle, 2, 3, "rotate", 180))).toEqual(Array.from(rectangle).reverse());
  });

  it("scales about the centre with nothing around", () => {
    const ones = new Float32Array(20 * 20).fill(1);
    const small = transformImage(ones, 20, 20, "scale", 0.5);
    for (let r = 0; r < 20; r++) for (let c = 0; c < 20; c++) expect(small[r * 20 + c]).toBeCloseTo(r >= 5 && r < 15 && c >= 5 && c < 15 ? 1 : 0, 6);
    const ramp = Float32Array.from({ length: 400 }, (_, i) => i % 20);
    const shrunk = transformImage(ramp, 20, 20, "scale", 0.5);
    expect(shrunk[10 * 20 + 11] - shrunk[10 * 20 + 10]).toBeCloseTo(2, 5);
    expect((shrunk[10 * 20 + 9] + shrunk[10 * 20 + 10]) / 2).toBeCloseTo(9.5, 5);
  });

  it("draws parameters over the whole range of each kind", () => {
    const source = createRandom(1);
    const draw = (kind: Parameters<typeof randomTransform>[0], maximum?: number): number[] =>
      Array.from({ length: 4000 }, () => randomTransform(kind, source, maximum));
    expect(new Set(draw("rot90"))).toEqual(new Set([0, 1, 2, 3]));
    expect(new Set(draw("flip"))).toEqual(new Set([0, 1]));
    for (const [values, low, high] of [
      [draw("rotate"), 0, 360],
      [draw("partial", 60), 0, 60],
      [draw("scale"), 0.3, 1],
    ] as const) {
      expect(Math.min(...values)).toBeGreaterThanOrEqual(low);
      expect(Math.max(...values)).toBeLessThan(high);
      expect(Math.min(...values)).toBeLessThan(low + 0.01 * (high - low));
      expect(Math.max(...values)).toBeGreaterThan(high - 0.01 * (high - low));
    }
  });

  it("moves all planes of an image alike", () => {
    const planes = Float32Array.from({ length: 3 * k * k }, () => random.uniform());
    const moved = new Float32Array(planes.length);
    transformPlanes(planes, k, k, "rotate", 77, moved);
    for (let i = 0; i < 3; i++) {
      const one = planes.subarray(i * k * k, (i + 1) * k * k);
      expect(moved.slice(i * k * k, (i + 1) * k * k)).toEqual(transformImage(one, k, k, "rotate", 77));
    }
  });

  it("knows what is planted", () => {
    expect(plantedSet("rot90", 5)?.labels).toEqual(["identity", "90°", "180°", "270°"]);
    expect(plantedSet("flip", 5)?.elements.length).toBe(2);
    expect(plantedSet("scale", 5)).toBeUndefined();
  });

  it("refuses bad arguments", () => {
    const bad: [Float32Array, number, number, Parameters<typeof transformImage>[3], number][] = [
      [image, k, k + 1, "none", 0],
      [image.slice(0, 6), 2, 3, "rot90", 1],
      [image, k, k, "rot90", 0.5],
      [image, k, k, "rotate", Number.NaN],
      [image, k, k, "flip", 2],
      [image, k, k, "scale", 0],
      [image, k, k, "scale", 1.1],
      [image, k, k, "spin" as "none", 0],
    ];
    for (const [data, h, w, kind, parameter] of bad) expect(() => transformImage(data, h, w, kind, parameter)).toThrow(ArgumentError);
    expect(() => transformImage(image, k, k, "none", 0, image)).toThrow(ArgumentError);
    expect(() => randomTransform("partial", random, 0)).toThrow(ArgumentError);
    expect(() => randomTransform("spin" as "none", random)).toThrow(ArgumentError);
  });
});
