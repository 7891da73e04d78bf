import { apply } from "../../apply.ts";
import { ArgumentError, checkFlags, checkNames, checkRange, expected } from "../../errors.ts";
import { noGrad } from "../../gradMode.ts";
import { elements, type Shape, showShape } from "../../op.ts";
import { scope } from "../../scope.ts";
import type { Tensor } from "../../tensor.ts";
import { fixed, forward, track } from "./op.ts";
import { type NormAttrs, termsOf, type View } from "./reference.ts";

/** The least normal float32: below it, `eps` would be 0 on a GPU and a constant row would divide by 0. */
const LEAST_EPS = 1.2e-38;

const checkEps = (where: string, eps: number): void => {
  checkRange(where, "eps", eps, LEAST_EPS, Number.MAX_VALUE, "a positive float32 number");
};

const checkFloat = (where: string, argument: string, tensor: Tensor): void => {
  if (tensor?.dtype !== "float32") throw expected(where, "a float32 tensor", argument, tensor?.dtype);
};

const checkShape = (where: string, argument: string, tensor: Tensor | undefined, shape: Shape): void => {
  if (tensor === undefined) return;
  checkFloat(where, argument, tensor);
  if (showShape(tensor.shape) !== showShape(shape)) throw expected(where, `shape ${showShape(shape)}`, argument, tensor.shape);
};

const checkAffine = (where: string, { weight, bias }: Affine, shape: Shape): void => {
  checkShape(where, "weight", weight, shape);
  checkShape(where, "bias", bias, shape);
};

const checkRank = (where: string, x: Tensor, least: number, what: string): void => {
  checkFloat(where, "x", x);
  if (x.shape.length < least) throw expected(where, what, "x", x.shape);
};

interface Affine {
  readonly weight?: Tensor | undefined;
  readonly bias?: Tensor | undefined;
}

const given = ({ weight, bias }: Affine): Tensor[] => [weight, bias].filter((tensor) => tensor !== undefined);

const attrsOf = (view: View, { weight, bias }: Affine): NormAttrs => ({ ...view, weight: weight !== undefined, bias: bias !== undefined });

/** y alone: the statistics stay alive for as long as the tape needs them. */
const normalize = (x: Tensor, view: View, affine: Affine, eps: number): Tensor => {
  const [y, mean, variance] = apply(forward, [x, ...given(affine)], attrsOf(view, affine), { eps });
  mean.dispose();
  variance.dispose();
  return y;
};

export interface LayerNormOptions {
  /** Shape `normalizedShape`. Default: none, which is 1. */
  readonly weight?: Tensor | undefined;
  /** Shape `normalizedShape`. Default: none, which is 0. */
  readonly bias?: Tensor | undefined;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}

/**
 * Normalises over the last axes: y = (x − mean) / √(variance + eps) · weight + bias, with the biased variance
 * (Ba, Kiros and Hinton 2016, arXiv:1607.06450).
 *
 * @param x shape [..., ...normalizedShape]
 * @param normalizedShape sizes of the last axes of `x`; as in PyTorch, a number n stands for [n]
 * @throws ArgumentError when the last axes of `x` are others, or weight, bias or eps do not fit.
 * @example
 * ```ts
 * const x = device.tensor([[1, 3], [10, 30]]);
 * const y = layerNorm(x, 2, { bias: device.tensor([0, 5]) });
 * await y.read(); // => [-1.000, 6.000, -1.000, 6.000]
 * ```
 */
export const layerNorm = (x: Tensor, normalizedShape: number | Shape, options: LayerNormOptions = {}): Tensor => {
  const where = "layerNorm";
  const { eps = 1e-5 } = checkNames(where, options, ["weight", "bias", "eps"]);
  checkRank(where, x, 1, "a tensor of at least one axis");
  const shape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
  const tail = x.shape.slice(Math.max(0, x.shape.length - (shape?.length ?? 0)));
  if (!Array.isArray(shape) || shape.length === 0 || showShape(tail) !== showShape(shape)) {
    throw expected(where, `the sizes of the last axes of \`x\` (shape ${showShape(x.shape)})`, "normalizedShape", normalizedShape);
  }
  checkAffine(where, options, shape);
  checkEps(where, eps);
  const view: View = {
    outer: 1,
    groups: elements(x.shape.slice(0, x.shape.length - shape.length)),
    inner: elements(shape),
    by: "element",
    channels: 0,
  };
  return normalize(x, view, options, eps);
};

export interface InstanceNormOptions {
  /** Shape [C]. Default: none, which is 1. */
  readonly weight?: Tensor | undefined;
  /** Shape [C]. Default: none, which is 0. */
  readonly bias?: Tensor | undefined;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}

/**
 * Normalises every channel of every sample over its places (Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022).
 *
 * @param x shape [N, C, ...] with more than one place
 * @throws ArgumentError when `x` has no place axes or a single place (every value would become 0), or weight, bias or eps do not fit.
 * @example
 * ```ts
 * const x = device.tensor([1, 3, 10, 30], [1, 2, 2]); // one sample, two channels, two places
 * await instanceNorm(x, { weight: device.tensor([1, 2]) }).read(); // => [-1.000, 1.000, -2.000, 2.000]
 * ```
 */
export const instanceNorm = (x: Tensor, options: InstanceNormOptions = {}): Tensor => {
  const where = "instanceNorm";
  const { eps = 1e-5 } = checkNames(where, options, ["weight", "bias", "eps"]);
  checkRank(where, x, 3, "shape [N, C, ...] with at least three axes");
  const [samples, channels, ...places] = x.shape;
  if (elements(places) === 1) throw expected(where, "more than one value per channel and sample", "x", x.shape);
  checkAffine(where, options, [channels]);
  checkEps(where, eps);
  return normalize(x, { outer: 1, groups: samples * channels, inner: elements(places), by: "channel", channels }, options, eps);
};

export interface BatchNormOptions {
  /** Shape [C], changed in place in training. */
  readonly runningMean?: Tensor | undefined;
  /** Shape [C], changed in place in training; holds the unbiased variance. */
  readonly runningVar?: Tensor | undefined;
  /** Shape [C]. Default: none, which is 1. */
  readonly weight?: Tensor | undefined;
  /** Shape [C]. Default: none, which is 0. */
  readonly bias?: Tensor | undefined;
  /** Whether to use and learn from the batch's statistics; otherwise the running ones are used. Default false. */
  readonly training?: boolean;
  /** running += momentum · (batch − running). Default 0.1. */
  readonly momentum?: number;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}

/**
 * Normalises every channel over the batch and its places (Ioffe and Szegedy 2015, arXiv:1502.03167), as PyTorch's
 * `functional.batch_norm`: the biased variance normalises, the unbiased one is tracked. An empty batch leaves the running statistics as they are.
 *
 * @param x shape [N, C, ...]
 * @throws ArgumentError when running statistics are missing in evaluation or come alone, a channel has a single value in training, or an option does not fit.
 * @example
 * ```ts
 * const running = { runningMean: device.zeros([2]), runningVar: device.ones([2]) };
 * const x = device.tensor([[1, 10], [3, 30]]); // two samples of two channels
 * await batchNorm(x, { ...running, training: true }).read(); // => [-1.000, -1.000, 1.000, 1.000]
 * await running.runningMean.read(); // => [0.2, 2.0]
 * batchNorm(x, running).shape; // => [2, 2]
 * ```
 */
export const batchNorm = (x: Tensor, options: BatchNormOptions = {}): Tensor => {
  const where = "batchNorm";
  const {
    runningMean,
    runningVar,
    training = false,
    momentum = 0.1,
    eps = 1e-5,
  } = checkNames(where, options, ["runningMean", "runningVar", "weight", "bias", "training", "momentum", "eps"]);
  checkFlags(where, { training });
  checkRank(where, x, 2, "shape [N, C, ...] with at least two axes");
  const [samples, channels, ...places] = x.shape;
  checkAffine(where, options, [channels]);
  for (const [argument, tensor] of Object.entries({ runningMean, runningVar })) {
    checkShape(where, argument, tensor, [channels]);
    if (tensor?.requiresGrad)
      throw new ArgumentError(`${where}: expected a tensor without requiresGrad for \`${argument}\`, but received one with it`);
  }
  checkEps(where, eps);
  checkRange(where, "momentum", momentum, 0, 1, "a number in [0, 1]");
  if ((runningMean === undefined) !== (runningVar === undefined)) {
    throw new ArgumentError(`${where}: expected \`runningMean\` and \`runningVar\` together, but received one of them`);
  }
  const view: View = { outer: samples, groups: channels, inner: elements(places), by: "channel", channels };
  if (!training) {
    if (!runningMean || !runningVar) throw expected(where, "a tensor (or `training: true`)", "runningMean", undefined);
    return apply(fixed, [x, runningMean, runningVar, ...given(options)], attrsOf(view, options), { eps })[0];
  }
  const terms = termsOf(view);
  if (terms === 1) throw expected(where, "more than one value per channel in training", "x", x.shape);
  if (!runningMean || !runningVar || terms === 0) return normalize(x, view, options, eps);
  if (runningMean.storage === runningVar.storage)
    throw new ArgumentError(`${where}: expected memory of its own for \`runningVar\`, but received that of \`runningMean\``);
  return scope(() => {
    const [y, mean, variance] = apply(forward, [x, ...given(options)], attrsOf(view, options), { eps });
    noGrad(() => apply(track, [runningMean, runningVar, mean, variance], { terms }, { momentum }));
    return y;
  });
};
