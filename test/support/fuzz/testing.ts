/** What writers of kernels test them with: cases, results, fills, guarded devices. */
import fc from "fast-check";
import type { Backend } from "../../../src/backend.ts";
import type { Device } from "../../../src/device.ts";
import { elements } from "../../../src/op.ts";
import * as testing from "../../../src/testing/index.ts";
import { type Arguments, among, device, garbage, hosted, options, rarely, real, Sketch, type Subject, whole } from "./arguments.ts";

/** What a case of the caller's own may throw. */
const BROKEN = "a broken invariant";
const seed = fc.oneof(whole(0, 9), fc.constant(undefined));

/** Small ones of every room; what they say about outputs does not hold of any numbers. */
const cases = testing.rooms.flatMap(({ cases: all }) =>
  all
    .filter(({ large, slow, inputs }) => !(large || slow) && inputs.reduce((sum, { shape }) => sum + elements(shape), 0) <= 12)
    .slice(0, 12)
    .map(({ invariants, ...entry }): testing.Case => entry),
);
const tolerance = options({ relative: real(0, 1e-3), absolute: real(0, 1e-3), reason: among("a test") }, ["relative", "absolute", "reason"]);
const part = fc.oneof(
  fc.record({
    inputs: fc.oneof(
      garbage,
      fc.array(
        options({
          shape: among([2], [-1], []),
          dtype: among("float32", "int32"),
          fill: among(
            () => 1,
            () => "1",
          ),
        }),
      ),
    ),
  }),
  fc.record({ outputs: among([0], [7], [-1], []) }),
  fc.record({
    view: among(
      (outputs: unknown) => outputs,
      () => [],
      () => [1],
      async () => [],
    ),
  }),
  fc.record({ forward: tolerance }, { requiredKeys: ["forward"] }),
  fc.record({ finiteDifferences: options({ step: real(1e-6, 1e-4), tolerance: real(1e-6, 1), off: among("no") }) }),
  fc.record({
    invariants: among(
      () => undefined,
      () => {
        throw BROKEN;
      },
    ),
  }),
  fc.tuple(fc.constantFrom("name", "op", "attrs", "scalars", "backward", "large", "another"), garbage).map(([name, value]) => ({ [name]: value })),
);
/** One attribute that is another, or missing; `test/full/attributes.test.ts` does it to every op. */
const attribute = fc
  .tuple(fc.nat(9), fc.constantFrom<unknown>(undefined, -1, 0, 0.5, 1, 3, 2 ** 31, 1e300, "a", true, false, [], [1, 2, 3], [-1, 0.5]))
  .map(([at, value]) => ({ attrs }: testing.Case): object => {
    const names = [...Object.keys(attrs), "another"];
    return { attrs: { ...attrs, [names[at % names.length]]: value } };
  });
/** A case of the package's own, as it is or with a part that is another. */
const entry = rarely(
  fc
    .tuple(
      fc.constantFrom(...cases),
      fc.oneof(
        { weight: 6, arbitrary: fc.constant(() => ({})) },
        { weight: 2, arbitrary: part.map((more) => () => more) },
        { weight: 1, arbitrary: attribute },
      ),
    )
    .map(([own, change]) => new Sketch(`{ ...${own.name}, ...${fc.stringify(change(own))} }`, () => ({ ...own, ...change(own) }))),
  garbage,
);

const numbers = (count: number): fc.Arbitrary<unknown> =>
  rarely(
    fc
      .tuple(fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: count, maxLength: count }), fc.boolean())
      .map(([list, typed]) => (typed ? Float64Array.from(list) : list)),
    fc.oneof(garbage, fc.constantFrom<unknown>(new BigInt64Array(2), [undefined], ["1"], [Number.NaN], new DataView(new ArrayBuffer(8)))),
  );
const pair = (...more: fc.Arbitrary<unknown>[]): Arguments => fc.integer({ min: 0, max: 3 }).chain((n) => fc.tuple(numbers(n), numbers(n), ...more));
const lists = rarely(fc.array(numbers(2), { minLength: 1, maxLength: 2 }), garbage);
const result = options({ inputs: lists, outputs: lists, mutated: lists, gradients: lists }, ["inputs", "outputs", "mutated", "gradients"]);
const specs = rarely(
  fc.array(
    options(
      { shape: rarely(fc.constantFrom([2, 3], [], [4]), fc.constantFrom<unknown>([-1], [0.5], "2")), dtype: among("float32", "float16", "int32") },
      ["shape", "dtype"],
    ),
    { maxLength: 2 },
  ),
  garbage,
);

const backend = rarely(
  fc.constant(new Sketch("backend", (context) => context.device.backend)),
  fc.oneof(garbage, options({ alloc: among(() => undefined), info: among({}), limits: among({}), counters: among({}) })),
);

/** Three numbers of a fill. */
const draw = (fill: testing.Fill): number[] => {
  const random = testing.testRandom(1);
  return Array.from({ length: 3 }, (_, i) => fill(random, i, 3));
};
const filling = (name: string, make: (...given: never[]) => testing.Fill, ...args: fc.Arbitrary<unknown>[]): [string, Subject] => [
  name,
  { args: fc.tuple(...args), run: (_, ...given) => draw(make(...(given as never[]))) },
];

/** What became of a case, without what differs between devices. */
const said = ({ passed, problem, worst, errors }: testing.CheckResult): unknown => {
  if (passed !== (problem === undefined) || (passed && !(worst <= 1))) throw new Error(`passed ${passed}, ${problem}, ${worst}`);
  return Object.keys(errors);
};

/** By their names in `birkhoff/testing`. */
export const TESTING: Readonly<Record<string, Subject>> = {
  ...hosted({
    ...Object.fromEntries([
      filling("normal", testing.normal, fc.oneof(real(-3, 3), fc.constant(undefined))),
      filling("uniform", testing.uniform, real(-3, 3), real(-3, 3)),
      filling("integers", testing.integers, whole(1, 9)),
      filling("constant", testing.constant, real(-3, 3)),
      filling("values", testing.values, rarely(fc.array(real(-3, 3), { minLength: 1, maxLength: 3 }), garbage)),
    ]),
    distinct: { args: fc.tuple(), run: () => draw(testing.distinct) },
    around: { args: fc.array(whole(0, 99), { maxLength: 3 }) },
    summed: { args: fc.tuple(whole(0, 99)) },
    testRandom: {
      args: fc.tuple(whole(0, 9)),
      run: (_, given) => {
        const random = testing.testRandom(given as number);
        return [random.uniform(), random.normal()];
      },
    },
    findOp: { args: fc.tuple(fc.oneof(among("cumsum", "matmul"), fc.string())), run: (_, name) => testing.findOp(name as string).name },
    minimalBytes: { args: fc.tuple(options({ inputs: specs, outputs: specs }, ["inputs", "outputs"])) },
    defineCase: { args: fc.tuple(entry), run: (_, given) => testing.defineCase(given as never).name },
    caseInputs: { args: fc.tuple(entry, seed) },
    errorRatio: { args: pair(tolerance) },
    gradcheckCase: { args: fc.tuple(entry, seed) },
  }),
  compareCase: {
    args: fc.tuple(entry, result, result, device),
    differs: true,
    run: (_, ...args) => {
      try {
        return testing.compareCase(...(args as [never, never, never, Device])).errors;
      } catch (error) {
        if (error === BROKEN) return undefined;
        throw error;
      }
    },
  },
  runCase: { args: fc.tuple(device, entry, seed) },
  checkCase: {
    args: fc.tuple(device, entry, seed),
    differs: true,
    run: async (_, ...args) => said(await testing.checkCase(...(args as [Device, testing.Case, number]))),
  },
  checkCases: {
    args: fc.tuple(device, rarely(fc.array(entry, { maxLength: 2 }), garbage), seed),
    differs: true,
    run: async (_, ...args) => {
      const all: unknown[] = [];
      for await (const each of testing.checkCases(...(args as [Device, testing.Case[], number]))) all.push(said(each));
      return all;
    },
  },
  guarded: {
    args: fc.tuple(backend),
    run: async (_, given) => {
      const guards = testing.guarded(given as Backend);
      try {
        using x = testing.deviceOf(guards).tensor([1, 2, 3]);
        return await x.read();
      } finally {
        await guards.check();
      }
    },
  },
  deviceOf: {
    args: fc.tuple(backend, fc.oneof(fc.constant(undefined), rarely(fc.constant(["native: none"]), garbage))),
    run: async (_, ...args) => {
      using x = testing.deviceOf(...(args as [Backend, string[]])).tensor([1, 2, 3]);
      return await x.read();
    },
  },
};
