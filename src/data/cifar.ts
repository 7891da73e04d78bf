/** CIFAR-10's binary files: records of one byte of label and 32×32 bytes each of red, green and blue, row by row. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { checkPath, fileError, type LabelledImages, namesIn, reason, someOf } from "./folder.ts";

const SIDE = 32;
const CHANNELS = 3;
const CLASSES = 10;
const PIXELS = CHANNELS * SIDE * SIDE;
const RECORD = 1 + PIXELS;
/** As of the other formats. The official files have 10,000 records. */
const MAX_BYTES = 2 ** 31;

const BATCH = /^data_batch_([1-9]\d*)\.bin$/;
const TEST = "test_batch.bin";

export interface Cifar10File {
  /** [count, 3, 32, 32] */
  readonly images: Uint8Array;
  /** [count], 0 to 9. */
  readonly labels: Uint8Array;
}

export interface Cifar10Folder extends LabelledImages {
  /** File names, in the order in which they were joined. */
  readonly files: readonly string[];
}

const attempt = <T>(path: string, read: () => T): T => {
  try {
    return read();
  } catch (error) {
    throw fileError("readCifar10", path, "a readable CIFAR-10 file", reason(error), error);
  }
};

/** Whole records. Looks at what it is first: pipes and devices would not end. */
const readRecords = (path: string): Uint8Array => {
  const where = "readCifar10";
  checkPath(where, path);
  const status = attempt(path, () => statSync(path));
  if (!status.isFile()) throw fileError(where, path, "a CIFAR-10 file", "something that is no file");
  if (status.size > MAX_BYTES) throw fileError(where, path, `at most ${MAX_BYTES} bytes`, `${status.size}`);
  const bytes = attempt(path, () => readFileSync(path));
  const over = bytes.length % RECORD;
  if (bytes.length === 0 || over > 0)
    throw fileError(where, path, `whole records of ${RECORD} bytes`, `${bytes.length} bytes${over < bytes.length ? `, ${over} too many` : ""}`);
  return bytes;
};

/**
 * Reads one of CIFAR-10's binary files (`data_batch_1.bin` and so on): any number of records of 3,073 bytes, the label and the pixels.
 *
 * @throws FileError for a missing or unreadable file, one that does not end with a whole record, more than 2 GiB, and labels above 9; ArgumentError for what is no path
 * @example
 * ```ts
 * const { mkdtemp, rm, writeFile } = await import("node:fs/promises");
 * const { tmpdir } = await import("node:os");
 * const folder = await mkdtemp(`${tmpdir()}/cifar-`);
 * await writeFile(`${folder}/test_batch.bin`, new Uint8Array(2 * 3073).fill(7)); // two images of class 7
 * const { images, labels } = readCifar10(`${folder}/test_batch.bin`);
 * await rm(folder, { recursive: true });
 * [images.length, ...labels]; // => [6144, 7, 7]
 * ```
 */
export const readCifar10 = (path: string): Cifar10File => {
  const bytes = readRecords(path);
  const count = bytes.length / RECORD;
  const images = new Uint8Array(count * PIXELS);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const label = bytes[i * RECORD];
    if (label >= CLASSES) throw fileError("readCifar10", path, `labels in 0 … ${CLASSES - 1}`, `${label} in record ${i + 1}`);
    labels[i] = label;
    images.set(bytes.subarray(i * RECORD + 1, (i + 1) * RECORD), i * PIXELS);
  }
  return { images, labels };
};

/** Whether one of a folder's names is of a CIFAR-10 file. */
export const isCifar10 = (names: readonly string[]): boolean => names.some((name) => name === TEST || BATCH.test(name));

/**
 * Loads CIFAR-10's binary files from a folder and joins them: `data_batch_1.bin`, `data_batch_2.bin` and so on, then `test_batch.bin`, of which either may be missing.
 *
 * @throws FileError as `readCifar10`, for a folder without one of them, and for one that lacks a batch before its last; ArgumentError for what is no path
 * @example
 * ```ts
 * const { mkdtemp, rm, writeFile } = await import("node:fs/promises");
 * const { tmpdir } = await import("node:os");
 * const folder = await mkdtemp(`${tmpdir()}/cifar-`);
 * await writeFile(`${folder}/test_batch.bin`, new Uint8Array(3073).fill(0));
 * await writeFile(`${folder}/data_batch_1.bin`, new Uint8Array(2 * 3073).fill(1));
 * const { count, channels, height, width, training, labels } = loadCifar10Folder(folder);
 * await rm(folder, { recursive: true });
 * [count, channels, height, width, training]; // => [3, 3, 32, 32, 2]
 * labels; // => [1, 1, 0]
 * ```
 */
export const loadCifar10Folder = (folder: string): Cifar10Folder => {
  const where = "loadCifar10Folder";
  const names = namesIn(where, folder);
  if (!isCifar10(names)) throw fileError(where, folder, `data_batch_1.bin … or ${TEST}`, someOf(names));
  const last = Math.max(0, ...names.map((name) => Number(BATCH.exec(name)?.[1] ?? 0)));
  const batches: string[] = [];
  while (batches.length < last) {
    const name = `data_batch_${batches.length + 1}.bin`;
    if (!names.includes(name)) throw fileError(where, folder, `${name} beside data_batch_${last}.bin`, "none");
    batches.push(name);
  }
  const files = names.includes(TEST) ? [...batches, TEST] : batches;
  const parts = files.map((name) => readCifar10(join(folder, name)));
  const count = parts.reduce((sum, { labels }) => sum + labels.length, 0);
  const images = new Float32Array(count * PIXELS);
  const labels = new Int32Array(count);
  let first = 0;
  for (const part of parts) {
    for (let i = 0; i < part.images.length; i++) images[first * PIXELS + i] = part.images[i] / 255;
    labels.set(part.labels, first);
    first += part.labels.length;
  }
  const training = parts.slice(0, batches.length).reduce((sum, part) => sum + part.labels.length, 0);
  return { images, labels, count, channels: CHANNELS, height: SIDE, width: SIDE, classes: CLASSES, training, files };
};
