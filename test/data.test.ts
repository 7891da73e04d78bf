import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { batches, splitIndices } from "../src/data/batches.ts";
import { loadIdxFolder, readIdx } from "../src/data/idx.ts";
import {
  cayleyTable,
  compose,
  cyclicGroup,
  dihedralGroup,
  firstElements,
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
import { choice, createRandom, range, shuffle } from "../src/data/random.ts";
import { plantedSet, randomTransform, transformImage, transformImages } from "../src/data/transforms.ts";
import { ArgumentError, FileError } from "../src/errors.ts";

/** An IDX file from its parts; `body` is the raw bytes of the values. */
const idx = (type: number, shape: readonly number[], body: Uint8Array | readonly number[]): Buffer => {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header[2] = type;
  header[3] = shape.length;
  for (const [axis, size] of shape.entries()) header.writeUInt32BE(size, 4 + 4 * axis);
  return Buffer.concat([header, Uint8Array.from(body)]);
};

describe("IDX files", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "birkhoff-idx-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const put = (name: string, bytes: Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const bigEndian = (values: readonly number[], bytes: number, write: (view: DataView, offset: number, value: number) => void): Uint8Array => {
    const view = new DataView(new ArrayBuffer(values.length * bytes));
    for (const [i, value] of values.entries()) write(view, i * bytes, value);
    return new Uint8Array(view.buffer);
  };

  it.each([
    ["uint8", 0x08, [0, 200, 255], Uint8Array, 1, (v: DataView, o: number, x: number) => v.setUint8(o, x)],
    ["int8", 0x09, [-128, 0, 127], Int8Array, 1, (v: DataView, o: number, x: number) => v.setInt8(o, x)],
    ["int16", 0x0b, [-32768, 1, 515], Int16Array, 2, (v: DataView, o: number, x: number) => v.setInt16(o, x)],
    ["int32", 0x0c, [-2147483648, 1, 16909060], Int32Array, 4, (v: DataView, o: number, x: number) => v.setInt32(o, x)],
    ["float32", 0x0d, [-1.5, 0, 0.25], Float32Array, 4, (v: DataView, o: number, x: number) => v.setFloat32(o, x)],
    ["float64", 0x0e, [-1.5, Math.PI, 1e300], Float64Array, 8, (v: DataView, o: number, x: number) => v.setFloat64(o, x)],
  ] as const)("reads %s, plain and gzip", (_, type, values, Type, bytes, write) => {
    const file = idx(type, [3, 1], bigEndian(values, bytes, write));
    for (const path of [put("plain", file), put("packed.gz", gzipSync(file)), put("packed-without-suffix", gzipSync(file))]) {
      const { shape, data } = readIdx(path);
      expect(shape).toEqual([3, 1]);
      expect(data).toBeInstanceOf(Type);
      expect(Array.from(data)).toEqual([...values]);
    }
  });

  it("reads an empty axis", () => {
    expect(readIdx(put("empty", idx(8, [0, 28, 28], [])))).toEqual({ shape: [0, 28, 28], data: new Uint8Array(0) });
  });

  it.each([
    ["an empty file", new Uint8Array(0), /4-byte IDX magic number.*received 0 bytes/],
    ["a cut magic number", Uint8Array.of(0, 0, 8), /4-byte IDX magic number.*received 3 bytes/],
    ["another format", new TextEncoder().encode("PNG\n"), /IDX magic number.*received 50 4e 47 0a/],
    ["an unknown type", idx(0x0a, [1], [1]), /IDX magic number.*received 00 00 0a 01/],
    ["rank 0", idx(8, [], []), /at least one dimension.*rank 0/],
    ["a cut header", idx(8, [2, 2], []).subarray(0, 7), /header of 12 bytes for 2 dimensions.*received 7 bytes/],
    ["a cut body", idx(8, [2, 2], [1, 2, 3]), /4 bytes of values for \[2, 2\] uint8.*truncated file with 3/],
    ["trailing bytes", idx(8, [2], [1, 2, 3]), /2 bytes of values for \[2\] uint8.*1 trailing bytes/],
    ["sizes that overflow", idx(8, [0xffffffff, 0xffffffff, 0xffffffff], [1]), /at most 2147483648 bytes.*4294967295/],
    ["overflow to infinity", idx(14, new Array(40).fill(0xffffffff), [1]), /at most 2147483648 bytes/],
    ["corrupt gzip", gzipSync(idx(8, [2], [1, 2])).fill(7, 12, 16), /complete gzip stream.*corrupt or truncated/],
    ["cut gzip", gzipSync(idx(8, [2], [1, 2])).subarray(0, 20), /complete gzip stream.*corrupt or truncated/],
  ])("refuses %s", (_, bytes, message) => {
    const path = put("bad", bytes);
    expect(() => readIdx(path)).toThrow(FileError);
    expect(() => readIdx(path)).toThrow(message);
    expect(() => readIdx(path)).toThrow(JSON.stringify(path));
  });

  it("refuses a missing file and a folder", () => {
    expect(() => readIdx(join(folder, "nothing"))).toThrow(/readIdx: expected a readable IDX file.*ENOENT/);
    expect(() => readIdx(folder)).toThrow(FileError);
  });

  const images = (count: number, first = 0, size = 2): Buffer =>
    idx(
      8,
      [count, size, size],
      Array.from({ length: count * size * size }, (_, i) => first + i),
    );

  it("joins train and t10k, packed or not, train first, and scales to [0, 1]", () => {
    put("t10k-images-idx3-ubyte.gz", gzipSync(images(1, 251)));
    put("t10k-labels-idx1-ubyte", idx(8, [1], [9]));
    put("train-images-idx3-ubyte", images(2));
    put("train-labels-idx1-ubyte.gz", gzipSync(idx(8, [2], [3, 0])));
    put("README-of-images.md", Buffer.from("x"));
    const data = loadIdxFolder(folder);
    expect([data.count, data.height, data.width, data.classes]).toEqual([3, 2, 2, 10]);
    expect(Array.from(data.labels)).toEqual([3, 0, 9]);
    expect(data.images[3]).toBe(Math.fround(3 / 255));
    expect(data.images[11]).toBe(Math.fround(254 / 255));
    expect(data.files).toEqual(["train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"]);
  });

  it("takes a file once when it lies there plain and packed", () => {
    put("images", images(1));
    put("images.gz", gzipSync(images(1)));
    put("labels", idx(8, [1], [0]));
    expect(loadIdxFolder(folder).files).toEqual(["images", "labels"]);
  });

  it.each<[string, Record<string, Uint8Array>, RegExp]>([
    ["nothing", {}, /images.*labels.*an empty folder/],
    ["other files", { "a.bin": images(1) }, /images.*labels.*a\.bin/],
    ["images alone", { images: images(1) }, /a labels file beside images/],
    ["labels alone", { labels: idx(8, [1], [0]) }, /an images file beside labels/],
    ["another number of labels", { images: images(2), labels: idx(8, [3], [0, 1, 2]) }, /2 labels, one per image.*received 3/],
    ["flat images", { images: idx(8, [2, 4], new Array(8).fill(0)), labels: idx(8, [2], [0, 1]) }, /3 dimensions.*received 2/],
    ["labels of rank 2", { images: images(1), labels: idx(8, [1, 1], [0]) }, /1 dimension \(count\).*received 2/],
    ["float images", { images: idx(13, [1, 1, 1], [0, 0, 0, 0]), labels: idx(8, [1], [0]) }, /uint8 images.*Float32Array/],
    ["negative labels", { images: images(1), labels: idx(9, [1], [255]) }, /labels in 0 … 65535.*received -1/],
    ["no image", { images: images(0), labels: idx(8, [0], []) }, /at least one image/],
    [
      "two sizes",
      { "a-images": images(1), "a-labels": idx(8, [1], [0]), "b-images": images(1, 0, 3), "b-labels": idx(8, [1], [0]) },
      /images of 2 × 2.*received 3 × 3/,
    ],
  ])("refuses a folder with %s", (_, files, message) => {
    for (const [name, bytes] of Object.entries(files)) put(name, bytes);
    expect(() => loadIdxFolder(folder)).toThrow(FileError);
    expect(() => loadIdxFolder(folder)).toThrow(message);
  });

  it("refuses a folder that is not there", () => {
    expect(() => loadIdxFolder(join(folder, "none"))).toThrow(/loadIdxFolder: expected a readable folder.*ENOENT/);
    mkdirSync(join(folder, "images"));
    writeFileSync(join(folder, "labels"), idx(8, [1], [0]));
    expect(() => loadIdxFolder(folder)).toThrow(FileError);
  });
});

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
    expect(() => rotationGroup(2.5)).toThrow(ArgumentError);
    expect(() => firstElements(cyclicGroup(4), 5)).toThrow(ArgumentError);
  });
});

describe("random numbers", () => {
  const draws = 1 << 16;
  const list = (draw: () => number, count = draws): number[] => Array.from({ length: count }, draw);
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const correlation = (a: readonly number[], b: readonly number[]): number => {
    const [ma, mb] = [mean(a), mean(b)];
    const covariance = mean(a.map((value, i) => (value - ma) * (b[i] - mb)));
    return covariance / Math.sqrt(mean(a.map((v) => (v - ma) ** 2)) * mean(b.map((v) => (v - mb) ** 2)));
  };

  it("repeat for the same seed and stream only", () => {
    expect(list(createRandom(1, 2).uint32, 8)).toEqual(list(createRandom(1, 2).uint32, 8));
    expect(list(createRandom(1, 2).uint32, 8)).not.toEqual(list(createRandom(2, 2).uint32, 8));
    expect(list(createRandom(1, 2).uint32, 8)).not.toEqual(list(createRandom(2, 1).uint32, 8));
    const random = createRandom(5);
    random.uint32();
    expect(list(random.stream(3).uint32, 4)).toEqual(list(createRandom(5, 3).uint32, 4));
  });

  // Six standard errors: exceeded by chance once in 500 million draws of a seed, and the seeds are fixed.
  const tolerance = 6 / Math.sqrt(draws);

  it.each([0, 1, 12345, 2 ** 32 - 1])("have the moments they should, seed %i", (seed) => {
    const random = createRandom(seed);
    const uniform = list(random.uniform);
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...uniform)).toBeLessThan(1);
    expect(Math.abs(mean(uniform) - 0.5)).toBeLessThan(tolerance / Math.sqrt(12));
    expect(Math.abs(correlation(uniform.slice(1), uniform.slice(0, -1)))).toBeLessThan(tolerance);
    expect(Math.abs(correlation(uniform, list(createRandom(seed, 1).uniform)))).toBeLessThan(tolerance);
    const normal = list(random.normal);
    expect(Math.abs(mean(normal))).toBeLessThan(tolerance);
    expect(Math.abs(mean(normal.map((z) => z * z)) - 1)).toBeLessThan(tolerance * Math.SQRT2);
    expect(Math.abs(mean(normal.map((z) => z ** 4)) - 3)).toBeLessThan(tolerance * Math.sqrt(96));
    expect(Math.abs(correlation(normal.slice(1), normal.slice(0, -1)))).toBeLessThan(tolerance);
  });

  it("set every bit half the time, along counters, streams and seeds", () => {
    const random = createRandom(7);
    const kinds = [() => random.uint32(), (i: number) => createRandom(7, i).uint32(), (i: number) => createRandom(i).uint32()];
    for (const draw of kinds) {
      const words = Array.from({ length: draws }, (_, i) => draw(i));
      for (let bit = 0; bit < 32; bit++) expect(Math.abs(mean(words.map((word) => (word >>> bit) & 1)) - 0.5)).toBeLessThan(tolerance / 2);
    }
  });

  it("shuffle and choose evenly", () => {
    const random = createRandom(3);
    const counts = new Float64Array(16);
    for (let i = 0; i < 20000; i++) {
      const order = shuffle(range(4), random);
      for (let place = 0; place < 4; place++) counts[place * 4 + order[place]]++;
    }
    for (const count of counts) expect(Math.abs(count - 5000)).toBeLessThan(6 * Math.sqrt(5000 * 0.75));
    const chosen = choice(10, 10, random);
    expect(isPermutation(chosen)).toBe(true);
    expect(new Set(choice(100, 30, random)).size).toBe(30);
    expect(choice(5, 0, random).length).toBe(0);
  });

  it("refuse bad arguments", () => {
    for (const seed of [-1, 0.5, 2 ** 32, Number.NaN]) expect(() => createRandom(seed)).toThrow(ArgumentError);
    expect(() => createRandom(0, -1)).toThrow(ArgumentError);
    expect(() => createRandom(0).integer(0)).toThrow(ArgumentError);
    expect(() => choice(3, 4, createRandom(0))).toThrow(ArgumentError);
  });
});

describe("planted tasks", () => {
  it.each([
    ["cyclic", 8, 8],
    ["half", 8, 4],
    ["rot90", 25, 4],
    ["dihedral", 25, 8],
  ] as const)("%s gives ⟨ρ_g K*, x⟩", (name, d, g) => {
    const task = plantedTask(name, { prototypes: 3, seed: 4 });
    expect([task.d, task.group.elements.length, task.prototypes.length, task.kernels.length]).toEqual([d, g, 3 * d, 3 * g * d]);
    const { x, y } = task.batch(5);
    for (let b = 0; b < 5; b++) {
      for (let c = 0; c < 3; c++) {
        for (let i = 0; i < g; i++) {
          const turned = permute(task.prototypes.subarray(c * d, (c + 1) * d), task.group.elements[i]);
          const expectedY = turned.reduce((sum, value, n) => sum + value * x[b * d + n], 0);
          expect(y[(b * 3 + c) * g + i]).toBeCloseTo(expectedY, 4);
        }
      }
    }
  });

  it("draws fresh data, the same for the same seed, into given arrays", () => {
    const [a, b] = [plantedTask("cyclic", { seed: 1 }), plantedTask("cyclic", { seed: 1 })];
    expect(a.prototypeCount).toBe(16);
    const first = a.batch(4);
    expect(b.batch(4)).toEqual(first);
    const copy = first.x.slice();
    expect(a.batch(4, first)).toBe(first);
    expect(first.x).not.toEqual(copy);
    expect(plantedTask("cyclic", { seed: 2 }).prototypes).not.toEqual(a.prototypes);
    expect(a.classification(6)).toEqual(b.classification(6));
  });

  it("has noise of the size that was asked for", () => {
    const [quiet, noisy] = [plantedTask("cyclic", { prototypes: 2 }), plantedTask("cyclic", { prototypes: 2, noise: 0.5 })];
    const { x, labels } = noisy.classification(2000);
    let sum = 0;
    for (let b = 0; b < 2000; b++) for (let n = 0; n < 8; n++) sum += (x[b * 8 + n] - quiet.kernels[labels[b] * 8 + n]) ** 2;
    expect(Math.sqrt(sum / 16000)).toBeCloseTo(0.5, 1);
    expect(new Set(labels).size).toBe(16);
    const batch = noisy.batch(500);
    let error = 0;
    for (let b = 0; b < 500; b++) {
      for (let k = 0; k < 16; k++) {
        let clean = 0;
        for (let n = 0; n < 8; n++) clean += noisy.kernels[k * 8 + n] * batch.x[b * 8 + n];
        error += (batch.y[b * 16 + k] - clean) ** 2;
      }
    }
    expect(Math.sqrt(error / 8000)).toBeCloseTo(0.5, 1);
  });

  it("takes the first elements that were asked for and refuses bad options", () => {
    expect(plantedTask("cyclic", { size: 6, elements: 3 }).group.labels).toEqual(["identity", "shift 1", "shift 2"]);
    expect(plantedTask("rot90", { size: 3 }).layout).toEqual([3, 3]);
    expect(() => plantedTask("spin" as "cyclic")).toThrow(/one of cyclic, rot90, dihedral, half/);
    for (const options of [{ size: 0 }, { prototypes: 1.5 }, { elements: 9 }, { noise: -1 }, { noise: Number.NaN }, { seed: -1 }]) {
      expect(() => plantedTask("cyclic", options)).toThrow(ArgumentError);
    }
    expect(() => plantedTask("cyclic").batch(0)).toThrow(ArgumentError);
    expect(() => plantedTask("cyclic").batch(2, plantedTask("cyclic").batch(3))).toThrow(ArgumentError);
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

  it("transforms a pile of images and says how", () => {
    const pile = Float32Array.from({ length: 5 * k * k }, () => random.uniform());
    const { images, parameters } = transformImages(pile, k, k, "rotate", createRandom(2));
    for (let i = 0; i < 5; i++) {
      const one = pile.subarray(i * k * k, (i + 1) * k * k);
      expect(images.slice(i * k * k, (i + 1) * k * k)).toEqual(transformImage(one, k, k, "rotate", parameters[i]));
    }
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
    expect(() => transformImages(image.slice(1), k, k, "none", random)).toThrow(ArgumentError);
  });
});

describe("batches", () => {
  const examples = { inputs: Float32Array.from({ length: 20 }, (_, i) => i), labels: range(10), size: 2 };

  it("split without overlap, the same for the same seed", () => {
    const split = splitIndices(10, 3, createRandom(1));
    expect(split).toEqual(splitIndices(10, 3, createRandom(1)));
    expect(isPermutation([...split.train, ...split.heldOut])).toBe(true);
    expect(splitIndices(10, 3, createRandom(1), 2).heldOut).toEqual(split.heldOut);
    expect(splitIndices(10, 3, createRandom(1), 2).train).toEqual(split.train.slice(0, 2));
    for (const [heldOut, train] of [[0], [10], [1.5], [3, 8], [3, 0]])
      expect(() => splitIndices(10, heldOut, createRandom(1), train)).toThrow(ArgumentError);
  });

  it("fill the same arrays, drop the short rest", () => {
    const seen: number[] = [];
    const arrays = new Set<Float32Array>();
    for (const { inputs, labels, count } of batches(examples, { batchSize: 4, random: createRandom(1) })) {
      expect(count).toBe(4);
      arrays.add(inputs);
      for (let row = 0; row < 4; row++) expect(Array.from(inputs.subarray(2 * row, 2 * row + 2))).toEqual([2 * labels[row], 2 * labels[row] + 1]);
      seen.push(...labels);
    }
    expect(arrays.size).toBe(1);
    expect(new Set(seen).size).toBe(8);
    expect([...batches(examples, { batchSize: 11 })]).toEqual([]);
  });

  it("shuffle anew on every pass and leave the given order alone", () => {
    const indices = Int32Array.of(7, 8, 9);
    const random = createRandom(1);
    const pass = (): string => Array.from(batches(examples, { batchSize: 1, indices, random }), (batch) => batch.labels[0]).join();
    expect(new Set(Array.from({ length: 20 }, pass)).size).toBeGreaterThan(3);
    expect(Array.from(indices)).toEqual([7, 8, 9]);
  });

  it("pad the short rest and say how much of it is real", () => {
    const labels = Array.from(batches(examples, { batchSize: 4, indices: Int32Array.of(5, 6, 7, 8, 9), last: "pad" }), (batch) => [
      batch.count,
      ...batch.labels,
    ]);
    expect(labels).toEqual([
      [4, 5, 6, 7, 8],
      [1, 9, 5, 6, 7],
    ]);
  });

  it("refuse bad arguments", () => {
    const first = (options: Parameters<typeof batches>[1]): unknown => batches(examples, options).next();
    expect(() => first({ batchSize: 0 })).toThrow(ArgumentError);
    expect(() => first({ batchSize: 1, indices: Int32Array.of(10) })).toThrow(ArgumentError);
    expect(() => first({ batchSize: 1, last: "keep" as "drop" })).toThrow(ArgumentError);
    expect(() => batches({ ...examples, size: 3 }, { batchSize: 1 }).next()).toThrow(ArgumentError);
  });
});
