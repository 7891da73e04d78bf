import { apply } from "../../apply.ts";
import { flag, list, oneOf, sizes, whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, elements, type Op, type Shape } from "../../op.ts";
import { MAX_AXES, requireFloat, requireInputs } from "../../shapes.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { type ArgmaxAttrs, type BackwardAttrs, KINDS, type ReduceAttrs, type ReduceKind, reducedShape, splitAxes, termsOf } from "./reference.ts";

const checkSizes = (where: string, shape: Shape, axes: readonly number[], needsTerms: boolean): void => {
  if (!axes.every((axis, i) => axis > (axes[i - 1] ?? -1) && axis < shape.length))
    throw expected(where, `axes of a tensor of rank ${shape.length} in rising order`, "axes", axes);
  const walked = splitAxes(shape, axes).sizes.length;
  if (walked > MAX_AXES) throw expected(where, `axes that leave at most ${MAX_AXES} groups of neighbouring kept or reduced axes`, "axes", axes);
  const outputs = elements(reducedShape(shape, axes, false));
  if (needsTerms && termsOf(shape, axes) === 0 && outputs > 0) throw expected(where, "at least one entry along the reduced axes", "x", shape);
};

/** What the derivative is taken from, by kind. */
const SAVES: Readonly<Record<ReduceKind, "nothing" | "values" | "ties">> = {
  sum: "nothing",
  mean: "nothing",
  logsumexp: "values",
  max: "ties",
  min: "ties",
};

/** g, x?, y?, ties? -> dx: the gradient of the result spread over the entries that went into it. */
export const backward = defineOp<BackwardAttrs>({
  name: "reduce.backward",
  arity: [1, 4],
  attributes: { kind: oneOf(KINDS), axes: list(whole()), shape: sizes },
  outputs: (inputs, { kind, axes, shape }) => {
    const where = "reduce.backward";
    checkSizes(where, shape, axes, SAVES[kind] === "ties");
    // With or without axes of size 1 in place of those that were summed.
    const result = reducedShape(shape, axes, inputs[0].shape.length === shape.length);
    const [values, ties] = [SAVES[kind] !== "nothing", SAVES[kind] === "ties"];
    requireInputs(where, inputs, { g: result, x: values && shape, y: values && result, ties: ties && { shape: result, dtype: "uint32" } });
    return [{ shape, dtype: "float32" }];
  },
  reference: reference.backward,
  plan: plan.backward,
  gradient: { none: "second derivatives are not provided" },
});

const forwardThatSaves = (saves: "nothing" | "values" | "ties"): Op<ReduceAttrs> =>
  defineOp<ReduceAttrs>({
    name: "reduce.forward",
    arity: 1,
    attributes: { kind: oneOf(KINDS.filter((kind) => SAVES[kind] === saves)), axes: list(whole()), keepDims: flag },
    outputs: ([x], { kind, axes, keepDims }) => {
      requireFloat(kind, [x], ["x"]);
      checkSizes(kind, x.shape, axes, saves === "ties");
      const shape = reducedShape(x.shape, axes, keepDims);
      return saves === "ties"
        ? [
            { shape, dtype: "float32" },
            { shape, dtype: "uint32" },
          ]
        : [{ shape, dtype: "float32" }];
    },
    reference: reference.forward,
    plan: plan.forward,
    gradient: {
      saves: { nothing: {}, values: { inputs: [0], outputs: [0] }, ties: { inputs: [0], outputs: [0, 1] } }[saves],
      vjp: (ctx) => {
        const { kind, axes } = ctx.call.attrs;
        const saved = { nothing: () => [], values: () => [ctx.input(0), ctx.output(0)], ties: () => [ctx.input(0), ctx.output(0), ctx.output(1)] }[
          saves
        ]();
        return apply(backward, [ctx.gradient(0), ...saved], { kind, axes, shape: ctx.call.inputs[0].shape });
      },
    },
  });

const forwards = { nothing: forwardThatSaves("nothing"), values: forwardThatSaves("values"), ties: forwardThatSaves("ties") };
/** x -> y, and for max and min the number of entries that attain it. One op per kind of memory. */
export const forward = (kind: ReduceKind): Op<ReduceAttrs> => forwards[SAVES[kind]];

/** x -> the place of the largest entry, int32. */
export const argmax = defineOp<ArgmaxAttrs>({
  name: "reduce.argmax",
  arity: 1,
  attributes: { axes: list(whole()), keepDims: flag },
  outputs: ([x], { axes, keepDims }) => {
    requireFloat("argmax", [x], ["x"]);
    checkSizes("argmax", x.shape, axes, true);
    return [{ shape: reducedShape(x.shape, axes, keepDims), dtype: "int32" }];
  },
  reference: reference.argmax,
  plan: plan.argmax,
  gradient: { none: "a place is a whole number" },
});

export const ops: readonly Op[] = [...Object.values(forwards), argmax, backward] as readonly Op[];
