import { elements, type Op, type Shape } from "../../op.ts";
import {
  type Case,
  type CaseInput,
  constant,
  defineCase,
  type Fill,
  minimalBytes,
  type Room,
  summed,
  type Tolerance,
  uniform,
  values,
} from "../../testing/cases.ts";
import { adamw, clip, norm, sgd } from "./op.ts";
import { NORM_CHUNK, NORM_SLOTS, UPDATE_SLOTS } from "./plan.ts";

const UPDATE: Tolerance = { relative: 1e-6, absolute: 1e-6, reason: "a dozen float32 roundings, a root and a quotient of 2.5 ulp each" };
const NORM = (count: number): Tolerance => ({
  ...summed(count),
  absolute: 1e-30,
  reason: "squares are positive: their float32 sum loses a rounding per level",
});

/** Offsets of parameters that follow each other, with a gap of `gap` before each, and the end of the last. */
const place = (shapes: readonly Shape[], gap: number): { offsets: number[]; total: number } => {
  const offsets: number[] = [];
  let total = 0;
  for (const shape of shapes) {
    offsets.push(total + gap);
    total += gap + elements(shape);
  }
  return { offsets, total };
};

interface Options {
  readonly gap?: number;
  readonly limit?: number;
  readonly norm?: number;
  readonly gradient?: Fill;
}

const updateInputs = (state: CaseInput, shapes: readonly Shape[], { limit, norm: total = 3, gradient }: Options): CaseInput[] => [
  state,
  ...shapes.map((shape) => ({ shape })),
  ...shapes.map((shape) => ({ shape, ...(gradient && { fill: gradient }) })),
  ...(limit === undefined ? [] : [{ shape: [], fill: constant(total) }]),
];

const sgdCase = (
  name: string,
  shapes: readonly Shape[],
  options: Options & { readonly momentum?: number; readonly nesterov?: boolean; readonly decay?: number } = {},
): Case => {
  const { gap = 0, limit, momentum = 0, nesterov = false, decay = 0 } = options;
  const { offsets, total } = place(shapes, gap);
  const velocity = momentum !== 0;
  return defineCase({
    name: `sgd ${name}`,
    op: sgd(shapes.length),
    inputs: updateInputs({ shape: [velocity ? total : 0] }, shapes, options),
    attrs: { offsets, clip: limit !== undefined, velocity, nesterov },
    scalars: { lr: 0.1, momentum, decay, limit: limit ?? 0 },
    forward: UPDATE,
  });
};

const adamwCase = (name: string, shapes: readonly Shape[], options: Options & { readonly step?: number; readonly decay?: number } = {}): Case => {
  const { gap = 0, limit, step = 3, decay = 0.01 } = options;
  const { offsets, total } = place(shapes, gap);
  const [lr, beta1, beta2] = [0.01, 0.9, 0.999];
  return defineCase({
    name: `adamw ${name}`,
    op: adamw(shapes.length),
    inputs: updateInputs({ shape: [2, total], fill: uniform(0, 0.1) }, shapes, options),
    attrs: { offsets, clip: limit !== undefined },
    scalars: {
      keep: 1 - lr * decay,
      rate1: 1 - beta1,
      beta2,
      rate2: 1 - beta2,
      step: lr / (1 - beta1 ** step),
      correction: 1 / Math.sqrt(1 - beta2 ** step),
      eps: 1e-8,
      limit: limit ?? 0,
    },
    forward: UPDATE,
  });
};

const many = (count: number): Shape[] => Array.from({ length: count }, (_, k) => [k + 1, 3]);

const sgdCases = [
  ...[1, 7, 17, 31, 33, 256, 257].map((size) => sgdCase(`of ${size} elements`, [[size]])),
  sgdCase("with momentum", [[4, 5]], { momentum: 0.9 }),
  sgdCase("with Nesterov momentum and decay", [[4, 5], [3]], { momentum: 0.9, nesterov: true, decay: 0.1 }),
  sgdCase("with decay", [[9]], { decay: 0.1 }),
  sgdCase("of one scalar", [[]], { momentum: 0.5 }),
  sgdCase("with empty parameters", [[0, 3], [5], [0], [2]], { momentum: 0.5 }),
  sgdCase("of nothing", [[0]], { momentum: 0.5 }),
  sgdCase("clipped", [[300], [3]], { momentum: 0.9, limit: 1 }),
  sgdCase("within the limit", [[30]], { limit: 5 }),
  ...[UPDATE_SLOTS - 1, UPDATE_SLOTS, UPDATE_SLOTS + 1, 8].map((count) =>
    sgdCase(`of ${count} parameters`, many(count), { momentum: 0.9, gap: 2, limit: 1 }),
  ),
];

const adamwCases = [
  ...[1, 7, 17, 31, 33, 256, 257].map((size) => adamwCase(`of ${size} elements`, [[size]])),
  adamwCase("first step", [[12]], { step: 1 }),
  adamwCase("without decay", [[12]], { decay: 0 }),
  adamwCase("with tiny gradients", [[12]], { gradient: (random) => 1e-9 * random.normal() }),
  adamwCase("of one scalar", [[]]),
  adamwCase("with empty parameters", [[0, 3], [5], [0], [2]]),
  adamwCase("clipped", [[300], [3]], { limit: 1 }),
  adamwCase("clipped by a norm of 0", [[5]], { limit: 1, norm: 0 }),
  adamwCase("with a NaN norm", [[5], [6]], { limit: 1, norm: Number.NaN }),
  adamwCase("with an infinite norm", [[5], [6]], { limit: 1, norm: Number.POSITIVE_INFINITY }),
  ...[UPDATE_SLOTS - 1, UPDATE_SLOTS, UPDATE_SLOTS + 1, 8].map((count) => adamwCase(`of ${count} parameters`, many(count), { gap: 3, limit: 1 })),
  adamwCase("over several pieces of work", [[40000], [1], [20001]]),
];

const normCase = (name: string, shapes: readonly Shape[], fill?: Fill): Case =>
  defineCase({
    name: `norm ${name}`,
    op: norm,
    inputs: shapes.map((shape) => ({ shape, ...(fill && { fill }) })),
    attrs: { check: false },
    forward: NORM(shapes.reduce((count, shape) => count + elements(shape), 0)),
  });

const normCases = [
  ...[1, 7, 17, 31, 33, NORM_CHUNK - 1, NORM_CHUNK, NORM_CHUNK + 1, 40000].map((size) => normCase(`of ${size} elements`, [[size]])),
  ...[NORM_SLOTS - 1, NORM_SLOTS, NORM_SLOTS + 1, 2 * NORM_SLOTS + 1].map((count) => normCase(`of ${count} gradients`, many(count))),
  normCase("of a scalar and nothing", [[], [0, 4]]),
  normCase("of nothing", [[0]]),
  normCase("of long and short ones", [[9000], [1], [5000], [0], [3]]),
  normCase("of small numbers", [[500]], (random) => 1e-12 * random.normal()),
  normCase("with NaN", [[4], [4]], values([1, 2, Number.NaN, 3])),
  normCase("with infinity", [[4]], values([1, 2, Number.NEGATIVE_INFINITY, 3])),
  defineCase({ name: "norm checked", op: norm, inputs: [{ shape: [40] }], attrs: { check: true }, forward: NORM(40) }),
];

const clipCase = (name: string, shapes: readonly Shape[], total: number): Case =>
  defineCase({
    name: `clip ${name}`,
    op: clip,
    inputs: [...shapes.map((shape) => ({ shape })), { shape: [], fill: constant(total) }],
    attrs: {},
    scalars: { limit: 1 },
    forward: { relative: 6e-7, absolute: 1e-30, reason: "a quotient of 2.5 ulp and a product" },
  });

const clipCases = [
  clipCase("above the limit", [[300], [2, 3]], 4),
  clipCase("below the limit", [[5]], 0.5),
  clipCase("at norm 0", [[5]], 0),
  clipCase("with empty gradients", [[0], [3], [0, 2]], 2),
  clipCase("with a NaN norm", [[3], [17]], Number.NaN),
  clipCase("with an infinite norm", [[3]], Number.POSITIVE_INFINITY),
  ...[UPDATE_SLOTS - 1, UPDATE_SLOTS, UPDATE_SLOTS + 1].map((count) => clipCase(`of ${count} gradients`, many(count), 3)),
  clipCase("over several pieces of work", [[33000], [20001]], 3),
];

export const cases: readonly Case[] = [...sgdCases, ...adamwCases, ...normCases, ...clipCases];

export const room: Room = {
  name: "optimizer",
  // Updates are one op per number of parameters: those that the cases use.
  ops: [...new Set(cases.map(({ op }) => op))] as readonly Op[],
  cases,
  cost: (call) => {
    const mutated = (call.op.mutates ?? []).reduce((bytes, i) => bytes + 4 * elements(call.inputs[i].shape), 0);
    return { bytes: minimalBytes(call) + mutated, operations: 12 * call.inputs.reduce((sum, { shape }) => sum + elements(shape), 0) };
  },
};
