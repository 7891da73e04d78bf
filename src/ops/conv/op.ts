import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, type Shape, type Spec } from "../../op.ts";
import { requireFloat } from "../../shapes.ts";
import type { Tensor } from "../../tensor.ts";
import { sum } from "../reduce/index.ts";
import type { ConvAttrs } from "./geometry.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";

const axesOf = (shape: Shape): Shape => shape.slice(2);

/** Gradient of what is added to every element of a channel. */
const ofBias = (gradient: Tensor): Tensor =>
  sum(
    gradient,
    gradient.shape.map((_, axis) => axis).filter((axis) => axis !== 1),
  );

const float = (shape: Shape): readonly Spec[] => [{ shape, dtype: "float32" }];

/** The public functions have checked what users pass; here only what no gradient rule may get wrong. */
const check = (where: string, names: readonly string[], inputs: readonly Spec[], { groups }: ConvAttrs, fits: (groups: number) => boolean): void => {
  requireFloat(where, inputs, names);
  if (!fits(groups)) throw expected(where, `channels that fit in ${groups} groups`, names[1], inputs[1].shape);
};

/** y from x, w and, optionally, a bias. */
export const conv: Op<ConvAttrs> = defineOp<ConvAttrs>({
  name: "conv",
  outputs: (inputs, attrs) => {
    const [x, w] = inputs;
    check("conv", ["x", "w", "bias"], inputs, attrs, (groups) => w.shape[1] * groups === x.shape[1]);
    return float([x.shape[0], w.shape[0], ...attrs.size]);
  },
  reference: reference.forward,
  plan: plan.forward,
  gradient: {
    saves: { inputs: [0, 1] },
    vjp: (ctx) => {
      const { attrs, inputs } = ctx.call;
      const dy = ctx.gradient(0);
      return [
        ctx.needs(0) ? apply(data, [dy, ctx.input(1)], { ...attrs, size: axesOf(inputs[0].shape) })[0] : undefined,
        ctx.needs(1) ? apply(weight, [dy, ctx.input(0)], { ...attrs, size: axesOf(inputs[1].shape) })[0] : undefined,
        ...(inputs.length > 2 ? [ctx.needs(2) ? ofBias(dy) : undefined] : []),
      ];
    },
  },
});

/** x from y, w and, optionally, a bias: the gradient of `conv` to its input, and the transposed convolution. */
export const data: Op<ConvAttrs> = defineOp<ConvAttrs>({
  name: "conv.data",
  outputs: (inputs, attrs) => {
    const [y, w] = inputs;
    check("conv.data", ["y", "w", "bias"], inputs, attrs, (groups) => w.shape[0] === y.shape[1] && w.shape[0] % groups === 0);
    return float([y.shape[0], w.shape[1] * attrs.groups, ...attrs.size]);
  },
  reference: reference.data,
  plan: plan.data,
  gradient: {
    saves: { inputs: [0, 1] },
    vjp: (ctx) => {
      const { attrs, inputs } = ctx.call;
      const dx = ctx.gradient(0);
      return [
        ctx.needs(0) ? apply(conv, [dx, ctx.input(1)], { ...attrs, size: axesOf(inputs[0].shape) })[0] : undefined,
        ctx.needs(1) ? apply(weight, [ctx.input(0), dx], { ...attrs, size: axesOf(inputs[1].shape) })[0] : undefined,
        ...(inputs.length > 2 ? [ctx.needs(2) ? ofBias(dx) : undefined] : []),
      ];
    },
  },
});

/** w from y and x: the gradient of both others to their weights. */
export const weight: Op<ConvAttrs> = defineOp<ConvAttrs>({
  name: "conv.weight",
  outputs: (inputs, attrs) => {
    const [y, x] = inputs;
    check("conv.weight", ["y", "x"], inputs, attrs, (groups) => y.shape[1] % groups === 0 && x.shape[1] % groups === 0);
    return float([y.shape[1], x.shape[1] / attrs.groups, ...attrs.size]);
  },
  reference: reference.weight,
  plan: plan.weight,
  gradient: {
    saves: { inputs: [0, 1] },
    vjp: (ctx) => {
      const { attrs, inputs } = ctx.call;
      const dw = ctx.gradient(0);
      return [
        ctx.needs(0) ? apply(conv, [ctx.input(1), dw], { ...attrs, size: axesOf(inputs[0].shape) })[0] : undefined,
        ctx.needs(1) ? apply(data, [ctx.input(0), dw], { ...attrs, size: axesOf(inputs[1].shape) })[0] : undefined,
      ];
    },
  },
});

export const ops: readonly Op[] = [conv, data, weight] as readonly Op[];
