import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { Tensor } from "../../tensor.ts";
import { expand } from "./op.ts";

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
 * @param R float32 [matrices, d, d]: rows are positions of the expanded kernel. The group has `matrices` elements, and one more with `identity`.
 * @param w float32; d is the product of the axes after Cin, the group axis outermost:
 *
 * | w | result |
 * |---|---|
 * | [Cout, Cin, d] | [Cout·g, Cin, d] |
 * | [Cout, Cin, k, k] | [Cout·g, Cin, k, k] |
 * | [Cout, Cin, g_in, k, k] | [Cout·g, Cin·g_in, k, k] |
 *
 * @returns float32; output channels have o outer and g inner, input channels i outer and g_in inner
 * @throws ArgumentError for other shapes or dtypes, or when R and w do not fit
 * @example
 * ```ts
 * const swap = device.tensor([[[0, 1], [1, 0]]]); // [1, 2, 2]: one matrix behind the identity
 * const w = device.tensor([[[5, 7]]]); // [1, 1, 2]
 * await expandKernel(swap, w).read(); // => [5, 7, 7, 5]
 * const matrices = sinkhorn(device.zeros([3, 25, 25]));
 * expandKernel(matrices, device.ones([8, 1, 5, 5])).shape; // => [32, 1, 5, 5]
 * ```
 */
export const expandKernel = (R: Tensor, w: Tensor, { identity = true }: ExpandKernelOptions = {}): Tensor => {
  if (!(R instanceof Tensor)) throw expected("expandKernel", "a tensor", "R", R);
  if (!(w instanceof Tensor)) throw expected("expandKernel", "a tensor", "w", w);
  if (typeof identity !== "boolean") throw expected("expandKernel", "true or false", "identity", identity);
  return apply(expand, [R, w], { identity })[0];
};
