/** Records every device call of the rooms' cases for native/test/replay.cc: `tsx scripts/record-native.ts <file>`, which says the format. */
import { writeFileSync } from "node:fs";
import type { Backend, HostArray, Buffer as Memory } from "../src/backend.ts";
import { openReference } from "../src/backends/reference/index.ts";
import { type Attrs, type Call, type DType, elements, isFloat, type Numbers, type Scalars, type Spec } from "../src/op.ts";
import { deviceOf } from "../src/open.ts";
import { rooms } from "../src/ops/index.ts";
import type { Case } from "../src/testing/cases.ts";
import { runCase } from "../src/testing/conformance.ts";

/** Sanitizers and emulators are slow; what is odd about a shape shows in small ones. */
const MOST_ELEMENTS = 40_000;

const ARRAYS = { float32: Float32Array, float16: Float32Array, int32: Int32Array, uint32: Uint32Array } as const;
const make = (dtype: DType, length: number): Numbers => (isFloat(dtype) ? new Float64Array(length) : new ARRAYS[dtype](length)) as Numbers;
const rounded = (dtype: DType, values: ArrayLike<number>): Numbers =>
  (isFloat(dtype) ? Float64Array.from(values, Math.fround) : ARRAYS[dtype].from(values)) as Numbers;

const lines: string[] = [];
const chunks: Uint8Array[] = [];
let words = 0;

const store = (dtype: DType, values: ArrayLike<number>): number => {
  const array = ARRAYS[dtype].from(values);
  chunks.push(new Uint8Array(array.buffer));
  const offset = words;
  words += array.length;
  return offset;
};

const attrLine = (name: string, value: Attrs[string]): string => {
  if (typeof value === "number") return `attr ${name} number ${value}`;
  if (typeof value === "boolean") return `attr ${name} flag ${Number(value)}`;
  if (typeof value === "string") return `attr ${name} text ${JSON.stringify(value)}`;
  return `attr ${name} integers ${[value.length, ...value].join(" ")}`;
};

/** What the op gives for the float32 values that a native kernel would get. The first call of a case is forward, whatever runs after it backward. */
const recordCall = (entry: Case, forward: boolean, call: Call, scalars: Scalars, values: readonly ArrayLike<number>[]): void => {
  const { op, attrs, inputs, outputs } = call;
  const given = inputs.map(({ dtype }, i) => rounded(dtype, values[i]));
  const before = given.map((input) => input.slice());
  const results = outputs.map(({ dtype, shape }) => make(dtype, elements(shape)));
  let fault = false;
  op.reference({
    call,
    scalars,
    inputs: given,
    outputs: results,
    fault: () => {
      fault = true;
    },
  });
  const tolerance = forward ? entry.forward : (entry.backward ?? entry.forward);
  const operand = (kind: string, { dtype, shape }: Spec, compared: boolean, from: number, want: number): string =>
    [kind, dtype, Number(compared && !fault), from, want, shape.length, ...shape].join(" ");
  lines.push(`call ${op.name} ${tolerance.relative} ${tolerance.absolute} ${JSON.stringify(entry.name)}`);
  for (const [name, value] of Object.entries(attrs)) lines.push(attrLine(name, value));
  for (const name of op.scalars ?? []) lines.push(`scalar ${name} ${scalars[name]}`);
  for (const [i, spec] of inputs.entries()) {
    const from = store(spec.dtype, before[i]);
    lines.push(operand("input", spec, true, from, op.mutates?.includes(i) ? store(spec.dtype, given[i]) : from));
  }
  for (const [i, spec] of outputs.entries()) {
    // Outputs that a case leaves out are work areas whose contents nobody promises.
    const compared = op !== entry.op || (entry.outputs?.includes(i) ?? true);
    lines.push(operand("output", spec, compared, 0, store(spec.dtype, results[i])));
  }
  lines.push("end");
};

/** The reference device, recording what runs on it during `entry`. */
const recording = (backend: Backend, entry: () => Case): Backend => {
  let last: Case | undefined;
  const contents = (buffer: Memory): HostArray => (buffer as Memory & { readonly values: Numbers }).values;
  return {
    info: backend.info,
    limits: backend.limits,
    alloc: backend.alloc.bind(backend),
    free: backend.free.bind(backend),
    write: backend.write.bind(backend),
    read: backend.read.bind(backend),
    unsupported: backend.unsupported.bind(backend),
    get counters() {
      return backend.counters;
    },
    synchronize: backend.synchronize.bind(backend),
    close: backend.close.bind(backend),
    run(call: Call, scalars: Scalars, inputs: readonly Memory[], outputs: readonly Memory[]) {
      const size = [...call.inputs, ...call.outputs].reduce((sum, { shape }) => sum + elements(shape), 0);
      const runs = !call.op.unsupported?.(call, "native");
      const owner = entry();
      const forward = owner !== last;
      last = owner;
      if (runs && size <= MOST_ELEMENTS) recordCall(owner, forward, call, scalars, inputs.map(contents));
      backend.run(call, scalars, inputs, outputs);
    },
  };
};

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error("expected the name of a file to write");
let current: Case | undefined;
const device = deviceOf(
  recording(openReference(), () => {
    if (!current) throw new Error("a call outside of a case");
    return current;
  }),
);
for (const { cases } of rooms) {
  for (const entry of cases) {
    if (entry.large) continue;
    current = entry;
    await runCase(device, entry).catch((error: unknown) => {
      throw new Error(`recording ${entry.op.name}, ${entry.name}`, { cause: error });
    });
  }
}
writeFileSync(file, `${lines.join("\n")}\n`);
writeFileSync(`${file}.bin`, Buffer.concat(chunks));
console.log(`${lines.filter((line) => line === "end").length} calls`);
