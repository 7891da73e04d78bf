import * as shaders from "../../generated/random.ts";
import { type Call, elements, grid, type Limits, output, type Plan } from "../../op.ts";
import type { RandomAttrs } from "./reference.ts";

const THREADS = 256;
/** Elements that one thread makes: what one round of the generator gives. */
export const BLOCK = 4;

export const generate = ({ attrs: { kind, shape } }: Call<RandomAttrs>, limits: Limits): Plan => {
  const count = elements(shape);
  return {
    passes: [
      {
        shader: shaders.generate,
        entry: "main",
        constants: { KIND: shaders.generate.consts[kind.toUpperCase()] },
        params: { count },
        bind: { y: output(0) },
        workgroups: grid(Math.ceil(count / (BLOCK * THREADS)), limits),
      },
    ],
  };
};
