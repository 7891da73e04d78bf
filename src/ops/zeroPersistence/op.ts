import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, type Spec } from "../../op.ts";
import { requireFloat } from "../../shapes.ts";
import * as plan from "./plan.ts";
import type { LossAttrs, PersistenceAttrs } from "./reference.ts";
import * as reference from "./reference.ts";

const where = "zeroPersistence";
const SECOND = "second derivatives are not provided";

/** g, points, deaths, partners, coordinates -> dpoints. */
export const backward = defineOp<PersistenceAttrs>({
  name: "zeroPersistence.backward",
  outputs: ([, points]) => [points],
  reference: reference.backward,
  plan: plan.backward,
  gradient: { none: SECOND },
});

/** points, labels where there are any -> death times, partners, and for "linf" the coordinate that each length is taken from. */
export const forward = defineOp<PersistenceAttrs>({
  name: "zeroPersistence.forward",
  outputs: ([points, labels], { labelled, metric }) => {
    requireFloat(where, [points], ["points"]);
    const { shape } = points;
    if (labelled ? shape.length !== 2 : shape.length < 2)
      throw expected(where, labelled ? "shape [N, d] beside labels" : "shape [..., n, d]", "points", shape);
    if (shape[shape.length - 1] === 0) throw expected(where, "at least one coordinate", "points", shape);
    if (labelled) {
      if (labels.dtype !== "int32") throw expected(where, "dtype int32", "labels", labels.dtype);
      if (labels.shape.length !== 1 || labels.shape[0] !== shape[0]) throw expected(where, `shape [${shape[0]}]`, "labels", labels.shape);
    }
    const size = shape[shape.length - 2];
    const times = labelled ? [size] : [...shape.slice(0, -2), Math.max(0, size - 1)];
    const partners: Spec = { shape: times, dtype: "int32" };
    return [{ shape: times, dtype: "float32" }, partners, metric === "linf" ? partners : { shape: [0], dtype: "int32" }];
  },
  reference: reference.forward,
  plan: plan.forward,
  fault: ({ attrs: { labelled, classes } }) =>
    `${where}: expected finite numbers for \`points\`${labelled ? ` and integers in [0, ${classes}) for \`labels\`` : ""}`,
  gradient: {
    saves: { inputs: [0], outputs: [0, 1, 2] },
    vjp: (ctx) => {
      const [dpoints] = apply(backward, [ctx.gradient(0), ctx.input(0), ctx.output(0), ctx.output(1), ctx.output(2)], ctx.call.attrs);
      return ctx.call.attrs.labelled ? [dpoints, undefined] : [dpoints];
    },
  },
});

/** g, deaths, partners, number of death times -> ddeaths. */
export const lossBackward = defineOp<LossAttrs>({
  name: "zeroPersistence.lossBackward",
  scalars: ["beta"],
  outputs: ([, deaths]) => [deaths],
  reference: reference.lossBackward,
  plan: plan.lossBackward,
  gradient: { none: SECOND },
});

/** deaths, partners -> loss, number of death times (for the backward pass alone). */
export const loss = defineOp<LossAttrs>({
  name: "zeroPersistence.loss",
  scalars: ["beta"],
  outputs: () => [
    { shape: [], dtype: "float32" },
    { shape: [], dtype: "float32" },
  ],
  reference: reference.loss,
  plan: plan.loss,
  gradient: {
    saves: { inputs: [0, 1], outputs: [1] },
    vjp: (ctx) => {
      const [ddeaths] = apply(lossBackward, [ctx.gradient(0), ctx.input(0), ctx.input(1), ctx.output(1)], ctx.call.attrs, {
        beta: ctx.scalars.beta,
      });
      return [ddeaths, undefined];
    },
  },
});

export const ops: readonly Op[] = [forward, backward, loss, lossBackward] as readonly Op[];
