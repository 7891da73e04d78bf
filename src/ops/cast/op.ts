import { oneOf } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op } from "../../op.ts";
import { FLOATS, requireFloat } from "../../shapes.ts";
import * as plan from "./plan.ts";
import type { CastAttrs } from "./reference.ts";
import * as reference from "./reference.ts";

/** x -> the same numbers in the other float dtype. Gradients are float32 on both sides of it, so they pass as they are. */
export const cast: Op<CastAttrs> = defineOp<CastAttrs>({
  name: "cast",
  arity: 1,
  attributes: { dtype: oneOf(FLOATS) },
  halves: [0],
  outputs: ([x], { dtype }) => {
    requireFloat("cast", [x], ["x"], FLOATS);
    if (dtype === x.dtype)
      throw expected("cast", `${FLOATS.filter((other) => other !== x.dtype).join(" or ")}, where x is ${x.dtype},`, "dtype", dtype);
    return [{ shape: x.shape, dtype }];
  },
  reference: reference.cast,
  plan: plan.cast,
  gradient: { saves: {}, vjp: (ctx) => [ctx.gradient(0).detach()] },
});

export const ops: readonly Op[] = [cast] as readonly Op[];
