import * as shaders from "../../generated/crossEntropy.ts";
import { type Call, elements, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import type { CrossEntropyAttrs } from "./reference.ts";

const THREADS = 256;
/** Logits that one thread takes before another thread joins in. */
export const TERMS_PER_THREAD = 4;
/** Up to this many logits, one workgroup does everything in one dispatch. */
export const WHOLE_ELEMENTS = 16384;

const powerOfTwo = (least: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, least)));
/** What the mean over the batch multiplies by. */
const scaleOf = (reduction: string, batch: number): number => (reduction === "mean" ? (batch === 0 ? 0 : 1 / batch) : 1);

export const forward = ({ attrs: { reduction, smooth }, inputs: [logits] }: Call<CrossEntropyAttrs>, limits: Limits): Plan => {
  const [batch, classes] = logits.shape;
  const lanes = Math.min(THREADS, powerOfTwo(classes / TERMS_PER_THREAD));
  const constants = { LANES: lanes, SMOOTH: smooth ? 1 : 0 };
  const params = { batch, classes, scale: scaleOf(reduction, batch) };
  const pass = (entry: string, bind: Pass["bind"], count: number): Pass => ({
    shader: shaders.forward,
    entry,
    constants,
    params,
    bind: { logits: input(0), labels: input(1), statistics: output(1), ...bind },
    workgroups: grid(count, limits),
  });
  const rows = Math.ceil(batch / (THREADS / lanes));
  if (reduction === "none") return { passes: [pass("rows", { row_loss: output(0) }, rows)] };
  if (batch * classes <= WHOLE_ELEMENTS) return { passes: [pass("whole", { loss: output(0) }, 1)] };
  return {
    scratch: [batch],
    passes: [pass("rows", { row_loss: scratch(0) }, rows), pass("total", { row_loss: scratch(0), loss: output(0) }, 1)],
  };
};

export const backward = ({ attrs: { reduction }, inputs: [, logits] }: Call<CrossEntropyAttrs>, limits: Limits): Plan => {
  const [batch, classes] = logits.shape;
  const count = elements(logits.shape);
  return {
    passes: [
      {
        shader: shaders.backward,
        entry: "main",
        constants: { PER_ROW: reduction === "none" ? 1 : 0 },
        params: { count, classes, scale: scaleOf(reduction, batch) },
        bind: { g: input(0), logits: input(1), labels: input(2), statistics: input(3), dlogits: output(0) },
        workgroups: grid(Math.ceil(count / THREADS), limits),
      },
    ],
  };
};
