import { apply } from "../../apply.ts";
import { type Attributes, flag, oneOf, whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, type Shape, type Spec } from "../../op.ts";
import { requireFloat, requireInputs } from "../../shapes.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { FORMS, LOSS_REDUCTIONS, type LossAttrs, METRICS, type PersistenceAttrs } from "./reference.ts";

const where = "zeroPersistence";
const persistence: Attributes<PersistenceAttrs> = { metric: oneOf(METRICS), labelled: flag, classes: whole(0, 2 ** 31 - 1) };
const losses: Attributes<LossAttrs> = { form: oneOf(FORMS), reduction: oneOf(LOSS_REDUCTIONS) };
const SECOND = "second derivatives are not provided";

/** The shapes of death times and of coordinates. */
const timesOf = ({ shape }: Spec, { labelled, classes, metric }: PersistenceAttrs): { readonly times: Shape; readonly coordinates: Shape } => {
  if (labelled ? shape.length !== 2 : shape.length < 2)
    throw expected(where, labelled ? "shape [N, d] beside labels" : "shape [..., n, d]", "points", shape);
  if (shape[shape.length - 1] === 0) throw expected(where, "at least one coordinate", "points", shape);
  if (labelled !== classes > 0) throw expected(where, labelled ? "at least 1 beside labels" : "0 without labels", "classes", classes);
  const size = shape[shape.length - 2];
  const times = labelled ? [size] : [...shape.slice(0, -2), Math.max(0, size - 1)];
  return { times, coordinates: metric === "linf" ? times : [0] };
};

/** g, points, deaths, partners, coordinates -> dpoints. */
export const backward = defineOp<PersistenceAttrs>({
  name: "zeroPersistence.backward",
  arity: 5,
  attributes: persistence,
  outputs: (inputs, attrs) => {
    const [, points] = inputs;
    const { times, coordinates } = timesOf(points, attrs);
    requireInputs("zeroPersistence.backward", inputs, {
      g: times,
      points: points.shape,
      deaths: times,
      partners: { shape: times, dtype: "int32" },
      coordinates: { shape: coordinates, dtype: "int32" },
    });
    return [points];
  },
  reference: reference.backward,
  plan: plan.backward,
  gradient: { none: SECOND },
});

/** points, labels where there are any -> death times, partners, and for "linf" the coordinate that each length is taken from. */
export const forward = defineOp<PersistenceAttrs>({
  name: "zeroPersistence.forward",
  arity: [1, 2],
  attributes: persistence,
  outputs: (inputs, attrs) => {
    const [points] = inputs;
    requireFloat(where, [points], ["points"]);
    const { times, coordinates } = timesOf(points, attrs);
    requireInputs(where, inputs, { points: points.shape, labels: attrs.labelled && { shape: times, dtype: "int32" } });
    return [
      { shape: times, dtype: "float32" },
      { shape: times, dtype: "int32" },
      { shape: coordinates, dtype: "int32" },
    ];
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
  arity: 4,
  attributes: losses,
  scalars: ["beta"],
  outputs: (inputs) => {
    const [, deaths] = inputs;
    const partners: Spec = { shape: deaths.shape, dtype: "int32" };
    requireInputs("zeroPersistence.lossBackward", inputs, { g: [], deaths: deaths.shape, partners, count: [] });
    return [deaths];
  },
  reference: reference.lossBackward,
  plan: plan.lossBackward,
  gradient: { none: SECOND },
});

/** deaths, partners -> loss, number of death times (for the backward pass alone). */
export const loss = defineOp<LossAttrs>({
  name: "zeroPersistence.loss",
  arity: 2,
  attributes: losses,
  scalars: ["beta"],
  outputs: (inputs) => {
    const [{ shape }] = inputs;
    requireInputs("zeroPersistence.loss", inputs, { deaths: shape, partners: { shape, dtype: "int32" } });
    return [
      { shape: [], dtype: "float32" },
      { shape: [], dtype: "float32" },
    ];
  },
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
