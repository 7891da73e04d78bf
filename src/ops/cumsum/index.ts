import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { normalizeAxes } from "../../shapes.ts";
import { Tensor } from "../../tensor.ts";
import { cumsum as cumsumOp } from "./op.ts";

/**
 * Running sums along one axis (`torch.cumsum`): each element of the result is the sum of the elements of `x` up to and including its place.
 * NaN and infinities spread to what comes after them only.
 *
 * @param x float32, any shape of at least one axis
 * @param axis negative ones count from the last
 * @returns float32, the shape of `x`
 * @throws ArgumentError when `x` has no such axis, or another dtype.
 * @example
 * ```ts
 * const x = device.tensor([[1, 2, 3], [4, 5, 6]]);
 * await cumsum(x, 1).read(); // => [1, 3, 6, 4, 9, 15]
 * await cumsum(x, 0).read(); // => [1, 2, 3, 5, 7, 9]
 * cumsum(x, 2); // throws ArgumentError
 * ```
 */
export const cumsum = (x: Tensor, axis: number): Tensor => {
  if (!(x instanceof Tensor)) throw expected("cumsum", "a tensor", "x", x);
  if (typeof axis !== "number") throw expected("cumsum", "one axis", "axis", axis);
  const [place] = normalizeAxes("cumsum", axis, x.shape.length);
  return apply(cumsumOp, [x], { axis: place, reverse: false })[0];
};
