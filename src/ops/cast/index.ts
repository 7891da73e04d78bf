import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import type { DType } from "../../op.ts";
import { FLOATS } from "../../shapes.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { reshape } from "../shape/op.ts";
import { cast as castOp } from "./op.ts";

/**
 * The same numbers in another float dtype (`torch.Tensor.to`): rounded to the nearest number of half precision, ties to even, with infinity from 65520 on;
 * back without loss. float16 is for storage: `matmul`, `linear` and `sinkhorn` read it as it is, at half the memory and traffic, and compute in float32.
 * Every device has it. Gradients are float32, those of float16 tensors too, so no loss has to be scaled; rounding counts as the identity.
 *
 * @param x float32 or float16, any shape
 * @param dtype "float32" or "float16"; with that of `x` the result shares its memory
 * @returns `dtype`, the shape of `x`
 * @throws ArgumentError for another dtype.
 * @example
 * ```ts
 * const x = device.tensor([1 / 3, 65520, 1e-8]);
 * await cast(x, "float16").read(); // => [0.33325, Infinity, 0]
 * const w = cast(device.tensor([[1, 2], [3, 4]]), "float16");
 * await matmul(w, w).read(); // => [7, 10, 15, 22]
 * cast(x, "int32"); // throws ArgumentError
 * ```
 */
export const cast = (x: Tensor, dtype: DType): Tensor => {
  checkTensor("cast", "x", x);
  if (!FLOATS.includes(dtype)) throw expected("cast", FLOATS.join(" or "), "dtype", dtype);
  return dtype === x.dtype && FLOATS.includes(x.dtype) ? apply(reshape, [x], { shape: x.shape })[0] : apply(castOp, [x], { dtype })[0];
};
