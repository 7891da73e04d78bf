import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { scope } from "../../scope.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
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
  if (typeof a !== "number") checkTensor(kind, "a", a);
  if (typeof b !== "number") checkTensor(kind, "b", b);
  if (typeof a !== "number" && typeof b !== "number") return apply(binary(kind), [a, b], { kind })[0];
  const device = (typeof a === "number" ? (b as Tensor) : a).device;
  const lift = (operand: Operand): Tensor => (typeof operand === "number" ? device.full([], operand) : operand);
  return scope(() => apply(binary(kind), [lift(a), lift(b)], { kind })[0]);
};

/**
 * a + b elementwise, float32, with NumPy broadcasting: shapes are aligned at the right, and sizes of 1 or missing axes repeat.
 * At most one operand may be a number.
 *
 * @throws ArgumentError when the shapes do not broadcast, a dtype is not float32, or both are numbers.
 * @example
 * ```ts
 * const x = device.tensor([[1, 2], [3, 4]]);
 * await add(x, device.tensor([10, 20])).read(); // => [11, 22, 13, 24]
 * add(x, device.tensor([1, 2, 3])); // throws ArgumentError
 * ```
 */
export const add = (a: Operand, b: Operand): Tensor => {
  checkNumbers("add", a, b);
  if (typeof a === "number") return applyAffine(b as Tensor, 1, a);
  return typeof b === "number" ? applyAffine(a, 1, b) : applyBinary("add", a, b);
};

/**
 * a − b elementwise; operands and errors as `add`.
 * @example await sub(1, device.tensor([0.25, 2])).read(); // => [0.75, -1]
 */
export const sub = (a: Operand, b: Operand): Tensor => {
  checkNumbers("sub", a, b);
  if (typeof a === "number") return applyAffine(b as Tensor, -1, a);
  return typeof b === "number" ? applyAffine(a, 1, -b) : applyBinary("sub", a, b);
};

/**
 * a · b elementwise; operands and errors as `add`.
 * @example await mul(device.tensor([[1], [2]]), device.tensor([3, 4])).read(); // => [3, 4, 6, 8]
 */
export const mul = (a: Operand, b: Operand): Tensor => {
  checkNumbers("mul", a, b);
  if (typeof a === "number") return applyAffine(b as Tensor, a, 0);
  return typeof b === "number" ? applyAffine(a, b, 0) : applyBinary("mul", a, b);
};

/**
 * a / b elementwise; operands and errors as `add`. x / 0 is ±∞, and 0 / 0 NaN.
 * @example await div(device.tensor([3, -1]), device.tensor([2, 0])).read(); // => [1.5, -Infinity]
 */
export const div = (a: Operand, b: Operand): Tensor => applyBinary("div", a, b);

/**
 * a ** b elementwise; operands and errors as `add`. A negative base with a fractional exponent gives NaN.
 * @example await pow(device.tensor([2, -2, 9]), device.tensor([3, 3, 0.5])).read(); // => [8, -8, 3]
 */
export const pow = (a: Operand, b: Operand): Tensor => applyBinary("pow", a, b);

/**
 * The larger of a and b elementwise; operands and errors as `add`. A tie splits the gradient in halves, NaN wins.
 * @example await maximum(device.tensor([1, NaN, 3]), 2).read(); // => [2, NaN, 3]
 */
export const maximum = (a: Operand, b: Operand): Tensor => applyBinary("maximum", a, b);

/**
 * The smaller of a and b elementwise; operands and errors as `add`. A tie splits the gradient in halves, NaN wins.
 * @example await minimum(device.tensor([1, NaN, 3]), 2).read(); // => [1, NaN, 2]
 */
export const minimum = (a: Operand, b: Operand): Tensor => applyBinary("minimum", a, b);

/**
 * −x elementwise. x: float32, else ArgumentError.
 * @example await neg(device.tensor([1, -2])).read(); // => [-1, 2]
 */
export const neg = (x: Tensor): Tensor => applyUnary("neg", x);
/**
 * eˣ elementwise. x: float32, else ArgumentError.
 * @example await exp(device.tensor([0, 1])).read(); // => [1, 2.71828]
 */
export const exp = (x: Tensor): Tensor => applyUnary("exp", x);
/**
 * Natural logarithm elementwise: −∞ at 0, NaN below. x: float32, else ArgumentError.
 * @example await log(device.tensor([1, 0, -1])).read(); // => [0, -Infinity, NaN]
 */
export const log = (x: Tensor): Tensor => applyUnary("log", x);
/**
 * √x elementwise: NaN below 0; the derivative at 0 is ∞. x: float32, else ArgumentError.
 * @example await sqrt(device.tensor([4, 2])).read(); // => [2, 1.41421]
 */
export const sqrt = (x: Tensor): Tensor => applyUnary("sqrt", x);
/**
 * |x| elementwise; derivative 0 at 0. x: float32, else ArgumentError.
 * @example await abs(device.tensor([-1.5, 2])).read(); // => [1.5, 2]
 */
export const abs = (x: Tensor): Tensor => applyUnary("abs", x);
/**
 * x² elementwise. x: float32, else ArgumentError.
 * @example await square(device.tensor([-3, 0.5])).read(); // => [9, 0.25]
 */
export const square = (x: Tensor): Tensor => applyUnary("square", x);
/**
 * 1 / x elementwise: ±∞ at 0. x: float32, else ArgumentError.
 * @example await reciprocal(device.tensor([4, -0.5])).read(); // => [0.25, -2]
 */
export const reciprocal = (x: Tensor): Tensor => applyUnary("reciprocal", x);
/**
 * max(x, 0) elementwise; derivative 0 at 0; NaN stays NaN. x: float32, else ArgumentError.
 * @example await relu(device.tensor([-1, 2, NaN])).read(); // => [0, 2, NaN]
 */
export const relu = (x: Tensor): Tensor => applyUnary("relu", x);
/**
 * x · Φ(x) elementwise, with the exact normal distribution function Φ (PyTorch's `approximate='none'`; Hendrycks and Gimpel 2016,
 * arXiv:1606.08415). x: float32, else ArgumentError.
 * @example await gelu(device.tensor([-1, 0, 1])).read(); // => [-0.15866, 0, 0.84134]
 */
export const gelu = (x: Tensor): Tensor => applyUnary("gelu", x);
/**
 * 1 / (1 + e⁻ˣ) elementwise, without overflow. x: float32, else ArgumentError.
 * @example await sigmoid(device.tensor([0, 2, -200])).read(); // => [0.5, 0.8808, 0]
 */
export const sigmoid = (x: Tensor): Tensor => applyUnary("sigmoid", x);
/**
 * Hyperbolic tangent elementwise. x: float32, else ArgumentError.
 * @example await tanh(device.tensor([0, 1, 100])).read(); // => [0, 0.76159, 1]
 */
export const tanh = (x: Tensor): Tensor => applyUnary("tanh", x);
/**
 * x · sigmoid(x) elementwise (PyTorch's `silu`). x: float32, else ArgumentError.
 * @example await silu(device.tensor([0, 1])).read(); // => [0, 0.73106]
 */
export const silu = (x: Tensor): Tensor => applyUnary("silu", x);
/**
 * log(1 + eˣ) elementwise, without overflow. x: float32, else ArgumentError.
 * @example await softplus(device.tensor([0, 200])).read(); // => [0.69315, 200]
 */
export const softplus = (x: Tensor): Tensor => applyUnary("softplus", x);
