import { apply } from "../../apply.ts";
import { type Attributes, flag, oneOf, whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, type Shape, type Spec, showShape, type VjpContext } from "../../op.ts";
import { FLOATS, requireFloat, requireInteger } from "../../shapes.ts";
import type { Tensor } from "../../tensor.ts";
import { mul } from "../elementwise/index.ts";
import { matmul } from "../matmul/index.ts";
import { sum } from "../reduce/index.ts";
import { reshape } from "../shape/index.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { type PlanAttrs, sizesOf, type TransportAttrs } from "./reference.ts";

const where = "transport";

const checkItem = (spec: Spec, batch: Shape, item: Shape, argument: string): void => {
  if (![showShape(item), showShape([...batch, ...item])].includes(showShape(spec.shape)))
    throw expected(where, `shape ${showShape([...batch, ...item])}`, argument, spec.shape);
};

const attributes: Attributes<PlanAttrs> = { rowOffset: whole(), columnOffset: whole(), masked: flag };

/** The sizes of logits [..., n, m], potentials and, as the last of the inputs, a mask; `more` inputs are between them. */
const checkPlan = (inputs: readonly Spec[], { rowOffset, columnOffset, masked }: PlanAttrs, more: number): { batch: Shape; n: number; m: number } => {
  const [logits, potentials] = inputs;
  const count = 2 + more + Number(masked);
  if (inputs.length !== count) throw expected(where, `${count} tensors`, "inputs", inputs.length);
  requireFloat(where, [logits], ["logits"], FLOATS);
  requireFloat(where, masked ? inputs.slice(1, -1) : inputs.slice(1), ["potentials", "x"]);
  if (logits.shape.length < 2) throw expected(where, "shape [..., n, m]", "logits", logits.shape);
  const batch = logits.shape.slice(0, -2);
  const { n, m, stride } = sizesOf(inputs);
  if (showShape(potentials.shape.slice(0, -1)) !== showShape(batch) || !(stride >= Math.max(rowOffset + n, columnOffset + m)))
    throw expected(where, `potentials of ${n} rows and ${m} columns for each matrix`, "potentials", potentials.shape);
  if (masked) {
    requireInteger(where, inputs[inputs.length - 1], "mask");
    checkItem(inputs[inputs.length - 1], batch, [n, m], "mask");
  }
  return { batch, n, m };
};

/** logits, potentials, cotangent of P (mask) -> gradients of logits and potentials. */
export const backward = defineOp<PlanAttrs>({
  name: "transport.backward",
  arity: [3, 4],
  attributes,
  halves: [0],
  scalars: ["temperature"],
  outputs: (inputs, attrs) => {
    const [logits, potentials, gradient] = inputs;
    checkPlan(inputs, attrs, 1);
    if (showShape(gradient.shape) !== showShape(logits.shape)) throw expected(where, `shape ${showShape(logits.shape)}`, "gradient", gradient.shape);
    return [{ shape: logits.shape, dtype: "float32" }, potentials];
  },
  reference: reference.backward,
  plan: plan.backward,
  gradient: { none: "second derivatives are not provided" },
});

/** Whatever all matrices share gets the sum of their gradients. */
const shared = (gradient: Tensor, shape: Shape): Tensor =>
  gradient.shape.length === shape.length ? gradient : reshape(sum(reshape(gradient, [-1, shape.reduce((a, b) => a * b, 1)]), 0), shape);

const vjp = (ctx: VjpContext<TransportAttrs>): (Tensor | undefined)[] => {
  const { attrs, inputs } = ctx.call;
  const { kind, rowOffset, columnOffset, masked } = attrs;
  const dy = ctx.gradient(0);
  const [logits, potentials] = [ctx.input(0), ctx.input(1)];
  const mask = masked ? [ctx.input(inputs.length - 1)] : [];
  const again = (other: TransportAttrs["kind"], x: readonly Tensor[]): Tensor =>
    apply(transport, [logits, potentials, ...x, ...mask], { ...attrs, kind: other }, ctx.scalars)[0];
  const column = (x: Tensor): Tensor => reshape(x, [...x.shape, 1]);
  const cotangent = (): Tensor => {
    if (kind === "plan") return dy;
    const x = ctx.input(2);
    if (kind === "cost") return mul(column(dy), x);
    return kind === "rows" ? matmul(dy, x, { transposeB: true }) : matmul(x, dy, { transposeB: true });
  };
  const ofOperand = (): Tensor => (kind === "cost" ? mul(column(dy), again("plan", [])) : again(kind === "rows" ? "columns" : "rows", [dy]));
  const [dlogits, dpotentials] =
    ctx.needs(0) || ctx.needs(1) ? apply(backward, [logits, potentials, cotangent(), ...mask], { rowOffset, columnOffset, masked }, ctx.scalars) : [];
  const operand = kind === "plan" ? [] : [ctx.needs(2) ? shared(ofOperand(), inputs[2].shape) : undefined];
  return [ctx.needs(0) ? dlogits : undefined, ctx.needs(1) ? dpotentials : undefined, ...operand, ...mask.map(() => undefined)];
};

/** logits, potentials, x unless P itself is wanted (mask) -> what `kind` says of P = exp(logits / temperature + f + g), which is not stored. */
export const transport: Op<TransportAttrs> = defineOp<TransportAttrs>({
  name: "transport",
  arity: [2, 4],
  attributes: { ...attributes, kind: oneOf(["plan", "rows", "columns", "cost"]) },
  halves: [0],
  scalars: ["temperature"],
  outputs: (inputs, { kind, ...attrs }) => {
    const [logits, , x] = inputs;
    const { batch, n, m } = checkPlan(inputs, attrs, kind === "plan" ? 0 : 1);
    if (kind === "plan") return [{ shape: logits.shape, dtype: "float32" }];
    if (kind === "cost") {
      checkItem(x, batch, [n, m], "x");
      return [{ shape: [...batch, n], dtype: "float32" }];
    }
    const [d] = x.shape.slice(-1);
    checkItem(x, batch, [kind === "rows" ? m : n, d ?? 1], "x");
    return [{ shape: [...batch, kind === "rows" ? n : m, d], dtype: "float32" }];
  },
  reference: reference.transport,
  plan: plan.transport,
  gradient: { saves: { inputs: [0, 1, 2, 3] }, vjp },
});

export const ops: readonly Op[] = [transport, backward] as readonly Op[];
