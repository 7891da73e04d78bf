import { apply } from "../../apply.ts";
import { type Attributes, flag, oneOf } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op } from "../../op.ts";
import { requireFloat, requireInputs } from "../../shapes.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { type CrossEntropyAttrs, REDUCTIONS } from "./reference.ts";

const attributes: Attributes<CrossEntropyAttrs> = { reduction: oneOf(REDUCTIONS), smooth: flag };

/** g, logits, labels, statistics -> dlogits. */
export const backward = defineOp<CrossEntropyAttrs>({
  name: "crossEntropy.backward",
  attributes,
  scalars: ["smoothing"],
  switched: { smoothing: "smooth" },
  outputs: (inputs, { reduction }) => {
    const [, logits] = inputs;
    const [batch] = logits.shape;
    requireInputs("crossEntropy.backward", inputs, {
      gradient: reduction === "none" ? [batch] : [],
      logits: logits.shape,
      labels: [batch],
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
  attributes,
  scalars: ["smoothing"],
  switched: { smoothing: "smooth" },
  outputs: ([logits, labels], { reduction }) => {
    const where = "softmaxCrossEntropy";
    requireFloat(where, [logits], ["logits"]);
    if (logits.shape.length !== 2) throw expected(where, "shape [batch, classes]", "logits", logits.shape);
    const [batch, classes] = logits.shape;
    if (classes === 0) throw expected(where, "at least one class", "logits", logits.shape);
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
