import { apply } from "../../apply.ts";
import { oneOf, sizes, whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op } from "../../op.ts";
import { broadcastShapes, requireFloat, requireInputs } from "../../shapes.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { BINARY, type BinaryBackwardAttrs, type BinaryKind, UNARY, type UnaryKind } from "./reference.ts";

const noSecond = { none: "second derivatives are not provided" } as const;
const unaryKinds = Object.keys(UNARY) as UnaryKind[];
const binaryKinds = Object.keys(BINARY) as BinaryKind[];
type UnaryAttrs = { readonly kind: UnaryKind };
type BinaryAttrs = { readonly kind: BinaryKind };

export const unaryBackward = defineOp<UnaryAttrs>({
  name: "elementwise.unaryBackward",
  arity: 2,
  attributes: { kind: oneOf(unaryKinds) },
  outputs: (inputs) => {
    const [{ shape }] = inputs;
    requireInputs("elementwise.unaryBackward", inputs, { g: shape, saved: shape });
    return [inputs[0]];
  },
  reference: reference.unaryBackward,
  plan: plan.unaryBackward,
  gradient: noSecond,
});

const unaryThatSaves = (saves: "input" | "output"): Op<UnaryAttrs> =>
  defineOp<UnaryAttrs>({
    name: "elementwise.unary",
    arity: 1,
    attributes: { kind: oneOf(unaryKinds.filter((kind) => UNARY[kind].saves === saves)) },
    outputs: ([x], { kind }) => {
      requireFloat(kind, [x], ["x"]);
      return [x];
    },
    reference: reference.unary,
    plan: plan.unary,
    gradient: {
      saves: saves === "input" ? { inputs: [0] } : { outputs: [0] },
      vjp: (ctx) => apply(unaryBackward, [ctx.gradient(0), saves === "input" ? ctx.input(0) : ctx.output(0)], ctx.call.attrs),
    },
  });

const unaryOps = { input: unaryThatSaves("input"), output: unaryThatSaves("output") };
/** One op per kind of memory: the derivative is taken from the input or from the output, whichever is alive anyway. */
export const unary = (kind: UnaryKind): Op<UnaryAttrs> => unaryOps[UNARY[kind].saves];

export const affine: Op = defineOp({
  name: "elementwise.affine",
  arity: 1,
  attributes: {},
  scalars: ["scale", "shift"],
  outputs: ([x]) => {
    requireFloat("elementwise", [x], ["x"]);
    return [x];
  },
  reference: reference.affine,
  plan: plan.affine,
  gradient: { saves: {}, vjp: (ctx) => apply(affine, [ctx.gradient(0)], {}, { scale: ctx.scalars.scale, shift: 0 }) },
});

export const binaryBackward = defineOp<BinaryBackwardAttrs>({
  name: "elementwise.binaryBackward",
  arity: [1, 3],
  attributes: { kind: oneOf(binaryKinds), wrt: whole(0, 1), shape: sizes },
  outputs: (inputs, { kind, wrt, shape }) => {
    const where = "elementwise.binaryBackward";
    const [g, a = g, b = g] = inputs.map((spec) => spec.shape);
    const wanted = BINARY[kind].linear
      ? { g: broadcastShapes(where, shape, g) }
      : { g: broadcastShapes(where, a, b), a: wrt === 0 ? shape : a, b: wrt === 1 ? shape : b };
    requireInputs(where, inputs, wanted);
    return [{ shape, dtype: inputs[0].dtype }];
  },
  reference: reference.binaryBackward,
  plan: plan.binaryBackward,
  gradient: noSecond,
});

const binaryThatIs = (linear: boolean): Op<BinaryAttrs> =>
  defineOp<BinaryAttrs>({
    name: "elementwise.binary",
    arity: 2,
    attributes: { kind: oneOf(binaryKinds.filter((kind) => BINARY[kind].linear === linear)) },
    outputs: ([a, b], { kind }) => {
      requireFloat(kind, [a, b], ["a", "b"]);
      const shape = broadcastShapes(kind, a.shape, b.shape);
      if (shape.length > 8) throw expected(kind, "at most 8 axes", "a", `${shape.length}`);
      return [{ shape, dtype: "float32" }];
    },
    reference: reference.binary,
    plan: plan.binary,
    gradient: {
      saves: linear ? {} : { inputs: [0, 1] },
      vjp: (ctx) => {
        const operands = linear ? [] : [ctx.input(0), ctx.input(1)];
        return [0, 1].map((wrt) =>
          ctx.needs(wrt)
            ? apply(binaryBackward, [ctx.gradient(0), ...operands], { kind: ctx.call.attrs.kind, wrt, shape: ctx.call.inputs[wrt].shape })[0]
            : undefined,
        );
      },
    },
  });

const binaryOps = { linear: binaryThatIs(true), other: binaryThatIs(false) };
export const binary = (kind: BinaryKind): Op<BinaryAttrs> => (BINARY[kind].linear ? binaryOps.linear : binaryOps.other);

export const ops: readonly Op[] = [...Object.values(unaryOps), unaryBackward, affine, ...Object.values(binaryOps), binaryBackward] as readonly Op[];
