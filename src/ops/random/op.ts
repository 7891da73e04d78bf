import { oneOf, sizes } from "../../attributes.ts";
import { defineOp, type Op } from "../../op.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { KINDS, type RandomAttrs } from "./reference.ts";

/** () -> numbers of the attribute's shape. Seed and stream are scalars: a new seed compiles nothing. */
export const random = defineOp<RandomAttrs>({
  name: "random",
  arity: 0,
  attributes: { kind: oneOf(KINDS), shape: sizes },
  scalars: ["seed_low", "seed_high", "stream_low", "stream_high", "shift", "scale"],
  outputs: (_, { kind, shape }) => [{ shape, dtype: kind === "bits" ? "uint32" : "float32" }],
  reference: reference.generate,
  plan: plan.generate,
  gradient: { none: "random numbers depend on no tensor" },
});

export const ops: readonly Op[] = [random] as readonly Op[];
