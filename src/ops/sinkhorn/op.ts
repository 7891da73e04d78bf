import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, type Spec, showShape } from "../../op.ts";
import { requireFloat } from "../../shapes.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { type BackwardAttrs, type ForwardAttrs, historyRows } from "./reference.ts";

/** The largest matrix side: a row is held by one workgroup. */
export const MAX_SIDE = 4096;
const MAX_ITERATIONS = 100_000;

const historySpec = (logits: Spec, iterations: number): Spec => ({
  shape: [...logits.shape.slice(0, -2), historyRows(iterations), logits.shape[logits.shape.length - 1]],
  dtype: "float32",
});

const forwardOutputs = ([logits]: readonly Spec[], { iterations, history }: ForwardAttrs): Spec[] => {
  requireFloat("sinkhorn", [logits], ["logits"]);
  const { shape } = logits;
  const [rows, columns] = shape.slice(-2);
  if (shape.length < 2 || rows !== columns || rows < 1 || rows > MAX_SIDE) {
    throw expected("sinkhorn", `shape [..., n, n] with n from 1 to ${MAX_SIDE}`, "logits", shape);
  }
  if (!Number.isInteger(iterations) || iterations < 1 || iterations > MAX_ITERATIONS) {
    throw expected("sinkhorn", `an integer from 1 to ${MAX_ITERATIONS}`, "iterations", iterations);
  }
  return history ? [logits, historySpec(logits, iterations)] : [logits];
};

const fault = (): string => "sinkhorn: expected finite numbers for `logits`";

/** d(loss)/d(logits) from P, the recorded scalings and d(loss)/dP. */
export const backward = defineOp<BackwardAttrs>({
  name: "sinkhorn.backward",
  scalars: ["temperature"],
  outputs: ([p, history, gradient], { iterations }) => {
    const wanted = historySpec(p, iterations);
    if (showShape(history.shape) !== showShape(wanted.shape)) {
      throw expected("sinkhorn.backward", `shape ${showShape(wanted.shape)}`, "history", history.shape);
    }
    if (showShape(gradient.shape) !== showShape(p.shape)) {
      throw expected("sinkhorn.backward", `shape ${showShape(p.shape)}`, "gradient", gradient.shape);
    }
    return [p];
  },
  reference: reference.backward,
  plan: plan.backward,
  gradient: { none: "second derivatives are not provided" },
});

/** Outputs P and the history of scalings (attribute `history: true`), which the gradient needs. */
export const recorded = defineOp<ForwardAttrs>({
  name: "sinkhorn",
  scalars: ["temperature"],
  outputs: forwardOutputs,
  reference: reference.forward,
  plan: plan.forward,
  fault,
  gradient: {
    saves: { outputs: [0, 1] },
    vjp: (ctx) =>
      apply(
        backward,
        [ctx.output(0), ctx.output(1), ctx.gradient(0)],
        { iterations: ctx.call.attrs.iterations },
        { temperature: ctx.scalars.temperature },
      ),
  },
});

/** Outputs P alone (attribute `history: false`): for inputs that want no gradient. */
export const plain = defineOp<ForwardAttrs>({
  name: "sinkhorn",
  scalars: ["temperature"],
  outputs: forwardOutputs,
  reference: reference.forward,
  plan: plan.forward,
  fault,
  gradient: { none: "its history was not recorded" },
});

export const ops: readonly Op[] = [plain, recorded, backward] as readonly Op[];
