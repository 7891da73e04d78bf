/** What files hold: bytes at random, files with bytes changed, and objects to be written. */
import fc from "fast-check";
import { decodeNpz, encodeNpz } from "../../../src/data/npz.ts";
import * as birkhoff from "../../../src/index.ts";
import { WHOLE } from "../files.ts";
import { among, garbage, hosted, options, rarely, type Subject } from "./arguments.ts";

const ARRAYS = [Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Uint8Array, Uint16Array, Uint32Array] as const;
/** In the order of `ARRAYS`. */
const DTYPES = ["F32", "F64", "I8", "I16", "I32", "U8", "U16", "U32"] as const;

const elements = (shape: readonly number[]): number => shape.reduce((product, length) => product * length, 1);
const numbers = (count: number): fc.Arbitrary<number[]> => fc.array(fc.integer({ min: -9, max: 9 }), { minLength: count, maxLength: count });

const typed = (shape: readonly number[]): fc.Arbitrary<{ kind: number; data: birkhoff.NpyData }> =>
  fc.tuple(fc.nat(ARRAYS.length - 1), numbers(elements(shape))).map(([kind, values]) => ({ kind, data: ARRAYS[kind].from(values) }));

/** A tensor of a file, mostly of float32 and of this shape. */
export const hostTensor = (shape: readonly number[]): fc.Arbitrary<unknown> =>
  rarely(
    fc.oneof(
      { weight: 4, arbitrary: numbers(elements(shape)).map((values) => ({ dtype: "F32", shape, data: Float32Array.from(values) })) },
      { weight: 1, arbitrary: typed(shape).map(({ kind, data }) => ({ dtype: DTYPES[kind], shape, data })) },
    ),
    fc.oneof(
      garbage,
      fc.record(
        { dtype: among("F32", "F16", "BF16", "I64", "BOOL"), shape: rarely(fc.constant(shape), garbage), data: garbage },
        { requiredKeys: [] },
      ),
    ),
  );

const shapes = fc.array(fc.nat(3), { maxLength: 3 });
export const tensors = rarely(
  fc
    .array(fc.tuple(rarely(fc.constantFrom("a", "b", "weight"), fc.string({ unit: "binary" })), shapes.chain(hostTensor)), { maxLength: 3 })
    .map((entries) => new Map(entries as [string, birkhoff.HostTensor][])),
  garbage,
);
export const npyArray = rarely(
  shapes.chain((shape) => typed(shape).map(({ data }) => ({ shape, data }))),
  fc.oneof(garbage, fc.record({ shape: garbage, data: garbage }), fc.record({ shape: fc.constant([2]), data: fc.constant(Float32Array.of(1)) })),
);

const encoder = new TextEncoder();

/** A whole file, one with bytes changed, cut off or added, or bytes of no meaning. */
export const bytes = (whole: Uint8Array): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 1, arbitrary: fc.constant(whole) },
    {
      weight: 8,
      arbitrary: fc
        .tuple(
          fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 4 }),
          fc.nat(whole.length),
          fc.uint8Array({ maxLength: 4 }),
          fc.nat(3),
        )
        .map(([changes, end, behind, how]) => {
          const changed = whole.slice(0, how === 0 ? end : whole.length);
          for (const [at, value] of changes) if (at < changed.length) changed[at] = value;
          return how === 1 ? Uint8Array.of(...changed, ...behind) : changed;
        }),
    },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 64 }) },
    { weight: 1, arbitrary: garbage },
  );

/** Throws unless what was read is what was written. */
export const same = (got: unknown, want: unknown): void => {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, item: unknown) =>
      item instanceof Map
        ? [...item].sort(([a], [b]) => (a < b ? -1 : 1))
        : ArrayBuffer.isView(item)
          ? Array.from(item as Float32Array, String)
          : item,
    );
  if (text(got) !== text(want)) throw new Error(`${text(got)} was read, but ${text(want)} was written`);
};

const shader = `struct Params { n: u32 }
override WIDTH: u32 = 64u;
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(WIDTH) fn main(@builtin(global_invocation_id) id: vec3u) { if (id.x < params.n) { y[id.x] = 1; } }`;

export const FILES: Readonly<Record<string, Subject>> = hosted({
  decodeSafetensors: { args: fc.tuple(bytes(WHOLE.safetensors)) },
  decodeNpy: { args: fc.tuple(bytes(WHOLE.npy)) },
  decodeNpz: { args: fc.tuple(bytes(WHOLE.npz)), run: (_, given) => decodeNpz(given as Uint8Array) },
  encodeSafetensors: {
    args: fc.tuple(tensors, options({ epoch: rarely(fc.string({ unit: "binary" }), garbage) })),
    run: (_, given, metadata) => {
      const written = birkhoff.encodeSafetensors(given as birkhoff.StateDict, metadata as never);
      const back = birkhoff.decodeSafetensors(written).tensors;
      // Written without a typed array of its own: values of bytes.
      for (const [name, { dtype, shape }] of given as birkhoff.StateDict) same([back.get(name)?.dtype, back.get(name)?.shape], [dtype, shape]);
      same(birkhoff.encodeSafetensors(back), birkhoff.encodeSafetensors(given as birkhoff.StateDict));
      return written;
    },
  },
  encodeNpy: {
    args: fc.tuple(npyArray, options({ fortranOrder: among(true, false) })),
    run: (_, given, layout) => {
      const written = birkhoff.encodeNpy(given as birkhoff.NpyArray, layout as never);
      same(birkhoff.decodeNpy(written), given);
      return written;
    },
  },
  encodeNpz: {
    args: fc.tuple(rarely(fc.dictionary(fc.constantFrom("a", "b", "c/d"), npyArray, { maxKeys: 2 }), garbage)),
    run: (_, given) => {
      const written = encodeNpz(given as Record<string, birkhoff.NpyArray>);
      same({ ...decodeNpz(written) }, { ...(given as object) });
      return written;
    },
  },
  reflect: {
    args: fc.tuple(
      rarely(fc.constant("a"), garbage),
      rarely(
        bytes(encoder.encode(shader)).map((given) => (given instanceof Uint8Array ? new TextDecoder().decode(given) : given)),
        garbage,
      ),
    ),
  },
});
