import { apply } from "../../apply.ts";
import type { Op } from "../../op.ts";
import { scope } from "../../scope.ts";
import type { Tensor } from "../../tensor.ts";
import { reshape } from "../shape/index.ts";
import type { ConvAttrs } from "./geometry.ts";
import { conv, data } from "./op.ts";
import { type ConvOptions, type ConvTransposeOptions, convolution, type Normalised, transposed } from "./options.ts";

export type { ConvOptions, ConvTransposeOptions, Padding, PerAxis } from "./options.ts";
export type Conv2dOptions = ConvOptions;

/** An input without batch is a batch of one. */
const run = (op: Op<ConvAttrs>, x: Tensor, w: Tensor, { batched, attrs }: Normalised, bias: Tensor | undefined): Tensor => {
  if (batched) return apply(op, bias ? [x, w, bias] : [x, w], attrs)[0];
  return scope(() => {
    const y = run(op, reshape(x, [1, ...x.shape]), w, { batched: true, attrs }, bias);
    return reshape(y, y.shape.slice(1));
  });
};

/**
 * One-dimensional cross-correlation: `conv2d` with one axis.
 *
 * @param x [batch, channels, length], or [channels, length]
 * @param w [features, channels / groups, kernel length]
 * @returns [batch, features, length'], or [features, length']
 * @throws ArgumentError as `conv2d`.
 * @see https://pytorch.org/docs/stable/generated/torch.nn.functional.conv1d.html
 * @example
 * ```ts
 * const x = device.tensor([1, 2, 3, 4], [1, 1, 4]);
 * const w = device.tensor([1, 10], [1, 1, 2]);
 * await conv1d(x, w).read(); // => [21, 32, 43]
 * await conv1d(x, w, { padding: [[1, 0]] }).read(); // => [10, 21, 32, 43]
 * conv1d(x, w, { stride: [1, 1] }); // throws ArgumentError
 * ```
 */
export const conv1d = (x: Tensor, w: Tensor, options: ConvOptions = {}): Tensor =>
  run(conv, x, w, convolution("conv1d", 1, x, w, options), options.bias);

/**
 * Two-dimensional cross-correlation with PyTorch's semantics, differentiable in x, w and bias.
 *
 * y[n, o, i, j] = bias[o] + Σ x[n, c, i·stride + u·dilation − padding, j·stride + v·dilation − padding] · w[o, c, u, v]
 *
 * @param x [batch, channels, height, width], or [channels, height, width]; an empty batch is allowed
 * @param w [features, channels / groups, kernel height, kernel width]
 * @returns [batch, features, height', width'], or without batch as x, with height' = ⌊(height + padding − dilation·(kernel − 1) − 1) / stride⌋ + 1
 * (padding of both sides). "same" pads dilation·(kernel − 1) in all, and the odd one at the end.
 * @throws ArgumentError for wrong ranks, dtypes or channels, negative or fractional options, a kernel larger than the
 * padded input, "same" with a stride.
 * @see https://pytorch.org/docs/stable/generated/torch.nn.functional.conv2d.html
 * @example
 * ```ts
 * const x = device.ones([2, 1, 6, 6]);
 * const w = device.ones([4, 1, 3, 3]);
 * conv2d(x, w, { bias: device.zeros([4]), padding: "same" }).shape; // => [2, 4, 6, 6]
 * conv2d(x, w, { padding: [[2, 0], 1] }).shape; // => [2, 4, 6, 6]
 * const y = conv2d(x, w, { stride: 3 });
 * y.shape; // => [2, 4, 2, 2]
 * (await y.read())[0]; // => 9
 * conv2d(x, w, { groups: 2 }); // throws ArgumentError
 * ```
 */
export const conv2d = (x: Tensor, w: Tensor, options: ConvOptions = {}): Tensor =>
  run(conv, x, w, convolution("conv2d", 2, x, w, options), options.bias);

/**
 * Three-dimensional cross-correlation: `conv2d` with three axes.
 *
 * @param x [batch, channels, depth, height, width], or without batch
 * @param w [features, channels / groups, kernel depth, kernel height, kernel width]
 * @returns [batch, features, depth', height', width'], or without batch as x
 * @throws ArgumentError as `conv2d`.
 * @see https://pytorch.org/docs/stable/generated/torch.nn.functional.conv3d.html
 * @example
 * ```ts
 * const x = device.ones([1, 2, 4, 5, 6]);
 * const y = conv3d(x, device.ones([3, 2, 3, 3, 3]), { stride: [1, 2, 2] });
 * y.shape; // => [1, 3, 2, 2, 2]
 * (await y.read())[0]; // => 54
 * conv3d(x, device.ones([3, 2, 5, 3, 3])); // throws ArgumentError
 * ```
 */
export const conv3d = (x: Tensor, w: Tensor, options: ConvOptions = {}): Tensor =>
  run(conv, x, w, convolution("conv3d", 3, x, w, options), options.bias);

/**
 * Transposed one-dimensional convolution: `convTranspose2d` with one axis.
 *
 * @param x [batch, channels, length], or [channels, length]
 * @param w [channels, features / groups, kernel length]
 * @returns [batch, features, length'], or [features, length']
 * @throws ArgumentError as `convTranspose2d`.
 * @see https://pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose1d.html
 * @example
 * ```ts
 * const x = device.tensor([1, 2], [1, 1, 2]);
 * const w = device.tensor([1, 10, 100], [1, 1, 3]);
 * await convTranspose1d(x, w, { stride: 2 }).read(); // => [1, 10, 102, 20, 200]
 * convTranspose1d(x, w, { outputPadding: 1 }); // throws ArgumentError
 * ```
 */
export const convTranspose1d = (x: Tensor, w: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  run(data, x, w, transposed("convTranspose1d", 1, x, w, options), options.bias);

/**
 * Transposed two-dimensional convolution with PyTorch's semantics, differentiable in x, w and bias: the gradient of `conv2d` to its input, as a layer.
 * Every element of x adds its multiple of the kernel to the output, `stride` apart; `padding` is cut off the output's sides.
 *
 * @param x [batch, channels, height, width], or [channels, height, width]; an empty batch is allowed
 * @param w [channels, features / groups, kernel height, kernel width]
 * @returns [batch, features, height', width'], or without batch as x, with
 * height' = (height − 1)·stride − padding + dilation·(kernel − 1) + outputPadding + 1 (padding of both sides)
 * @throws ArgumentError for wrong ranks, dtypes or channels, negative or fractional options, an outputPadding that is neither below the stride nor below the
 * dilation, padding that leaves no output.
 * @see https://pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose2d.html
 * @example
 * ```ts
 * const x = device.ones([2, 3, 4, 4]);
 * const w = device.ones([3, 5, 3, 3]);
 * const y = convTranspose2d(x, w, { stride: 2, padding: 1, outputPadding: 1 });
 * y.shape; // => [2, 5, 8, 8]
 * (await y.read())[0]; // => 3
 * convTranspose2d(x, w, { padding: 3 }); // throws ArgumentError
 * ```
 */
export const convTranspose2d = (x: Tensor, w: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  run(data, x, w, transposed("convTranspose2d", 2, x, w, options), options.bias);

/**
 * Transposed three-dimensional convolution: `convTranspose2d` with three axes.
 *
 * @param x [batch, channels, depth, height, width], or without batch
 * @param w [channels, features / groups, kernel depth, kernel height, kernel width]
 * @returns [batch, features, depth', height', width'], or without batch as x
 * @throws ArgumentError as `convTranspose2d`.
 * @see https://pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose3d.html
 * @example
 * ```ts
 * const x = device.ones([1, 2, 2, 3, 4]);
 * convTranspose3d(x, device.ones([2, 5, 3, 3, 3]), { stride: 2 }).shape; // => [1, 5, 5, 7, 9]
 * convTranspose3d(x, device.ones([3, 5, 3, 3, 3])); // throws ArgumentError
 * ```
 */
export const convTranspose3d = (x: Tensor, w: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  run(data, x, w, transposed("convTranspose3d", 3, x, w, options), options.bias);
