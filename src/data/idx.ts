/** IDX, the file format of MNIST: magic 00 00 <type> <rank>, one big-endian uint32 per axis, then the values. */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { constants, gunzipSync, type ZlibOptions } from "node:zlib";
import { FileError } from "../errors.ts";
import { checkPath, fileError, type LabelledImages, namesIn, reason, someOf } from "./folder.ts";

export type IdxData = Uint8Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;

export interface IdxFile {
  readonly shape: readonly number[];
  /** Row-major, in the machine's byte order. */
  readonly data: IdxData;
}

/** `channels` is 1, `classes` one more than the largest label, `training` the number of images of pairs named train*. */
export interface IdxFolder extends LabelledImages {
  /** File names, images before labels, in the order in which they were joined. */
  readonly files: readonly string[];
}

interface ElementType {
  readonly name: string;
  readonly bytes: number;
  allocate(length: number): IdxData;
  get(view: DataView, offset: number): number;
}

const TYPES: Readonly<Record<number, ElementType>> = {
  8: { name: "uint8", bytes: 1, allocate: (length) => new Uint8Array(length), get: (view, offset) => view.getUint8(offset) },
  9: { name: "int8", bytes: 1, allocate: (length) => new Int8Array(length), get: (view, offset) => view.getInt8(offset) },
  11: { name: "int16", bytes: 2, allocate: (length) => new Int16Array(length), get: (view, offset) => view.getInt16(offset) },
  12: { name: "int32", bytes: 4, allocate: (length) => new Int32Array(length), get: (view, offset) => view.getInt32(offset) },
  13: { name: "float32", bytes: 4, allocate: (length) => new Float32Array(length), get: (view, offset) => view.getFloat32(offset) },
  14: { name: "float64", bytes: 8, allocate: (length) => new Float64Array(length), get: (view, offset) => view.getFloat64(offset) },
};

const MAX_BYTES = 2 ** 31;

/** Deflate packs at most 1032 bytes into one. */
const MAX_RATIO = 1032;
/** So many packed bytes hold the longest header, and may be unpacked whatever they hold. */
const SMALL = 8192;

interface Header {
  readonly type: ElementType;
  readonly shape: readonly number[];
  /** Bytes before the values. */
  readonly length: number;
  /** Bytes of the values. */
  readonly size: number;
  /** What was declared, for errors. */
  readonly declared: string;
}

/** Of the first bytes of a file. */
const readHeader = (path: string, bytes: Uint8Array): Header => {
  if (bytes.length < 4) throw fileError("readIdx", path, "a 4-byte IDX magic number", `${bytes.length} bytes`);
  const type = TYPES[bytes[2]];
  if (bytes[0] !== 0 || bytes[1] !== 0 || type === undefined)
    throw fileError("readIdx", path, "an IDX magic number (00 00, type 08 09 0b 0c 0d or 0e, rank)", hex(bytes.subarray(0, 4)));
  const rank = bytes[3];
  const length = 4 + 4 * rank;
  if (rank === 0) throw fileError("readIdx", path, "at least one dimension", "rank 0");
  if (bytes.length < length) throw fileError("readIdx", path, `a header of ${length} bytes for ${rank} dimensions`, `${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const size = shape.reduce((product, side) => product * side, 1) * type.bytes;
  const declared = `[${shape.join(", ")}] ${type.name}`;
  if (!(size <= MAX_BYTES)) throw fileError("readIdx", path, `at most ${MAX_BYTES} bytes of values`, `dimensions ${declared}`);
  return { type, shape, length, size, declared };
};

/** Unpacks no more than the header says, which is looked at first: a few bytes may stand for gigabytes. */
const unpack = (path: string, packed: Uint8Array): Uint8Array => {
  const gunzip = (bytes: Uint8Array, options: ZlibOptions): Uint8Array => {
    try {
      return gunzipSync(bytes, options);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") throw error;
      throw fileError("readIdx", path, "a complete gzip stream", `a corrupt or truncated one (${reason(error)})`, error);
    }
  };
  if (packed.length <= SMALL) return gunzip(packed, {});
  const { length, size, declared } = readHeader(path, gunzip(packed.subarray(0, SMALL), { finishFlush: constants.Z_SYNC_FLUSH }));
  const what = `${size} bytes of values for ${declared}`;
  if (size > MAX_RATIO * packed.length) throw fileError("readIdx", path, what, `a gzip stream of ${packed.length}, which cannot hold them`);
  try {
    return gunzip(packed, { maxOutputLength: length + size });
  } catch (error) {
    if (error instanceof FileError) throw error;
    throw fileError("readIdx", path, what, "trailing bytes", error);
  }
};

const readBytes = (path: string): Uint8Array => {
  checkPath("readIdx", path);
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw fileError("readIdx", path, "a readable IDX file", reason(error), error);
  }
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? unpack(path, bytes) : bytes;
};

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

/**
 * Reads one IDX file, plain or gzip (told apart by content, not by name), of any element type of the format.
 *
 * @throws FileError for a missing or unreadable file, corrupt gzip, a wrong magic number, a truncated header or body,
 * trailing bytes, and sizes whose product exceeds 2 GiB; ArgumentError for what is no path
 * @example
 * ```ts
 * const { mkdtemp, rm, writeFile } = await import("node:fs/promises");
 * const { tmpdir } = await import("node:os");
 * const folder = await mkdtemp(`${tmpdir()}/idx-`);
 * await writeFile(`${folder}/labels-idx1-ubyte`, Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1)); // bytes, one axis of size 3
 * const { shape, data } = readIdx(`${folder}/labels-idx1-ubyte`);
 * await rm(folder, { recursive: true });
 * [...shape, ...data]; // => [3, 7, 2, 1]
 * ```
 */
export const readIdx = (path: string): IdxFile => {
  const bytes = readBytes(path);
  const { type, shape, length: header, size, declared } = readHeader(path, bytes);
  const body = bytes.length - header;
  if (body < size) throw fileError("readIdx", path, `${size} bytes of values for ${declared}`, `a truncated file with ${body}`);
  if (body > size) throw fileError("readIdx", path, `${size} bytes of values for ${declared}`, `${body - size} trailing bytes`);
  const length = size / type.bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const data = type.allocate(length);
  if (type.bytes === 1) new Uint8Array(data.buffer).set(bytes.subarray(header));
  else for (let i = 0, offset = header; i < length; i++, offset += type.bytes) data[i] = type.get(view, offset);
  return { shape, data };
};

const NAME = /images?|labels?/i;

/** What the two files of a pair have in common: the name without its part (images, labels), rank (idx3, idx1) and `.gz`. */
const pairKey = (name: string): string =>
  name
    .toLowerCase()
    .replace(/\.gz$/, "")
    .replace(/images?|labels?/, "")
    .replace(/idx\d/, "");

interface Pair {
  images?: string;
  labels?: string;
}

const findPairs = (folder: string): Map<string, Pair> => {
  const names = namesIn("loadIdxFolder", folder);
  // In this order a plain file comes before its .gz, and what is already there wins.
  const found = names.filter((name) => NAME.test(name) && !/\.(txt|md|json|png|jpg)$/i.test(name)).sort();
  const pairs = new Map<string, Pair>();
  for (const name of found) {
    const key = pairKey(name);
    const pair = pairs.get(key) ?? {};
    const part = /image/i.test(name) ? "images" : "labels";
    pair[part] ??= name;
    pairs.set(key, pair);
  }
  if (pairs.size === 0) throw fileError("loadIdxFolder", folder, "IDX files named *images* and *labels*", someOf(names));
  for (const { images, labels } of pairs.values()) {
    if (images === undefined) throw fileError("loadIdxFolder", folder, `an images file beside ${labels}`, "none");
    if (labels === undefined) throw fileError("loadIdxFolder", folder, `a labels file beside ${images}`, "none");
  }
  return pairs;
};

const readImages = (path: string): IdxFile => {
  const file = readIdx(path);
  if (file.shape.length !== 3) throw fileError("loadIdxFolder", path, "3 dimensions (count, height, width)", `${file.shape.length}`);
  if (!(file.data instanceof Uint8Array)) throw fileError("loadIdxFolder", path, "uint8 images", `a ${file.data.constructor.name}`);
  return file;
};

const readLabels = (path: string, images: IdxFile): IdxFile => {
  const file = readIdx(path);
  if (file.shape.length !== 1) throw fileError("loadIdxFolder", path, "1 dimension (count)", `${file.shape.length}`);
  if (file.shape[0] !== images.shape[0]) throw fileError("loadIdxFolder", path, `${images.shape[0]} labels, one per image`, `${file.shape[0]}`);
  for (const label of file.data) {
    if (!Number.isInteger(label) || label < 0 || label > 65535) throw fileError("loadIdxFolder", path, "labels in 0 … 65535", `${label}`);
  }
  return file;
};

/**
 * Loads every pair of image and label files of a folder (`*images*` with `*labels*`, with or without `.gz`) and joins
 * them: a pair named train* first, the others by name.
 *
 * @throws FileError as `readIdx`, and for a missing partner, images that are not 3-dimensional uint8, counts that do
 * not match, pairs of different image sizes, negative or fractional labels, and folders without an image; ArgumentError for what is no path
 * @example
 * ```ts
 * const { mkdtemp, rm, writeFile } = await import("node:fs/promises");
 * const { tmpdir } = await import("node:os");
 * const folder = await mkdtemp(`${tmpdir()}/idx-`);
 * await writeFile(`${folder}/t10k-images-idx3-ubyte`, Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 255, 0));
 * await writeFile(`${folder}/t10k-labels-idx1-ubyte`, Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 1, 7));
 * const { images, labels, height, width, classes } = loadIdxFolder(folder);
 * await rm(folder, { recursive: true });
 * [height, width, classes]; // => [1, 2, 8]
 * [images, labels]; // => [[1, 0], [7]]
 * ```
 */
export const loadIdxFolder = (folder: string): IdxFolder => {
  const trains = (key: string): boolean => key.startsWith("train");
  const pairs = [...findPairs(folder)].sort(([a], [b]) => Number(trains(b)) - Number(trains(a)) || (a < b ? -1 : 1));
  const parts = pairs.map(([key, pair]) => {
    const imagePath = join(folder, pair.images ?? "");
    const labelPath = join(folder, pair.labels ?? "");
    const images = readImages(imagePath);
    return { imagePath, labelPath, images, labels: readLabels(labelPath, images), trains: trains(key) };
  });
  const [, height, width] = parts[0].images.shape;
  const count = parts.reduce((sum, part) => sum + part.images.shape[0], 0);
  if (count * height * width === 0) throw fileError("loadIdxFolder", folder, "at least one image", `dimensions [${count}, ${height}, ${width}]`);
  const images = new Float32Array(count * height * width);
  const labels = new Int32Array(count);
  let first = 0;
  for (const part of parts) {
    const [n, h, w] = part.images.shape;
    if (h !== height || w !== width)
      throw fileError("loadIdxFolder", part.imagePath, `images of ${height} × ${width} like the first file's`, `${h} × ${w}`);
    for (let i = 0; i < part.images.data.length; i++) images[first * height * width + i] = part.images.data[i] / 255;
    labels.set(part.labels.data, first);
    first += n;
  }
  const classes = labels.reduce((most, label) => Math.max(most, label), 0) + 1;
  const training = parts.reduce((sum, part) => sum + (part.trains ? part.images.shape[0] : 0), 0);
  const files = parts.flatMap((part) => [basename(part.imagePath), basename(part.labelPath)]);
  return { images, labels, count, channels: 1, height, width, classes, training, files };
};
