import { apply } from "../../apply.ts";
import { flag, sizes } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { type Call, defineOp, elements, type Op, type ReferenceRun, type Shape, type Spec } from "../../op.ts";
import { requireFloat, requireInputs, requireInteger } from "../../shapes.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import type { ExpandAttrs } from "./sizes.ts";

const WHERE = "expandKernel";
const noSecond = { none: "second derivatives are not provided" } as const;
const float32 = (shape: Shape): Spec => ({ shape, dtype: "float32" });

/** [Cout·g, Cin·g_in, kernel axes]: what a convolution takes. */
const expanded = ([matrices]: Shape, [cout, cin, ...rest]: Shape, { identity }: ExpandAttrs): Spec => {
  const features = cout * (matrices + (identity ? 1 : 0));
  return float32(rest.length === 3 ? [features, cin * rest[0], rest[1], rest[2]] : [features, cin, ...rest]);
};

/** How many numbers a kernel of `w` has. */
const kernelSize = ({ shape }: Spec): number => {
  if (shape.length < 3 || shape.length > 5) throw expected(WHERE, "shape [Cout, Cin, d], [Cout, Cin, k, k] or [Cout, Cin, g_in, k, k]", "w", shape);
  return elements(shape.slice(2));
};

/** W from matrices. */
const fromMatrices = (r: Spec, w: Spec, attrs: ExpandAttrs): Spec => {
  requireFloat(WHERE, [r, w], ["R", "w"]);
  const d = kernelSize(w);
  if (r.shape.length !== 3 || r.shape[1] !== d || r.shape[2] !== d)
    throw expected(WHERE, `shape [matrices, ${d}, ${d}], since a kernel of \`w\` has ${d} numbers,`, "R", r.shape);
  return expanded(r.shape, w.shape, attrs);
};

/** W from matrices of two factors. */
const fromFactors = (group: Spec, space: Spec, w: Spec, attrs: ExpandAttrs): Spec => {
  requireFloat(WHERE, [group, space, w], ["R.group", "R.space", "w"]);
  const d = kernelSize(w);
  const [matrices, p, columns] = group.shape;
  if (group.shape.length !== 3 || p !== columns) throw expected(WHERE, "shape [matrices, g_in, g_in]", "R.group", group.shape);
  if (w.shape.length === 5 && p !== w.shape[2])
    throw expected(WHERE, `shape [matrices, ${w.shape[2]}, ${w.shape[2]}], since \`w\` has a group axis of ${w.shape[2]},`, "R.group", group.shape);
  if (d % p !== 0) throw expected(WHERE, `a side that divides the ${d} numbers of a kernel of \`w\``, "R.group", group.shape);
  const wanted = [matrices, d / p, d / p];
  if (space.shape.length !== 3 || wanted.some((size, axis) => size !== space.shape[axis]))
    throw expected(WHERE, `shape [${wanted.join(", ")}], behind ${p} positions of \`R.group\`,`, "R.space", space.shape);
  return expanded(group.shape, w.shape, attrs);
};

/** W from positions. */
const fromPositions = (index: Spec, w: Spec, attrs: ExpandAttrs): Spec => {
  requireFloat(WHERE, [w], ["w"]);
  requireInteger(WHERE, index, "R");
  const d = kernelSize(w);
  if (index.shape.length !== 2 || index.shape[1] !== d)
    throw expected(WHERE, `shape [matrices, ${d}] for positions, or dtype float32 for matrices,`, "R", index.shape);
  return expanded(index.shape, w.shape, attrs);
};

/** Throws unless the last of the inputs is a gradient of W. */
const checkGradient = (where: string, inputs: readonly Spec[], { shape }: Spec): void => requireInputs(where, inputs.slice(-1), { gradient: shape });

/** Attributes of a gradient: `shape` is that of what it is the gradient of. */
type BackwardAttrs = ExpandAttrs & { readonly shape: Shape };

/** One of the inputs' gradients: `whole` gives W from the others and from what it is the gradient of. */
const backward = (
  part: string,
  run: (run: ReferenceRun<BackwardAttrs>) => void,
  passes: Op<BackwardAttrs>["plan"],
  count: number,
  whole: (inputs: readonly Spec[], own: Spec, attrs: ExpandAttrs) => Spec,
): Op<BackwardAttrs> => {
  const name = `expandKernel.${part}`;
  return defineOp<BackwardAttrs>({
    name,
    arity: count,
    attributes: { identity: flag, shape: sizes },
    outputs: (inputs, attrs) => {
      const own = float32(attrs.shape);
      checkGradient(name, inputs, whole(inputs, own, attrs));
      return [own];
    },
    reference: run,
    plan: passes,
    gradient: noSecond,
  });
};

/** dL/dw from R and dL/dW. */
const backwardWeight = backward("backwardWeight", reference.backwardWeight, plan.backwardWeight, 2, ([r], w, attrs) => fromMatrices(r, w, attrs));
/** dL/dR from w and dL/dW. */
const backwardMatrices = backward("backwardMatrices", reference.backwardMatrices, plan.backwardMatrices, 2, ([w], r, attrs) =>
  fromMatrices(r, w, attrs),
);
/** dL/d(space) from group, w and dL/dW. */
const backwardSpace = backward("backwardSpace", reference.backwardSpace, plan.backwardSpace, 3, ([group, w], space, attrs) =>
  fromFactors(group, space, w, attrs),
);
/** dL/dw from positions and dL/dW. */
const scatter = backward("scatter", reference.scatter, plan.scatter, 2, ([index], w, attrs) => fromPositions(index, w, attrs));

/** dL/d(group) and dL/dw, from group, space, w and dL/dW. */
const backwardFactorised = defineOp<ExpandAttrs>({
  name: "expandKernel.backwardFactorised",
  arity: 4,
  attributes: { identity: flag },
  outputs: (inputs, attrs) => {
    const [group, space, w] = inputs;
    checkGradient("expandKernel.backwardFactorised", inputs, fromFactors(group, space, w, attrs));
    return [group, w];
  },
  reference: reference.backwardFactorised,
  plan: plan.backwardFactorised,
  gradient: noSecond,
});

/** R, w -> W. */
export const expand = defineOp<ExpandAttrs>({
  name: "expandKernel",
  arity: 2,
  attributes: { identity: flag },
  outputs: ([r, w], attrs) => [fromMatrices(r, w, attrs)],
  reference: reference.forward,
  plan: plan.forward,
  gradient: {
    saves: { inputs: [0, 1] },
    vjp: (ctx) => {
      const { identity } = ctx.call.attrs;
      const [r, w] = ctx.call.inputs;
      return [
        ctx.needs(0) ? apply(backwardMatrices, [ctx.input(1), ctx.gradient(0)], { identity, shape: r.shape })[0] : undefined,
        ctx.needs(1) ? apply(backwardWeight, [ctx.input(0), ctx.gradient(0)], { identity, shape: w.shape })[0] : undefined,
      ];
    },
  },
});

/** group, space, w -> W, for R[g] = group[g] ⊗ space[g]. */
export const factorised = defineOp<ExpandAttrs>({
  name: "expandKernel.factorised",
  arity: 3,
  attributes: { identity: flag },
  outputs: ([group, space, w], attrs) => [fromFactors(group, space, w, attrs)],
  reference: reference.factorised,
  plan: plan.factorised,
  gradient: {
    saves: { inputs: [0, 1, 2] },
    vjp: (ctx) => {
      const { identity } = ctx.call.attrs;
      const [group, space, w] = [0, 1, 2].map((i) => ctx.input(i));
      const arrived = ctx.gradient(0);
      const [dgroup, dw] = ctx.needs(0) || ctx.needs(2) ? apply(backwardFactorised, [group, space, w, arrived], { identity }) : [];
      const dspace = ctx.needs(1) ? apply(backwardSpace, [group, w, arrived], { identity, shape: space.shape })[0] : undefined;
      return [ctx.needs(0) ? dgroup : undefined, dspace, ctx.needs(2) ? dw : undefined];
    },
  },
});

/** Positions, w -> W. */
export const gather = defineOp<ExpandAttrs>({
  name: "expandKernel.gather",
  arity: 2,
  attributes: { identity: flag },
  outputs: ([index, w], attrs) => [fromPositions(index, w, attrs)],
  reference: reference.gather,
  plan: plan.gather,
  fault: ({ inputs: [{ shape }] }: Call<ExpandAttrs>) => `expandKernel: expected positions in [0, ${shape[1]}) for \`R\``,
  gradient: {
    saves: { inputs: [0] },
    vjp: (ctx) => {
      const { attrs, inputs } = ctx.call;
      return [undefined, apply(scatter, [ctx.input(0), ctx.gradient(0)], { identity: attrs.identity, shape: inputs[1].shape })[0]];
    },
  },
});

export const ops: readonly Op[] = [
  expand,
  backwardMatrices,
  backwardWeight,
  factorised,
  backwardFactorised,
  backwardSpace,
  gather,
  scatter,
] as readonly Op[];
