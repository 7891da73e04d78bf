import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op } from "../../op.ts";
import { requireFloat } from "../../shapes.ts";
import * as plan from "./plan.ts";
import type { CumsumAttrs } from "./reference.ts";
import * as reference from "./reference.ts";

/** x -> its running sums along one axis. The gradient is the same op in the other direction. */
export const cumsum: Op<CumsumAttrs> = defineOp<CumsumAttrs>({
  name: "cumsum",
  outputs: ([x], { axis }) => {
    requireFloat("cumsum", [x], ["x"]);
    if (!Number.isInteger(axis) || axis < 0 || axis >= x.shape.length)
      throw expected("cumsum", `an axis of a tensor of rank ${x.shape.length}`, "axis", axis);
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
