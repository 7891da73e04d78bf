/** How matrices and kernels are trained together: matrices at a rate of their own, and not from the first step. */
import { checkNames, expected } from "../errors.ts";
import type { GroupOptions } from "../optim/optimizer.ts";
import { checkCount } from "./layers.ts";
import { learnedStacks, type Regularized } from "./matrices.ts";
import { Module } from "./module.ts";

/**
 * Groups for an optimiser: everything but the matrices of `layers` first, then the matrices, each stack once, where there are any. Shared matrices that no parameter of
 * the network is are not among them.
 *
 * @throws ArgumentError for a negative, infinite or NaN learning rate, from the optimiser.
 * @example
 * ```ts
 * const network = new DigitNetwork(initializer(device, 1), { kind: "learned", elements: 4 }, { width: 2, kernelSize: 3, layers: 2 });
 * const optimizer = new AdamW(matrixGroups(network, network.learnedStacks(), { lr: 0.01, matrixLr: 0.1 }));
 * optimizer.groups.map(({ lr, parameters }) => [lr, parameters.length]); // => [[0.01, 6], [0.1, 2]]
 * ```
 */
export const matrixGroups = (
  network: Module,
  layers: readonly Regularized[],
  rates: { readonly lr: number; readonly matrixLr: number },
): GroupOptions[] => {
  const where = "matrixGroups";
  const { lr, matrixLr } = checkNames(where, rates, ["lr", "matrixLr"], "rates");
  if (!(network instanceof Module)) throw expected(where, "a module", "network", network);
  const logits = new Set(learnedStacks(where, layers).map(({ representations }) => representations));
  const own = network.parameters().filter(({ size }) => size > 0);
  const groups = [
    { parameters: own.filter((parameter) => !logits.has(parameter)), lr },
    { parameters: own.filter((parameter) => logits.has(parameter)), lr: matrixLr },
  ];
  return groups.filter(({ parameters }) => parameters.length > 0);
};

/**
 * Lets the matrices rest for the first steps, while the identity element alone trains the kernels. Given kernels the task is convex in the matrices; while kernels are still wrong,
 * matrices sharpen towards wrong permutations, and sharp ones have no gradient left to leave with (README.md).
 *
 * @returns a function to call before every step, which says whether the matrices learn in it
 * @throws ArgumentError for steps that are no integer of at least 0.
 * @example
 * ```ts
 * const layer = new WeightSharingLift2d(initializer(device, 1), { inChannels: 1, outChannels: 2, kernelSize: 3, elements: 4 });
 * const learning = restMatrices([layer], 300);
 * [learning(0), layer.matrices.representations.requiresGrad]; // => [false, false]
 * [learning(300), layer.matrices.representations.requiresGrad]; // => [true, true]
 * ```
 */
export const restMatrices = (layers: readonly Regularized[], steps: number): ((step: number) => boolean) => {
  checkCount("restMatrices", "steps", steps, 0);
  const stacks = learnedStacks("restMatrices", layers);
  return (step) => {
    if (!Number.isInteger(step) || step < 0) throw expected("restMatrices", "an integer of at least 0", "step", step);
    for (const { representations } of stacks) representations.requiresGrad = step >= steps;
    return step >= steps;
  };
};
