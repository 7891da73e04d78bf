import { apply } from "../../apply.ts";
import { checkFlags, checkNames, checkRange, expected } from "../../errors.ts";
import { noGrad } from "../../gradMode.ts";
import type { Tensor } from "../../tensor.ts";
import { clip, norm } from "./op.ts";

export interface GradNormOptions {
  /** Makes the next `read()` throw a DataError when the norm is infinite or NaN. Default false. */
  readonly errorIfNonfinite?: boolean;
}

/**
 * The Euclidean norm of all gradients together, as a tensor of shape []; nothing waits for it. A NaN or an infinity in
 * any gradient, or a norm above 1.8e19 whose square has no float32, shows in it.
 *
 * @throws ArgumentError for an empty list, a dtype other than float32, or tensors of two devices.
 * @example
 * ```ts
 * const gradients = [device.tensor([3]), device.tensor([[0, 4]])];
 * await gradNorm(gradients).item(); // => 5
 * ```
 */
export const gradNorm = (gradients: readonly Tensor[], options: GradNormOptions = {}): Tensor => {
  if (!Array.isArray(gradients) || gradients.length === 0) throw expected("gradNorm", "at least one tensor", "gradients", gradients);
  const { errorIfNonfinite = false } = checkNames("gradNorm", options, ["errorIfNonfinite"]);
  checkFlags("gradNorm", { errorIfNonfinite });
  return noGrad(() => apply(norm, gradients, { check: errorIfNonfinite })[0]);
};

export interface ClippedGradients {
  /** New tensors, in the order of the old ones, which are unchanged: gradients may share memory. */
  readonly gradients: readonly Tensor[];
  /** The norm before clipping, shape []. */
  readonly norm: Tensor;
}

/** Throws unless the number can limit a norm. */
export const checkMaxNorm = (where: string, argument: string, maxNorm: number): void => {
  checkRange(where, argument, maxNorm, 0, Number.MAX_VALUE, "a non-negative number");
};

/**
 * Scales gradients by min(1, maxNorm / (norm + 1e-6)), where the norm is that of all of them together (PyTorch's
 * `clip_grad_norm_`). As there, a NaN norm turns every gradient into NaN, and an infinite one every finite entry into 0;
 * `errorIfNonfinite` makes the next `read()` throw a DataError. Nothing waits on the way.
 *
 * `optimizer.step(gradients, { clipNorm })` does the same without writing the clipped gradients to memory.
 *
 * @throws ArgumentError for an empty list, a negative, infinite or NaN `maxNorm`, a dtype other than float32, or tensors of two devices.
 * @example
 * ```ts
 * const { gradients, norm } = clipGradNorm([device.tensor([3]), device.tensor([[0, 4]])], 1);
 * await norm.item(); // => 5
 * await gradients[1].read(); // => [0.000, 0.800]
 * ```
 */
export const clipGradNorm = (gradients: readonly Tensor[], maxNorm: number, options: GradNormOptions = {}): ClippedGradients => {
  checkMaxNorm("clipGradNorm", "maxNorm", maxNorm);
  const total = gradNorm(gradients, options);
  return { gradients: noGrad(() => apply(clip, [...gradients, total], {}, { limit: maxNorm })), norm: total };
};
