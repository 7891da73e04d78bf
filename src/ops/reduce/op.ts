import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { defineOp, elements, type Op, type Shape } from "../../op.ts";
import { MAX_AXES, requireFloat } from "../../shapes.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { type ArgmaxAttrs, type BackwardAttrs, type ReduceAttrs, type ReduceKind, reducedShape, splitAxes, termsOf } from "./reference.ts";

const checkSizes = (where: string, shape: Shape, axes: readonly number[], needsTerms: boolean): void => {
  const walked = splitAxes(shape, axes).sizes.length;
  if (walked > MAX_AXES) throw expected(where, `axes that leave at most ${MAX_AXES} groups of neighbouring kept or reduced axes`, "axes", axes);
  const outputs = elements(reducedShape(shape, axes, false));
  if (needsTerms && termsOf(shape, axes) === 0 && outputs > 0) throw expected(where, "at least one entry along the reduced axes", "x", shape);
};

/** g, x?, y?, ties? -> dx: the gradient of the result spread over the entries that went into it. */
export const backward = defineOp<BackwardAttrs>({
  name: "reduce.backward",
  outputs: (_, { shape }) => [{ shape, dtype: "float32" }],
  reference: reference.backward,
  plan: plan.backward,
  gradient: { none: "second derivatives are not provided" },
});

/** What the derivative is taken from, by kind. */
const SAVES: Readonly<Record<ReduceKind, "nothing" | "values" | "ties">> = {
  sum: "nothing",
  mean: "nothing",
  logsumexp: "values",
  max: "ties",
  min: "ties",
};

const forwardThatSaves = (saves: "nothing" | "values" | "ties"): Op<ReduceAttrs> =>
  defineOp<ReduceAttrs>({
    name: "reduce.forward",
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
