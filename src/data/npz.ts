/**
 * NPZ, NumPy's archive of several arrays. For the command line tool, into which `fflate` is bundled; the library itself has no zip reader,
 * so a program (or a page) that wants `.npz` unpacks it with the zip library that it has, and hands each entry to `decodeNpy`.
 */
import { unzipSync, zipSync } from "fflate";
import { checkObject, expected, FileError } from "../errors.ts";
import { readWhole, replaceAs } from "./disk.ts";
import { decodeNpy, encodeNpy, type NpyArray } from "./npy.ts";

const MAX_BYTES = 2 ** 31;
/** More than deflate can pack: what claims more would be a bomb or a lie. */
const MAX_RATIO = 1100;

const fileError = (where: string, path: string, what: string, received: string, cause?: unknown): FileError =>
  new FileError(`${where}: expected ${what} in ${JSON.stringify(path)}, but received ${received}`, cause === undefined ? undefined : { cause });

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let crc = n;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

/** CRC-32 of ISO 3309, which zip stores per entry and `fflate` does not look at. */
export const crc32 = (bytes: Uint8Array): number => {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
};

/** Checksums by name, out of the central directory: signature 02014b50, the CRC at 16, lengths of name, extra and comment at 28, 30 and 32. */
const checksums = (bytes: Uint8Array): Map<string, number> => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new Map<string, number>();
  let end = bytes.length - 22;
  while (end > 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  for (let at = view.getUint32(end + 16, true); at + 46 <= end && view.getUint32(at, true) === 0x02014b50; ) {
    const name = view.getUint16(at + 28, true);
    found.set(new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + name)), view.getUint32(at + 16, true));
    at += 46 + name + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return found;
};

/**
 * The arrays of a `.npz` archive by name, packed or not (`numpy.savez`, `numpy.savez_compressed`).
 *
 * @param name what the bytes are called in errors. Default "npz"
 * @throws FileError for what is no zip archive, entries that are no `.npy`, are corrupt, or claim more than 2 GiB together, and as `decodeNpy`
 * @example
 * ```ts
 * const bytes = encodeNpz({ labels: { shape: [2], data: Int32Array.of(4, 5) } });
 * decodeNpz(bytes).labels.data; // => [4, 5]
 * decodeNpz(bytes.subarray(9)); // throws FileError
 * ```
 */
export const decodeNpz = (bytes: Uint8Array, name = "npz"): Record<string, NpyArray> => {
  if (!(bytes instanceof Uint8Array)) throw expected("decodeNpz", "a Uint8Array", "bytes", bytes);
  if (bytes.length < 22 || bytes[0] !== 0x50 || bytes[1] !== 0x4b)
    throw fileError("decodeNpz", name, "a zip archive (50 4b)", `${bytes.length} bytes that are none`);
  let total = 0;
  const seen = new Set<string>();
  let entries: Record<string, Uint8Array>;
  try {
    entries = unzipSync(bytes, {
      filter: ({ name: entry, originalSize, size }) => {
        total += originalSize;
        // Entries may share packed bytes, so that only all of them together say what the archive unpacks to.
        if (total > Math.min(MAX_BYTES, MAX_RATIO * bytes.length) || originalSize > MAX_RATIO * (size + 1))
          throw fileError("decodeNpz", name, `at most ${MAX_BYTES} bytes in all and ${MAX_RATIO} per packed byte`, `${entry} of ${originalSize}`);
        if (seen.has(entry)) throw fileError("decodeNpz", name, "every entry once", `${JSON.stringify(entry)} twice`);
        seen.add(entry);
        if (!entry.endsWith(".npy")) throw fileError("decodeNpz", name, "entries called *.npy", JSON.stringify(entry));
        return true;
      },
    });
  } catch (error) {
    if (error instanceof FileError) throw error;
    throw fileError("decodeNpz", name, "a complete zip archive", `a corrupt or truncated one (${reason(error)})`, error);
  }
  const wanted = checksums(bytes);
  const arrays: Record<string, NpyArray> = Object.create(null);
  for (const [entry, body] of Object.entries(entries)) {
    if (wanted.get(entry) !== crc32(body)) throw fileError("decodeNpz", name, `the checksum that is stored for ${entry}`, "a corrupt entry");
    arrays[entry.slice(0, -4)] = decodeNpy(body, `${name}/${entry}`);
  }
  return arrays;
};

/**
 * The bytes of a `.npz` archive, packed, which `numpy.load` reads. The same arrays give the same bytes.
 *
 * @throws ArgumentError as `encodeNpy`
 * @example encodeNpz({ x: { shape: [1], data: Float32Array.of(1) } })[0]; // => 80
 */
export const encodeNpz = (arrays: Readonly<Record<string, NpyArray>>): Uint8Array =>
  zipSync(Object.fromEntries(Object.entries(checkObject("encodeNpz", arrays, "arrays")).map(([key, array]) => [`${key}.npy`, encodeNpy(array)])), {
    mtime: new Date(1980, 0, 1),
  });

/** `decodeNpz` of a file. Throws FileError as it does, and for what cannot be read. */
export const readNpz = (path: string): Record<string, NpyArray> => decodeNpz(readWhole("readNpz", path, "NPZ"), path);

/** `encodeNpz` into a file, as `replaceFile`. Throws ArgumentError as it does, and FileError for a place that cannot be written. */
export const writeNpz = (path: string, arrays: Readonly<Record<string, NpyArray>>): void => replaceAs("writeNpz", path, encodeNpz(arrays));
