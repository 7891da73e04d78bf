import { apply } from "../../apply.ts";
import { checkFlags, checkNames, expected } from "../../errors.ts";
import { isGradEnabled } from "../../gradMode.ts";
import { showShape } from "../../op.ts";
import { recalling } from "../../recall.ts";
import { scope } from "../../scope.ts";
import { broadcastShapes } from "../../shapes.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { ACTIVATIONS, type Activation } from "../elementwise/reference.ts";
import { reshape } from "../shape/op.ts";
import { matmulWith } from "./op.ts";
import type { MatmulAttrs } from "./reference.ts";

export type { Activation };

export interface LinearOptions {
  /** Applied to the result as it is written: the function of that name, gelu in its exact form. Default none. */
  readonly activation?: Activation;
}

export interface MatmulOptions extends LinearOptions {
  /** Whether a is stored as [..., k, m]. Default false. */
  readonly transposeA?: boolean;
  /** Whether b is stored as [..., n, k]. Default false. */
  readonly transposeB?: boolean;
  /** [n], float32; added to every row as it is written, before the activation. Default none. */
  readonly bias?: Tensor;
}

const view = (x: Tensor, shape: readonly number[]): Tensor => apply(reshape, [x], { shape })[0];

/** What shapes and options come to. */
interface Product {
  readonly attrs: MatmulAttrs;
  /** Vectors are seen as matrices: as a row of a, or a column of b, whatever the transposes say. */
  readonly rowOnly: boolean;
  readonly columnOnly: boolean;
}

const kept = recalling<Product>();

const normalised = (where: string, a: Tensor, b: Tensor, options: MatmulOptions, recording: boolean): Product => {
  const { transposeA = false, transposeB = false, activation } = options;
  checkFlags(where, { transposeA, transposeB });
  for (const [name, { shape }] of [["a", a] as const, ["b", b] as const]) {
    if (shape.length === 0) throw expected(where, "at least one axis", name, showShape(shape));
  }
  if (activation !== undefined && !ACTIVATIONS.includes(activation))
    throw expected(where, `one of ${ACTIVATIONS.join(", ")}`, "activation", activation);
  const [rowOnly, columnOnly] = [a.shape.length === 1, b.shape.length === 1];
  const attrs = {
    transposeA: transposeA && !rowOnly,
    transposeB: transposeB && !columnOnly,
    batch: broadcastShapes(where, a.shape.slice(0, -2), b.shape.slice(0, -2)),
    ...matmulWith(activation ?? "none", recording).attrs,
  };
  return { attrs, rowOnly, columnOnly };
};

const product = (where: string, a: Tensor, b: Tensor, options: MatmulOptions): Tensor => {
  const { transposeA, transposeB, bias, activation } = checkNames(where, options, ["transposeA", "transposeB", "bias", "activation"]);
  checkTensor(where, "a", a);
  checkTensor(where, "b", b);
  if (bias !== undefined) checkTensor(where, "bias", bias);
  const recording = isGradEnabled() && (a.requiresGrad || b.requiresGrad || bias?.requiresGrad === true);
  const key = [where, a.shape, b.shape, transposeA, transposeB, activation, recording];
  const { attrs, rowOnly, columnOnly } = kept(key, () => normalised(where, a, b, options, recording));
  const { op } = matmulWith(attrs.activation, recording);
  if (!rowOnly && !columnOnly && !attrs.keeps) return apply(op, bias ? [a, b, bias] : [a, b], attrs)[0];
  return scope(() => {
    const operands = [rowOnly ? view(a, [1, a.size]) : a, columnOnly ? view(b, [b.size, 1]) : b, ...(bias ? [bias] : [])];
    const [full] = apply(op, operands, attrs);
    if (!rowOnly && !columnOnly) return full;
    const [m, n] = full.shape.slice(-2);
    return view(full, [...attrs.batch, ...(rowOnly ? [] : [m]), ...(columnOnly ? [] : [n])]);
  });
};

/**
 * activation(a · b + bias) over the last two axes, with broadcasting over all axes before them.
 *
 * As in PyTorch a vector gets an axis that is removed again: in front for a, behind for b. Operands are read where they lie: neither a transpose
 * nor a repeated batch is ever copied, and the gradient of a repeated operand is summed as it is computed. An inner axis of size 0 gives activation(bias).
 *
 * @param a [..., m, k], or [..., k, m] with `transposeA`, or [k]; float32 or float16
 * @param b [..., k, n], or [..., n, k] with `transposeB`, or [k], for which n is 1; float32 or float16
 * @returns [..., m, n], float32: sums are float32 whatever is multiplied
 * @throws ArgumentError when inner sizes differ, batch axes do not broadcast, the bias has another shape, the activation is unknown, or a dtype does not fit.
 * @example
 * ```ts
 * const a = device.tensor([[1, 2], [3, 4]]);
 * await matmul(a, device.tensor([5, 6])).read(); // => [17, 39]
 * const [queries, keys] = [device.zeros([2, 5, 8]), device.zeros([2, 7, 8])];
 * matmul(queries, keys, { transposeB: true }).shape; // => [2, 5, 7]
 * matmul(queries, keys); // throws ArgumentError
 * await matmul(a, a, { bias: device.tensor([-8, 0]), activation: "relu" }).read(); // => [0, 10, 7, 22]
 * ```
 */
export const matmul = (a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor => product("matmul", a, b, options);

/**
 * activation(x · weightᵀ + bias), PyTorch's `linear` with what usually follows it.
 *
 * @param x [..., in]; float32 or float16
 * @param weight [out, in]; float32 or float16
 * @param bias [out]; float32, added in the same kernel. Default: none
 * @returns [..., out], float32
 * @throws ArgumentError when a shape or dtype does not fit, or the activation is unknown.
 * @example
 * ```ts
 * const x = device.tensor([[1, 2]]);
 * const weight = device.tensor([[1, 0], [0, 1], [1, 1]]);
 * await linear(x, weight, device.tensor([0, 0, 10])).read(); // => [1, 2, 13]
 * await linear(x, weight, undefined, { activation: "tanh" }).read(); // => [0.76159, 0.96403, 0.99505]
 * ```
 */
export const linear = (x: Tensor, weight: Tensor, bias?: Tensor, options: LinearOptions = {}): Tensor => {
  const { activation } = checkNames("linear", options, ["activation"]);
  checkTensor("linear", "x", x);
  checkTensor("linear", "weight", weight);
  if (bias !== undefined) checkTensor("linear", "bias", bias);
  if (weight.shape.length !== 2) throw expected("linear", "shape [out, in]", "weight", showShape(weight.shape));
  const [out, size] = weight.shape;
  if (x.shape.length === 0 || x.shape[x.shape.length - 1] !== size)
    throw expected("linear", `shape [..., ${size}] to fit weight ${showShape(weight.shape)}`, "x", showShape(x.shape));
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== out))
    throw expected("linear", `shape [${out}] to fit weight ${showShape(weight.shape)}`, "bias", showShape(bias.shape));
  return product("linear", x, weight, { transposeB: true, ...(bias && { bias }), ...(activation && { activation }) });
};
