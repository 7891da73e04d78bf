/** Plans for matrices that several workgroups share: each iteration reads the matrix once. */
import type { Call, Limits, Plan } from "../../op.ts";
import type { BackwardAttrs, ForwardAttrs } from "./geometry.ts";

/** From this side on panels are taller. */
export const LARGE_PANELS = 1024;

const unwritten = (name: string): Plan => {
  throw new Error(`${name}: not written`);
};
export const forward = (_call: Call<ForwardAttrs>, _limits: Limits): Plan => unwritten("sinkhorn");
export const backward = (_call: Call<BackwardAttrs>, _limits: Limits): Plan => unwritten("sinkhorn.backward");
export const implicit = (_call: Call<BackwardAttrs>, _limits: Limits): Plan => unwritten("sinkhorn.implicit");
