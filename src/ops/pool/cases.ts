import { elements, type Op, type Shape } from "../../op.ts";
import { type Case, defineCase, distinct, EXACT, minimalBytes, ROUNDING, type Room, summed, values } from "../../testing/cases.ts";
import { average, globalAverage, max, ops } from "./op.ts";
import { GROUP_PIXELS } from "./plan.ts";
import type { PoolAttrs } from "./reference.ts";

type Pair = readonly [number, number];
const attrs = (kernel: Pair, stride: Pair = kernel, padding: Pair = [0, 0]): PoolAttrs => ({ kernel, stride, padding });

const geometries: readonly (readonly [string, Shape, PoolAttrs])[] = [
  ["one pixel", [1, 1, 1, 1], attrs([1, 1])],
  ["2x2", [2, 3, 6, 8], attrs([2, 2])],
  ["2x2 of odd planes", [2, 3, 7, 9], attrs([2, 2])],
  ["the whole plane", [3, 2, 4, 5], attrs([4, 5])],
  ["3x3 overlapping", [1, 3, 8, 7], attrs([3, 3], [2, 2], [1, 1])],
  ["3x3 at every pixel", [2, 2, 5, 6], attrs([3, 3], [1, 1], [1, 1])],
  ["2x5, stride 1 3, padding 1 2", [2, 2, 6, 11], attrs([2, 5], [1, 3], [1, 2])],
  ["gaps between windows", [2, 3, 9, 10], attrs([2, 1], [3, 4])],
  ["smaller than the kernel without padding", [2, 2, 1, 2], attrs([3, 3], [1, 1], [1, 1])],
  ["empty batch", [0, 3, 6, 6], attrs([2, 2])],
  ["no channels", [2, 0, 6, 6], attrs([2, 2])],
  ["a row of 67", [1, 2, 1, 67], attrs([1, 3], [1, 1], [0, 1])],
  ["a column of 67, stride 2", [1, 2, 67, 1], attrs([3, 1], [2, 1], [1, 0])],
  ["more than one workgroup", [2, 4, 17, 33], attrs([2, 2], [1, 1])],
  ...[3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33].map((width): readonly [string, Shape, PoolAttrs] => [
    `width ${width}`,
    [1, 2, 3, width],
    attrs([2, 3], [1, 1], [1, 1]),
  ]),
];

const windowCases = geometries.flatMap(([name, shape, poolAttrs]) => [
  defineCase({
    name: `max ${name}`,
    op: max,
    inputs: [{ shape, fill: distinct }],
    attrs: poolAttrs,
    forward: EXACT,
    backward: summed(elements(poolAttrs.kernel)),
    invariants: ({ inputs: [x], outputs: [y, indices], call }) => {
      const [, , height, width] = call.inputs[0].shape;
      const [, , rows, columns] = call.outputs[0].shape;
      for (let i = 0; i < y.length; i++) {
        if (x[Math.floor(i / (rows * columns)) * height * width + indices[i]] !== y[i]) throw new Error(`maximum ${i} is not where its index says`);
      }
    },
  }),
  defineCase({
    name: `average ${name}`,
    op: average,
    inputs: [{ shape }],
    attrs: poolAttrs,
    forward: summed(elements(poolAttrs.kernel)),
  }),
]);

const corners: readonly (readonly [string, readonly number[]])[] = [
  ["ties go to the first in scan order", [1, 1, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0]],
  ["NaN wins", [1, Number.NaN, 2, 3, 4, 5, 6, Number.NaN, 8, 9, Number.NaN, Number.NaN]],
  ["infinities", [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, 1, Number.POSITIVE_INFINITY]],
  ["minus infinity everywhere", [Number.NEGATIVE_INFINITY]],
];
const cornerCases = corners.flatMap(([name, list]) =>
  ([attrs([2, 2]), attrs([3, 3], [1, 1], [1, 1]), attrs([2, 3], [2, 1])] as const).map((poolAttrs) =>
    defineCase({
      name: `max: ${name}, kernel ${poolAttrs.kernel} stride ${poolAttrs.stride}`,
      op: max,
      inputs: [{ shape: [2, 2, 6, 6], fill: values(list) }],
      attrs: poolAttrs,
      forward: EXACT,
      backward: summed(9),
      finiteDifferences: { off: "ties and infinities have no derivative; the convention is PyTorch's" },
    }),
  ),
);

const globalCases = (
  [
    [1, 1, 1, 1],
    [0, 3, 4, 4],
    [2, 3, 1, GROUP_PIXELS - 1],
    [2, 3, 8, GROUP_PIXELS / 8],
    [3, 2, 5, 13],
    [2, 33, 7, 3],
    [2, 5, 28, 28],
  ] as const
).map((shape: Shape) =>
  defineCase({
    name: `global average ${shape.join("x")}`,
    op: globalAverage,
    inputs: [{ shape }],
    attrs: {},
    forward: summed(shape[2] * shape[3]),
    backward: ROUNDING,
  }),
);

export const cases: readonly Case[] = [...windowCases, ...cornerCases, ...globalCases];

export const room: Room = {
  name: "pool",
  ops: ops as readonly Op[],
  cases,
  cost: (call) => ({
    bytes: minimalBytes(call),
    operations:
      call.op.name === "pool.globalAverage"
        ? elements(call.inputs[0].shape)
        : elements(call.outputs[0].shape) * elements((call.attrs.kernel as Shape | undefined) ?? [1]),
  }),
};
