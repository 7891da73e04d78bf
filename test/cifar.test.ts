import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { loadCifar10Folder, readCifar10 } from "../src/data/cifar.ts";
import { generatedImages, IMAGE_FORMATS } from "../src/data/generatedImages.ts";
import { FileError } from "../src/errors.ts";
import { temporaryFolder } from "./support/folder.ts";

const RECORD = 3073;

/** Records of these labels; every pixel says which record, channel, row and column it is of. */
const records = (labels: readonly number[]): Buffer =>
  Buffer.concat(
    labels.map((label, i) => {
      const record = Buffer.alloc(RECORD);
      record[0] = label;
      for (let at = 0; at < 3072; at++) record[1 + at] = (i + 5 * Math.floor(at / 1024) + 3 * (Math.floor(at / 32) % 32) + (at % 32)) % 256;
      return record;
    }),
  );

describe("CIFAR-10 files", () => {
  let folder = "";
  beforeEach(() => {
    folder = temporaryFolder();
  });
  const put = (name: string, bytes: Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };

  it("reads labels and pixels: red, green, blue, row by row", () => {
    const { images, labels } = readCifar10(put("data_batch_1.bin", records([3, 0, 9])));
    expect(labels).toEqual(Uint8Array.of(3, 0, 9));
    expect(images).toHaveLength(3 * 3072);
    const pixel = (i: number, channel: number, row: number, column: number): number => images[((i * 3 + channel) * 32 + row) * 32 + column];
    expect([pixel(0, 0, 0, 0), pixel(2, 0, 0, 1), pixel(1, 2, 7, 31), pixel(2, 1, 31, 30)]).toEqual([0, 3, 1 + 10 + 21 + 31, 2 + 5 + 93 + 30]);
  });

  it("joins the batches by number and the test images behind them, scaled to [0, 1]", () => {
    put("test_batch.bin", records([7]));
    for (let batch = 10; batch >= 1; batch--) put(`data_batch_${batch}.bin`, records(batch === 2 ? [2, 4] : [batch % 10]));
    put("batches.meta.txt", Buffer.from("airplane\n"));
    put("readme.html", Buffer.from("x"));
    const { images, labels, count, channels, height, width, classes, training, files } = loadCifar10Folder(folder);
    expect([count, channels, height, width, classes, training]).toEqual([12, 3, 32, 32, 10, 11]);
    expect(Array.from(labels)).toEqual([1, 2, 4, 3, 4, 5, 6, 7, 8, 9, 0, 7]);
    expect(files).toEqual([...Array.from({ length: 10 }, (_, i) => `data_batch_${i + 1}.bin`), "test_batch.bin"]);
    expect(images).toHaveLength(12 * 3072);
    expect(images[1]).toBe(Math.fround(1 / 255));
    expect(images[2 * 3072]).toBe(Math.fround(1 / 255)); // the second record of the second batch
    rmSync(join(folder, "test_batch.bin"));
    expect(loadCifar10Folder(folder).training).toBe(loadCifar10Folder(folder).count);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ["an empty file", new Uint8Array(0), /whole records of 3073 bytes .*received 0 bytes$/],
    ["less than a record", records([1]).subarray(0, 3072), /whole records of 3073 bytes .*received 3072 bytes$/],
    ["a cut record", records([1, 2]).subarray(0, 4000), /whole records .*received 4000 bytes, 927 too many/],
    ["a byte too many", Buffer.concat([records([1]), Uint8Array.of(0)]), /whole records .*received 3074 bytes, 1 too many/],
    ["records of CIFAR-100, which have two labels", new Uint8Array(10 * 3074), /whole records .*received 30740 bytes, 10 too many/],
    ["a wrong label", records([1, 10]), /labels in 0 … 9 .*received 10 in record 2/],
    ["labels that are none", records([255]), /labels in 0 … 9 .*received 255 in record 1/],
  ])("refuses %s", (_, bytes, message) => {
    const path = put("data_batch_1.bin", bytes);
    for (const read of [() => readCifar10(path), () => loadCifar10Folder(folder)]) {
      expect(read).toThrow(FileError);
      expect(read).toThrow(message);
      expect(read).toThrow(JSON.stringify(path));
    }
  });

  it("refuses what is no file, and what is too large before it is read", () => {
    expect(() => readCifar10(join(folder, "nothing"))).toThrow(/readCifar10: expected a readable CIFAR-10 file.*ENOENT/);
    expect(() => readCifar10(folder)).toThrow(/a CIFAR-10 file in .*something that is no file/);
    expect(() => readCifar10("/dev/zero")).toThrow(FileError);
    const large = put("large.bin", new Uint8Array(1));
    truncateSync(large, RECORD * 800_000);
    expect(() => readCifar10(large)).toThrow(/at most 2147483648 bytes.*received 2458400000/);
  });

  it("refuses folders that lack what they should have", () => {
    const load = (): unknown => loadCifar10Folder(folder);
    expect(load).toThrow(/data_batch_1\.bin … or test_batch\.bin.*an empty folder/);
    put("train.bin", records([1]));
    expect(load).toThrow(/received train\.bin/);
    put("data_batch_1.bin", records([1]));
    put("data_batch_3.bin", records([1]));
    expect(load).toThrow(/data_batch_2\.bin beside data_batch_3\.bin.*received none/);
    put("data_batch_99999999999999999999.bin", records([1]));
    expect(load).toThrow(FileError);
    expect(() => loadCifar10Folder(join(folder, "none"))).toThrow(/loadCifar10Folder: expected a readable folder.*ENOENT/);
  });

  it("follows links, and refuses a folder under a file's name", () => {
    const path = put("elsewhere", records([5]));
    symlinkSync(path, join(folder, "data_batch_1.bin"));
    expect(loadCifar10Folder(folder).labels).toEqual(Int32Array.of(5));
    mkdirSync(join(folder, "test_batch.bin"));
    expect(() => loadCifar10Folder(folder)).toThrow(FileError);
  });
});

describe("generated images", () => {
  it.each(["idx", "cifar10"] as const)("%s: sizes of the data set, the same numbers every time, classes that differ", (format) => {
    const { channels, height, width } = IMAGE_FORMATS[format];
    const size = channels * height * width;
    const data = generatedImages(format, 200);
    expect(data).toEqual(generatedImages(format, 200));
    expect([data.count, data.channels, data.height, data.width, data.classes, data.training]).toEqual([200, channels, height, width, 10, 200]);
    expect(data.images).toHaveLength(200 * size);
    expect(data.images.every((pixel) => pixel >= 0 && pixel < 1)).toBe(true);
    const distance = (i: number, j: number): number => {
      let sum = 0;
      for (let at = 0; at < size; at++) sum += (data.images[i * size + at] - data.images[j * size + at]) ** 2;
      return sum;
    };
    expect([data.labels[3], data.labels[13], data.labels[14]]).toEqual([3, 3, 4]);
    expect(distance(3, 13)).toBeLessThan(0.7 * distance(3, 14));
  });
});
