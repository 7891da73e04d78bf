/** NumPy's files: bytes laid out by hand as NumPy lays them out, round trips, and what is refused. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import { beforeEach, describe, expect, it } from "vitest";
import { readNpy, writeNpy } from "../src/data/disk.ts";
import { decodeNpy, encodeNpy, type NpyArray, type NpyData } from "../src/data/npy.ts";
import { crc32, decodeNpz, encodeNpz, readNpz, writeNpz } from "../src/data/npz.ts";
import { ArgumentError, FileError } from "../src/errors.ts";
import { temporaryFolder } from "./support/folder.ts";

/** A file from its parts, its header padded as by NumPy. */
const npy = (header: string, body: ArrayLike<number> = [], version = 1): Uint8Array => {
  const start = version === 1 ? 10 : 12;
  const text = `${header.padEnd(Math.ceil((start + header.length + 1) / 64) * 64 - start - 1)}\n`;
  const length = version === 1 ? [text.length & 255, text.length >> 8] : [text.length & 255, text.length >> 8, 0, 0];
  return Uint8Array.of(0x93, ...Buffer.from("NUMPY"), version, 0, ...length, ...Buffer.from(text), ...Array.from(body));
};
const header = (descr: string, shape: string, fortran = "False"): string => `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`;
const values = ({ data }: NpyArray): unknown[] => Array.from(data as ArrayLike<unknown>);

describe("NPY, read", () => {
  it.each<[string, string, number[], unknown[], unknown]>([
    ["float64", "<f8", [0, 0, 0, 0, 0, 0, 0xf8, 0xbf, 0, 0, 0, 0, 0, 0, 0xd0, 0x3f], [-1.5, 0.25], Float64Array],
    ["float32", "<f4", [0, 0, 0xc0, 0xbf, 0, 0, 0x80, 0x3e], [-1.5, 0.25], Float32Array],
    ["big-endian float32", ">f4", [0xbf, 0xc0, 0, 0, 0x3e, 0x80, 0, 0], [-1.5, 0.25], Float32Array],
    ["float16", "<f2", [0, 0x3c, 0, 0xc0, 1, 0, 0, 0x7c, 0xff, 0x7b, 0, 0x80], [1, -2, 2 ** -24, Number.POSITIVE_INFINITY, 65504, -0], Float32Array],
    ["int32", "<i4", [0xff, 0xff, 0xff, 0xff, 4, 3, 2, 1], [-1, 16909060], Int32Array],
    ["big-endian int32", ">i4", [0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4], [-1, 16909060], Int32Array],
    ["int64", "<i8", [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 7, 0, 0, 0, 0, 0, 0, 0], [2n ** 63n - 1n, 7n], BigInt64Array],
    ["uint8", "|u1", [0, 200, 255], [0, 200, 255], Uint8Array],
    ["int16", "<i2", [0xfe, 0xff, 1, 1], [-2, 257], Int16Array],
    ["bool", "|b1", [1, 0, 2], [1, 0, 1], Uint8Array],
  ])("%s", (_, descr, body, want, Type) => {
    for (const version of [1, 2, 3]) {
      const array = decodeNpy(npy(header(descr, `(${want.length},)`), body, version));
      expect(array.shape).toEqual([want.length]);
      expect(array.data).toBeInstanceOf(Type);
      expect(values(array)).toEqual(want);
    }
  });

  it("brings Fortran order into row-major order", () => {
    // numpy.asfortranarray([[1, 2, 3], [4, 5, 6]]) is kept column by column.
    expect(values(decodeNpy(npy(header("|u1", "(2, 3)", "True"), [1, 4, 2, 5, 3, 6])))).toEqual([1, 2, 3, 4, 5, 6]);
    const cube = decodeNpy(npy(header("|u1", "(2, 1, 3)", "True"), [1, 4, 2, 5, 3, 6]));
    expect([cube.shape, values(cube)]).toEqual([
      [2, 1, 3],
      [1, 2, 3, 4, 5, 6],
    ]);
  });

  it("takes scalars, empty axes, any order and spacing of the entries, and Python 2's long integers", () => {
    expect(decodeNpy(npy(header("|u1", "()"), [9]))).toEqual({ shape: [], data: Uint8Array.of(9) });
    expect(decodeNpy(npy(header("<f4", "(0, 3)")))).toEqual({ shape: [0, 3], data: new Float32Array(0) });
    expect(decodeNpy(npy(`{"shape":(2L,),"descr":"|u1","fortran_order":False}`, [1, 2])).shape).toEqual([2]);
    expect(decodeNpy(npy(header("|u1", "( 1 , 2 , )"), [1, 2])).shape).toEqual([1, 2]);
  });

  it("reads bytes that lie anywhere in a buffer", () => {
    const file = npy(header("<f8", "(1,)"), [0, 0, 0, 0, 0, 0, 0xf8, 0xbf]);
    const odd = new Uint8Array(file.length + 3);
    odd.set(file, 3);
    expect(values(decodeNpy(odd.subarray(3)))).toEqual([-1.5]);
  });

  const good = npy(header("<f4", "(2,)"), new Array(8).fill(0));
  const claims = (length: number): Uint8Array => Uint8Array.of(...good.subarray(0, 6), 2, 0, ...new Uint8Array(Uint32Array.of(length).buffer), 32);
  it.each<[string, Uint8Array, RegExp]>([
    ["nothing", new Uint8Array(0), /93 4e 55 4d 50 59.*received 0 bytes/],
    ["another format", Uint8Array.from(Buffer.from("PK\u0003\u0004abcd")), /received 50 4b 03 04/],
    ["version 4", good.with(6, 4), /version 1\.0, 2\.0 or 3\.0.*received 4\.0/],
    ["a cut length", good.subarray(0, 9), /10 bytes before the header.*received 9/],
    ["a cut header", good.subarray(0, 40), /a header of 118 bytes.*truncated file with 30/],
    ["a header of 4 GiB", claims(0xffffffff), /header of at most 65535 bytes.*4294967295/],
    ["a cut body", good.subarray(0, good.length - 1), /8 bytes of values for \[2\] <f4.*truncated file with 7/],
    ["trailing bytes", Uint8Array.of(...good, 0), /1 trailing bytes/],
    ["no dictionary", npy("[1, 2]"), /a dictionary of descr.*received "\[1, 2\]"/],
    ["code", npy("{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,)}"), /a dictionary of descr/],
    ["a missing entry", npy("{'descr': '<f4', 'shape': (1,), }"), /a dictionary of descr/],
    ["an entry twice", npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }"), /a dictionary of descr/],
    ["a shape that is a number", npy(header("<f4", "(1)")), /a dictionary of descr/],
    ["a negative size", npy(header("<f4", "(-1,)")), /a dictionary of descr/],
    ["fields", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"), /a plain type/],
    ["Python objects", npy(header("|O", "(1,)")), /a plain type.*descr "\|O"/],
    ["text", npy(header("<U8", "(1,)")), /a plain type.*<U8/],
    ["no byte order", npy(header("f4", "(1,)")), /a plain type/],
    ["sizes that overflow", npy(header("<f8", "(99999999999, 99999999999, 99999999999)")), /at most 2147483648 bytes/],
    ["an axis that overflows beside an empty one", npy(header("<f8", "(0, 99999999999999999999999)")), /at most 2147483648 bytes/],
    ["too many axes", npy(header("|u1", `(${"1, ".repeat(40)})`), [1]), /at most 32 axes/],
  ])("refuses %s", (_, bytes, message) => {
    expect(() => decodeNpy(bytes, "bad.npy")).toThrow(FileError);
    expect(() => decodeNpy(bytes, "bad.npy")).toThrow(message);
    expect(() => decodeNpy(bytes, "bad.npy")).toThrow(/^decodeNpy: expected .* in "bad\.npy", but received/);
  });

  it("never crashes on bytes that are changed at random places", () => {
    let state = 1;
    const next = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state >>> 8;
    };
    for (let round = 0; round < 2000; round++) {
      const bytes = good.slice(0, good.length - (round % 7));
      for (let i = 0; i < 3; i++) bytes[next() % bytes.length] = next() & 255;
      try {
        expect(decodeNpy(bytes).data.length).toBeLessThanOrEqual(8);
      } catch (error) {
        expect(error).toBeInstanceOf(FileError);
      }
    }
  });
});

describe("NPY, written", () => {
  it("is what NumPy writes, byte for byte", () => {
    expect(encodeNpy({ shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) })).toEqual(
      npy(header("<f4", "(2, 3)"), new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer)),
    );
    expect(encodeNpy({ shape: [], data: Uint8Array.of(7) })).toEqual(npy(header("|u1", "()"), [7]));
    expect(encodeNpy({ shape: [2, 3], data: Uint8Array.of(1, 2, 3, 4, 5, 6) }, { fortranOrder: true })).toEqual(
      npy(header("|u1", "(2, 3)", "True"), [1, 4, 2, 5, 3, 6]),
    );
  });

  const arrays: NpyData[] = [
    Float32Array.of(0.1, -0, Number.NaN, Number.NEGATIVE_INFINITY, 1, 2),
    Float64Array.of(Math.PI, 1e300, 5e-324, -1, 0, 1),
    Int8Array.of(-128, 127, 0, 1, 2, 3),
    Int16Array.of(-32768, 1, 2, 3, 4, 5),
    Int32Array.of(-(2 ** 31), 1, 2, 3, 4, 5),
    BigInt64Array.of(-(2n ** 63n), 1n, 2n, 3n, 4n, 5n),
    Uint8Array.of(255, 1, 2, 3, 4, 5),
    Uint16Array.of(65535, 1, 2, 3, 4, 5),
    Uint32Array.of(2 ** 32 - 1, 1, 2, 3, 4, 5),
    BigUint64Array.of(2n ** 64n - 1n, 1n, 2n, 3n, 4n, 5n),
  ];
  it("comes back as it was, in both orders", () => {
    for (const data of arrays) {
      for (const shape of [[6], [2, 3], [1, 3, 2], [6, 1]]) {
        for (const fortranOrder of [false, true]) expect(decodeNpy(encodeNpy({ shape, data }, { fortranOrder }))).toEqual({ shape, data });
      }
    }
  });

  it("refuses what the format does not have", () => {
    const write = (array: unknown) => () => encodeNpy(array as NpyArray);
    expect(write({ shape: [2], data: [1, 2] })).toThrow(/encodeNpy: expected a typed array of numbers for `array\.data`/);
    expect(write(undefined)).toThrow(ArgumentError);
    expect(write({ shape: [-1], data: Uint8Array.of() })).toThrow(/non-negative integers for `array\.shape`/);
    expect(write({ shape: [3], data: Uint8Array.of(1) })).toThrow(/3 values to fill shape \[3\]/);
  });
});

describe("NPZ", () => {
  let folder = "";
  beforeEach(() => {
    folder = temporaryFolder();
  });

  const arrays = { embeddings: { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }, labels: { shape: [2], data: BigInt64Array.of(0n, 1n) } };

  it("comes back as it was, from bytes and from disk", () => {
    expect({ ...decodeNpz(encodeNpz(arrays)) }).toEqual(arrays);
    const path = join(folder, "a.npz");
    writeNpz(path, arrays);
    expect({ ...readNpz(path) }).toEqual(arrays);
    writeNpy(join(folder, "a.npy"), arrays.labels);
    expect(readNpy(join(folder, "a.npy"))).toEqual(arrays.labels);
    expect(encodeNpz(arrays)).toEqual(encodeNpz(arrays));
  });

  it("reads entries that are stored, as numpy.savez does", () => {
    const stored = zipSync({ "x.npy": [encodeNpy(arrays.labels), { level: 0 }] });
    expect(decodeNpz(stored).x).toEqual(arrays.labels);
  });

  it("knows CRC-32's check value", () => expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926));

  const stored = zipSync({ "x.npy": [encodeNpy(arrays.labels), { level: 0 }] });
  const body = stored.indexOf(0x93);
  it.each<[string, Uint8Array, RegExp]>([
    ["nothing", new Uint8Array(0), /a zip archive/],
    ["an array", encodeNpy(arrays.labels), /a zip archive/],
    ["a cut archive", encodeNpz(arrays).subarray(0, 200), /a complete zip archive/],
    ["a value that was changed", stored.with(body + 130, 9), /the checksum that is stored for x\.npy/],
    ["other entries", zipSync({ "x.txt": Uint8Array.of(1) }), /entries called \*\.npy.*x\.txt/],
    ["entries that are no arrays", zipSync({ "x.npy": Uint8Array.of(1) }), /bad\.npz\/x\.npy/],
  ])("refuses %s", (_, bytes, message) => {
    const path = join(folder, "bad.npz");
    writeFileSync(path, bytes);
    expect(() => readNpz(path)).toThrow(FileError);
    expect(() => readNpz(path)).toThrow(message);
  });

  it("refuses files that are not there, or cannot be", () => {
    expect(() => readNpz(join(folder, "none"))).toThrow(/readNpz: expected a readable NPZ file.*ENOENT/);
    expect(() => readNpy(folder)).toThrow(FileError);
    expect(() => writeNpy(folder, arrays.labels)).toThrow(/writeNpy: expected a place that can be written/);
  });

  it("refuses an entry that claims to be far larger than it can be", () => {
    const bytes = encodeNpz(arrays);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at + 4 <= bytes.length; at++) if (view.getUint32(at, true) === 0x02014b50) view.setUint32(at + 24, 2 ** 30, true);
    expect(() => decodeNpz(bytes)).toThrow(/at most 2147483648 bytes in all and 1100 per packed byte/);
  });

  it("refuses entries that come twice, or share packed bytes so that a small archive unpacks to a large one", () => {
    const twice = Buffer.from(zipSync({ "x.npy": encodeNpy(arrays.labels), "y.npy": encodeNpy(arrays.labels) }));
    for (let at = twice.indexOf("y.npy"); at !== -1; at = twice.indexOf("y.npy")) twice.write("x.npy", at);
    expect(() => decodeNpz(twice)).toThrow(/every entry once.*"x\.npy" twice/);

    const one = Buffer.from(zipSync({ "00.npy": encodeNpy({ shape: [900_000], data: new Uint8Array(900_000) }) }));
    const central = one.lastIndexOf(Buffer.from("PK\x01\x02", "latin1"));
    const end = one.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
    const records = Array.from({ length: 90 }, (_, i) => {
      const record = Buffer.from(one.subarray(central, end));
      record.write(String(i + 10), 46);
      return record;
    });
    const last = Buffer.from(one.subarray(end));
    last.writeUInt16LE(90, 8);
    last.writeUInt16LE(90, 10);
    last.writeUInt32LE(90 * (end - central), 12);
    const overlapping = Buffer.concat([one.subarray(0, central), ...records, last]);
    expect(() => decodeNpz(overlapping)).toThrow(/bytes in all and 1100 per packed byte/);
  });
});
