/** Embeddings with labels from NumPy's files, as commands take them: `.npy` files of either, or one `.npz` of both. */
import { FileError } from "../errors.ts";
import type { HostMatrix } from "../relative/matrix.ts";
import { readNpy } from "./disk.ts";
import type { NpyArray } from "./npy.ts";
import { readNpz } from "./npz.ts";

export interface Embeddings {
  /** [n, d], finite. */
  readonly points: HostMatrix;
  /** [n], from 0; undefined where the file holds none. */
  readonly labels: Int32Array | undefined;
}

const wrong = (where: string, path: string, what: string, received: string): FileError =>
  new FileError(`${where}: expected ${what} in ${JSON.stringify(path)}, but received ${received}`);

const describe = ({ shape, data }: NpyArray): string => `a ${data.constructor.name} of shape [${shape.join(", ")}]`;

/** [n, d] of floats, none of which is NaN or infinite. */
const pointsOf = (path: string, array: NpyArray): HostMatrix => {
  const { shape, data } = array;
  if (shape.length !== 2 || shape[0] < 1 || shape[1] < 1 || !(data instanceof Float32Array || data instanceof Float64Array))
    throw wrong("loadEmbeddings", path, "floats of shape [n, d]", describe(array));
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw wrong("loadEmbeddings", path, "finite embeddings", `${data[bad]} in row ${Math.floor(bad / shape[1])}`);
  return { shape, data };
};

/** [n] of whole numbers from 0, of any integer type. */
const labelsOf = (where: string, path: string, array: NpyArray): Int32Array => {
  const { shape, data } = array;
  if (shape.length !== 1 || data instanceof Float32Array || data instanceof Float64Array)
    throw wrong(where, path, "integers of shape [n]", describe(array));
  return Int32Array.from(data as ArrayLike<number | bigint>, (value, i) => {
    const label = Number(value);
    if (!(label >= 0 && label < 2 ** 31)) throw wrong(where, path, "labels from 0", `${value} at position ${i}`);
    return label;
  });
};

const paired = (path: string, points: HostMatrix, labels: Int32Array | undefined): Embeddings => {
  if (labels !== undefined && labels.length !== points.shape[0])
    throw wrong("loadEmbeddings", path, `${points.shape[0]} labels, one per embedding,`, `${labels.length}`);
  return { points, labels };
};

/** Labels from a `.npy` file. Throws FileError for what is no list of whole numbers from 0. */
export const loadLabels = (path: string): Int32Array => labelsOf("loadLabels", path, readNpy(path));

/**
 * Embeddings from a `.npy` file [n, d], with labels from another one [n] if given; or from a `.npz` archive: its entries `embeddings` and `labels`, or, whatever they are
 * called, its only matrix of floats and its only list of integers.
 *
 * @param labels path of a `.npy` file, which goes before those of an archive
 * @throws FileError for what cannot be read, arrays of other shapes or types, embeddings that are not finite, labels below 0, and another number of labels
 * @example
 * ```ts
 * const { mkdtemp, rm, writeFile } = await import("node:fs/promises");
 * const { tmpdir } = await import("node:os");
 * const folder = await mkdtemp(`${tmpdir()}/npy-`);
 * await writeFile(`${folder}/x.npy`, encodeNpy({ shape: [2, 1], data: Float32Array.of(1, 2) }));
 * await writeFile(`${folder}/y.npy`, encodeNpy({ shape: [2], data: BigInt64Array.of(0n, 3n) }));
 * const { points, labels } = loadEmbeddings(`${folder}/x.npy`, `${folder}/y.npy`);
 * await rm(folder, { recursive: true });
 * [points.data, labels]; // => [[1, 2], [0, 3]]
 * ```
 */
export const loadEmbeddings = (path: string, labels?: string): Embeddings => {
  const given = labels === undefined ? undefined : loadLabels(labels);
  if (!/\.npz$/i.test(path)) return paired(path, pointsOf(path, readNpy(path)), given);
  const archive = readNpz(path);
  const entries = Object.entries(archive);
  const only = (name: string, fits: (array: NpyArray) => boolean): NpyArray | undefined => {
    if (name in archive) return archive[name];
    const found = entries.filter(([, array]) => fits(array));
    if (found.length > 1)
      throw wrong("loadEmbeddings", path, `an entry ${name}, or a single one that fits`, `${found.length}: ${found.map(([key]) => key).join(", ")}`);
    return found[0]?.[1];
  };
  const isFloat = ({ data }: NpyArray): boolean => data instanceof Float32Array || data instanceof Float64Array;
  const matrix = only("embeddings", (array) => array.shape.length === 2 && isFloat(array));
  if (matrix === undefined)
    throw wrong("loadEmbeddings", path, "an entry with floats of shape [n, d]", entries.map(([key]) => key).join(", ") || "none");
  const list = given === undefined ? only("labels", (array) => array.shape.length === 1 && !isFloat(array)) : undefined;
  return paired(path, pointsOf(path, matrix), given ?? (list && labelsOf("loadEmbeddings", path, list)));
};
