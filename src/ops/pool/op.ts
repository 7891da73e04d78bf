import { apply } from "../../apply.ts";
import { type Attributes, list, whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, type Shape, type Spec } from "../../op.ts";
import { requireFloat, requireInputs } from "../../shapes.ts";
import * as plan from "./plan.ts";
import type { PoolAttrs, PoolBackwardAttrs } from "./reference.ts";
import * as reference from "./reference.ts";

const noSecond = { none: "second derivatives are not provided" } as const;
type SizeAttrs = { readonly size: readonly number[] };

const kinds: Attributes<PoolAttrs> = { kernel: list(whole(1), 2), stride: list(whole(1), 2), padding: list(whole(), 2) };

const pooled = (where: string, x: Spec, { kernel, stride, padding }: PoolAttrs): Shape => {
  requireFloat(where, [x], ["x"]);
  if (x.shape.length !== 4) throw expected(where, "shape [batch, channels, height, width]", "x", x.shape);
  const [batch, channels, ...size] = x.shape;
  for (const axis of [0, 1]) {
    // PyTorch's rule; without it a window could hold no pixel.
    if (2 * padding[axis] > kernel[axis]) throw expected(where, `at most half of the kernel ${kernel[axis]}`, "padding", padding[axis]);
    if (size[axis] === 0) throw expected(where, "at least one pixel", "x", x.shape);
    if (kernel[axis] > size[axis] + 2 * padding[axis])
      throw expected(where, `at most the padded ${axis === 0 ? "height" : "width"} ${size[axis] + 2 * padding[axis]}`, "kernel", kernel[axis]);
  }
  return [batch, channels, ...size.map((length, axis) => Math.floor((length + 2 * padding[axis] - kernel[axis]) / stride[axis]) + 1)];
};

/** x, of whose pooled values the first input is the gradient; another input has the same shape. */
const unpooled = (where: string, inputs: readonly Spec[], { size, ...attrs }: PoolBackwardAttrs, indices: boolean): Spec => {
  const x: Spec = { shape: [...inputs[0].shape.slice(0, 2), ...size], dtype: "float32" };
  const shape = pooled(where, x, attrs);
  requireInputs(where, inputs, { dy: shape, indices: indices && { shape, dtype: "int32" } });
  return x;
};

export const maxBackward = defineOp<PoolBackwardAttrs>({
  name: "pool.maxBackward",
  arity: 2,
  attributes: { ...kinds, size: list(whole(1), 2) },
  outputs: (inputs, attrs) => [unpooled("pool.maxBackward", inputs, attrs, true)],
  reference: reference.maxBackward,
  plan: plan.maxBackward,
  gradient: noSecond,
});

/** Outputs: the maxima, and where they are: positions in their plane, row by row. */
export const max = defineOp<PoolAttrs>({
  name: "pool.max",
  arity: 1,
  attributes: kinds,
  outputs: ([x], attrs) => {
    const shape = pooled("maxPool2d", x, attrs);
    return [
      { shape, dtype: "float32" },
      { shape, dtype: "int32" },
    ];
  },
  reference: reference.max,
  plan: plan.max,
  gradient: {
    saves: { outputs: [1] },
    vjp: (ctx) => apply(maxBackward, [ctx.gradient(0), ctx.output(1)], { ...ctx.call.attrs, size: ctx.call.inputs[0].shape.slice(2) }),
  },
});

export const averageBackward = defineOp<PoolBackwardAttrs>({
  name: "pool.averageBackward",
  arity: 1,
  attributes: { ...kinds, size: list(whole(1), 2) },
  outputs: (inputs, attrs) => [unpooled("pool.averageBackward", inputs, attrs, false)],
  reference: reference.averageBackward,
  plan: plan.averageBackward,
  gradient: noSecond,
});

export const average = defineOp<PoolAttrs>({
  name: "pool.average",
  arity: 1,
  attributes: kinds,
  outputs: ([x], attrs) => [{ shape: pooled("avgPool2d", x, attrs), dtype: "float32" }],
  reference: reference.average,
  plan: plan.average,
  gradient: { saves: {}, vjp: (ctx) => apply(averageBackward, [ctx.gradient(0)], { ...ctx.call.attrs, size: ctx.call.inputs[0].shape.slice(2) }) },
});

export const globalAverageBackward = defineOp<SizeAttrs>({
  name: "pool.globalAverageBackward",
  arity: 1,
  attributes: { size: list(whole(1), 2) },
  outputs: ([dy], { size }) => {
    requireFloat("pool.globalAverageBackward", [dy], ["dy"]);
    if (dy.shape.length !== 2) throw expected("pool.globalAverageBackward", "shape [batch, channels]", "dy", dy.shape);
    return [{ shape: [...dy.shape, ...size], dtype: "float32" }];
  },
  reference: reference.globalAverageBackward,
  plan: plan.globalAverageBackward,
  gradient: noSecond,
});

export const globalAverage = defineOp({
  name: "pool.globalAverage",
  arity: 1,
  attributes: {},
  outputs: ([x]) => {
    requireFloat("globalAvgPool2d", [x], ["x"]);
    if (x.shape.length !== 4 || x.shape[2] * x.shape[3] === 0)
      throw expected("globalAvgPool2d", "shape [batch, channels, height, width] with at least one pixel", "x", x.shape);
    return [{ shape: x.shape.slice(0, 2), dtype: "float32" }];
  },
  reference: reference.globalAverage,
  plan: plan.globalAverage,
  gradient: { saves: {}, vjp: (ctx) => apply(globalAverageBackward, [ctx.gradient(0)], { size: ctx.call.inputs[0].shape.slice(2) }) },
});

export const ops: readonly Op[] = [max, maxBackward, average, averageBackward, globalAverage, globalAverageBackward] as readonly Op[];
