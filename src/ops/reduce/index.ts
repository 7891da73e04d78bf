import { apply } from "../../apply.ts";
import { checkFlags, checkNames, expected } from "../../errors.ts";
import { noGrad } from "../../gradMode.ts";
import { normalizeAxes } from "../../shapes.ts";
import { Tensor } from "../../tensor.ts";
import { argmax as argmaxOp, forward } from "./op.ts";
import type { ReduceKind } from "./reference.ts";

export interface ReduceOptions {
  /** Whether reduced axes stay, with size 1. Default false. */
  readonly keepDims?: boolean;
}

/** One axis, several, or all (undefined); negative ones count from the last. An empty list reduces nothing. */
export type Axes = number | readonly number[] | undefined;

const structure = (where: string, x: Tensor, axes: Axes, argument: string, options: ReduceOptions): { axes: number[]; keepDims: boolean } => {
  const { keepDims = false } = checkNames(where, options, ["keepDims"]);
  if (!(x instanceof Tensor)) throw expected(where, "a tensor", "x", x);
  if (axes !== undefined && typeof axes !== "number" && !Array.isArray(axes))
    throw expected(where, "a number or an array of numbers", argument, axes);
  checkFlags(where, { keepDims });
  return { axes: normalizeAxes(where, axes, x.shape.length, argument), keepDims };
};

const reduce = (kind: ReduceKind, x: Tensor, axes: Axes, options: ReduceOptions): Tensor => {
  const [y, ties] = apply(forward(kind), [x], { kind, ...structure(kind, x, axes, "axes", options) });
  ties?.dispose();
  return y;
};

/**
 * Sum over the given axes. An axis of size 0 gives 0.
 *
 * @param x float32, any shape
 * @param axes one axis, several, or (default) all
 * @throws ArgumentError for an axis that `x` does not have, one named twice, or another dtype.
 * @example
 * ```ts
 * const x = device.tensor([[1, 2, 3], [4, 5, 6]]);
 * await sum(x).item(); // => 21
 * await sum(x, 0).read(); // => [5, 7, 9]
 * sum(x, -1, { keepDims: true }).shape; // => [2, 1]
 * sum(x, 2); // throws ArgumentError
 * ```
 */
export const sum = (x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor => reduce("sum", x, axes, options);

/**
 * Mean over the given axes; arguments and errors as `sum`. As in PyTorch, the mean of nothing is NaN.
 *
 * @example await mean(device.tensor([[1, 2], [3, 6]]), 1).read(); // => [1.5, 4.5]
 */
export const mean = (x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor => reduce("mean", x, axes, options);

/**
 * Largest entry over the given axes (`torch.amax`): equal entries share the gradient evenly, and NaN wins over numbers.
 *
 * @param x float32, any shape
 * @param axes one axis, several, or (default) all
 * @throws ArgumentError when there is no entry along the axes; otherwise as `sum`.
 * @example
 * ```ts
 * const scores = device.tensor([[0.5, 2], [4, 3]]);
 * await max(scores, -1).read(); // => [2, 4]
 * max(device.zeros([0, 3]), 0); // throws ArgumentError
 * ```
 */
export const max = (x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor => reduce("max", x, axes, options);

/**
 * Smallest entry over the given axes (`torch.amin`); ties, NaN, arguments and errors as `max`.
 *
 * @example await min(device.tensor([[0.5, 2], [4, 3]])).item(); // => 0.5
 */
export const min = (x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor => reduce("min", x, axes, options);

/**
 * log Σ exp(x) over the given axes, without overflow; −∞ when every entry is −∞ or there is none. Arguments and errors as `sum`.
 *
 * @example await logsumexp(device.tensor([1000, 1000])).item(); // => 1000.69315
 */
export const logsumexp = (x: Tensor, axes?: Axes, options: ReduceOptions = {}): Tensor => reduce("logsumexp", x, axes, options);

/**
 * Place of the largest entry along one axis, or in the flattened tensor; int32, not differentiable. The first of equal entries; NaN counts as the largest.
 *
 * @param x float32, any shape
 * @param axis default: all of `x` in row-major order
 * @throws ArgumentError when there is no entry along the axis, or `x` has no such axis.
 * @example
 * ```ts
 * const logits = device.tensor([[0.5, 2, 1], [4, 3, 4]]);
 * await argmax(logits, -1).read(); // => [1, 0]
 * ```
 */
export const argmax = (x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor => {
  if (axis !== undefined && typeof axis !== "number") throw expected("argmax", "one axis", "axis", axis);
  const attrs = structure("argmax", x, axis, "axis", options);
  return noGrad(() => apply(argmaxOp, [x], attrs)[0]);
};
