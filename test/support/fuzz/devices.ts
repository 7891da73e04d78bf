/** Devices, tensors, and what trains on them. */
import fc from "fast-check";
import { BirkhoffError } from "../../../src/errors.ts";
import * as birkhoff from "../../../src/index.ts";
import { Tensor } from "../../../src/tensor.ts";
import { among, garbage, leaf, options, rarely, real, type Subject, size, sized, tensor, whole } from "./arguments.ts";

const shape = fc.array(size, { maxLength: 3 });
const dtype = among("float32", "float16", "int32", "uint32", undefined);
const nested = (depth: number): fc.Arbitrary<unknown> =>
  depth === 0 ? rarely(fc.integer({ min: -3, max: 3 }), garbage) : fc.array(nested(depth - 1), { minLength: 1, maxLength: 3 });
const data = fc.oneof(
  nested(1),
  nested(2),
  fc
    .integer({ min: 1, max: 3 })
    .chain((width) => fc.array(fc.array(fc.integer({ min: 0, max: 9 }), { minLength: width, maxLength: width }), { maxLength: 3 })),
  fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 6 }).map((values) => Float32Array.from(values)),
  fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 6 }).map((values) => Int32Array.from(values)),
  real(-5, 5),
);
/** Now and then inferred. */
const shapeOrNone = fc.oneof(fc.constant(undefined), shape, fc.array(fc.integer({ min: -1, max: 6 }), { maxLength: 2 }), garbage);
const filling: Subject["args"] = fc.tuple(fc.oneof(shape, garbage), dtype);

const STEPS = ["read", "item", "readFloat64", "detach", "buffer", "dispose", "backward", "want", "unwant", "write", "double", "keep"] as const;
type Step = (typeof STEPS)[number];

/** What a step on a tensor comes to: the tensors that it makes go into the list. */
const steps: Readonly<Record<Step, (tensors: Tensor[], other: unknown) => unknown>> = {
  read: ([x]) => x.read(),
  item: ([x]) => x.item(),
  readFloat64: ([x]) => x.readFloat64(),
  detach: (all) => void all.unshift(all[0].detach()),
  buffer: ([x], other) => x.buffer(other as never),
  dispose: ([x]) => x.dispose(),
  backward: ([x], other) => x.backward(other as never),
  want: ([x]) => {
    x.requiresGrad = true;
  },
  unwant: ([x]) => {
    x.requiresGrad = false;
  },
  write: ([x], other) => x.device.write(x, other as never),
  double: (all) => void all.unshift(birkhoff.add(all[0], all[0])),
  keep: ([x]) => void birkhoff.keep(x),
};

const groups = sized(2, (n, m) => [
  fc.oneof(
    fc.tuple(leaf([n, m]), leaf([m])),
    fc.tuple(
      options({ parameters: rarely(fc.tuple(leaf([n, m])), garbage), lr: real(0, 1), weightDecay: real(0, 0.1) }, ["parameters"]),
      options({ parameters: fc.tuple(leaf([m])) }, ["parameters"]),
    ),
    garbage,
  ),
  rarely(fc.tuple(fc.oneof(tensor([n, m]), fc.constant(undefined)), tensor([m])), garbage),
]);
/** Without dtypes, in which devices differ. */
export const valuesOf = (state: birkhoff.StateDict): unknown => [...state].map(([name, { shape, data: values }]) => [name, shape, values]);

const optimizer = (Class: typeof birkhoff.SGD | typeof birkhoff.AdamW, entries: Record<string, fc.Arbitrary<unknown>>): Subject => ({
  args: fc
    .tuple(
      groups,
      options({ lr: real(0, 1), weightDecay: real(0, 0.1), ...entries }),
      options({ clipNorm: real(0, 2) }),
      rarely(fc.constantFrom(0.1, 0.2), garbage),
    )
    .map(([[parameters, gradients], ...rest]) => [parameters, gradients, ...rest]),
  run: async ({ own }, parameters, gradients, given, stepping, lr) => {
    const made = own(new Class(parameters as never, given as never));
    made.step(gradients as never, stepping as never);
    made.groups[0].lr = lr as never;
    made.step(gradients as never, stepping as never);
    return [made.groups.map((group) => group.parameters), valuesOf(await made.stateDict())];
  },
});
const schedule = (name: string, ...args: fc.Arbitrary<unknown>[]): [string, Subject] => [
  name,
  {
    args: fc.tuple(fc.tuple(...args), fc.oneof(whole(0, 20), real(0, 20))),
    run: (_, given, step) => {
      const make = (birkhoff as unknown as Record<string, (...all: unknown[]) => (at: unknown) => number>)[name];
      const factor = make(...(given as unknown[]))(step);
      if (!(factor >= 0)) throw new Error(`${name} gave ${factor}`);
      return factor;
    },
  },
];
const schedules = rarely(
  fc.array(fc.constantFrom<unknown>(birkhoff.constant(0.5), birkhoff.cosine(5)), { maxLength: 3 }),
  fc.oneof(garbage, fc.constant([1])),
);

/** Functions of a tensor that a caller may hand in. */
const callback = fc.oneof(
  fc.constantFrom<unknown>(
    (x: Tensor) => birkhoff.scope(() => birkhoff.sum(birkhoff.square(x))),
    (x: Tensor) => birkhoff.square(x),
    () => 1,
    async () => undefined,
  ),
  garbage,
);

export const DEVICES: Readonly<Record<string, Subject>> = {
  "device.tensor": { args: fc.tuple(data, shapeOrNone, dtype), run: ({ device }, ...args) => device.tensor(...(args as [never, never, never])) },
  "device.full": {
    args: fc.tuple(fc.oneof(shape, garbage), fc.oneof(real(-3, 3), whole(0, 3)), dtype),
    run: ({ device }, ...args) => device.full(...(args as [never, never, never])),
  },
  "device.zeros": { args: filling, run: ({ device }, ...args) => device.zeros(...(args as [never, never])) },
  "device.ones": { args: filling, run: ({ device }, ...args) => device.ones(...(args as [never, never])) },
  "device.write": {
    args: fc.tuple(leaf([2, 2]), fc.oneof(data, fc.constant([1, 2, 3, 4]))),
    run: ({ device }, x, values) => {
      device.write(x as Tensor, values as never);
      return x;
    },
  },
  fromBuffer: {
    args: fc.tuple(
      garbage,
      fc.oneof(shape, garbage),
      options({ dtype, offset: whole(0, 512), byteLength: whole(0, 512), ownership: among("borrowed", "owned") }),
    ),
    run: ({ device }, ...args) => device.fromBuffer(...(args as [never, never, never])),
  },
  openDevice: {
    args: fc.tuple(
      options(
        {
          device: among("reference", "native"),
          threads: whole(1, 2),
          memoryLimit: among(0, 100, 1e6),
          subgroupMatrices: among(false),
          gpuDevice: among(undefined),
        },
        ["device"],
      ),
    ),
    run: async (_, given) => {
      // Nothing that would look for a GPU.
      if (typeof given !== "object" || given === null || !Object.hasOwn(given, "device") || (given as { device?: unknown }).device === undefined)
        return undefined;
      await using device = await birkhoff.openDevice(given as never);
      using x = device.ones([10]);
      using y = birkhoff.sum(x);
      return await y.item();
    },
  },
  tensor: {
    args: fc.tuple(
      leaf([2, 2]),
      fc.array(fc.tuple(fc.constantFrom(...STEPS), fc.oneof(tensor([2, 2]), data, options({ write: among(true, false) }))), { maxLength: 6 }),
    ),
    differs: true,
    run: async ({ own }, x, list) => {
      if (!(x instanceof Tensor)) return undefined;
      const all = [x];
      for (const [step, other] of list as [Step, unknown][]) {
        try {
          await steps[step](all, other);
        } catch (error) {
          if (!(error instanceof BirkhoffError)) throw error;
        }
      }
      for (const made of all) own(made);
      return undefined;
    },
  },
  SGD: optimizer(birkhoff.SGD, { momentum: real(0, 0.9), nesterov: among(true, false) }),
  AdamW: optimizer(birkhoff.AdamW, { betas: rarely(fc.constant([0.8, 0.9]), fc.oneof(garbage, fc.constant([1, "0"]))), eps: real(1e-8, 1e-2) }),
  ...Object.fromEntries([
    schedule("constant", real(0, 2)),
    schedule("stepDecay", whole(1, 5), real(0, 1)),
    schedule("cosine", whole(1, 10), real(0, 1)),
    schedule("exponential", whole(1, 10), real(0.01, 1)),
    schedule("linearWarmup", whole(1, 10), real(0, 1)),
    schedule("cyclicLinear", whole(1, 20), whole(1, 4), real(0.1, 1)),
    schedule("chained", schedules, fc.oneof(fc.constantFrom<unknown>([], [3], [3, 6]), garbage)),
  ]),
  scheduleLr: {
    args: fc.tuple(
      leaf([2]),
      fc.oneof(
        fc.constantFrom<unknown>(
          birkhoff.cosine(4),
          () => -1,
          () => Number.NaN,
          () => "1",
        ),
        garbage,
      ),
      whole(0, 9),
    ),
    run: ({ own }, x, given, step) => {
      const made = own(new birkhoff.SGD([x as Tensor]));
      birkhoff.scheduleLr(made, given as never)(step as never);
      return made.groups[0].lr;
    },
  },
  valueAndGrad: {
    args: fc.tuple(callback, leaf([3]), fc.oneof(fc.constant(true), garbage)),
    run: (_, fn, x, usual) => birkhoff.valueAndGrad((typeof fn === "function" ? () => fn(x) : fn) as never, (usual === true ? [x] : usual) as never),
  },
  zeroGrad: { args: fc.tuple(fc.oneof(fc.tuple(leaf([2])), garbage)) },
  scope: { args: fc.tuple(callback, leaf([3])), run: (_, fn, x) => birkhoff.scope((typeof fn === "function" ? () => fn(x) : fn) as never) },
  noGrad: { args: fc.tuple(callback, leaf([3])), run: (_, fn, x) => birkhoff.noGrad((typeof fn === "function" ? () => fn(x) : fn) as never) },
  keep: { args: fc.tuple(tensor([2])), run: (_, x) => birkhoff.keep(x as Tensor).shape },
  gradcheck: {
    args: fc.tuple(
      callback,
      fc.oneof(fc.tuple(leaf([3])), garbage),
      options({ step: real(1e-6, 1e-4), tolerance: real(1e-6, 1), samples: whole(1, 5), seed: whole(0, 9) }),
    ),
    differs: true,
    run: (_, ...args) => birkhoff.gradcheck(...(args as [never, never, never])),
  },
  RunningStatistics: {
    args: sized(2, (rows, d) => [options({ momentum: real(0.1, 1) }), fc.array(tensor([rows, d]), { maxLength: 3 })]),
    run: ({ own }, given, batches) => {
      const made = own(new birkhoff.RunningStatistics(given as never));
      for (const batch of batches as Tensor[]) made.update(batch);
      return [own(made.mean), own(made.scale)];
    },
  },
  customOp: {
    args: fc.tuple(
      options(
        {
          name: among("mine"),
          wgsl: among("@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1) fn main() { y[0] = 1; }"),
          outputs: among(
            (inputs: unknown) => inputs,
            () => [{ shape: [2], dtype: "float32" }],
            () => [{ shape: [-1], dtype: "float32" }],
            () => [{}],
            () => [garbage],
          ),
          plan: among(() => ({ passes: [] })),
          reference: among(
            () => undefined,
            async () => undefined,
          ),
          native: among(undefined),
          gradient: among({ none: "no" }, { saves: {}, vjp: () => [] }),
          scalars: among(undefined, ["a"]),
        },
        ["name", "wgsl", "outputs", "plan", "gradient"],
      ),
      rarely(fc.tuple(tensor([2])), garbage),
      options({ attribute: among(1) }),
      options({ a: real(0, 1) }),
    ),
    differs: true,
    run: (_, definition, ...args) => birkhoff.customOp(definition as never)(...(args as [never, never, never])),
  },
};
