/** safetensors: the test vectors of the format's own implementation as bytes, its limits, and files that are whole or not there. */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { readSafetensors, replaceFile, writeSafetensors } from "../src/data/disk.ts";
import { decodeSafetensors, encodeSafetensors, type HostTensor, type SafetensorsDType } from "../src/data/safetensors.ts";
import { ArgumentError, FileError } from "../src/errors.ts";
import { temporaryFolder } from "./support/folder.ts";

/** A file from its parts. */
const file = (header: string | Uint8Array, body: ArrayLike<number> = [], length?: bigint): Uint8Array => {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + body.length);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(body, 8 + text.length);
  return bytes;
};
const zeros = (count: number): Uint8Array => new Uint8Array(count);
const f32 = (shape: readonly number[], ...data: number[]): HostTensor => ({ dtype: "F32", shape, data: Float32Array.from(data) });
const ones = (dtype: SafetensorsDType, bytes: number): HostTensor => ({ dtype, shape: [1], data: new Uint8Array(bytes).fill(1) });

describe("the vectors of the format's own tests", () => {
  it("writes the same bytes", () => {
    const values = [0, 1, 2, 3, 4, 5];
    const body = [0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 128, 64, 0, 0, 160, 64];
    const cases: [Map<string, HostTensor>, Record<string, string>, Uint8Array][] = [
      [new Map([["attn.0", f32([1, 2, 3], ...values)]]), {}, file('{"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}}', body)],
      // Padded so that the values begin at a multiple of 8.
      [
        new Map([["attn0", f32([1, 1, 2, 3], ...values)]]),
        {},
        file('{"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}}       ', body),
      ],
      [new Map(), {}, file("{}      ")],
      [new Map(), { framework: "pt" }, file('{"__metadata__":{"framework":"pt"}}     ')],
    ];
    for (const [tensors, metadata, want] of cases) {
      expect(encodeSafetensors(tensors, metadata)).toEqual(want);
      const back = decodeSafetensors(want);
      expect(back.tensors).toEqual(tensors);
      expect({ ...back.metadata }).toEqual(metadata);
    }
  });

  it("reads scalars, empty tensors and white space behind the header", () => {
    const scalar = decodeSafetensors(file('{"test":{"dtype":"I32","shape":[],"data_offsets":[0,4]}}', zeros(4)));
    expect(scalar.tensors.get("test")).toEqual({ dtype: "I32", shape: [], data: Int32Array.of(0) });
    const square = decodeSafetensors(file('{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}', zeros(16)));
    expect(square.tensors.get("test")).toEqual({ dtype: "I32", shape: [2, 2], data: new Int32Array(4) });
    const empty = decodeSafetensors(file('{"test":{"dtype":"I32","shape":[2,0],"data_offsets":[0, 0]}}'));
    expect(empty.tensors.get("test")).toEqual({ dtype: "I32", shape: [2, 0], data: new Int32Array(0) });
    expect(decodeSafetensors(file("{}\r \t\n")).tensors.size).toBe(0);
  });

  const entry = (shape: string, offsets = "[0,16]"): string => `{"test":{"dtype":"I32","shape":${shape},"data_offsets":${offsets}}}`;
  const attack = `{${Array.from({ length: 10 }, (_, i) => `"weight_${i}":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}`)}}`;
  it.each<[string, Uint8Array, RegExp]>([
    ["ten tensors in one place", file(attack, zeros(16)), /begin at 16, where the tensor before it ends/],
    ["more than the values", file(entry("[2,2]"), [...zeros(16), ...Buffer.from("extra_bogus_data_for_polyglot_file")]), /34 trailing bytes/],
    ["fewer than the values", file(entry("[2,2]"), zeros(14)), /a truncated file with 14/],
    ["an endless header", file(entry("[2,2]"), zeros(16), 0xffffff000000003cn), /a header of at most 100000000 bytes/],
    ["no bytes", zeros(0), /8 bytes with the length of the header/],
    ["a header that is not there", file("", [], 60n), /a header of 60 bytes/],
    ["no UTF-8", file(Uint8Array.of(0x7b, 0xff)), /a header in UTF-8/],
    ["a first byte of its own", file(Uint8Array.of(0xff)), /begins with \{/],
    ["no JSON", file("{"), /a string at position 1 of the header/],
    ["white space before the header", file("\t\n{}\r "), /begins with \{/],
    ["offsets that do not fit the shape", file(entry("[2,2]", "[0, 4]")), /16 bytes apart/],
    ["a size of 64 bits", file(entry("[2,18446744073709551614]"), zeros(16)), /a whole number below 2\^53/],
    ["sizes whose product overflows", file(entry("[2,9223372036854775807]"), zeros(16)), /a whole number below 2\^53/],
    ["sizes whose product overflows below that", file(entry("[4503599627370496,4503599627370496,0]", "[0,0]")), /fits 53 bits/],
  ])("refuses %s", (_, bytes, message) => {
    expect(() => decodeSafetensors(bytes, "a.safetensors")).toThrow(FileError);
    expect(() => decodeSafetensors(bytes, "a.safetensors")).toThrow(message);
    expect(() => decodeSafetensors(bytes, "a.safetensors")).toThrow(/^decodeSafetensors: expected .* in "a\.safetensors", but received /);
  });
});

describe("hostile headers", () => {
  const one = (fields: string): string => `{"a":{${fields}}}`;
  const good = '"dtype":"U8","shape":[1],"data_offsets":[0,1]';
  it.each<[string, string, RegExp]>([
    ["a name twice", `{"a":{${good}},"a":{${good}}}`, /every key of the header once.*"a" twice/],
    ["a name twice, once escaped", `{"a":{${good}},"\\u0061":{${good}}}`, /"a" twice/],
    ["a field twice", one(`${good},"shape":[1]`), /"shape" twice/],
    ["metadata twice", `{"__metadata__":{},"__metadata__":{}}`, /"__metadata__" twice/],
    ["a field too many", one(`${good},"evil":[1]`), /the key "evil"/],
    ["a field too few", one('"dtype":"U8","shape":[1]'), /without two data_offsets/],
    ["three offsets", one('"dtype":"U8","shape":[1],"data_offsets":[0,1,1]'), /two data_offsets/],
    ["a negative size", one('"dtype":"U8","shape":[-1],"data_offsets":[0,1]'), /a whole number below/],
    ["a fraction", one('"dtype":"U8","shape":[1.0],"data_offsets":[0,1]'), /expected \] at/],
    ["a leading zero", one('"dtype":"U8","shape":[01],"data_offsets":[0,1]'), /a whole number below/],
    ["an exponent", one('"dtype":"U8","shape":[1e0],"data_offsets":[0,1]'), /expected \] at/],
    ["offsets that go back", one('"dtype":"U8","shape":[1],"data_offsets":[1,0]'), /begin at 0/],
    ["a hole", `{"a":{${good}},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, /begin at 1/],
    ["another dtype", one('"dtype":"toString","shape":[1],"data_offsets":[0,1]'), /one of BOOL, .* as dtype of "a"/],
    ["half a byte", one('"dtype":"F4","shape":[1],"data_offsets":[0,1]'), /a whole number of bytes/],
    ["metadata that is no text", '{"__metadata__":{"a":1}}', /a string/],
    ["an array", '{"a":[]}', /expected \{ at/],
    ["nesting", `{"a":${"[".repeat(1e5)}`, /expected \{ at/],
    ["half a surrogate pair", '{"__metadata__":{"a":"\\ud800"}}', /a string/],
    ["a control character", '{"__metadata__":{"a":"\n"}}', /a string/],
    ["a string without end", '{"a', /a string/],
    ["a comma at the end", '{"__metadata__":{},}', /a string/],
    ["two objects", "{}{}", /nothing but white space/],
  ])("with %s", (_, header, message) => {
    expect(() => decodeSafetensors(file(header, zeros(1)))).toThrow(FileError);
    expect(() => decodeSafetensors(file(header, zeros(1)))).toThrow(message);
  });

  it("or bytes changed at random give a FileError or tensors, nothing else", () => {
    const bytes = encodeSafetensors(
      new Map([
        ["a", f32([2], 1, 2)],
        ["b", ones("U8", 1)],
      ]),
      { k: "v" },
    ); // prettier-ignore
    for (let i = 0, state = 1; i < 3000; i++) {
      const changed = bytes.slice();
      state = (state * 48271) % 2147483647;
      changed[state % changed.length] = state >>> 8;
      try {
        decodeSafetensors(i % 3 === 0 ? changed.subarray(0, state % changed.length) : changed);
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
      }
    }
  });

  it("with names that objects have too are ordinary names", () => {
    const tensors = new Map(["__proto__", "toString", "", "ключ 😀"].map((name) => [name, f32([1], 1)]));
    const { tensors: back, metadata } = decodeSafetensors(encodeSafetensors(tensors, Object.fromEntries([["toString", "x"]])));
    expect(new Set(back.keys())).toEqual(new Set(tensors.keys()));
    expect(Object.keys(metadata)).toEqual(["toString"]);
  });
});

describe("what is written", () => {
  it("is ordered by dtype, the widest first, then by the bytes of the name", () => {
    const dtypes: [SafetensorsDType, number][] = [
      ["BOOL", 1],
      ["U8", 1],
      ["I8", 1],
      ["F8_E5M2", 1],
      ["I16", 2],
      ["U16", 2],
      ["F16", 2],
      ["BF16", 2],
      ["I32", 4],
      ["U32", 4],
      ["F32", 4],
      ["C64", 8],
      ["F64", 8],
      ["I64", 8],
      ["U64", 8],
    ]; // prettier-ignore
    const tensors = new Map(dtypes.map(([dtype, bytes]) => [dtype.toLowerCase(), ones(dtype, bytes)]));
    expect([...decodeSafetensors(encodeSafetensors(tensors)).tensors.values()].map(({ dtype }) => dtype)).toEqual(
      dtypes.map(([dtype]) => dtype).reverse(),
    );
    const names = ["b", "a", "ab", "", "\u{ffff}", "\u{1f600}"];
    const sorted = ["", "a", "ab", "b", "\u{ffff}", "\u{1f600}"];
    expect([...decodeSafetensors(encodeSafetensors(new Map(names.map((name) => [name, f32([], 1)])))).tensors.keys()]).toEqual(sorted);
  });

  it("comes back in every dtype", () => {
    const tensors = new Map<string, HostTensor>([
      ["bool", { dtype: "BOOL", shape: [2], data: Uint8Array.of(0, 1) }],
      ["i8", { dtype: "I8", shape: [2], data: Int8Array.of(-128, 127) }],
      ["u16", { dtype: "U16", shape: [2], data: Uint16Array.of(1, 65535) }],
      ["f16", { dtype: "F16", shape: [3], data: Float32Array.of(0.5, -65504, Number.NEGATIVE_INFINITY) }],
      ["bf16", { dtype: "BF16", shape: [4], data: Float32Array.of(1.5, -(2 ** 100), Number.POSITIVE_INFINITY, Number.NaN) }],
      ["f64", { dtype: "F64", shape: [1], data: Float64Array.of(1 / 3) }],
      ["i64", { dtype: "I64", shape: [1], data: BigInt64Array.of(-(2n ** 63n)) }],
      ["u64", { dtype: "U64", shape: [1], data: BigUint64Array.of(2n ** 64n - 1n) }],
      ["f8", { dtype: "F8_E4M3", shape: [3], data: Uint8Array.of(1, 2, 3) }],
      ["f4", { dtype: "F4", shape: [2, 3], data: Uint8Array.of(1, 2, 3) }],
    ]);
    const bytes = encodeSafetensors(tensors);
    expect(decodeSafetensors(bytes).tensors).toEqual(new Map([...tensors].sort(([a], [b]) => Number(a > b))));
    // Anywhere in a buffer.
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    expect(decodeSafetensors(shifted.subarray(3)).tensors.get("i64")).toEqual(tensors.get("i64"));
  });

  it("rounds to bfloat16 to the nearest, ties to even", () => {
    const at = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0];
    const data = Float32Array.of(at(0x3f808000), at(0x3f818000), at(0x3f808001), at(0x7f7fffff), at(0x7f800001));
    const back = decodeSafetensors(encodeSafetensors(new Map([["x", { dtype: "BF16", shape: [5], data }]]))).tensors.get("x");
    expect(back?.data).toEqual(Float32Array.of(at(0x3f800000), at(0x3f820000), at(0x3f810000), Number.POSITIVE_INFINITY, Number.NaN));
  });

  it.each<[string, () => unknown, RegExp]>([
    ["no Map", () => encodeSafetensors({} as never), /a Map of tensors by name/],
    ["the metadata's name", () => encodeSafetensors(new Map([["__metadata__", f32([1], 1)]])), /names other than __metadata__/],
    ["half a surrogate pair", () => encodeSafetensors(new Map([["\ud800", f32([1], 1)]])), /well-formed text/],
    ["another dtype", () => encodeSafetensors(new Map([["a", { ...f32([1], 1), dtype: "F128" as never }]])), /one of BOOL/],
    [
      "another array",
      () => encodeSafetensors(new Map([["a", { ...f32([1], 1), data: Int32Array.of(1) }]])),
      /a Float32Array, or a Uint8Array of bytes/,
    ],
    ["too few values", () => encodeSafetensors(new Map([["a", f32([2], 1)]])), /shape \[2\] of F32, 8 bytes,.* received 4 bytes/],
    ["a negative size", () => encodeSafetensors(new Map([["a", f32([-1], 1)]])), /non-negative integers/],
    ["metadata that is no text", () => encodeSafetensors(new Map(), { a: 1 as never }), /metadata\["a"\]/],
  ])("refuses %s", (_, encode, message) => {
    expect(encode).toThrow(ArgumentError);
    expect(encode).toThrow(message);
  });
});

describe("files", () => {
  let folder = "";
  beforeEach(() => {
    folder = temporaryFolder();
  });

  it("replace what was there, through links too, and leave nothing else behind", () => {
    const path = join(folder, "a.safetensors");
    writeSafetensors(path, new Map([["a", f32([1], 1)]]));
    symlinkSync(path, join(folder, "latest"));
    writeSafetensors(join(folder, "latest"), new Map([["a", f32([1], 2)]]), { step: "2" });
    expect(readSafetensors(path).tensors.get("a")?.data).toEqual(Float32Array.of(2));
    expect(readdirSync(folder).sort()).toEqual(["a.safetensors", "latest"]);
  });

  it("stay as they were when writing fails", () => {
    const path = join(folder, "a.safetensors");
    writeSafetensors(path, new Map([["a", f32([1], 1)]]));
    const before = readFileSync(path);
    expect(() => writeSafetensors(path, new Map([["a", f32([3], 1)]]))).toThrow(ArgumentError);
    expect(() => replaceFile(folder, zeros(1))).toThrow(FileError); // a folder cannot be replaced
    expect(() => replaceFile(join(folder, "none", "a"), zeros(1))).toThrow(FileError);
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(readdirSync(folder)).toEqual(["a.safetensors"]);
  });

  it("are whole whenever they are read, also behind a writer that was killed", async () => {
    const path = join(folder, "a.safetensors");
    const source = new URL("../src/data/disk.ts", import.meta.url).href;
    const script = `
      import { writeSafetensors } from ${JSON.stringify(source)};
      for (let step = 0; ; step = (step + 1) % 100) {
        const data = new Float32Array(300_000).fill(step);
        writeSafetensors(${JSON.stringify(path)}, new Map([["a", { dtype: "F32", shape: [300_000], data }]]), { step: String(step) });
      }`;
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], { stdio: "ignore" });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const seen = new Set<string>();
    const look = (): void => {
      const { tensors, metadata } = readSafetensors(path);
      expect(new Set(tensors.get("a")?.data as Float32Array)).toEqual(new Set([Number(metadata.step)]));
      seen.add(metadata.step);
    };
    try {
      while (!existsSync(path) && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 20));
      for (let i = 0; i < 400 && seen.size < 8; i++) {
        look();
        await new Promise((resolve) => setTimeout(resolve, 3));
      }
    } finally {
      child.kill("SIGKILL");
      await ended;
    }
    look();
    expect(seen.size).toBeGreaterThan(2);
  });

  it("cut off anywhere are refused", () => {
    const path = join(folder, "a.safetensors");
    const bytes = encodeSafetensors(new Map([["a", f32([4], 1, 2, 3, 4)]]));
    for (let length = 0; length < bytes.length; length++) {
      writeFileSync(path, bytes.subarray(0, length));
      expect(() => readSafetensors(path)).toThrow(FileError);
    }
    expect(() => readSafetensors(join(folder, "none"))).toThrow(/readSafetensors: expected a readable safetensors file/);
    expect(existsSync(path)).toBe(true);
  });
});
