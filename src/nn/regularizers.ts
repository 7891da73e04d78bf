import { expected } from "../errors.ts";
import { add, log, maximum, mul, neg, square } from "../ops/elementwise/index.ts";
import { logsumexp, mean, sum } from "../ops/reduce/index.ts";
import type { Tensor } from "../tensor.ts";
import type { LearnedStack } from "./weightSharing.ts";

const total = (where: string, layers: readonly LearnedStack[], term: (layer: LearnedStack) => Tensor): Tensor => {
  if (!Array.isArray(layers) || layers.some((layer) => typeof layer?.representations?.size !== "number"))
    throw expected(where, "an array of layers with `representations`", "layers", layers);
  const terms = layers.filter(({ representations }) => representations.size > 0).map(term);
  if (terms.length === 0) throw expected(where, "at least one layer with learned matrices", "layers", `${layers.length} without`);
  return terms.reduce((a, b) => add(a, b));
};

/**
 * Σ_layers mean(LSE_rows(Θ)² + LSE_columns(Θ)²): keeps exp(Θ) near doubly stochastic, so that few Sinkhorn iterations
 * suffice. The paper's code uses weight 0.1; its printed formula would be smallest for matrices of zeros.
 *
 * @returns shape []
 * @throws ArgumentError when no layer has learned matrices.
 * @example
 * ```ts
 * const layer = new WeightSharingLinear(initializer(device, 1), { features: 4, kernels: 2, elements: 4 });
 * normRegularizer([layer]).shape; // => []
 * normRegularizer([]); // throws ArgumentError
 * ```
 */
export const normRegularizer = (layers: readonly LearnedStack[]): Tensor =>
  total("normRegularizer", layers, ({ representations }) =>
    add(mean(square(logsumexp(representations, -1))), mean(square(logsumexp(representations, -2)))),
  );

/**
 * −Σ R log R over all entries of all learned matrices: 0 for permutations.
 *
 * @returns shape []
 * @throws ArgumentError when no layer has learned matrices.
 * @example
 * ```ts
 * const layer = new WeightSharingLinear(initializer(device, 1), { features: 4, kernels: 2, elements: 4 });
 * device.write(layer.representations, new Float32Array(3 * 4 * 4)); // uniform matrices: log 4 per row
 * await entropyRegularizer([layer]).item(); // => 16.6355
 * ```
 */
export const entropyRegularizer = (layers: readonly LearnedStack[]): Tensor =>
  total("entropyRegularizer", layers, (layer) => {
    const matrices = layer.stack();
    return neg(sum(mul(matrices, log(maximum(matrices, 1e-16)))));
  });
