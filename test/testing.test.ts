/** What the tools for writers of kernels refuse, and what they leave as it was. */
import { afterAll, expect, test } from "vitest";
import { intern } from "../src/apply.ts";
import { ArgumentError, DeviceError } from "../src/errors.ts";
import { openDevice, type Tensor } from "../src/index.ts";
import { square } from "../src/ops/elementwise/index.ts";
import {
  type Case,
  caseInputs,
  checkCase,
  checkCases,
  deviceOf,
  findOp,
  gradcheck,
  guarded,
  ROUNDING,
  rooms,
  runCase,
  testRandom,
  uniform,
  values,
} from "../src/testing/index.ts";

const device = await openDevice({ device: "reference" });
afterAll(() => device.close());

const entry: Case = {
  name: "a sum",
  op: findOp("cumsum"),
  inputs: [{ shape: [3] }],
  attrs: { axis: 0, reverse: false },
  forward: ROUNDING,
};
const other = (part: object): Case => ({ ...entry, ...part }) as Case;

test.each([
  [() => caseInputs(other({ op: undefined })), "caseInputs: expected an object for `entry.op`, but received undefined"],
  [() => caseInputs(other({ invariant: () => undefined })), '`entry`, but received "invariant"'],
  [
    () => caseInputs(other({ inputs: [{ shape: [-1] }] })),
    "expected an array of non-negative integers for `entry.inputs[0].shape`, but received [-1]",
  ],
  [() => caseInputs(other({ inputs: [{ shape: [2], fill: () => "1" }] })), 'a number for `the result of entry.inputs[0].fill`, but received "1"'],
  [() => caseInputs(other({ attrs: { axis: 1, reverse: false } })), "`axis`"],
  [
    () => caseInputs(other({ forward: { relative: -1, absolute: 0, reason: "" } })),
    "a finite number of at least 0 for `entry.forward.relative`, but received -1",
  ],
  [() => testRandom(0.5), "testRandom: expected an integer in [0, 9007199254740991] for `seed`, but received 0.5"],
  [() => uniform(0, Number.NaN), "uniform: expected a finite number for `high`, but received NaN"],
  [() => values([]), "values: expected at least one number for `list`, but received []"],
  [() => guarded({} as never), "guarded: expected an object for `backend.info`, but received undefined"],
  [() => deviceOf({ ...device.backend, read: 1 } as never), "deviceOf: expected"],
])("%s", (call, message) => {
  expect(call).toThrow(ArgumentError);
  expect(call).toThrow(message);
});

test("a table with what is no case runs none of it", async () => {
  const ran: unknown[] = [];
  const first = other({ invariants: (run: unknown) => ran.push(run) });
  await expect(checkCases(device, [first, other({ name: 1 })]).next()).rejects.toThrow(
    "checkCases: expected a text for `entry.name`, but received 1",
  );
  expect(ran).toEqual([]);
});

test.each([
  [{ axis: "0", reverse: false }, 'cumsum: expected an integer of at least 0 for `axis`, but received "0"'],
  [{ axis: 1, reverse: false }, "cumsum: expected an axis of a tensor of rank 1 for `axis`, but received 1"],
  [{ axis: 0 }, "cumsum: expected true or false for `reverse`, but received undefined"],
  [{ axis: 0, reverse: false, exclusive: undefined }, 'cumsum: expected only axis, reverse for `attributes`, but received "exclusive"'],
])("an op's attributes by hand, %j", async (attrs, message) => {
  const given = other({ attrs });
  await expect(runCase(device, given)).rejects.toThrow(new ArgumentError(message));
  expect(() => findOp("cumsum").outputs([{ shape: [3], dtype: "float32" }], attrs as never)).toThrow(message);
});

test("a list with a hole is no shorter list", () => {
  const shape = [6];
  shape[2] = 1;
  expect(() => intern(findOp("shape.reshape"), [{ shape: [6], dtype: "float32" }], { shape })).toThrow(ArgumentError);
});

test("what no kernel would survive is refused by name", async () => {
  const conv = rooms.flatMap(({ cases }) => cases).find(({ name, op }) => op.name === "conv" && name === "one pixel") as Case;
  const changed = (attrs: object): Promise<unknown> => runCase(device, { ...conv, attrs: { ...conv.attrs, ...attrs } });
  await changed({});
  await expect(changed({ stride: [0, 0] })).rejects.toThrow(
    "conv: expected a list, each entry an integer of at least 1, for `stride`, but received [0, 0]",
  );
  await expect(changed({ dilation: [1] })).rejects.toThrow("conv: expected an entry for each of 2 spatial axes for `dilation`, but received [1]");
});

test("a list of a case's attributes may change behind a call", () => {
  const axes = [1, 0];
  const call = intern(findOp("shape.permute"), [{ shape: [2, 3], dtype: "float32" }], { axes });
  axes[0] = 0;
  expect(call.attrs).toEqual({ axes: [1, 0] });
  expect(() => intern(findOp("shape.permute"), [{ shape: [2, 3], dtype: "float32" }], { axes })).toThrow(ArgumentError);
});

test("a scalar that an attribute switches off", async () => {
  const forward = rooms.flatMap(({ cases }) => cases).find(({ op, attrs }) => op.name === "crossEntropy.forward" && attrs.smooth === false) as Case;
  await expect(runCase(device, { ...forward, scalars: { smoothing: 0.1 } })).rejects.toThrow(
    "crossEntropy.forward: expected 0, since smooth is false, for `smoothing`, but received 0.1",
  );
});

test("whatever a case throws is its problem, and leaves nothing behind", async () => {
  await using native = await openDevice({ device: "native" });
  for (const target of [device, native]) {
    const thrown = other({ invariants: () => JSON.parse("{") });
    expect((await checkCase(target, thrown)).problem).toMatch(/JSON/);
    const text = other({
      invariants: () => {
        const reason: unknown = "a text";
        throw reason;
      },
    });
    expect(await checkCase(target, text)).toMatchObject({ passed: false, problem: '"a text"' });
    expect(target.counters.liveBuffers).toBe(0);
  }
  await expect(runCase(device, other({ outputs: [1] }))).rejects.toThrow(
    "runCase: expected positions of 1 outputs for `entry.outputs`, but received [1]",
  );
  expect(device.counters.liveBuffers).toBe(0);
});

test("guards give back what they hold when a kernel wrote past an end", async () => {
  await using reference = await openDevice({ device: "reference" });
  const { backend } = reference;
  const guards = guarded(backend);
  for (const broken of [true, false]) {
    const buffer = guards.alloc("float32", 2);
    const memory = (buffer as unknown as { inner: typeof buffer }).inner;
    if (broken) backend.write(memory, new Float32Array(memory.length));
    guards.free(buffer);
  }
  await expect(guards.check()).rejects.toThrow(DeviceError);
  expect(reference.counters.liveBuffers).toBe(0);
});

test("a gradient check leaves its inputs as they were, also where the function throws or gives an input back", async () => {
  using x = device.tensor([1, 2]);
  x.requiresGrad = true;
  let calls = 0;
  const fails = (given: Tensor): Tensor => {
    if (++calls > 2) throw new Error("no more");
    return square(given);
  };
  await expect(gradcheck(fails, [x])).rejects.toThrow("no more");
  await expect(gradcheck((given) => given, [x])).rejects.toThrow("no gradient was recorded");
  await expect(gradcheck((() => 1) as never, [x])).rejects.toThrow(
    "gradcheck: expected a tensor of the same device for `the result of fn`, but received 1",
  );
  await expect(gradcheck(square, [x, null as never])).rejects.toThrow("gradcheck: expected a tensor for `inputs[1]`, but received null");
  expect(await x.read()).toEqual(Float32Array.of(1, 2));
  expect(device.counters.liveBuffers).toBe(1);
});
