import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { showShape } from "../../op.ts";
import { broadcastShapes } from "../../shapes.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { reshape } from "../shape/op.ts";
import { matmul as op } from "./op.ts";

export interface MatmulOptions {
  /** Whether a is stored as [..., k, m]. Default false. */
  readonly transposeA?: boolean;
  /** Whether b is stored as [..., n, k]. Default false. */
  readonly transposeB?: boolean;
}

const view = (x: Tensor, shape: readonly number[]): Tensor => apply(reshape, [x], { shape })[0];

const product = (
  where: string,
  a: Tensor,
  b: Tensor,
  bias: Tensor | undefined,
  { transposeA = false, transposeB = false }: MatmulOptions,
): Tensor => {
  for (const [name, tensor] of [["a", a] as const, ["b", b] as const]) {
    checkTensor(where, name, tensor);
    if (tensor.shape.length === 0) throw expected(where, "at least one axis", name, showShape(tensor.shape));
  }
  const made: Tensor[] = [];
  const matrix = (x: Tensor, shape: readonly number[]): Tensor => {
    if (x.shape.length > 1) return x;
    made.push(view(x, shape));
    return made[made.length - 1];
  };
  // A vector is a row of a, or a column of b, whatever the transposes say.
  const [rowOnly, columnOnly] = [a.shape.length === 1, b.shape.length === 1];
  const left = matrix(a, [1, a.size]);
  const right = matrix(b, [b.size, 1]);
  const batch = broadcastShapes(where, left.shape.slice(0, -2), right.shape.slice(0, -2));
  const attrs = { transposeA: transposeA && !rowOnly, transposeB: transposeB && !columnOnly, batch };
  const [full] = apply(op, bias ? [left, right, bias] : [left, right], attrs);
  for (const tensor of made) tensor.dispose();
  if (!rowOnly && !columnOnly) return full;
  const [m, n] = full.shape.slice(-2);
  const result = view(full, [...batch, ...(rowOnly ? [] : [m]), ...(columnOnly ? [] : [n])]);
  full.dispose();
  return result;
};

/**
 * Matrix product over the last two axes, with broadcasting over all axes before them.
 *
 * As in PyTorch a vector gets an axis that is removed again: in front for a, behind for b.
 *
 * @param a [..., m, k], or [..., k, m] with `transposeA`, or [k]; float32
 * @param b [..., k, n], or [..., n, k] with `transposeB`, or [k]; float32
 * @returns [..., m, n]
 * @throws ArgumentError when inner sizes differ, batch axes do not broadcast, or a dtype is not float32.
 * @example
 * ```ts
 * const a = device.tensor([[1, 2], [3, 4]]);
 * await matmul(a, device.tensor([5, 6])).read(); // => [17, 39]
 * const [queries, keys] = [device.zeros([2, 5, 8]), device.zeros([2, 7, 8])];
 * matmul(queries, keys, { transposeB: true }).shape; // => [2, 5, 7]
 * matmul(queries, keys); // throws ArgumentError
 * ```
 */
export const matmul = (a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor => product("matmul", a, b, undefined, options);

/**
 * x · weightᵀ + bias, PyTorch's `linear`.
 *
 * @param x [..., in]; float32
 * @param weight [out, in]; float32
 * @param bias [out]; float32, added in the same kernel. Default: none
 * @returns [..., out]
 * @throws ArgumentError when a shape or dtype does not fit.
 * @example
 * ```ts
 * const x = device.tensor([[1, 2]]);
 * const weight = device.tensor([[1, 0], [0, 1], [1, 1]]);
 * await linear(x, weight, device.tensor([0, 0, 10])).read(); // => [1, 2, 13]
 * ```
 */
export const linear = (x: Tensor, weight: Tensor, bias?: Tensor): Tensor => {
  checkTensor("linear", "x", x);
  checkTensor("linear", "weight", weight);
  if (bias !== undefined) checkTensor("linear", "bias", bias);
  if (weight.shape.length !== 2) throw expected("linear", "shape [out, in]", "weight", showShape(weight.shape));
  const [out, size] = weight.shape;
  if (x.shape.length === 0 || x.shape[x.shape.length - 1] !== size)
    throw expected("linear", `shape [..., ${size}] to fit weight ${showShape(weight.shape)}`, "x", showShape(x.shape));
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== out))
    throw expected("linear", `shape [${out}] to fit weight ${showShape(weight.shape)}`, "bias", showShape(bias.shape));
  return product("linear", x, weight, bias, { transposeB: true });
};
