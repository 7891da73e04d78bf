import { apply } from "../../apply.ts";
import { type Attributes, list, sizes, whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, elements, type Op, type Shape, type Spec, showShape } from "../../op.ts";
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

const attributes: Attributes<ConvAttrs> = { stride: list(whole(1)), padding: list(whole()), dilation: list(whole(1)), groups: whole(1), size: sizes };

/** The public functions have checked what users pass; here what no gradient rule, and nobody who calls the op itself, may get wrong. */
const check = (
  where: string,
  names: readonly string[],
  inputs: readonly Spec[],
  attrs: ConvAttrs,
  [x, w, y]: readonly Shape[],
  bias: number,
): void => {
  requireFloat(where, inputs, names);
  const { stride, padding, dilation, groups, size } = attrs;
  const axes = x.length - 2;
  for (const [name, entries] of Object.entries({ stride, padding, dilation, size }))
    if (entries.length !== axes) throw expected(where, `an entry for each of ${axes} spatial axes`, name, entries);
  if (axes < 1 || axes > 3 || [w, y].some(({ length }) => length !== x.length))
    throw expected(where, "one to three spatial axes, as many as the other has,", names[0], inputs[0].shape);
  if (x[0] !== y[0] || w[0] !== y[1] || w[0] % groups !== 0 || !Number.isInteger(w[1]) || w[1] * groups !== x[1])
    throw expected(where, `channels that fit in ${groups} groups`, names[1], inputs[1].shape);
  if (inputs.length > names.length || (inputs.length > 2 && showShape(inputs[2].shape) !== showShape([bias])))
    throw expected(where, `shape [${bias}]`, "bias", inputs[2].shape);
  // However far apart, positions of x and y that meet under the attributes are the sum's: sizes need not fit exactly.
  if (elements(w) === 0 || y.slice(2).includes(0)) throw expected(where, "sizes without zeros but for those of x", "size", size);
};

/** y from x, w and, optionally, a bias. */
export const conv: Op<ConvAttrs> = defineOp<ConvAttrs>({
  name: "conv",
  arity: [2, 3],
  attributes,
  outputs: (inputs, attrs) => {
    const [x, w] = inputs.map(({ shape }) => shape);
    const y = [x[0], w[0], ...attrs.size];
    check("conv", ["x", "w", "bias"], inputs, attrs, [x, w, y], y[1]);
    return float(y);
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
  arity: [2, 3],
  attributes,
  outputs: (inputs, attrs) => {
    const [y, w] = inputs.map(({ shape }) => shape);
    const x = [y[0], w[1] * attrs.groups, ...attrs.size];
    check("conv.data", ["y", "w", "bias"], inputs, attrs, [x, w, y], x[1]);
    return float(x);
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
  arity: 2,
  attributes,
  outputs: (inputs, attrs) => {
    const [y, x] = inputs.map(({ shape }) => shape);
    const w = [y[1], x[1] / attrs.groups, ...attrs.size];
    check("conv.weight", ["y", "x"], inputs, attrs, [x, w, y], 0);
    return float(w);
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
