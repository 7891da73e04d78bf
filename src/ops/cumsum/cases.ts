import { elements, type Shape } from "../../op.ts";
import { type Case, constant, defineCase, EXACT, type Fill, integers, minimalBytes, normal, type Room, summed, values } from "../../testing/cases.ts";
import { cumsum, ops } from "./op.ts";
import { ENOUGH_WORKGROUPS, PART_ELEMENTS, SIDE_BY_SIDE, TERMS_PER_THREAD } from "./plan.ts";
import { split } from "./reference.ts";

const cumsumCase = (name: string, shape: Shape, axis: number, more: Partial<Case> & { readonly fill?: Fill } = {}): Case => {
  const { fill = normal(), ...rest } = more;
  const { length } = split(shape, axis);
  return defineCase({
    name: `${name}, ${shape.join("x")} along ${axis}`,
    op: cumsum,
    inputs: [{ shape, fill }],
    attrs: { axis, reverse: false },
    forward: summed(length),
    ...(length > 2000 ? { finiteDifferences: { off: "the gradient of many terms is that of few" } } : {}),
    ...rest,
  });
};

/** Every place the axis can have. */
const layouts = (
  [
    ["one element", [1], 0],
    ["a vector", [7], 0],
    ["rows", [5, 7], 1],
    ["columns", [5, 7], 0],
    ["middle", [3, 4, 5], 1],
    ["an axis of size 1", [3, 1, 4], 1],
    ["batch of one", [1, 9, 2], 1],
    ["nine axes", [2, 1, 2, 2, 3, 2, 1, 2, 2], 4],
    ["nothing", [0], 0],
    ["empty rows", [3, 0], 1],
    ["no rows", [0, 4], 1],
    ["no columns", [4, 0], 0],
  ] as const
).map(([name, shape, axis]) => cumsumCase(name, shape, axis));

/** One below, at and above what a thread, a vector register, a workgroup and a part take, in rows and in columns. */
const around = (n: number): number[] => [n - 1, n, n + 1];
const lengths = [1, 4, TERMS_PER_THREAD, 16, 16 * TERMS_PER_THREAD, 256 * TERMS_PER_THREAD, PART_ELEMENTS, 3 * PART_ELEMENTS]
  .flatMap(around)
  .slice(1);
const lengthCases = [...new Set(lengths)].flatMap((length) => [
  cumsumCase("rows", [3, length], 1),
  ...(length <= PART_ELEMENTS + 1 ? [cumsumCase("columns", [length, 5], 0)] : []),
]);

const widths = [1, 2, 4, 8, 16, SIDE_BY_SIDE, 2 * SIDE_BY_SIDE].flatMap(around).slice(1);
const widthCases = [...new Set(widths)].flatMap((width) => [
  cumsumCase("planes of columns", [2, 37, width], 1),
  cumsumCase("short rows", [width, 5], 1),
  cumsumCase("parts of columns", [(2 * PART_ELEMENTS) / SIDE_BY_SIDE + 3, width], 0),
]);

/** Rows, and columns by the hundred, on both sides of what the native kernel takes as one piece of work. */
const nativePieces = [
  ...around(1 << 15).map((length) => cumsumCase("rows in native parts", [2, length], 1)),
  ...around(512).map((width) => cumsumCase("wide planes", [17, 5, width], 1)),
  cumsumCase("wide planes, few", [2, 9, 1100], 1),
  cumsumCase("wide columns in native parts", [1100, 130], 0),
];

/** Rows on both sides of the number that is no longer cut into parts. */
const manyRows = [
  ...[ENOUGH_WORKGROUPS / 2, ENOUGH_WORKGROUPS / 2 + 1].map((rows) => cumsumCase("many long rows", [rows, PART_ELEMENTS + 1], 1, { large: true })),
  cumsumCase("long rows", [40, PART_ELEMENTS + 1], 1),
  cumsumCase("many short rows", [70000, 3], 1, { finiteDifferences: { off: "the gradient of many rows is that of few" } }),
];

const large = [
  cumsumCase("a million", [1 << 20], 0, { large: true }),
  cumsumCase("a million of columns", [1 << 15, 33], 0, { large: true }),
  cumsumCase("more than a thousand parts", [ENOUGH_WORKGROUPS * PART_ELEMENTS + 17], 0, { large: true }),
];

/** Small whole numbers: every partial sum is a float32, so every order of additions gives the same result. */
const exact = [
  [[3, 5000], 1],
  [[20000], 0],
  [[5000, 3], 0],
  [[600, 40], 0],
].map(([shape, axis]) =>
  cumsumCase("whole numbers", shape as Shape, axis as number, {
    fill: integers(9),
    forward: EXACT,
    backward: summed((shape as Shape)[axis as number]),
    finiteDifferences: { off: "the gradient of many terms is that of few" },
    invariants: ({ inputs: [x], outputs: [y] }) => {
      const { length, inner } = split(shape as Shape, axis as number);
      for (let i = 0; i < y.length; i++) {
        const first = Math.floor(i / inner) % length === 0;
        if (y[i] - (first ? 0 : y[i - inner]) !== x[i]) throw new Error(`the difference of neighbours at ${i} is not ${x[i]}`);
      }
    },
  }),
);

const ramp = [PART_ELEMENTS + 1, 2000].map((length) =>
  cumsumCase("ones", [length, 2], 0, {
    fill: constant(1),
    forward: EXACT,
    backward: summed(length),
    finiteDifferences: { off: "the gradient of many terms is that of few" },
    invariants: ({ outputs: [y] }) => {
      for (let i = 0; i < y.length; i++)
        if (y[i] !== Math.floor(i / 2) + 1) throw new Error(`expected ${Math.floor(i / 2) + 1} at ${i}, but received ${y[i]}`);
    },
  }),
);

const farFromZero = cumsumCase("numbers far from 0", [70000], 0, {
  fill: (random) => 1000 + random.uniform(),
  forward: { relative: 2e-6, absolute: 0, reason: "all terms have one sign: sums of 70000 in sequence would be off by 1e-4" },
  backward: summed(70000),
});

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
/** NaN and infinities reach what comes after them and nothing before. */
const special = (
  [
    [[6, 7], 1],
    [[7, 6], 0],
    [[2, 3000], 1],
    [[2, 9001], 1],
    [[9001, 2], 0],
  ] as const
).map(([shape, axis]) =>
  cumsumCase("special values", shape, axis, {
    fill: (_random, i, count) => (count < 100 ? [1, inf, 2, -inf, 3, nan, 4, 5][i % 8] : i === count / 2 - 700 ? inf : i === count - 900 ? nan : 1),
    finiteDifferences: { off: "infinities and NaN have no derivative" },
  }),
);

const signedZeros = cumsumCase("signed zeros and the smallest normal numbers", [2, 6], 1, {
  fill: values([0, -0, 1.5e-38, -1.2e-38, 2e-38, 0]),
  forward: { relative: 4e-7, absolute: 2e-38, reason: "a device may flush subnormal sums" },
  finiteDifferences: { off: "a step of 1e-38 is none" },
});

/** The other direction as an op of its own: what the gradient of every case runs. */
const reversed = (
  [
    [[2, 300], 1],
    [[300, 6], 0],
    [[20000], 0],
  ] as const
).map(([shape, axis]) => cumsumCase("in reverse", shape, axis, { attrs: { axis, reverse: true } }));

export const cases: readonly Case[] = [
  ...layouts,
  ...lengthCases,
  ...widthCases,
  ...nativePieces,
  ...manyRows,
  ...large,
  ...exact,
  ...ramp,
  farFromZero,
  ...special,
  signedZeros,
  ...reversed,
];

export const room: Room = {
  name: "cumsum",
  ops,
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: elements(call.outputs[0].shape) }),
};
