import { apply } from "../../apply.ts";
import { flag, whole } from "../../attributes.ts";
import { defineOp, type Op } from "../../op.ts";
import { requireAxis, requireFloat } from "../../shapes.ts";
import * as plan from "./plan.ts";
import type { CumsumAttrs } from "./reference.ts";
import * as reference from "./reference.ts";

/** x -> its running sums along one axis. The gradient is the same op in the other direction. */
export const cumsum: Op<CumsumAttrs> = defineOp<CumsumAttrs>({
  name: "cumsum",
  arity: 1,
  attributes: { axis: whole(), reverse: flag },
  outputs: ([x], { axis }) => {
    requireFloat("cumsum", [x], ["x"]);
    requireAxis("cumsum", axis, x.shape);
    return [x];
  },
  reference: reference.cumsum,
  plan: plan.cumsum,
  gradient: {
    saves: {},
    vjp: (ctx) => apply(cumsum, [ctx.gradient(0)], { ...ctx.call.attrs, reverse: !ctx.call.attrs.reverse }),
  },
});

export const ops: readonly Op[] = [cumsum] as readonly Op[];
