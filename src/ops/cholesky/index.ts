import { apply } from "../../apply.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { inverse } from "./op.ts";

/**
 * W = L⁻¹ of the Cholesky factorisation a = L Lᵀ: W a Wᵀ is the identity, a⁻¹ is Wᵀ W, and rows x of covariance `a` have, as x Wᵀ, the identity for covariance.
 *
 * @param a [n, n], float32, symmetric and positive definite; only its lower triangle is read, and only that receives a gradient
 * @returns [n, n], lower triangular
 * @throws ArgumentError for another shape or dtype; DataError, from `read()`, when a pivot is not above n · 2⁻²³ of its diagonal entry.
 * @example
 * ```ts
 * const a = device.tensor([[4, 2], [2, 10]]);
 * await inverseCholesky(a).read(); // => [0.5, 0, -0.16667, 0.33333]
 * await inverseCholesky(device.tensor([[1, 2], [2, 1]])).read(); // throws DataError
 * ```
 */
export const inverseCholesky = (a: Tensor): Tensor => {
  checkTensor("inverseCholesky", "a", a);
  return apply(inverse, [a], {})[0];
};
