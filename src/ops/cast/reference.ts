/** Numbers in another precision. */
import { roundToHalf } from "../../half.ts";
import type { DType, ReferenceRun } from "../../op.ts";

export interface CastAttrs extends Record<string, string> {
  readonly dtype: DType;
}

export const cast = ({ call, inputs: [x], outputs: [y] }: ReferenceRun<CastAttrs>): void => {
  const round = call.attrs.dtype === "float16" ? roundToHalf : (value: number): number => value;
  for (let i = 0; i < y.length; i++) y[i] = round(x[i]);
};
