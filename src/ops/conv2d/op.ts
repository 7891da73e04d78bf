import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, type Spec, showShape } from "../../op.ts";
import { requireFloat } from "../../shapes.ts";
import { type ConvAttrs, type DataAttrs, geometry, type WeightAttrs } from "./geometry.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";

const noSecond = { none: "second derivatives are not provided" } as const;

const checkSpecs = (inputs: readonly Spec[], attrs: ConvAttrs): void => {
  requireFloat("conv2d", inputs, ["x", "w", "bias"]);
  const [x, w, bias] = inputs;
  const { groups } = attrs;
  if (x.shape.length !== 4) throw expected("conv2d", "shape [batch, channels, height, width]", "x", x.shape);
  if (w.shape.length !== 4 || w.shape.some((size) => size === 0)) {
    throw expected("conv2d", "shape [features, channels / groups, kernel height, kernel width] without zeros", "w", w.shape);
  }
  if (w.shape[0] % groups !== 0) throw expected("conv2d", `a first axis that ${groups} groups divide`, "w", w.shape);
  if (w.shape[1] * groups !== x.shape[1])
    throw expected("conv2d", `${w.shape[1] * groups} channels (${w.shape[1]} per group in \`w\`, ${groups} groups)`, "x", x.shape);
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== w.shape[0])) throw expected("conv2d", `shape [${w.shape[0]}]`, "bias", bias.shape);
  const { padding, dilation } = attrs;
  for (const [axis, name] of ["height", "width"].entries()) {
    const padded = x.shape[axis + 2] + padding[axis] + padding[axis + 2];
    const span = dilation[axis] * (w.shape[axis + 2] - 1) + 1;
    if (span > padded) {
      throw expected(
        "conv2d",
        `a kernel whose dilated ${name} is at most the padded input's, ${padded}`,
        "w",
        `${span} from shape ${showShape(w.shape)}`,
      );
    }
  }
};

export const backwardData = defineOp<DataAttrs>({
  name: "conv2d.backwardData",
  outputs: ([dy, w], { groups, size }) => [{ shape: [dy.shape[0], w.shape[1] * groups, ...size], dtype: "float32" }],
  reference: reference.backwardData,
  plan: plan.backwardData,
  gradient: noSecond,
});

export const backwardWeight = defineOp<WeightAttrs>({
  name: "conv2d.backwardWeight",
  outputs: ([dy, x], { groups, kernel }) => [{ shape: [dy.shape[1], x.shape[1] / groups, ...kernel], dtype: "float32" }],
  reference: reference.backwardWeight,
  plan: plan.backwardWeight,
  gradient: noSecond,
});

export const backwardBias = defineOp({
  name: "conv2d.backwardBias",
  outputs: ([dy]) => [{ shape: [dy.shape[1]], dtype: "float32" }],
  reference: reference.backwardBias,
  plan: plan.backwardBias,
  gradient: noSecond,
});

/** Inputs x, w and, optionally, bias. */
export const conv2d = defineOp<ConvAttrs>({
  name: "conv2d",
  outputs: (inputs, attrs) => {
    checkSpecs(inputs, attrs);
    const [x, w] = inputs;
    return [{ shape: [x.shape[0], w.shape[0], ...geometry(x.shape, w.shape, attrs).out], dtype: "float32" }];
  },
  reference: reference.forward,
  plan: plan.forward,
  gradient: {
    saves: { inputs: [0, 1] },
    vjp: (ctx) => {
      const { attrs, inputs } = ctx.call;
      const [, , ...size] = inputs[0].shape;
      const [, , ...kernel] = inputs[1].shape;
      const dy = ctx.gradient(0);
      return [
        ctx.needs(0) ? apply(backwardData, [dy, ctx.input(1)], { ...attrs, size })[0] : undefined,
        ctx.needs(1) ? apply(backwardWeight, [dy, ctx.input(0)], { ...attrs, kernel })[0] : undefined,
        ...(inputs.length > 2 ? [ctx.needs(2) ? apply(backwardBias, [dy], {})[0] : undefined] : []),
      ];
    },
  },
});

export const ops: readonly Op[] = [conv2d, backwardData, backwardWeight, backwardBias] as readonly Op[];
