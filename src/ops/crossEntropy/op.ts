import { apply } from "../../apply.ts";
import { type Attributes, flag, oneOf } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, type Shape, type Spec } from "../../op.ts";
import { requireFloat, requireInputs } from "../../shapes.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { type CrossEntropyAttrs, REDUCTIONS } from "./reference.ts";

const attributes: Attributes<CrossEntropyAttrs> = { reduction: oneOf(REDUCTIONS), smooth: flag };

const sizesOf = (where: string, logits: Spec): Shape => {
  requireFloat(where, [logits], ["logits"]);
  if (logits.shape.length !== 2) throw expected(where, "shape [batch, classes]", "logits", logits.shape);
  if (logits.shape[1] === 0) throw expected(where, "at least one class", "logits", logits.shape);
  return logits.shape;
};

/** g, logits, labels, statistics -> dlogits. */
export const backward = defineOp<CrossEntropyAttrs>({
  name: "crossEntropy.backward",
  arity: 4,
  attributes,
  scalars: ["smoothing"],
  switched: { smoothing: "smooth" },
  outputs: (inputs, { reduction }) => {
    const [, logits] = inputs;
    const [batch] = sizesOf("crossEntropy.backward", logits);
    requireInputs("crossEntropy.backward", inputs, {
      gradient: reduction === "none" ? [batch] : [],
      logits: logits.shape,
      labels: { shape: [batch], dtype: "int32" },
      statistics: [batch, 2],
    });
    return [logits];
  },
  reference: reference.backward,
  plan: plan.backward,
  gradient: { none: "second derivatives are not provided" },
});

/** logits, labels -> loss, statistics (for the backward pass alone; no gradient flows through them). */
export const forward = defineOp<CrossEntropyAttrs>({
  name: "crossEntropy.forward",
  arity: 2,
  attributes,
  scalars: ["smoothing"],
  switched: { smoothing: "smooth" },
  outputs: ([logits, labels], { reduction }) => {
    const where = "softmaxCrossEntropy";
    const [batch] = sizesOf(where, logits);
    if (labels.dtype !== "int32") throw expected(where, "dtype int32", "labels", labels.dtype);
    if (labels.shape.length !== 1 || labels.shape[0] !== batch) throw expected(where, `shape [${batch}]`, "labels", labels.shape);
    return [
      { shape: reduction === "none" ? [batch] : [], dtype: "float32" },
      { shape: [batch, 2], dtype: "float32" },
    ];
  },
  reference: reference.forward,
  plan: plan.forward,
  fault: ({ inputs: [{ shape }] }) => `softmaxCrossEntropy: expected integers in [0, ${shape[1]}) for \`labels\``,
  gradient: {
    saves: { inputs: [0, 1], outputs: [1] },
    vjp: (ctx) => {
      const [dlogits] = apply(backward, [ctx.gradient(0), ctx.input(0), ctx.input(1), ctx.output(1)], ctx.call.attrs, {
        smoothing: ctx.scalars.smoothing,
      });
      return [dlogits, undefined];
    },
  },
});

export const ops: readonly Op[] = [forward, backward] as readonly Op[];
