import { apply } from "../../apply.ts";
import { defineOp, type Op, type Spec, type VjpContext } from "../../op.ts";
import { requireFloat } from "../../shapes.ts";
import type { Tensor } from "../../tensor.ts";
import * as plan from "./plan.ts";
import type { BackwardAttrs, NormAttrs, ParameterAttrs } from "./reference.ts";
import * as reference from "./reference.ts";

const noSecond = { none: "second derivatives are not provided" } as const;

/** g, x, mean, variance, weight? -> dx. With `fixed`, mean and variance are constants. */
export const backward = defineOp<BackwardAttrs>({
  name: "norm.backward",
  scalars: ["eps"],
  outputs: ([g]) => [g],
  reference: reference.backward,
  plan: plan.backward,
  gradient: noSecond,
});

/** g, x, mean, variance -> dweight, dbias. */
export const parameters = defineOp<ParameterAttrs>({
  name: "norm.parameters",
  scalars: ["eps"],
  outputs: (_, { shape }) => [
    { shape, dtype: "float32" },
    { shape, dtype: "float32" },
  ],
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
  scalars: ["eps"],
  outputs: ([x, ...rest], { groups }) => {
    requireFloat("norm", [x, ...rest], ["x"]);
    const statistics: Spec = { shape: [groups], dtype: "float32" };
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
  scalars: ["eps"],
  outputs: ([x, ...rest]) => {
    requireFloat("norm", [x, ...rest], ["x"]);
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
  scalars: ["momentum"],
  mutates: [0, 1],
  outputs: () => [],
  reference: reference.track,
  plan: plan.track,
  gradient: { none: "running statistics are not differentiable" },
});

export const ops: readonly Op[] = [forward, backward, parameters, fixed, track] as readonly Op[];
