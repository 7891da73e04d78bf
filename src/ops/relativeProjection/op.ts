import { apply } from "../../apply.ts";
import { type Attributes, flag, oneOf, whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Gradient, type Op, type Spec, showShape } from "../../op.ts";
import { requireFloat, requireInputs } from "../../shapes.ts";
import type { Tensor } from "../../tensor.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import {
  type BackwardAttrs,
  DISTANCES,
  hasNorms,
  isDistance,
  type Kind,
  type ListAttrs,
  PRODUCTS,
  type ProjectionAttrs,
  readsResult,
  type StatisticsAttrs,
  type StatisticsBackwardAttrs,
} from "./reference.ts";

const WHERE = "relativeProjection";
const KINDS: readonly Kind[] = [...PRODUCTS, ...DISTANCES];
const noSecond = { none: "second derivatives are not provided" } as const;

/** g, x, anchors, statistics?, y?, inverse norms of both? -> the gradient of x, or of the anchors. */
export const backward = defineOp<BackwardAttrs>({
  name: "relativeProjection.backward",
  arity: [3, 7],
  attributes: { similarity: oneOf(KINDS), standardised: flag, side: oneOf(["x", "anchors"]) },
  scalars: ["p"],
  outputs: (inputs, { similarity, standardised, side }) => {
    const [, x, anchors] = inputs;
    const { B, K } = checkOperands([x, anchors]);
    requireInputs("relativeProjection.backward", inputs, {
      g: [B, K],
      x: x.shape,
      anchors: anchors.shape,
      statistics: standardised && [2, x.shape[1]],
      y: readsResult(similarity) && [B, K],
      norms: hasNorms(similarity) && [B],
      "norms of anchors": hasNorms(similarity) && [K],
    });
    return [side === "x" ? x : anchors];
  },
  reference: reference.backward,
  plan: plan.backward,
  gradient: noSecond,
});

/** dx, x, danchors, anchors, statistics -> the gradient of the statistics, which both sides read. */
export const columns = defineOp<Record<string, never>>({
  name: "relativeProjection.columns",
  arity: 5,
  attributes: {},
  outputs: (inputs) => {
    const [, x, , anchors, statistics] = inputs;
    checkOperands([x, anchors, statistics]);
    requireInputs("relativeProjection.columns", inputs, {
      dx: x.shape,
      x: x.shape,
      danchors: anchors.shape,
      anchors: anchors.shape,
      statistics: statistics.shape,
    });
    return [statistics];
  },
  reference: reference.columns,
  plan: plan.columns,
  gradient: noSecond,
});

/** The gradient of the statistics, x, the statistics, and a gradient that the result is added to -> the gradient of x. */
export const statisticsBackward = defineOp<StatisticsBackwardAttrs>({
  name: "relativeProjection.statisticsBackward",
  arity: [3, 4],
  attributes: { scale: flag, onto: flag },
  outputs: (inputs, { onto }) => {
    const [, x] = inputs;
    const wanted = [2, x.shape[1]];
    requireInputs("relativeProjection.statisticsBackward", inputs, { g: wanted, x: x.shape, statistics: wanted, onto: onto && x.shape });
    return [x];
  },
  reference: reference.statisticsBackward,
  plan: plan.statisticsBackward,
  gradient: noSecond,
});

/** x -> [2, d]: the means of its columns and their deviations. */
export const statistics = defineOp<StatisticsAttrs>({
  name: "relativeProjection.statistics",
  arity: 1,
  attributes: { scale: flag },
  outputs: ([x]) => {
    requireFloat("featureStatistics", [x], ["x"]);
    if (x.shape.length !== 2 || x.shape[0] === 0) throw expected("featureStatistics", "shape [n, d] with at least one row", "x", showShape(x.shape));
    return [{ shape: [2, x.shape[1]], dtype: "float32" }];
  },
  reference: reference.statistics,
  plan: plan.statistics,
  fault: () => "featureStatistics: expected finite numbers, whose squared distances from the mean have a finite float32 sum, for `rows`",
  gradient: {
    saves: { inputs: [0], outputs: [0] },
    vjp: (ctx) => apply(statisticsBackward, [ctx.gradient(0), ctx.input(0), ctx.output(0)], { ...ctx.call.attrs, onto: false }),
  },
});

/** [B, d] and [K, d], checked. */
const checkOperands = ([x, anchors, given]: readonly Spec[]): { readonly B: number; readonly K: number } => {
  requireFloat(WHERE, given ? [x, anchors, given] : [x, anchors], ["x", "anchors", "statistics"]);
  for (const [name, { shape }] of [["x", x] as const, ["anchors", anchors] as const]) {
    if (shape.length !== 2) throw expected(WHERE, name === "x" ? "shape [B, d]" : "shape [K, d]", name, showShape(shape));
  }
  const [[B, d], [K, other]] = [x.shape, anchors.shape];
  if (K === 0) throw expected(WHERE, "at least one anchor", "anchors", showShape(anchors.shape));
  if (d !== other) throw expected(WHERE, `shape [K, ${d}] to fit x ${showShape(x.shape)}`, "anchors", showShape(anchors.shape));
  if (given && showShape(given.shape) !== showShape([2, d])) throw expected(WHERE, `shape [2, ${d}]`, "statistics", showShape(given.shape));
  return { B, K };
};
const fault = (): string => `${WHERE}: expected rows of finite numbers, whose squares have a finite float32 sum, for \`x\` and \`anchors\``;

/** Statistics are there or not, as an attribute says. */
const checkStandardised = (inputs: readonly Spec[], standardised: boolean): { readonly B: number; readonly K: number } => {
  const count = 2 + Number(standardised);
  if (inputs.length !== count) throw expected(WHERE, `${count} tensors`, "inputs", inputs.length);
  return checkOperands(inputs);
};

const outputs = (inputs: readonly Spec[], { similarity, standardised, through }: ProjectionAttrs): Spec[] => {
  const { B, K } = checkStandardised(inputs, standardised);
  if (!standardised && through !== "given") throw expected(WHERE, '"given" without statistics', "through", through);
  const result: Spec = { shape: [B, K], dtype: "float32" };
  const norms = (rows: number): Spec => ({ shape: [rows], dtype: "float32" });
  return hasNorms(similarity) ? [result, norms(B), norms(K)] : [result];
};

const listKinds: Attributes<ListAttrs> = { similarity: oneOf(KINDS), standardised: flag, most: whole(1) };

/** x, anchors, statistics? -> the `most` largest similarities of every row, and their anchors. */
export const top = defineOp<ListAttrs>({
  name: "relativeProjection.top",
  arity: [2, 3],
  attributes: listKinds,
  scalars: ["p"],
  outputs: (inputs, { most, standardised }) => {
    const { B, K } = checkStandardised(inputs, standardised);
    if (most > K) throw expected("relativeProjection.top", `at most ${K}`, "most", most);
    return [
      { shape: [B, most], dtype: "float32" },
      { shape: [B, most], dtype: "int32" },
    ];
  },
  reference: reference.top,
  plan: plan.top,
  fault,
  gradient: { none: "which anchors are the nearest is not differentiable" },
});

/** x, anchors, statistics? -> similarities of every row from `least` on, room for `most` of a row, their anchors, and how many there are. */
export const range = defineOp<ListAttrs>({
  name: "relativeProjection.range",
  arity: [2, 3],
  attributes: listKinds,
  scalars: ["p", "least"],
  outputs: (inputs, { most, standardised }) => {
    const { B } = checkStandardised(inputs, standardised);
    return [
      { shape: [B, most], dtype: "float32" },
      { shape: [B, most], dtype: "int32" },
      { shape: [B], dtype: "int32" },
    ];
  },
  reference: reference.range,
  plan: plan.range,
  fault,
  gradient: { none: "which anchors are near is not differentiable" },
});

const projectionThatSaves = (
  kinds: (similarity: Kind) => boolean,
  saves: { readonly inputs: readonly number[]; readonly outputs?: readonly number[] },
): Op<ProjectionAttrs> => {
  const gradient: Gradient<ProjectionAttrs> = {
    saves,
    vjp: (ctx) => {
      const { similarity, standardised, through, scale } = ctx.call.attrs;
      const [x, anchors] = [ctx.input(0), ctx.input(1)];
      const given = standardised ? [ctx.input(2)] : [];
      const results = [...(readsResult(similarity) ? [ctx.output(0)] : []), ...(hasNorms(similarity) ? [ctx.output(1), ctx.output(2)] : [])];
      const side = (of: BackwardAttrs["side"]): Tensor =>
        apply(backward, [ctx.gradient(0), x, anchors, ...given, ...results], { similarity, standardised, side: of }, ctx.scalars)[0];
      const [needsX, needsAnchors] = [ctx.needs(0), ctx.needs(1)];
      const differentiates = standardised && { given: ctx.needs(2), anchors: needsAnchors, x: needsX }[through];
      const dx = needsX || differentiates ? side("x") : undefined;
      const danchors = needsAnchors || differentiates ? side("anchors") : undefined;
      if (!dx || !danchors || !differentiates) return [dx, danchors, ...(standardised ? [undefined] : [])];
      const [dstatistics] = apply(columns, [dx, x, danchors, anchors, ...given], {});
      const onto = (of: Tensor, gradientOf: Tensor): Tensor =>
        apply(statisticsBackward, [dstatistics, of, ...given, gradientOf], { scale, onto: true })[0];
      const wanted = <T>(needed: boolean, value: T): T | undefined => (needed ? value : undefined);
      return [
        wanted(needsX, through === "x" ? onto(x, dx) : dx),
        wanted(needsAnchors, through === "anchors" ? onto(anchors, danchors) : danchors),
        through === "given" ? dstatistics : undefined,
      ];
    },
  };
  return defineOp<ProjectionAttrs>({
    name: WHERE,
    arity: [2, 3],
    attributes: { similarity: oneOf(KINDS.filter(kinds)), standardised: flag, through: oneOf(["given", "anchors", "x"]), scale: flag },
    scalars: ["p"],
    outputs,
    reference: reference.project,
    plan: plan.project,
    fault,
    gradient,
  });
};

const fromOperands = projectionThatSaves((similarity) => !readsResult(similarity), { inputs: [0, 1, 2] });
const fromResult = projectionThatSaves(isDistance, { inputs: [0, 1, 2], outputs: [0] });
const fromNorms = projectionThatSaves(hasNorms, { inputs: [0, 1, 2], outputs: [0, 1, 2] });

/** x, anchors, statistics? -> y and, where rows are divided by their norms, 1 / norm of the rows of x, and of the anchors. One op per kind of memory. */
export const project = (similarity: Kind): Op<ProjectionAttrs> =>
  hasNorms(similarity) ? fromNorms : isDistance(similarity) ? fromResult : fromOperands;

export const ops: readonly Op[] = [
  fromOperands,
  fromResult,
  fromNorms,
  top,
  range,
  backward,
  statistics,
  statisticsBackward,
  columns,
] as readonly Op[];
