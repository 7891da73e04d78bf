import { apply } from "../../apply.ts";
import { flag } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, showShape } from "../../op.ts";
import { requireFloat } from "../../shapes.ts";
import { matmul } from "../matmul/index.ts";
import * as plan from "./plan.ts";
import type { LowerAttrs } from "./reference.ts";
import * as reference from "./reference.ts";

const WHERE = "inverseCholesky";

/** x -> Φ(x), the lower triangle with half the diagonal, or −Φ(x + xᵀ). */
export const lower = defineOp<LowerAttrs>({
  name: "cholesky.lower",
  arity: 1,
  attributes: { fold: flag },
  outputs: ([x]) => {
    requireFloat("cholesky.lower", [x], ["x"]);
    if (x.shape.length !== 2 || x.shape[0] !== x.shape[1]) throw expected("cholesky.lower", "shape [n, n]", "x", showShape(x.shape));
    return [x];
  },
  reference: reference.lower,
  plan: plan.lower,
  gradient: { none: "second derivatives are not provided" },
});

/** a -> W = L⁻¹ of a = L Lᵀ. */
export const inverse = defineOp<Record<string, never>>({
  name: "cholesky",
  arity: 1,
  attributes: {},
  outputs: ([a]) => {
    requireFloat(WHERE, [a], ["a"]);
    if (a.shape.length !== 2 || a.shape[0] !== a.shape[1]) throw expected(WHERE, "shape [n, n]", "a", showShape(a.shape));
    return [a];
  },
  reference: reference.inverse,
  plan: plan.inverse,
  fault: () => `${WHERE}: expected a positive definite matrix, with pivots above the rounding of float32, for \`a\``,
  gradient: {
    saves: { outputs: [0] },
    vjp: (ctx) => {
      const w = ctx.output(0);
      const [half] = apply(lower, [matmul(ctx.gradient(0), w, { transposeB: true })], { fold: false });
      return apply(lower, [matmul(w, matmul(half, w), { transposeA: true })], { fold: true });
    },
  },
});

export const ops: readonly Op[] = [inverse, lower] as readonly Op[];
