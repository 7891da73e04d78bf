/** What encoders look at: generated classes, images, or embeddings that other encoders made. */
import { type Split, splitIndices } from "../data/batches.ts";
import { loadEmbeddings, loadLabels } from "../data/embeddings.ts";
import { loadIdxFolder } from "../data/idx.ts";
import { createRandom, range, shuffle } from "../data/random.ts";
import { expected } from "../errors.ts";

/** Rows of numbers, [n, size]. */
export interface View {
  readonly name: string;
  readonly values: Float32Array;
  readonly size: number;
}

export interface StitchData {
  readonly name: string;
  readonly description: string;
  /** What encoder l sees is views[l mod views]: the same rows in the same order. */
  readonly views: readonly View[];
  readonly labels: Int32Array;
  readonly classes: number;
  /** The views are outputs of encoders already: there is nothing to train but decoders. */
  readonly frozen: boolean;
}

const view = (name: string, values: Float32Array, size: number): View => ({ name, values, size });

/**
 * Classes that lie on curved sheets: a point of its class in 6 dimensions, spread unevenly, bent by a random layer of tanh into 32 coordinates with noise.
 * Some are told apart by how they bend alone, so that encoders have something to learn.
 */
export const generatedData = ({
  seed,
  count,
  classes = 10,
}: {
  readonly seed: number;
  readonly count: number;
  readonly classes?: number;
}): StitchData => {
  const [inner, size] = [6, 32];
  const random = createRandom(seed, 4000);
  const matrix = (rows: number, columns: number, deviation: number): Float64Array =>
    Float64Array.from({ length: rows * columns }, () => deviation * random.normal());
  const centres = matrix(classes, inner, 1.1);
  const spreads = Float64Array.from({ length: inner }, (_, i) => 0.25 + 0.15 * i);
  const bend = matrix(inner, size, 0.9);
  const shift = matrix(1, size, 0.5);
  const values = new Float32Array(count * size);
  const labels = Int32Array.from({ length: count }, (_, i) => i % classes);
  for (let i = 0; i < count; i++) {
    const point = Float64Array.from({ length: inner }, (_, k) => centres[labels[i] * inner + k] + spreads[k] * random.normal());
    for (let j = 0; j < size; j++) {
      let sum = shift[j];
      for (let k = 0; k < inner; k++) sum += point[k] * bend[k * size + j];
      values[i * size + j] = Math.tanh(sum) + 0.15 * random.normal();
    }
  }
  return {
    name: "generated classes",
    description: `${count} points of ${classes} classes on curved sheets in ${size} dimensions`,
    views: [view("points", values, size)],
    labels,
    classes,
    frozen: false,
  };
};

/** Images of a folder of IDX files, pixels with mean 0 and deviation 1 over all of them. */
export const imageData = (folder: string): StitchData => {
  const { images, labels, count, height, width, classes } = loadIdxFolder(folder);
  let [sum, squares] = [0, 0];
  for (const pixel of images) {
    sum += pixel;
    squares += pixel * pixel;
  }
  const mean = sum / images.length;
  const deviation = Math.sqrt(Math.max(squares / images.length - mean * mean, 1e-12));
  return {
    name: "images",
    description: `${count} images of ${height}×${width}, ${classes} classes`,
    views: [
      view(
        "images",
        images.map((pixel) => (pixel - mean) / deviation),
        height * width,
      ),
    ],
    labels,
    classes,
    frozen: false,
  };
};

/**
 * Embeddings of the same things by several encoders, row by row, with their labels.
 *
 * @throws ArgumentError for fewer than two files, other numbers of rows, no labels or those of two files that differ; FileError for files that cannot be read
 */
export const embeddingData = (paths: readonly string[], labelPath: string | undefined): StitchData => {
  const where = "birkhoff stitch";
  if (paths.length < 2) throw expected(where, "at least two files, separated by commas,", "--embeddings", paths.join(","));
  const files = paths.map((path) => loadEmbeddings(path));
  const labels = labelPath === undefined ? files.find((file) => file.labels)?.labels : loadLabels(labelPath);
  if (labels === undefined) throw expected(where, "labels, in a file of their own or in one of the archives,", "--labels", "none");
  for (const [i, { points, labels: own }] of files.entries()) {
    if (points.shape[0] !== labels.length) throw expected(where, `${labels.length} rows, one per label,`, paths[i], `${points.shape[0]}`);
    if (labelPath === undefined && own && own.some((label, row) => label !== labels[row]))
      throw expected(where, "the same labels in all archives", paths[i], "others");
  }
  const classes = labels.reduce((most, label) => Math.max(most, label), 0) + 1;
  return {
    name: "embeddings",
    description: `${labels.length} embeddings by ${paths.length} encoders, ${classes} classes`,
    views: files.map(({ points }, i) => view(nameOf(paths[i]), Float32Array.from(points.data), points.shape[1])),
    labels,
    classes,
    frozen: true,
  };
};

const nameOf = (path: string): string => path.replace(/^.*[\\/]/, "").replace(/\.np[yz]$/i, "");

/** Rows to train on and rows held out. Rows of `anchors` are never held out. */
export const splitData = (
  { labels }: StitchData,
  seed: number,
  heldOut: number,
  train: number | undefined,
  anchors: Int32Array = new Int32Array(),
): Split => {
  const taken = new Set(anchors);
  const others = range(labels.length).filter((row) => !taken.has(row));
  const split = splitIndices(others.length, heldOut, createRandom(seed, 4001));
  const free = split.train.map((i) => others[i]);
  const all = shuffle(Int32Array.of(...free, ...taken), createRandom(seed, 4002));
  return { heldOut: split.heldOut.map((i) => others[i]), train: all.slice(0, train ?? all.length) };
};

/** Rows of a view, one behind the other. */
export const rowsOf = ({ values, size }: View, indices: ArrayLike<number>, into = new Float32Array(indices.length * size)): Float32Array => {
  for (let i = 0; i < indices.length; i++) into.set(values.subarray(indices[i] * size, (indices[i] + 1) * size), i * size);
  return into;
};
