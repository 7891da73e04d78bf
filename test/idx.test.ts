import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeEach, describe, expect, it } from "vitest";
import { loadIdxFolder, readIdx } from "../src/data/idx.ts";
import { FileError } from "../src/errors.ts";
import { temporaryFolder } from "./support/folder.ts";

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
    folder = temporaryFolder();
  });
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

  it("unpacks no more than the header says", () => {
    let state = 1;
    const noise = Uint8Array.from({ length: 60_000 }, () => {
      state = (state * 48271) % 2147483647;
      return state >>> 8;
    });
    expect(readIdx(put("large.gz", gzipSync(idx(8, [60_000], noise)))).data).toEqual(noise);
    const bomb = gzipSync(idx(8, [100], new Uint8Array(20_000_000)));
    expect(bomb.length).toBeGreaterThan(8192);
    expect(() => readIdx(put("bomb.gz", bomb))).toThrow(/100 bytes of values for \[100\] uint8.*received trailing bytes/);
    expect(() => readIdx(put("lie.gz", gzipSync(idx(8, [2 ** 30], noise))))).toThrow(/1073741824 bytes of values.*which cannot hold them/);
    expect(() => readIdx(put("cut.gz", gzipSync(idx(8, [60_000], noise)).subarray(0, 20_000)))).toThrow(/complete gzip stream.*corrupt or truncated/);
    expect(() => readIdx(put("short.gz", gzipSync(idx(8, [70_000], noise))))).toThrow(/a truncated file with 60000/);
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
