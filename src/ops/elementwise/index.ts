import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import type { Tensor } from "../../tensor.ts";
import { affine, binary, unary } from "./op.ts";
import type { BinaryKind, UnaryKind } from "./reference.ts";

/** A tensor, or a number that stands for a tensor of shape []. */
export type Operand = Tensor | number;

const applyUnary = (kind: UnaryKind, x: Tensor): Tensor => apply(unary(kind), [x], { kind })[0];

const applyAffine = (x: Tensor, scale: number, shift: number): Tensor => apply(affine, [x], {}, { scale, shift })[0];

const checkNumbers = (kind: string, a: Operand, b: Operand): void => {
  if (typeof a === "number" && typeof b === "number") throw expected(kind, "at least one tensor", "a", a);
};

const applyBinary = (kind: BinaryKind, a: Operand, b: Operand): Tensor => {
  checkNumbers(kind, a, b);
  if (typeof a !== "number" && typeof b !== "number") return apply(binary(kind), [a, b], { kind })[0];
  const device = (typeof a === "number" ? (b as Tensor) : a).device;
  const constants: Tensor[] = [];
  const lift = (operand: Operand): Tensor => {
    if (typeof operand !== "number") return operand;
    constants.push(device.full([], operand));
    return constants[constants.length - 1];
  };
  const [result] = apply(binary(kind), [lift(a), lift(b)], { kind });
  for (const constant of constants) constant.dispose();
  return result;
};

/** a + b, with NumPy broadcasting. @throws ArgumentError when the shapes do not broadcast or a dtype is not float32. */
export const add = (a: Operand, b: Operand): Tensor => {
  checkNumbers("add", a, b);
  if (typeof a === "number") return applyAffine(b as Tensor, 1, a);
  return typeof b === "number" ? applyAffine(a, 1, b) : applyBinary("add", a, b);
};

/** a − b, with NumPy broadcasting. */
export const sub = (a: Operand, b: Operand): Tensor => {
  checkNumbers("sub", a, b);
  if (typeof a === "number") return applyAffine(b as Tensor, -1, a);
  return typeof b === "number" ? applyAffine(a, 1, -b) : applyBinary("sub", a, b);
};

/** a · b elementwise, with NumPy broadcasting. */
export const mul = (a: Operand, b: Operand): Tensor => {
  checkNumbers("mul", a, b);
  if (typeof a === "number") return applyAffine(b as Tensor, a, 0);
  return typeof b === "number" ? applyAffine(a, b, 0) : applyBinary("mul", a, b);
};

/** a / b elementwise, with NumPy broadcasting. */
export const div = (a: Operand, b: Operand): Tensor => applyBinary("div", a, b);

/** a ** b elementwise, with NumPy broadcasting. A negative base needs a whole exponent. */
export const pow = (a: Operand, b: Operand): Tensor => applyBinary("pow", a, b);

/** The larger of a and b elementwise; a tie splits the gradient in halves, NaN wins. */
export const maximum = (a: Operand, b: Operand): Tensor => applyBinary("maximum", a, b);

/** The smaller of a and b elementwise; a tie splits the gradient in halves, NaN wins. */
export const minimum = (a: Operand, b: Operand): Tensor => applyBinary("minimum", a, b);

/** −x. */
export const neg = (x: Tensor): Tensor => applyUnary("neg", x);
/** eˣ. */
export const exp = (x: Tensor): Tensor => applyUnary("exp", x);
/** Natural logarithm. */
export const log = (x: Tensor): Tensor => applyUnary("log", x);
/** √x. */
export const sqrt = (x: Tensor): Tensor => applyUnary("sqrt", x);
/** |x|; derivative 0 at 0. */
export const abs = (x: Tensor): Tensor => applyUnary("abs", x);
/** x². */
export const square = (x: Tensor): Tensor => applyUnary("square", x);
/** 1 / x. */
export const reciprocal = (x: Tensor): Tensor => applyUnary("reciprocal", x);
/** max(x, 0); derivative 0 at 0; NaN stays NaN. */
export const relu = (x: Tensor): Tensor => applyUnary("relu", x);
/** x · Φ(x) with the exact normal distribution function (PyTorch's `approximate='none'`). */
export const gelu = (x: Tensor): Tensor => applyUnary("gelu", x);
/** 1 / (1 + e⁻ˣ). */
export const sigmoid = (x: Tensor): Tensor => applyUnary("sigmoid", x);
/** Hyperbolic tangent. */
export const tanh = (x: Tensor): Tensor => applyUnary("tanh", x);
/** x · sigmoid(x). */
export const silu = (x: Tensor): Tensor => applyUnary("silu", x);
/** log(1 + eˣ) without overflow. */
export const softplus = (x: Tensor): Tensor => applyUnary("softplus", x);
