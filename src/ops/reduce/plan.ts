import type { Call, Limits, Plan } from "../../op.ts";
import type { ArgmaxAttrs, BackwardAttrs, ReduceAttrs } from "./reference.ts";

export const forward = (_: Call<ReduceAttrs>, __: Limits): Plan => {
  throw new Error("not planned");
};
export const argmax = (_: Call<ArgmaxAttrs>, __: Limits): Plan => {
  throw new Error("not planned");
};
export const backward = (_: Call<BackwardAttrs>, __: Limits): Plan => {
  throw new Error("not planned");
};
