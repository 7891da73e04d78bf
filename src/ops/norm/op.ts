import { apply } from "../../apply.ts";
import { type Attributes, flag, oneOf, sizes, whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, elements, type Op, type Spec, showShape, type VjpContext } from "../../op.ts";
import { requireFloat, requireInputs } from "../../shapes.ts";
import type { Tensor } from "../../tensor.ts";
import * as plan from "./plan.ts";
import type { BackwardAttrs, NormAttrs, ParameterAttrs, View } from "./reference.ts";
import * as reference from "./reference.ts";

const noSecond = { none: "second derivatives are not provided" } as const;

const view: Attributes<View> = { outer: whole(), groups: whole(), inner: whole(), by: oneOf(["element", "channel"]), channels: whole() };

/** Throws unless x is [outer, groups, inner], whichever axes make up each, and its places are those of a weight. */
const checkView = (where: string, { shape }: Spec, { outer, groups, inner, by, channels }: View): void => {
  const parts = (from: number, ...counts: readonly number[]): boolean => {
    const [count, ...rest] = counts;
    if (rest.length === 0) return elements(shape.slice(from)) === count;
    for (let to = from; to <= shape.length; to++) if (elements(shape.slice(from, to)) === count && parts(to, ...rest)) return true;
    return false;
  };
  if (!parts(0, outer, groups, inner)) throw expected(where, `the axes of x [${outer}, ${groups}, ${inner}]`, "x", showShape(shape));
  const fits = by === "element" ? outer === 1 && channels === 0 : channels === groups || (outer === 1 && groups % channels === 0);
  if (!fits) throw expected(where, by === "element" ? "0, and outer 1, by element" : "groups, or a divisor of them,", "channels", channels);
};
/** Throws unless what is there behind the first inputs has as many elements as a weight. */
const checkAffine = (where: string, inputs: readonly Spec[], first: number, { by, inner, channels }: View, flags: readonly boolean[]): void => {
  const given = inputs.slice(first);
  const [count, size] = [flags.filter((there) => there).length, by === "element" ? inner : channels];
  if (given.length !== count) throw expected(where, `${first + count} tensors`, "inputs", inputs.length);
  for (const [i, { shape }] of given.entries())
    if (elements(shape) !== size) throw expected(where, `${size} elements`, `inputs[${first + i}]`, showShape(shape));
};

/** g, x, mean, variance, weight? -> dx. With `fixed`, mean and variance are constants. */
export const backward = defineOp<BackwardAttrs>({
  name: "norm.backward",
  arity: [4, 5],
  attributes: { ...view, weight: flag, fixed: flag },
  scalars: ["eps"],
  outputs: (inputs, attrs) => {
    const where = "norm.backward";
    const [g] = inputs;
    checkView(where, g, attrs);
    checkAffine(where, inputs, 4, attrs, [attrs.weight]);
    requireInputs(where, inputs.slice(0, 4), { g: g.shape, x: g.shape, mean: [attrs.groups], variance: [attrs.groups] });
    return [g];
  },
  reference: reference.backward,
  plan: plan.backward,
  gradient: noSecond,
});

/** g, x, mean, variance -> dweight, dbias. */
export const parameters = defineOp<ParameterAttrs>({
  name: "norm.parameters",
  arity: 4,
  attributes: { ...view, shape: sizes },
  scalars: ["eps"],
  outputs: (inputs, attrs) => {
    const where = "norm.parameters";
    const [g] = inputs;
    const weight: Spec = { shape: attrs.shape, dtype: "float32" };
    checkView(where, g, attrs);
    checkAffine(where, [weight], 0, attrs, [true]);
    requireInputs(where, inputs, { g: g.shape, x: g.shape, mean: [attrs.groups], variance: [attrs.groups] });
    return [weight, weight];
  },
  reference: reference.parameters,
  plan: plan.parameters,
  gradient: noSecond,
});

/** The gradients of x, weight and bias; `first` is the position of the weight among the op's inputs. */
const gradients = (
  ctx: VjpContext<NormAttrs>,
  mean: Tensor,
  variance: Tensor,
  first: number,
  fixed: boolean,
): { dx: Tensor | undefined; rest: (Tensor | undefined)[] } => {
  const { attrs } = ctx.call;
  const { weight, bias, ...view } = attrs;
  const [g, x] = [ctx.gradient(0), ctx.input(0)];
  const eps = { eps: ctx.scalars.eps };
  const dx = ctx.needs(0)
    ? apply(backward, [g, x, mean, variance, ...(weight ? [ctx.input(first)] : [])], { ...view, weight, fixed }, eps)[0]
    : undefined;
  const wanted = [weight, bias].flatMap((there, i) => (there ? [{ output: i, needed: ctx.needs(first + (weight ? i : 0)) }] : []));
  if (!wanted.some(({ needed }) => needed)) return { dx, rest: wanted.map(() => undefined) };
  const sums = apply(parameters, [g, x, mean, variance], { ...view, shape: ctx.call.inputs[first].shape }, eps);
  return { dx, rest: wanted.map(({ output, needed }) => (needed ? sums[output] : undefined)) };
};

/** x, weight?, bias? -> y, mean, biased variance. Gradients flow through y alone: the statistics are for the backward pass and `track`. */
export const forward = defineOp<NormAttrs>({
  name: "norm.forward",
  arity: [1, 3],
  attributes: { ...view, weight: flag, bias: flag },
  scalars: ["eps"],
  outputs: (inputs, attrs) => {
    const [x] = inputs;
    requireFloat("norm", inputs, ["x"]);
    checkView("norm", x, attrs);
    checkAffine("norm", inputs, 1, attrs, [attrs.weight, attrs.bias]);
    const statistics: Spec = { shape: [attrs.groups], dtype: "float32" };
    return [x, statistics, statistics];
  },
  reference: reference.forward,
  plan: plan.forward,
  gradient: {
    saves: { inputs: [0, 1], outputs: [1, 2] },
    vjp: (ctx) => {
      const { dx, rest } = gradients(ctx, ctx.output(1), ctx.output(2), 1, false);
      return [dx, ...rest];
    },
  },
});

/** x, mean, variance, weight?, bias? -> y, with statistics that are given. */
export const fixed = defineOp<NormAttrs>({
  name: "norm.fixed",
  arity: [3, 5],
  attributes: { ...view, weight: flag, bias: flag },
  scalars: ["eps"],
  outputs: (inputs, attrs) => {
    const [x] = inputs;
    requireFloat("norm", inputs, ["x"]);
    checkView("norm", x, attrs);
    checkAffine("norm", inputs, 3, attrs, [attrs.weight, attrs.bias]);
    requireInputs("norm", inputs.slice(0, 3), { x: x.shape, mean: [attrs.groups], variance: [attrs.groups] });
    return [x];
  },
  reference: reference.fixed,
  plan: plan.fixed,
  gradient: {
    saves: { inputs: [0, 1, 2, 3] },
    vjp: (ctx) => {
      const { dx, rest } = gradients(ctx, ctx.input(1), ctx.input(2), 3, true);
      return [dx, undefined, undefined, ...rest];
    },
  },
});

/** Moves running statistics (inputs 0 and 1) towards those of a batch of `terms` elements a channel. */
export const track = defineOp<{ terms: number }>({
  name: "norm.track",
  arity: 4,
  attributes: { terms: whole(2) },
  scalars: ["momentum"],
  mutates: [0, 1],
  outputs: (inputs) => {
    const [{ shape }] = inputs;
    requireInputs("norm.track", inputs, { runningMean: shape, runningVar: shape, mean: shape, variance: shape });
    return [];
  },
  reference: reference.track,
  plan: plan.track,
  gradient: { none: "running statistics are not differentiable" },
});

export const ops: readonly Op[] = [forward, backward, parameters, fixed, track] as readonly Op[];
