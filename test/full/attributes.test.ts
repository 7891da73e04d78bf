/**
 * Attributes, inputs and numbers in them that no function of the package passes, handed to every op, those that gradients alone call too: each is refused by name, or the native
 * device gives what the reference gives. Calls are those that the rooms' cases make; one attribute, or one input, after another is replaced.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apply, generate, intern } from "../../src/apply.ts";
import { openNative } from "../../src/backends/native/index.ts";
import { openReference } from "../../src/backends/reference/index.ts";
import type { Device } from "../../src/device.ts";
import { BirkhoffError, describe as shown } from "../../src/errors.ts";
import { noGrad } from "../../src/gradMode.ts";
import { type Attrs, type Call, elements, isFloat, type Numbers, type Op, type Scalars, type Spec } from "../../src/op.ts";
import { deviceOf } from "../../src/open.ts";
import { rooms } from "../../src/ops/index.ts";
import { caseInputs, errorRatio, runCase } from "../../src/testing/conformance.ts";
import { type GuardedBackend, guarded } from "../../src/testing/guarded.ts";

/** In a call: what is odd about attributes shows in small ones. */
const MOST_ELEMENTS = 600;
/** Calls of an op, with attributes that differ. */
const CALLS = 4;
/** Bytes of either device: what is legal and huge is out of memory. */
const MEMORY = 2 ** 26;
/** Whether it is the same function of the same numbers; the rooms' cases say how well it is computed. */
const ALIKE = { relative: 1e-3, absolute: 1e-3, reason: "float32" };

const HOSTILE: readonly unknown[] = [
  ...[-1, 0, 0.5, 1, 2, 3, 7, 2 ** 31, 1e300, Number.NaN, "", "a", true, false, null, {}],
  ...[[], [1], [0, 1], [1, 1], [1, 2, 3], [0, 0, 0, 0], [-1, 0.5], [100], [2 ** 31], ["1"], [[1]]],
];

interface Recorded {
  readonly call: Call;
  readonly scalars: Scalars;
  readonly values: readonly Numbers[];
}

/** Small calls of every op that cases reach, as the reference got them. */
const record = async (): Promise<ReadonlyMap<Op, readonly Recorded[]>> => {
  const found = new Map<Op, Map<string, Recorded>>();
  const backend = openReference();
  const run = backend.run.bind(backend);
  backend.run = (call, scalars, inputs, outputs) => {
    const size = [...call.inputs, ...call.outputs].reduce((sum, { shape }) => sum + elements(shape), 0);
    const known = found.get(call.op) ?? new Map<string, Recorded>();
    found.set(call.op, known);
    const shown = Object.entries(call.attrs).filter(([, value]) => typeof value !== "number" && !Array.isArray(value));
    const kind = JSON.stringify([shown, inputs.length]);
    if (size > 0 && size <= MOST_ELEMENTS && known.size < CALLS && !known.has(kind)) {
      const values = inputs.map((buffer) => (buffer as unknown as { readonly values: Numbers }).values.slice());
      known.set(kind, { call, scalars, values });
    }
    run(call, scalars, inputs, outputs);
  };
  await using device = deviceOf(backend);
  for (const { cases } of rooms) {
    for (const entry of cases) {
      const size = entry.inputs.reduce((sum, { shape }) => sum + elements(shape), 0);
      if (entry.large || entry.slow || size > MOST_ELEMENTS) continue;
      await runCase(device, entry);
      // No backend sees those.
      if (entry.op.alias) {
        const specs = entry.inputs.map(({ shape, dtype = "float32" }) => ({ shape, dtype }));
        found.set(entry.op, new Map([["", { call: intern(entry.op, specs, entry.attrs), scalars: {}, values: caseInputs(entry) }]]));
      }
    }
  }
  return new Map([...found].map(([op, calls]) => [op, [...calls.values()]]));
};

let recorded: ReadonlyMap<Op, readonly Recorded[]>;
let reference: Device;
let native: Device;
let guards: GuardedBackend;
beforeAll(async () => {
  recorded = await record();
  reference = deviceOf(openReference({ memoryLimit: MEMORY }));
  guards = guarded(await openNative({ memoryLimit: MEMORY }));
  native = deviceOf(guards);
});
afterAll(async () => {
  await native.close();
  await reference.close();
});

/** Outputs and changed inputs, or the code of what was thrown. */
const outcome = async (device: Device, { call, scalars, values }: Recorded, attrs: Attrs): Promise<string | readonly ArrayLike<number>[]> => {
  const { op, inputs: specs } = call;
  const inputs = specs.map(({ shape, dtype }, i) => device.tensor(values[i], shape, dtype));
  try {
    const outputs = noGrad(() => (inputs.length > 0 ? apply(op, inputs, attrs, scalars) : generate(device, op, attrs, scalars)));
    try {
      return await Promise.all([...outputs, ...(op.mutates ?? []).map((i) => inputs[i])].map((tensor) => tensor.read()));
    } finally {
      for (const output of outputs) output.dispose();
    }
  } catch (error) {
    if (!(error instanceof BirkhoffError)) throw error;
    return error.code === "ERR_ARGUMENT" ? error.message : error.code;
  } finally {
    for (const input of inputs) input.dispose();
  }
};

/** What each attribute of a call may be instead: anything, what it is in other calls, nothing; and one that no op has. */
const changes = (attrs: Attrs, others: readonly Recorded[]): readonly Attrs[] => {
  const instead = Object.keys(attrs).flatMap((name) => {
    const { [name]: _, ...without } = attrs;
    const elsewhere = new Set(others.map(({ call }) => call.attrs[name]));
    return [without, ...[...HOSTILE, ...elsewhere].map((value) => ({ ...attrs, [name]: value }))];
  });
  return [...instead, ...[0, true, "a", undefined].map((value) => ({ ...attrs, another: value }))] as readonly Attrs[];
};

/** What these say is how the run went that left the record, which is an operand here: with another record the result means nothing on any device. */
const OF_DATA: Readonly<Record<string, readonly string[]>> = { "sinkhorn.backward": ["plain", "annealed"] };

/** What is wrong with a call that has these attributes instead. */
const problemOf = async (recorded: Recorded, attrs: Attrs): Promise<string | undefined> => {
  const { op, attrs: own } = recorded.call;
  const want = await outcome(reference, recorded, attrs);
  const got = await outcome(native, recorded, attrs);
  if (want === "ERR_OUT_OF_MEMORY" || got === "ERR_OUT_OF_MEMORY") return undefined;
  if (typeof want === "string" || typeof got === "string") {
    const known = want === "ERR_DATA" || String(want).includes(": expected ");
    return want === got && known ? undefined : `${String(want)} on reference, ${String(got)} on native`;
  }
  if (OF_DATA[op.name]?.some((name) => attrs[name] !== own[name])) return undefined;
  const worst = Math.max(0, ...want.map((values, i) => errorRatio(got[i], values, ALIKE)));
  return worst <= 1 ? undefined : `another result on native, by ${worst} times what is allowed`;
};

/** Numbers for another spec, out of those that there are. */
const numbers = ({ shape, dtype }: Spec, old: Numbers): Numbers => {
  const whole = (value: number): number => (isFloat(dtype) ? value : Number.isFinite(value) ? Math.abs(Math.round(value)) : 1);
  return Float64Array.from({ length: elements(shape) }, (_, i) => whole(old[i % Math.max(1, old.length)] ?? 1));
};

/** One input of another shape or dtype, one less, one more. */
const otherInputs = ({ call, scalars, values }: Recorded): readonly Recorded[] => {
  const { inputs } = call;
  const last: Spec = inputs[inputs.length - 1] ?? { shape: [1], dtype: "float32" };
  const others = inputs.flatMap(({ shape, dtype }, i) => {
    const [first = 0, ...rest] = shape;
    const [before, end = 0] = [shape.slice(0, -1), ...shape.slice(-1)];
    const shapes = [[], [0], [1], [5], [2, 3], [...shape, 1], [1, ...shape], [...shape].reverse(), [elements(shape)], rest, before];
    const sizes = [
      ...[first + 1, Math.max(0, first - 1)].map((size) => [size, ...rest]),
      ...[end + 1, Math.max(0, end - 1)].map((size) => [...before, size]),
    ];
    const specs: Spec[] = [
      ...[...shapes, ...sizes].map((other) => ({ shape: other, dtype })),
      ...(["float32", "float16", "int32", "uint32"] as const).map((other) => ({ shape, dtype: other })),
    ];
    return specs.map((spec) => inputs.map((own, k) => (k === i ? spec : own)));
  });
  return [inputs.slice(0, -1), [...inputs, last], ...others].map((specs) => ({
    call: { ...call, inputs: specs },
    scalars,
    values: specs.map((spec, i) => (spec === inputs[i] ? values[i] : numbers(spec, values[i] ?? new Float64Array(0)))),
  }));
};

/** What no function of the package writes into an input: numbers that a kernel may take for places, counts and what not. */
const FLOATS = [Number.NaN, Number.POSITIVE_INFINITY, -1e30, 1e9, 1e30, 0, -1];
const WHOLE = { int32: [-1, 2 ** 31 - 1, -(2 ** 31), 1000, 0], uint32: [2 ** 32 - 1, 2 ** 31, 1000, 0] };
const otherNumbers = ({
  call,
  scalars,
  values,
}: Recorded): readonly { readonly recorded: Recorded; readonly changed: Spec; readonly value: number }[] =>
  call.inputs.flatMap((changed, i) =>
    (changed.dtype === "int32" || changed.dtype === "uint32" ? WHOLE[changed.dtype] : FLOATS).map((value) => ({
      recorded: { call, scalars, values: values.map((own, k) => (k === i ? new Float64Array(own.length).fill(value) : own)) },
      changed,
      value,
    })),
  );

const NAMES = [...new Set(rooms.flatMap(({ ops }) => ops.map(({ name }) => name)))];
const callsOf = (name: string): Recorded[] => {
  const calls = [...recorded].filter(([op]) => op.name === name).flatMap(([, all]) => all);
  expect(calls.length, "calls that cases make").toBeGreaterThan(0);
  return calls;
};

describe("attributes of every op", () => {
  test.each(NAMES)("%s", async (name) => {
    const calls = callsOf(name);
    const problems: string[] = [];
    for (const each of calls) {
      const { attrs: own } = each.call;
      for (const attrs of changes(own, calls)) {
        const problem = await problemOf(each, attrs).catch(String);
        const changed = [...new Set([...Object.keys(own), ...Object.keys(attrs)])].filter((key) => attrs[key] !== own[key]);
        if (problem !== undefined)
          problems.push(`${changed.map((key) => `${key} = ${shown(attrs[key])}`).join()} of ${JSON.stringify(own)}: ${problem}`);
      }
    }
    await guards.check();
    expect(problems).toEqual([]);
  });
});

describe("inputs of every op", () => {
  test.each(NAMES)("%s", async (name) => {
    const problems: string[] = [];
    for (const each of callsOf(name)) {
      for (const other of otherInputs(each)) {
        const problem = await problemOf(other, each.call.attrs).catch(String);
        if (problem !== undefined) problems.push(`${JSON.stringify(other.call.inputs)} of ${JSON.stringify(each.call.attrs)}: ${problem}`);
      }
    }
    await guards.check();
    expect(problems).toEqual([]);
  });
});

describe("numbers in every input", () => {
  test.each(NAMES)("%s", async (name) => {
    const problems: string[] = [];
    for (const each of callsOf(name)) {
      const { attrs } = each.call;
      for (const { recorded: other, changed, value } of otherNumbers(each)) {
        // Whether floats out of the ordinary overflow is a matter of precision, and counts fit in 31 bits.
        const compared = changed.dtype === "int32";
        const problem = await (compared ? problemOf(other, attrs) : outcome(native, other, attrs).then(() => undefined)).catch(String);
        if (problem !== undefined) problems.push(`${value} in ${JSON.stringify(changed)} of ${JSON.stringify(attrs)}: ${problem}`);
      }
    }
    await guards.check();
    expect(problems).toEqual([]);
  });
});
