import { apply } from "../../apply.ts";
import { flag, oneOf, sizes } from "../../attributes.ts";
import { ArgumentError, expected } from "../../errors.ts";
import { defineOp, type Gradient, type Op, type Spec, showShape, type VjpContext } from "../../op.ts";
import { broadcastShapes, FLOATS, MAX_AXES, requireFloat, requireInputs } from "../../shapes.ts";
import type { Tensor } from "../../tensor.ts";
import { add } from "../elementwise/index.ts";
import { unaryBackward } from "../elementwise/op.ts";
import { ACTIVATIONS, type Activation, UNARY } from "../elementwise/reference.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { type BiasAttrs, type MatmulAttrs, matmulSizes } from "./reference.ts";

/** g, and what the derivative of the activation is taken from -> sums of the columns of d, and d. Without an activation d is g. */
export const biasBackward = defineOp<BiasAttrs>({
  name: "matmul.biasBackward",
  arity: [1, 2],
  attributes: { activation: oneOf(["none", ...ACTIVATIONS]) },
  outputs: (inputs, { activation }) => {
    const [g] = inputs;
    if (g.shape.length === 0) throw expected("matmul.biasBackward", "at least one axis", "g", showShape(g.shape));
    requireInputs("matmul.biasBackward", inputs, { g: g.shape, saved: activation !== "none" && g.shape });
    return [{ shape: g.shape.slice(-1), dtype: g.dtype }, ...(activation === "none" ? [] : [g])];
  },
  reference: reference.biasBackward,
  plan: plan.biasBackward,
  gradient: { none: "second derivatives are not provided" },
});

const outputs = ([a, b, bias]: readonly Spec[], attrs: MatmulAttrs): Spec[] => {
  requireFloat("matmul", [a, b], ["a", "b"], FLOATS);
  if (bias) requireFloat("matmul", [bias], ["bias"]);
  for (const [name, { shape }] of [["a", a] as const, ["b", b] as const]) {
    if (shape.length < 2 || shape.length > MAX_AXES + 2) throw expected("matmul", `2 to ${MAX_AXES + 2} axes`, name, showShape(shape));
  }
  const { m, n, k, batch } = matmulSizes(a.shape, b.shape, attrs);
  const inner = b.shape[b.shape.length - (attrs.transposeB ? 1 : 2)];
  if (k !== inner) {
    const [of, and] = [attrs.transposeA ? "transposed " : "", attrs.transposeB ? "transposed " : ""];
    throw new ArgumentError(
      `matmul: expected equal inner sizes for \`a\` and \`b\`, but received ${k} of ${of}${showShape(a.shape)} and ${inner} of ${and}${showShape(b.shape)}`,
    );
  }
  if (showShape(broadcastShapes("matmul", batch, attrs.batch)) !== showShape(batch)) {
    throw expected("matmul", `batch axes that ${showShape(batch)} can be summed to`, "batch", attrs.batch);
  }
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== n)) throw expected("matmul", `shape [${n}]`, "bias", showShape(bias.shape));
  const result: Spec = { shape: [...attrs.batch, m, n], dtype: "float32" };
  return attrs.keeps ? [result, result] : [result];
};

/** The cotangent of the sums, from that of what the activation made of them, and the gradient of the bias where it is wanted. */
const beforeActivation = (ctx: VjpContext<MatmulAttrs>): { readonly d: Tensor; readonly bias?: Tensor } => {
  const { activation } = ctx.call.attrs;
  const wanted = ctx.call.inputs.length > 2 && ctx.needs(2);
  const plain = (d: Tensor): { readonly d: Tensor; readonly bias?: Tensor } =>
    wanted ? { d, bias: apply(biasBackward, [d], { activation: "none" })[0] } : { d };
  if (activation === "none") return plain(ctx.gradient(0));
  if (!ctx.hasGradient(0)) return plain(ctx.gradient(1));
  const operands = [ctx.gradient(0), UNARY[activation].saves === "input" ? ctx.output(1) : ctx.output(0)];
  if (!wanted || ctx.hasGradient(1)) {
    const [d] = apply(unaryBackward, operands, { kind: activation });
    return plain(ctx.hasGradient(1) ? add(d, ctx.gradient(1)) : d);
  }
  const [bias, d] = apply(biasBackward, operands, { activation });
  return { d, bias };
};

const vjp = (ctx: VjpContext<MatmulAttrs>): (Tensor | undefined)[] => {
  const { inputs, attrs } = ctx.call;
  const { transposeA, transposeB } = attrs;
  const { d, bias } = beforeActivation(ctx);
  const product = (x: Tensor, y: Tensor, flipX: boolean, flipY: boolean, operand: number): Tensor =>
    apply(matmul, [x, y], { ...PLAIN, transposeA: flipX, transposeB: flipY, batch: inputs[operand].shape.slice(0, -2) })[0];
  const gradientA = (): Tensor => (transposeA ? product(ctx.input(1), d, transposeB, true, 0) : product(d, ctx.input(1), false, !transposeB, 0));
  const gradientB = (): Tensor => (transposeB ? product(d, ctx.input(0), true, transposeA, 1) : product(ctx.input(0), d, !transposeA, false, 1));
  return [ctx.needs(0) ? gradientA() : undefined, ctx.needs(1) ? gradientB() : undefined, ...(inputs.length > 2 ? [bias] : [])];
};

/** One op per kind of memory: beside a and b, what the derivative of the activation is taken from. */
const productWith = (gradient: Gradient<MatmulAttrs>, activations: readonly MatmulAttrs["activation"][], keeps: boolean): Op<MatmulAttrs> =>
  defineOp<MatmulAttrs>({
    name: "matmul",
    arity: [2, 3],
    attributes: { transposeA: flag, transposeB: flag, batch: sizes, activation: oneOf(activations), keeps: oneOf([keeps]) },
    halves: [0, 1],
    outputs,
    reference: reference.matmul,
    plan: plan.matmul,
    gradient,
  });
const activationsFrom = (saves: "input" | "output"): readonly Activation[] => ACTIVATIONS.filter((kind) => UNARY[kind].saves === saves);

/** a and b, and optionally a bias that is added to every row of the result. Its gradients are products of the same kind. */
export const matmul = productWith({ saves: { inputs: [0, 1] }, vjp }, ["none"], false);
const fromResult = productWith({ saves: { inputs: [0, 1], outputs: [0] }, vjp }, activationsFrom("output"), false);
const fromSums = productWith({ saves: { inputs: [0, 1], outputs: [1] }, vjp }, activationsFrom("input"), true);
const forgetful = productWith({ none: "what its activation is applied to was not kept" }, activationsFrom("input"), false);

/** What `attrs` is without an activation. */
export const PLAIN = { activation: "none", keeps: false } as const;

/** The op for an activation, and its attributes; `recording` says whether a gradient will be wanted. */
export const matmulWith = (
  activation: MatmulAttrs["activation"],
  recording: boolean,
): { readonly op: Op<MatmulAttrs>; readonly attrs: Pick<MatmulAttrs, "activation" | "keeps"> } => {
  if (activation === "none") return { op: matmul, attrs: PLAIN };
  if (UNARY[activation].saves === "output") return { op: fromResult, attrs: { activation, keeps: false } };
  return { op: recording ? fromSums : forgetful, attrs: { activation, keeps: recording } };
};

export const ops: readonly Op[] = [matmul, fromResult, fromSums, forgetful, biasBackward] as readonly Op[];
