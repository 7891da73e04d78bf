/** Plans for matrices that stay in the registers of one workgroup or less. */
import type { Call, Limits, Plan } from "../../op.ts";
import type { BackwardAttrs, ForwardAttrs } from "./geometry.ts";

/**
 * Up to side `n`, SIDE × SIDE threads hold TILE × TILE elements each. A smaller tile takes more threads and fewer registers; the first
 * row is one thread per matrix.
 */
export const RESIDENT = [
  { n: 4, SIDE: 1, TILE: 4, THREADS: 64 },
  { n: 8, SIDE: 2, TILE: 4, THREADS: 64 },
  { n: 16, SIDE: 4, TILE: 4, THREADS: 64 },
  { n: 32, SIDE: 4, TILE: 8, THREADS: 64 },
  { n: 64, SIDE: 8, TILE: 8, THREADS: 64 },
  { n: 128, SIDE: 16, TILE: 8, THREADS: 256 },
] as const;

const unwritten = (name: string): Plan => {
  throw new Error(`${name}: not written`);
};
export const forward = (_call: Call<ForwardAttrs>, _limits: Limits): Plan => unwritten("sinkhorn");
export const backward = (_call: Call<BackwardAttrs>, _limits: Limits): Plan => unwritten("sinkhorn.backward");
export const implicit = (_call: Call<BackwardAttrs>, _limits: Limits): Plan => unwritten("sinkhorn.implicit");
