import { cast as shader } from "../../generated/cast.ts";
import { type Call, elements, grid, input, type Limits, output, type Plan } from "../../op.ts";
import { inSlices } from "../../slices.ts";
import type { CastAttrs } from "./reference.ts";

const THREADS = 256;

const whole = ({ attrs: { dtype }, outputs: [{ shape }] }: Call<CastAttrs>, limits: Limits): Plan => {
  const count = elements(shape);
  const [entry, bind] =
    dtype === "float16" ? ["to_half", { wide: input(0), narrow_result: output(0) }] : ["to_float", { narrow: input(0), wide_result: output(0) }];
  return { passes: [{ shader, entry, params: { count }, bind, workgroups: grid(Math.ceil(count / 2 / THREADS), limits) }] };
};

/** Element by element: every axis is one of the batch. */
export const cast: typeof whole = (call, limits) => inSlices(call, limits, { inputs: [0], outputs: [0] }, whole);
