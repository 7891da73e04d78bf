/** Files and folders on the disk, all below the run's temporary folder, whatever the path says. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import * as files from "../../../src/files.ts";
import { WHOLE } from "../files.ts";
import { temporaryFolder } from "../folder.ts";
import { among, garbage, hosted, options, rarely, type Subject } from "./arguments.ts";
import { bytes, npyArray, same, tensors } from "./files.ts";
import { publicFunction } from "./outcome.ts";

const folder = temporaryFolder();

/** The folder anew, with these files. */
const fill = (entries: Iterable<readonly [name: string, bytes: unknown]>): void => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [name, whole] of entries) if (whole instanceof Uint8Array) writeFileSync(join(folder, name), whole);
};

const contentOf = (file: string): Uint8Array => new Uint8Array(readFileSync(file));

/** Texts as paths in the folder; everything else as it is. */
const inside = (path: unknown): never => (typeof path === "string" && path !== "" ? join(folder, path) : path) as never;

/** Mostly of the one file; else of nothing, of what would lie in nothing, of the folder itself, or of no place at all. */
const path = fc.oneof({ weight: 8, arbitrary: among("a") }, { weight: 1, arbitrary: among("b", "none/a", ".", "a\0", "") });

const reading = (name: string, content: fc.Arbitrary<unknown>): [string, Subject] => [
  name,
  {
    args: fc.tuple(path, content),
    run: (_, given, whole) => {
      fill([["a", whole]]);
      return publicFunction(`files/${name}`)(inside(given));
    },
  },
];

/** Written beside or over what is there already, which stays where that fails, and nothing else is left behind. */
const writing = (name: string, content: readonly fc.Arbitrary<unknown>[], readBack: (path: string, content: never) => unknown): [string, Subject] => [
  name,
  {
    args: fc.tuple(path, ...content),
    run: (_, given, ...written) => {
      fill([["a", WHOLE.npy]]);
      try {
        publicFunction(`files/${name}`)(inside(given), ...written);
      } catch (error) {
        same(contentOf(join(folder, "a")), WHOLE.npy);
        throw error;
      } finally {
        same(
          readdirSync(folder).filter((file) => file !== given),
          given === "a" ? [] : ["a"],
        );
      }
      return readBack(inside(given), written[0] as never);
    },
  },
];

const idx = (shape: readonly number[], values: readonly number[]): Uint8Array =>
  Uint8Array.of(0, 0, 8, shape.length, ...shape.flatMap((size) => [0, 0, size >> 8, size & 255]), ...values);
const cifar = (labels: readonly number[]): Uint8Array =>
  Uint8Array.from({ length: labels.length * 3073 }, (_, at) => (at % 3073 ? at % 256 : labels[at / 3073]));

/** Some of these files, now and then damaged or of other names. */
const folderOf = (whole: Readonly<Record<string, Uint8Array>>): fc.Arbitrary<unknown> =>
  fc
    .subarray(Object.entries(whole), { minLength: Object.keys(whole).length - 1 })
    .chain((entries) =>
      fc.tuple(
        ...entries.map(([name, content]) =>
          fc.tuple(
            rarely(fc.constant(name), fc.constantFrom("notes.txt", "images", "data_batch_9.bin")),
            rarely(fc.constant(content), bytes(content)),
          ),
        ),
      ),
    );
const loading = (name: string, content: fc.Arbitrary<unknown>): [string, Subject] => [
  name,
  {
    args: fc.tuple(rarely(fc.constant("."), fc.oneof(garbage, fc.constant("none"))), content),
    run: (_, given, entries) => {
      fill(entries as [string, unknown][]);
      return publicFunction(`files/${name}`)(inside(given));
    },
  },
];

/** By their names in `birkhoff/files`. */
export const DISK: Readonly<Record<string, Subject>> = hosted(
  Object.fromEntries([
    reading("readIdx", fc.oneof(bytes(WHOLE.idx), bytes(gzipSync(WHOLE.idx)))),
    reading("readNpy", bytes(WHOLE.npy)),
    reading("readSafetensors", bytes(WHOLE.safetensors)),
    reading("readCifar10", bytes(cifar([3, 9]))),
    loading(
      "loadIdxFolder",
      folderOf({
        "train-images-idx3-ubyte": idx([2, 1, 2], [1, 2, 3, 4]),
        "train-labels-idx1-ubyte": idx([2], [0, 2]),
        "t10k-images-idx3-ubyte.gz": gzipSync(idx([1, 1, 2], [5, 6])),
        "t10k-labels-idx1-ubyte": idx([1], [1]),
      }),
    ),
    loading("loadCifar10Folder", folderOf({ "data_batch_1.bin": cifar([1]), "data_batch_2.bin": cifar([2, 3]), "test_batch.bin": cifar([4]) })),
    writing("replaceFile", [fc.oneof(fc.uint8Array({ maxLength: 8 }), garbage)], (from, whole) => same(contentOf(from), whole)),
    writing("writeNpy", [npyArray, options({ fortranOrder: among(true, false) })], (from, array) => same(files.readNpy(from), array)),
    writing("writeSafetensors", [tensors, options({ epoch: rarely(fc.string({ unit: "binary" }), garbage) })], (from) => files.readSafetensors(from)),
  ]),
);
