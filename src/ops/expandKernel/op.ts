import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { defineOp, elements, type Op, type Shape, type Spec } from "../../op.ts";
import { requireFloat } from "../../shapes.ts";
import * as plan from "./plan.ts";
import type { ExpandAttrs } from "./reference.ts";
import * as reference from "./reference.ts";

const noSecond = { none: "second derivatives are not provided" } as const;

/** [Cout·g, Cin·g_in, kernel axes]: what a convolution takes. */
const expandedShape = (w: Shape, elementsOfGroup: number): Shape => {
  const [cout, cin, ...rest] = w;
  return rest.length === 3 ? [cout * elementsOfGroup, cin * rest[0], rest[1], rest[2]] : [cout * elementsOfGroup, cin, ...rest];
};

const check = (r: Spec, w: Spec): void => {
  requireFloat("expandKernel", [r, w], ["R", "w"]);
  if (w.shape.length < 3 || w.shape.length > 5) {
    throw expected("expandKernel", "shape [Cout, Cin, d], [Cout, Cin, k, k] or [Cout, Cin, g_in, k, k]", "w", w.shape);
  }
  const d = elements(w.shape.slice(2));
  if (r.shape.length !== 3 || r.shape[1] !== d || r.shape[2] !== d) {
    throw expected("expandKernel", `shape [matrices, ${d}, ${d}], since a kernel of \`w\` has ${d} numbers,`, "R", r.shape);
  }
};

type BackwardAttrs = ExpandAttrs & { readonly shape: Shape };

/** dL/dw from R and dL/dW; `shape` is that of w. */
export const backwardWeight = defineOp<BackwardAttrs>({
  name: "expandKernel.backwardWeight",
  outputs: (_, { shape }) => [{ shape, dtype: "float32" }],
  reference: reference.backwardWeight,
  plan: plan.backwardWeight,
  gradient: noSecond,
});

/** dL/dR from w and dL/dW; `shape` is that of R. */
export const backwardMatrices = defineOp<BackwardAttrs>({
  name: "expandKernel.backwardMatrices",
  outputs: (_, { shape }) => [{ shape, dtype: "float32" }],
  reference: reference.backwardMatrices,
  plan: plan.backwardMatrices,
  gradient: noSecond,
});

export const expand = defineOp<ExpandAttrs>({
  name: "expandKernel",
  outputs: ([r, w], { identity }) => {
    check(r, w);
    return [{ shape: expandedShape(w.shape, r.shape[0] + (identity ? 1 : 0)), dtype: "float32" }];
  },
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

export const ops: readonly Op[] = [expand, backwardMatrices, backwardWeight] as readonly Op[];
