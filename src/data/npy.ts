/** NPY, NumPy's file format of one array: magic, version, a header that is the literal of a Python dictionary, then the values. */
import { checkFlags, checkNames, expected, FileError } from "../errors.ts";

export type NpyData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

/** An array with its shape, in row-major order and the machine's byte order. */
export interface NpyArray {
  readonly shape: readonly number[];
  readonly data: NpyData;
}

export interface EncodeNpyOptions {
  /** Writes the values column by column, as NumPy keeps Fortran-ordered arrays. Default false. */
  readonly fortranOrder?: boolean;
}

/** A typed array of one of the types: what is read out of one of them fits the other. */
interface Values {
  readonly length: number;
  [index: number]: number | bigint;
}

interface ElementType {
  readonly bytes: number;
  allocate(length: number): NpyData;
  get(view: DataView, offset: number, little: boolean): number | bigint;
}

/** Half precision: 1 sign, 5 exponent, 10 fraction bits; every value is a float32. */
const float16 = (bits: number): number => {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
};

/** By NumPy's code of kind and size. Half precision becomes float32, booleans become 0 and 1. */
const TYPES: Readonly<Record<string, ElementType>> = {
  f2: { bytes: 2, allocate: (n) => new Float32Array(n), get: (view, at, little) => float16(view.getUint16(at, little)) },
  f4: { bytes: 4, allocate: (n) => new Float32Array(n), get: (view, at, little) => view.getFloat32(at, little) },
  f8: { bytes: 8, allocate: (n) => new Float64Array(n), get: (view, at, little) => view.getFloat64(at, little) },
  i1: { bytes: 1, allocate: (n) => new Int8Array(n), get: (view, at) => view.getInt8(at) },
  i2: { bytes: 2, allocate: (n) => new Int16Array(n), get: (view, at, little) => view.getInt16(at, little) },
  i4: { bytes: 4, allocate: (n) => new Int32Array(n), get: (view, at, little) => view.getInt32(at, little) },
  i8: { bytes: 8, allocate: (n) => new BigInt64Array(n), get: (view, at, little) => view.getBigInt64(at, little) },
  u1: { bytes: 1, allocate: (n) => new Uint8Array(n), get: (view, at) => view.getUint8(at) },
  u2: { bytes: 2, allocate: (n) => new Uint16Array(n), get: (view, at, little) => view.getUint16(at, little) },
  u4: { bytes: 4, allocate: (n) => new Uint32Array(n), get: (view, at, little) => view.getUint32(at, little) },
  u8: { bytes: 8, allocate: (n) => new BigUint64Array(n), get: (view, at, little) => view.getBigUint64(at, little) },
  b1: { bytes: 1, allocate: (n) => new Uint8Array(n), get: (view, at) => Number(view.getUint8(at) !== 0) },
};

/** What each typed array is called in a file that is written. */
const CODES = new Map<unknown, string>([
  [Float32Array, "f4"],
  [Float64Array, "f8"],
  [Int8Array, "i1"],
  [Int16Array, "i2"],
  [Int32Array, "i4"],
  [BigInt64Array, "i8"],
  [Uint8Array, "u1"],
  [Uint16Array, "u2"],
  [Uint32Array, "u4"],
  [BigUint64Array, "u8"],
]);

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
const MAX_BYTES = 2 ** 31;
/** The shape and the name of a plain type fit many times; only types with fields, which are refused anyway, need more. */
const MAX_HEADER = 65535;
/** Where the values begin is a multiple of it. */
const ALIGNMENT = 64;
const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
const clip = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);

/** FileError in the library's sentence form. */
const wrong = (name: string, what: string, received: string): FileError =>
  new FileError(`decodeNpy: expected ${what} in ${JSON.stringify(name)}, but received ${received}`);

interface Header {
  readonly descr: string;
  readonly fortran: boolean;
  readonly shape: readonly number[];
}

const ENTRY = /\s*(?:'(\w+)'|"(\w+)")\s*:\s*('[^']*'|"[^"]*"|True|False|\(\s*(?:\d+L?\s*,\s*)*(?:\d+L?\s*)?\))\s*(,|(?=\}))/y;

/** The three entries of the dictionary; nothing is evaluated, and nothing else is accepted. */
const parseHeader = (name: string, text: string): Header => {
  const refuse = (): FileError => wrong(name, "a dictionary of descr (a plain type), fortran_order and shape as header", clip(text.trimEnd()));
  const body = text.trim();
  if (!body.startsWith("{") || !body.endsWith("}")) throw refuse();
  const found = new Map<string, string>();
  ENTRY.lastIndex = 1;
  while (!/^\s*\}$/.test(body.slice(ENTRY.lastIndex))) {
    const match = ENTRY.exec(body);
    const key = match?.[1] ?? match?.[2];
    if (match === null || key === undefined || found.has(key)) throw refuse();
    found.set(key, match[3]);
  }
  const [descr, fortran, shape] = [found.get("descr"), found.get("fortran_order"), found.get("shape")];
  if (found.size !== 3 || !/^['"]/.test(descr ?? "") || !/^(True|False)$/.test(fortran ?? "") || !shape?.startsWith("(")) throw refuse();
  // One number in brackets is no tuple in Python.
  if (/^\(\s*\d+L?\s*\)$/.test(shape)) throw refuse();
  return { descr: (descr ?? "").slice(1, -1), fortran: fortran === "True", shape: (shape.match(/\d+/g) ?? []).map(Number) };
};

/** Row-major from column-major. */
const toRowMajor = (shape: readonly number[], from: Values, to: Values): void => {
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((product, size) => product * size, 1));
  const place = new Array<number>(shape.length).fill(0);
  for (let i = 0, source = 0; i < to.length; i++) {
    to[i] = from[source];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      source += strides[axis];
      if (++place[axis] < shape[axis]) break;
      source -= shape[axis] * strides[axis];
      place[axis] = 0;
    }
  }
};

/**
 * Reads the bytes of one `.npy` file, versions 1 to 3 of the format, either byte order, C or Fortran order; the values come back row-major. Half precision
 * (`float16`) becomes float32, `bool` becomes 0 and 1, `int64` stays exact as BigInt. Types with fields, strings and Python objects are refused, and nothing in a
 * file is ever evaluated. A `.npz` file is a zip archive of such files: unpack it with any zip library. (NumPy Enhancement Proposal 1, and `numpy.lib.format`.)
 *
 * @param name what the bytes are called in errors, for instance their path. Default "npy"
 * @throws FileError for a wrong magic number or version, a truncated or malformed header, another type, sizes whose product exceeds 2 GiB, and a body that is too short
 * or too long.
 * @example
 * ```ts
 * const bytes = encodeNpy({ shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) });
 * const { shape, data } = decodeNpy(bytes);
 * [...shape, ...data]; // => [2, 2, 1, 2, 3, 4]
 * decodeNpy(bytes.subarray(0, 100)); // throws FileError
 * ```
 */
export const decodeNpy = (bytes: Uint8Array, name = "npy"): NpyArray => {
  if (!(bytes instanceof Uint8Array)) throw expected("decodeNpy", "a Uint8Array", "bytes", bytes);
  if (bytes.length < 8 || MAGIC.some((byte, i) => bytes[i] !== byte))
    throw wrong(name, "the 8 bytes 93 4e 55 4d 50 59 (\\x93NUMPY) and a version", bytes.length === 0 ? "0 bytes" : hex(bytes.subarray(0, 8)));
  const version = bytes[6];
  if (version < 1 || version > 3 || bytes[7] !== 0) throw wrong(name, "version 1.0, 2.0 or 3.0", `${version}.${bytes[7]}`);
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) throw wrong(name, `${start} bytes before the header`, `${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_HEADER) throw wrong(name, `a header of at most ${MAX_HEADER} bytes`, `${length}`);
  if (bytes.length < start + length) throw wrong(name, `a header of ${length} bytes`, `a truncated file with ${bytes.length - start}`);
  // Version 3 differs by its encoding only; latin1 reads every byte.
  const text = new TextDecoder(version === 3 ? "utf-8" : "latin1").decode(bytes.subarray(start, start + length));
  const { descr, fortran, shape } = parseHeader(name, text);
  const type = /^[<>|=]/.test(descr) ? TYPES[descr.slice(1)] : undefined;
  if (type === undefined)
    throw wrong(name, "a plain type: f2, f4, f8, i1, i2, i4, i8, u1, u2, u4, u8 or b1 behind one of < > | =,", `descr ${clip(descr)}`);
  const count = shape.reduce((product, size) => product * size, 1);
  const size = count * type.bytes;
  const declared = `[${shape.join(", ")}] ${descr}`;
  if (!(size <= MAX_BYTES) || shape.some((entry) => entry > MAX_BYTES) || shape.length > 32)
    throw wrong(name, `at most ${MAX_BYTES} bytes of values on at most 32 axes`, `shape ${declared}`);
  const body = bytes.length - start - length;
  if (body < size) throw wrong(name, `${size} bytes of values for ${declared}`, `a truncated file with ${body}`);
  if (body > size) throw wrong(name, `${size} bytes of values for ${declared}`, `${body - size} trailing bytes`);

  const values = type.allocate(count);
  const list: Values = values;
  const little = descr[0] === "=" ? LITTLE_ENDIAN : descr[0] !== ">";
  const first = start + length;
  const asTheyAre = values.BYTES_PER_ELEMENT === type.bytes && (type.bytes === 1 || little === LITTLE_ENDIAN) && descr[1] !== "b";
  if (asTheyAre) new Uint8Array(values.buffer).set(bytes.subarray(first));
  else for (let i = 0; i < count; i++) list[i] = type.get(view, first + i * type.bytes, little);
  if (!fortran || shape.length < 2) return { shape, data: values };
  const data = type.allocate(count);
  toRowMajor(shape, values, data);
  return { shape, data };
};

/**
 * The bytes of a `.npy` file, version 1.0, in the machine's byte order, which `numpy.load` reads.
 *
 * @throws ArgumentError for sizes that are no non-negative integers, data that is no typed array of the format, and another number of values.
 * @example
 * ```ts
 * const bytes = encodeNpy({ shape: [3], data: Int32Array.of(7, 8, 9) });
 * bytes.length; // => 140
 * encodeNpy({ shape: [4], data: Int32Array.of(7, 8, 9) }); // throws ArgumentError
 * ```
 */
export const encodeNpy = (array: NpyArray, options: EncodeNpyOptions = {}): Uint8Array => {
  const { fortranOrder = false } = checkNames("encodeNpy", options, ["fortranOrder"]);
  checkFlags("encodeNpy", { fortranOrder });
  const { shape, data } = array ?? {};
  const code = CODES.get(data?.constructor);
  if (code === undefined) throw expected("encodeNpy", "a typed array of numbers", "array.data", data);
  if (!Array.isArray(shape) || shape.length > 32 || !shape.every((size) => Number.isSafeInteger(size) && size >= 0))
    throw expected("encodeNpy", "at most 32 non-negative integers", "array.shape", shape);
  const count = shape.reduce((product: number, size: number) => product * size, 1);
  if (data.length !== count)
    throw expected("encodeNpy", `${count} values to fill shape [${shape.join(", ")}]`, "array.data", `${data.length} values`);

  const order = data.BYTES_PER_ELEMENT === 1 ? "|" : LITTLE_ENDIAN ? "<" : ">";
  const tuple = `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
  const header = `{'descr': '${order}${code}', 'fortran_order': ${fortranOrder ? "True" : "False"}, 'shape': ${tuple}, }`;
  const length = Math.ceil((10 + header.length + 1) / ALIGNMENT) * ALIGNMENT - 10;
  const bytes = new Uint8Array(10 + length + data.byteLength);
  bytes.set([...MAGIC, 1, 0, length & 255, length >> 8]);
  bytes.set(new TextEncoder().encode(`${header.padEnd(length - 1)}\n`), 10);
  let values = data;
  if (fortranOrder && shape.length > 1) {
    // Column-major values of a shape are row-major values of the reversed shape of the transpose.
    values = data.slice();
    toRowMajor(shape.toReversed(), data, values);
  }
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), 10 + length);
  return bytes;
};
