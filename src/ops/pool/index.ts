import { apply } from "../../apply.ts";
import { checkNames, expected } from "../../errors.ts";
import type { Tensor } from "../../tensor.ts";
import { average, globalAverage, max } from "./op.ts";
import type { PoolAttrs } from "./reference.ts";

export interface Pool2dOptions {
  /** One number for both axes, or height and width. Default: the kernel, so that windows neither overlap nor leave gaps. */
  readonly stride?: number | readonly [number, number];
  /** Pixels around the plane, at most half of the kernel. Default 0. */
  readonly padding?: number | readonly [number, number];
}

const pair = (where: string, value: number | readonly [number, number], least: number, argument: string): [number, number] => {
  const list = typeof value === "number" ? [value, value] : value;
  if (!Array.isArray(list) || list.length !== 2 || !list.every((entry) => Number.isSafeInteger(entry) && entry >= least && entry < 2 ** 24)) {
    throw expected(where, `a whole number of at least ${least}, or two for height and width`, argument, value);
  }
  return [list[0], list[1]];
};

const attrsOf = (where: string, kernel: number | readonly [number, number], options: Pool2dOptions): PoolAttrs => {
  const { stride = kernel, padding = 0 } = checkNames(where, options, ["stride", "padding"]);
  return {
    kernel: pair(where, kernel, 1, "kernel"),
    stride: pair(where, stride, 1, "stride"),
    padding: pair(where, padding, 0, "padding"),
  };
};

/**
 * The maximum of every window. Padding never wins, NaN does. As in PyTorch the gradient goes to the first maximum in scan order, or to the last NaN.
 *
 * @param x [batch, channels, height, width]
 * @returns [batch, channels, height', width'] with height' = ⌊(height + 2·padding − kernel) / stride⌋ + 1
 * @throws ArgumentError for a wrong rank or dtype, an empty plane, a kernel larger than the padded plane, padding above half of
 * the kernel, negative or fractional options.
 * @see https://pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html
 * @example
 * ```ts
 * const x = device.tensor([1, 2, 3, 4, 5, 6, 7, 8], [1, 1, 2, 4]);
 * const y = maxPool2d(x, 2);
 * y.shape; // => [1, 1, 1, 2]
 * await y.read(); // => [6, 8]
 * ```
 */
export const maxPool2d = (x: Tensor, kernel: number | readonly [number, number], options: Pool2dOptions = {}): Tensor => {
  const [y, indices] = apply(max, [x], attrsOf("maxPool2d", kernel, options));
  indices.dispose();
  return y;
};

/**
 * The average of every window. Padding counts as zeros (PyTorch's `count_include_pad=True`): the divisor is always the kernel's area.
 *
 * @param x [batch, channels, height, width]
 * @returns [batch, channels, height', width'] with height' = ⌊(height + 2·padding − kernel) / stride⌋ + 1
 * @throws ArgumentError as `maxPool2d`.
 * @see https://pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool2d.html
 * @example
 * ```ts
 * const x = device.tensor([9, 18, 27], [1, 1, 1, 3]);
 * const y = avgPool2d(x, 3, { stride: 1, padding: 1 });
 * y.shape; // => [1, 1, 1, 3]
 * await y.read(); // => [3, 6, 5]
 * ```
 */
export const avgPool2d = (x: Tensor, kernel: number | readonly [number, number], options: Pool2dOptions = {}): Tensor =>
  apply(average, [x], attrsOf("avgPool2d", kernel, options))[0];

/**
 * The mean of every plane.
 *
 * @param x [batch, channels, height, width] with at least one pixel
 * @returns [batch, channels]
 * @throws ArgumentError for a wrong rank or dtype or an empty plane.
 * @example
 * ```ts
 * const x = device.tensor([1, 2, 3, 4, 10, 20, 30, 40], [1, 2, 2, 2]);
 * await globalAvgPool2d(x).read(); // => [2.5, 25]
 * ```
 */
export const globalAvgPool2d = (x: Tensor): Tensor => apply(globalAverage, [x], {})[0];
