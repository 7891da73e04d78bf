/**
 * safetensors, the file format in which weights of neural networks are exchanged: eight bytes with the length of a JSON header, the header (name, dtype, shape and place of
 * every tensor), then the values, little-endian and row-major, without holes. Nothing in a file is ever evaluated.
 */
import { ArgumentError, expected, FileError } from "../errors.ts";
import { fromHalfBits, toHalfBits } from "../half.ts";
import type { NpyData } from "./npy.ts";
import { type HeaderEntry, parseHeader, type Refuse } from "./safetensorsHeader.ts";

interface Format {
  /** Bits of one element: those below 8 lie packed. */
  readonly bits: number;
  /** What holds the values; absent where they stay bytes. */
  readonly array?: { readonly name: string; new (buffer: ArrayBuffer): NpyData };
  /** Values of a dtype that JavaScript has no array for, as float32 and back. */
  readonly float?: { decode(words: Uint16Array): Float32Array; encode(values: Float32Array): Uint16Array };
}

const fromBfloat16 = (words: Uint16Array): Float32Array => new Float32Array(Uint32Array.from(words, (word) => word << 16).buffer);

/** Rounded to the nearest, ties to even; NaN stays NaN. */
const toBfloat16 = (values: Float32Array): Uint16Array => {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(words, (word, i) => (Number.isNaN(values[i]) ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16));
};

/** From the narrowest to the widest: the format's own order, in which its writer lays tensors out from the end. */
const FORMATS = {
  BOOL: { bits: 8, array: Uint8Array },
  F4: { bits: 4 },
  F6_E2M3: { bits: 6 },
  F6_E3M2: { bits: 6 },
  U8: { bits: 8, array: Uint8Array },
  I8: { bits: 8, array: Int8Array },
  F8_E5M2: { bits: 8 },
  F8_E4M3: { bits: 8 },
  F8_E8M0: { bits: 8 },
  F8_E4M3FNUZ: { bits: 8 },
  F8_E5M2FNUZ: { bits: 8 },
  I16: { bits: 16, array: Int16Array },
  U16: { bits: 16, array: Uint16Array },
  F16: { bits: 16, array: Float32Array, float: { decode: fromHalfBits, encode: toHalfBits } },
  BF16: { bits: 16, array: Float32Array, float: { decode: fromBfloat16, encode: toBfloat16 } },
  I32: { bits: 32, array: Int32Array },
  U32: { bits: 32, array: Uint32Array },
  F32: { bits: 32, array: Float32Array },
  C64: { bits: 64 },
  F64: { bits: 64, array: Float64Array },
  I64: { bits: 64, array: BigInt64Array },
  U64: { bits: 64, array: BigUint64Array },
} as const satisfies Readonly<Record<string, Format>>;

/** The names of element types in the format. */
export type SafetensorsDType = keyof typeof FORMATS;

const ORDER = Object.keys(FORMATS) as readonly SafetensorsDType[];
const formatOf = (dtype: SafetensorsDType): Format => FORMATS[dtype];
const isDType = (dtype: unknown): dtype is SafetensorsDType => typeof dtype === "string" && Object.hasOwn(FORMATS, dtype);

/**
 * A tensor outside of any device. `data` is the typed array of the dtype; F16 and BF16 are a Float32Array, BOOL is a Uint8Array of 0 and 1, and the types for which
 * JavaScript has no array (F8_*, F6_*, F4, C64) are a Uint8Array of their bytes.
 */
export interface HostTensor {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Row-major. */
  readonly data: NpyData;
}

/** Tensors by name, as a module or an optimiser gives them and a file holds them. */
export type StateDict = Map<string, HostTensor>;

/** What a file holds. */
export interface Safetensors {
  /** In the order in which they lie in the file. */
  readonly tensors: StateDict;
  /** Texts by name, which the format calls `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
}

const METADATA = "__metadata__";
const MAX_HEADER = 100_000_000;
const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** The machine's byte order from the file's, and back. */
const swapped = (bytes: Uint8Array<ArrayBuffer>, width: number): Uint8Array<ArrayBuffer> => {
  if (LITTLE_ENDIAN) return bytes;
  for (let at = 0; at < bytes.length; at += width) bytes.subarray(at, at + width).reverse();
  return bytes;
};

/** Bytes that the values of a shape take; undefined where they are no whole number of bytes, or none that a number can hold. */
const byteLength = (dtype: SafetensorsDType, shape: readonly number[]): number | undefined => {
  const bytes = (shape.reduce((product, size) => product * size, 1) * formatOf(dtype).bits) / 8;
  // A size of 0 does not excuse sizes whose product overflows.
  const whole = Number.isSafeInteger(bytes) && Number.isSafeInteger(shape.reduce((product, size) => product * Math.max(size, 1), 1) * 8);
  return whole ? bytes : undefined;
};

/** Every tensor begins where the one before it ends, and the last ends with the file. */
const checkLayout = (entries: readonly HeaderEntry[], total: number, refuse: Refuse): void => {
  let end = 0;
  for (const { name, dtype, shape, offsets } of entries) {
    const label = JSON.stringify(name);
    if (!isDType(dtype)) throw refuse(`one of ${ORDER.join(", ")} as dtype of ${label}`, JSON.stringify(dtype));
    const size = byteLength(dtype, shape);
    const declared = `[${shape.join(", ")}] of ${dtype}`;
    if (size === undefined) throw refuse(`a shape of ${label} whose values are a whole number of bytes that fits 53 bits`, declared);
    if (offsets[0] !== end) throw refuse(`data_offsets of ${label} that begin at ${end}, where the tensor before it ends`, `[${offsets.join(", ")}]`);
    if (offsets[1] - offsets[0] !== size)
      throw refuse(`data_offsets of ${label} that are ${size} bytes apart for ${declared}`, `[${offsets.join(", ")}]`);
    end = offsets[1];
  }
  if (total < end) throw refuse(`${end} bytes of values behind the header`, `a truncated file with ${total}`);
  if (total > end) throw refuse(`${end} bytes of values behind the header`, `${total - end} trailing bytes`);
};

const decodeValues = (dtype: SafetensorsDType, bytes: Uint8Array): NpyData => {
  const { bits, array, float } = formatOf(dtype);
  // Not `slice`, which of Node's Buffer is a view of the same memory.
  const own = swapped(new Uint8Array(bytes), Math.max(1, dtype === "C64" ? 4 : bits / 8));
  if (float) return float.decode(new Uint16Array(own.buffer));
  return array ? new array(own.buffer) : own;
};

/**
 * Reads the bytes of a `.safetensors` file. Nothing is allocated before the header is known to fit the file. F16 and BF16 become float32, which holds their values
 * exactly; 64-bit integers stay exact as BigInt; see `HostTensor` for the other types.
 * (Format and limits: https://github.com/huggingface/safetensors, "Format".)
 *
 * @param name what the bytes are called in errors, for instance their path. Default "safetensors"
 * @throws FileError for a file shorter than 8 bytes, a header that is longer than 100 MB or the file, does not begin with `{`, is no UTF-8 or JSON of the format, or has
 * a key twice; an unknown dtype; offsets that overlap, leave a hole or do not fit dtype and shape; and values that are missing or left over.
 * @example
 * ```ts
 * const bytes = encodeSafetensors(new Map([["weight", { dtype: "F32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]]), { epoch: "3" });
 * const { tensors, metadata } = decodeSafetensors(bytes);
 * tensors.get("weight")?.data; // => [1, 2, 3, 4]
 * metadata.epoch; // => "3"
 * decodeSafetensors(bytes.subarray(0, 100)); // throws FileError
 * ```
 */
export const decodeSafetensors = (bytes: Uint8Array, name = "safetensors"): Safetensors => {
  if (!(bytes instanceof Uint8Array)) throw expected("decodeSafetensors", "a Uint8Array", "bytes", bytes);
  const refuse: Refuse = (what, received) =>
    new FileError(
      `decodeSafetensors: expected ${what} in ${JSON.stringify(name)}, but received ${received.length > 200 ? `${received.slice(0, 200)}…` : received}`,
    );
  if (bytes.length < 8) throw refuse("8 bytes with the length of the header", `${bytes.length} bytes`);
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0, true);
  if (length > MAX_HEADER) throw refuse(`a header of at most ${MAX_HEADER} bytes`, `${length}`);
  const start = 8 + Number(length);
  if (bytes.length < start) throw refuse(`a header of ${length} bytes`, `a truncated file with ${bytes.length - 8}`);
  if (bytes[8] !== 0x7b || start === 8) throw refuse("a header that begins with {", start === 8 ? "an empty one" : `the byte ${bytes[8]}`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, start));
  } catch {
    throw refuse("a header in UTF-8", "bytes that are none");
  }
  const { entries, metadata } = parseHeader(text, METADATA, refuse);
  entries.sort((a, b) => a.offsets[0] - b.offsets[0] || a.offsets[1] - b.offsets[1]);
  checkLayout(entries, bytes.length - start, refuse);
  const tensors: StateDict = new Map();
  for (const { name: key, dtype, shape, offsets } of entries)
    tensors.set(key, {
      dtype: dtype as SafetensorsDType,
      shape,
      data: decodeValues(dtype as SafetensorsDType, bytes.subarray(start + offsets[0], start + offsets[1])),
    });
  return { tensors, metadata };
};

const utf8 = new TextEncoder();

/** By Unicode code points, as bytes of UTF-8 compare; JavaScript compares halves of surrogate pairs. */
const compareNames = (a: string, b: string): number => {
  const [left, right] = [utf8.encode(a), utf8.encode(b)];
  const at = left.findIndex((byte, i) => byte !== right[i]);
  return at === -1 ? left.length - right.length : at < right.length ? left[at] - right[at] : 1;
};

const checkText = (argument: string, text: unknown): void => {
  if (typeof text !== "string" || /\p{Surrogate}/u.test(text)) throw expected("encodeSafetensors", "well-formed text", argument, text);
};

/** The bytes of one tensor as they lie in a file. */
const encodeValues = (label: string, tensor: HostTensor): Uint8Array => {
  const where = "encodeSafetensors";
  const { dtype, shape, data } = tensor ?? {};
  if (!isDType(dtype)) throw expected(where, `one of ${ORDER.join(", ")}`, `${label}.dtype`, dtype);
  if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && size >= 0))
    throw expected(where, "an array of non-negative integers", `${label}.shape`, shape);
  const size = byteLength(dtype, shape);
  if (size === undefined) throw expected(where, "a shape whose values are a whole number of bytes that fits 53 bits", `${label}.shape`, shape);
  const { bits, array = Uint8Array, float } = formatOf(dtype);
  const bytesOnly = data instanceof Uint8Array && array !== Uint8Array;
  if (!(data instanceof array) && !bytesOnly) throw expected(where, `a ${array.name}, or a Uint8Array of bytes,`, `${label}.data`, data);
  const values = float && data instanceof Float32Array ? float.encode(data) : data;
  if (values.byteLength !== size)
    throw new ArgumentError(
      `${where}: expected values to fill shape [${shape.join(", ")}] of ${dtype}, ${size} bytes, for \`${label}.data\`, but received ${values.byteLength} bytes`,
    );
  const bytes = new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
  return LITTLE_ENDIAN || bytesOnly ? bytes : swapped(bytes.slice(), bits / 8);
};

/**
 * The bytes of a `.safetensors` file, the same that the format's own writer makes: widest dtype first, then by name, header padded with spaces to a multiple of 8 bytes.
 *
 * @param tensors by name. Besides the array of the dtype, a Uint8Array of the values' bytes in little-endian order is taken as it is; float32 values of F16 and BF16 are
 * rounded to the nearest, ties to even
 * @param metadata texts by name; written in the order of their names. Default none
 * @throws ArgumentError for names that are no well-formed text or `__metadata__`, unknown dtypes, sizes that are no non-negative integers, data of another type or
 * length, metadata that is no text, and a header of more than 100 MB.
 * @example
 * ```ts
 * const bytes = encodeSafetensors(new Map([["bias", { dtype: "F32", shape: [1], data: Float32Array.of(2) }]]));
 * new TextDecoder().decode(bytes.subarray(8, 64)); // => '{"bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
 * encodeSafetensors(new Map([["bias", { dtype: "F32", shape: [2], data: Float32Array.of(2) }]])); // throws ArgumentError
 * ```
 */
export const encodeSafetensors = (
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> => {
  const where = "encodeSafetensors";
  if (!(tensors instanceof Map)) throw expected(where, "a Map of tensors by name", "tensors", tensors);
  const entries = [...tensors].map(([name, tensor]) => {
    checkText("tensors", name);
    if (name === METADATA) throw expected(where, "names other than __metadata__", "tensors", name);
    return { name, tensor, bytes: encodeValues(`tensors[${JSON.stringify(name)}]`, tensor) };
  });
  entries.sort((a, b) => ORDER.indexOf(b.tensor.dtype) - ORDER.indexOf(a.tensor.dtype) || compareNames(a.name, b.name));
  if (typeof metadata !== "object" || metadata === null) throw expected(where, "an object of texts", "metadata", metadata);
  const texts = Object.entries(metadata).sort(([a], [b]) => compareNames(a, b));
  for (const [key, text] of texts) {
    checkText("metadata", key);
    checkText(`metadata[${JSON.stringify(key)}]`, text);
  }

  const fields =
    texts.length === 0 ? [] : [`"${METADATA}":{${texts.map(([key, text]) => `${JSON.stringify(key)}:${JSON.stringify(text)}`).join(",")}}`];
  let end = 0;
  for (const { name, tensor, bytes } of entries) {
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype: tensor.dtype, shape: tensor.shape, data_offsets: [end, end + bytes.length] })}`);
    end += bytes.length;
  }
  const json = utf8.encode(`{${fields.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER) throw expected(where, `names and metadata that fit a header of ${MAX_HEADER} bytes`, "tensors", `${length} bytes`);
  const file = new Uint8Array(8 + length + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(length), true);
  file.set(json, 8);
  file.fill(0x20, 8 + json.length, 8 + length);
  let at = 8 + length;
  for (const { bytes } of entries) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
};
