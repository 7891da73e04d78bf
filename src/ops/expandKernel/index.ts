import { apply } from "../../apply.ts";
import { checkFlags, checkNames, expected } from "../../errors.ts";
import { checkTensor, Tensor } from "../../tensor.ts";
import { expand, factorised, gather } from "./op.ts";

/** Matrices R[g] = group[g] ⊗ space[g] by their factors; the product itself is never built. */
export interface FactorisedMatrices {
  /** float32 [matrices, g_in, g_in]: what happens on the group axis of a kernel. */
  readonly group: Tensor;
  /** float32 [matrices, s, s]: what happens to the s numbers behind it, with g_in·s = d. */
  readonly space: Tensor;
}

export interface ExpandKernelOptions {
  /** Whether group element 0 is the identity, which R then leaves out. Default true. */
  readonly identity?: boolean;
}

/**
 * Expands canonical kernels through a stack of matrices, straight into the weight layout of a convolution:
 * W[o, g, i, n] = Σ_m R[g, n, m] w[o, i, m]. With the identity first, its kernels are copies of w.
 *
 * Van der Linden et al., "Learning symmetries via weight-sharing with doubly stochastic tensors" (2024).
 *
 * @param R the matrices, whose rows are positions of the expanded kernel; the group has as many elements, and one more with `identity`:
 *
 * | R | matrices | work per kernel and element | gradients |
 * |---|---|---|---|
 * | float32 [matrices, d, d] | any | d² | R, w |
 * | `{ group, space }`, float32 [matrices, g_in, g_in] and [matrices, s, s] | group[g] ⊗ space[g] | d·(g_in + s) | group, space, w |
 * | int32 or uint32 [matrices, d] | one 1 in each row, in that column: W[o, g, i, n] = w[o, i, R[g, n]] | d copies | w |
 *
 * @param w float32; d is the product of the axes after Cin, the group axis outermost:
 *
 * | w | result |
 * |---|---|
 * | [Cout, Cin, d] | [Cout·g, Cin, d] |
 * | [Cout, Cin, k, k] | [Cout·g, Cin, k, k] |
 * | [Cout, Cin, g_in, k, k] | [Cout·g, Cin·g_in, k, k] |
 *
 * @returns float32; output channels have o outer and g inner, input channels i outer and g_in inner
 * @throws ArgumentError for other shapes or dtypes, or when R and w do not fit. The next `read()` throws DataError for positions outside of [0, d).
 * @example
 * ```ts
 * const swap = device.tensor([[[0, 1], [1, 0]]]); // [1, 2, 2]: one matrix behind the identity
 * const w = device.tensor([[[5, 7]]]); // [1, 1, 2]
 * await expandKernel(swap, w).read(); // => [5, 7, 7, 5]
 * await expandKernel(device.tensor([[1, 0]], [1, 2], "int32"), w).read(); // => [5, 7, 7, 5]
 *
 * const [group, space] = [sinkhorn(device.zeros([3, 4, 4])), sinkhorn(device.zeros([3, 25, 25]))];
 * expandKernel(space, device.ones([8, 1, 5, 5])).shape; // => [32, 1, 5, 5]
 * expandKernel({ group, space }, device.ones([8, 8, 4, 5, 5])).shape; // => [32, 32, 5, 5]
 * ```
 */
export const expandKernel = (R: Tensor | FactorisedMatrices, w: Tensor, options: ExpandKernelOptions = {}): Tensor => {
  const { identity = true } = checkNames("expandKernel", options, ["identity"]);
  checkTensor("expandKernel", "w", w);
  checkFlags("expandKernel", { identity });
  if (R instanceof Tensor) return apply(R.dtype === "float32" ? expand : gather, [R, w], { identity })[0];
  if (typeof R !== "object" || R === null) throw expected("expandKernel", "a tensor, or an object with `group` and `space`,", "R", R);
  checkTensor("expandKernel", "R.group", R.group);
  checkTensor("expandKernel", "R.space", R.space);
  return apply(factorised, [R.group, R.space, w], { identity })[0];
};
