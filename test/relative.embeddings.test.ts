import { join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import { writeNpy } from "../src/data/disk.ts";
import { loadEmbeddings, loadLabels } from "../src/data/embeddings.ts";
import type { NpyArray } from "../src/data/npy.ts";
import { writeNpz } from "../src/data/npz.ts";
import { FileError } from "../src/errors.ts";
import { temporaryFolder } from "./support/folder.ts";

let folder = "";
beforeEach(() => {
  folder = temporaryFolder();
});

const points = { shape: [2, 2], data: Float64Array.of(1, 2, 3, 4) };
const labels = { shape: [2], data: BigInt64Array.of(7n, 0n) };
const npy = (name: string, array: NpyArray): string => {
  writeNpy(join(folder, name), array);
  return join(folder, name);
};
const npz = (arrays: Record<string, NpyArray>): string => {
  writeNpz(join(folder, "a.npz"), arrays);
  return join(folder, "a.npz");
};

it("takes two files, one, or an archive with names of any kind", () => {
  const [x, y] = [npy("x.npy", points), npy("y.npy", { shape: [2], data: Uint8Array.of(1, 0) })];
  expect(loadEmbeddings(x, y)).toEqual({ points, labels: Int32Array.of(1, 0) });
  expect(loadEmbeddings(x)).toEqual({ points, labels: undefined });
  expect(loadLabels(y)).toEqual(Int32Array.of(1, 0));
  const both = { points, labels: Int32Array.of(7, 0) };
  expect(loadEmbeddings(npz({ a: points, b: labels }))).toEqual(both);
  expect(loadEmbeddings(npz({ embeddings: points, labels, other: points, indices: labels }))).toEqual(both);
  expect(loadEmbeddings(npz({ embeddings: points }))).toEqual({ points, labels: undefined });
  expect(loadEmbeddings(npz({ a: points, b: labels }), y)).toEqual({ points, labels: Int32Array.of(1, 0) });
});

it.each<[string, () => unknown, RegExp]>([
  [
    "a list as embeddings",
    () => loadEmbeddings(npy("x.npy", labels)),
    /floats of shape \[n, d\] in ".*x\.npy", but received a BigInt64Array of shape \[2\]/,
  ],
  ["no embedding", () => loadEmbeddings(npy("x.npy", { shape: [0, 2], data: new Float32Array(0) })), /floats of shape \[n, d\].*\[0, 2\]/],
  ["NaN", () => loadEmbeddings(npy("x.npy", { shape: [2, 1], data: Float32Array.of(0, Number.NaN) })), /finite embeddings.*NaN in row 1/],
  ["labels that are floats", () => loadLabels(npy("y.npy", points)), /loadLabels: expected integers of shape \[n\]/],
  ["labels below 0", () => loadLabels(npy("y.npy", { shape: [2], data: Int32Array.of(0, -1) })), /labels from 0.*-1 at position 1/],
  ["labels that are too large", () => loadLabels(npy("y.npy", { shape: [1], data: BigInt64Array.of(2n ** 40n) })), /labels from 0.*1099511627776/],
  ["other labels", () => loadEmbeddings(npz({ a: points, b: { shape: [3], data: new Int32Array(3) } })), /2 labels, one per embedding,.*received 3/],
  ["two candidates", () => loadEmbeddings(npz({ a: points, b: points })), /an entry embeddings, or a single one that fits.*2: a, b/],
  ["no candidate", () => loadEmbeddings(npz({ b: labels })), /an entry with floats of shape \[n, d\].*received b/],
  ["a file that is not there", () => loadEmbeddings(join(folder, "none.npz")), /a readable NPZ file/],
])("refuses %s", (_, run, message) => {
  expect(run).toThrow(FileError);
  expect(run).toThrow(message);
});
