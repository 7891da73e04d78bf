import { factor, lower as lowerShader } from "../../generated/cholesky.ts";
import { type Call, elements, grid, input, type Limits, output, type Plan, scratch } from "../../op.ts";
import { PIVOT_EPS } from "./reference.ts";

const THREADS = 256;
/** Columns that are factorised together, and that one workgroup inverts. */
export const BLOCK = 16;

export const inverse = ({ inputs: [a] }: Call<Record<string, never>>, limits: Limits): Plan => {
  const [n] = a.shape;
  if (n === 0) return { passes: [] };
  const params = { n, least: n * PIVOT_EPS };
  return {
    scratch: [n * n],
    passes: [
      { shader: factor, entry: "factorise", params, bind: { a: input(0), l: scratch(0) }, workgroups: [1, 1, 1] },
      { shader: factor, entry: "invert", params, bind: { l: scratch(0), w: output(0) }, workgroups: grid(Math.ceil(n / BLOCK), limits) },
    ],
  };
};

export const lower = ({ attrs: { fold }, inputs: [x] }: Call<{ fold: boolean }>, limits: Limits): Plan => ({
  passes: [
    {
      shader: lowerShader,
      entry: "main",
      params: { n: x.shape[0], fold: fold ? 1 : 0 },
      bind: { x: input(0), y: output(0) },
      workgroups: grid(Math.ceil(elements(x.shape) / THREADS), limits),
    },
  ],
});
