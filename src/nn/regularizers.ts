/** Losses of the matrices alone: what a stack should look like, whatever the task. Derivations: README.md. */
import { checkNames, checkRange, expected } from "../errors.ts";
import { add, exp, log, maximum, mul, neg, square, sub } from "../ops/elementwise/index.ts";
import { matmul } from "../ops/matmul/index.ts";
import { logsumexp, mean, min, sum } from "../ops/reduce/index.ts";
import { reshape } from "../ops/shape/index.ts";
import { scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import { identityMatrix, type LearnedStack, learnedStacks, type Regularized, withIdentity } from "./matrices.ts";

const total = (where: string, layers: readonly Regularized[], term: (layer: LearnedStack) => Tensor): Tensor => {
  const stacks = learnedStacks(where, layers).filter(({ representations }) => representations.size > 0);
  if (stacks.length === 0) throw expected(where, "at least one layer with learned matrices", "layers", `${layers.length} without`);
  return scope(() => stacks.map(term).reduce((a, b) => add(a, b)));
};

const zero = ({ representations }: LearnedStack): Tensor => representations.device.zeros([]);

/**
 * Σ_layers mean(LSE_rows(Θ)² + LSE_columns(Θ)²): keeps exp(Θ) near doubly stochastic, so that few Sinkhorn iterations
 * suffice. The paper's code uses weight 0.1; its printed formula would be smallest for matrices of zeros. Of row-stochastic matrices the rows alone; 0 for matrices
 * without constraint, which are no exponentials.
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
export const normRegularizer = (layers: readonly Regularized[]): Tensor =>
  total("normRegularizer", layers, (stack) => {
    const { representations, constraint = "doublyStochastic" } = stack;
    if (constraint === "none") return zero(stack);
    const rows = mean(square(logsumexp(representations, -1)));
    return constraint === "rowStochastic" ? rows : add(rows, mean(square(logsumexp(representations, -2))));
  });

/**
 * −Σ R log R over all entries of all learned matrices: 0 for permutations. 0 for matrices without constraint, whose entries are no shares.
 *
 * @returns shape []
 * @throws ArgumentError when no layer has learned matrices.
 * @example
 * ```ts
 * const layer = new WeightSharingLinear(initializer(device, 1), { features: 4, kernels: 2, elements: 4 });
 * device.write(layer.matrices.representations, new Float32Array(3 * 4 * 4)); // uniform matrices: log 4 per row
 * await entropyRegularizer([layer]).item(); // => 16.6355
 * ```
 */
export const entropyRegularizer = (layers: readonly Regularized[]): Tensor =>
  total("entropyRegularizer", layers, (stack) => {
    if (stack.constraint === "none") return zero(stack);
    const matrices = stack.stack();
    return neg(sum(mul(matrices, log(maximum(matrices, 1e-16)))));
  });

/**
 * Σ_layers mean_i (1 − ‖R_i‖² / d): 0 for permutations, 1 − 1/d for uniform matrices. As the entropy it asks for sharp matrices, in units that depend neither on their number
 * nor on their side, and without logarithms: for doubly stochastic R it is tr(I − R Rᵀ) / d, how far R is from orthogonal.
 *
 * @returns shape []
 * @throws ArgumentError when no layer has learned matrices.
 * @example
 * ```ts
 * const layer = new WeightSharingLinear(initializer(device, 1), { features: 4, kernels: 2, elements: 4 });
 * device.write(layer.matrices.representations, new Float32Array(3 * 4 * 4));
 * await sharpnessRegularizer([layer]).item(); // => 0.75
 * ```
 */
export const sharpnessRegularizer = (layers: readonly Regularized[]): Tensor =>
  total("sharpnessRegularizer", layers, (stack) => sub(1, mean(sum(square(stack.stack()), -1))));

/** [..., d, d] against [t, d, d]: ‖a − b‖² / d for every pair, [..., t]. */
const distances = (a: Tensor, b: Tensor): Tensor => {
  const [t, d] = b.shape;
  const rows = reshape(a, [...a.shape.slice(0, -2), d * d]);
  const columns = reshape(b, [t, d * d]);
  const squares = add(sum(square(rows), -1, { keepDims: true }), sum(square(columns), -1));
  return mul(sub(squares, mul(matmul(rows, columns, { transposeB: true }), 2)), 1 / d);
};

/** Mean of x along an axis with weights softmax(−x / softness); its least entry for 0. */
const softMinimum = (x: Tensor, axis: number, softness: number): Tensor => {
  if (softness === 0) return min(x, axis);
  const scores = mul(x, -1 / softness);
  return sum(mul(x, exp(sub(scores, logsumexp(scores, axis, { keepDims: true })))), axis);
};

export interface NearestOptions {
  /** How far candidates beside the nearest one count: weights are softmax(−distance / softness). Default 0.1; 0: the nearest alone. */
  readonly softness?: number;
}

const checkSoftness = (where: string, options: NearestOptions): number =>
  checkRange(where, "softness", checkNames(where, options, ["softness"]).softness ?? 0.1, 0, Number.MAX_VALUE, "a non-negative number");

/** R_i R_j for every learned i and every j, the identity first: [g − 1, g, d, d]. */
const products = (learned: Tensor, all: Tensor): Tensor => {
  const [g, d] = all.shape;
  return matmul(reshape(learned, [g - 1, 1, d, d]), reshape(all, [1, g, d, d]));
};

/**
 * Σ_layers mean_{i, j} softmin_k ‖R_i R_j − R_k‖² / d over learned i and j, k any element, the identity included: 0 where the set is closed under multiplication, 2 where two
 * permutations give one that differs everywhere from all. Uniform matrices are closed too, and so are equal ones: it says what sharp and distinct matrices should be, and goes together with what makes them so
 * (`sharpnessRegularizer`, `overlapRegularizer`, a falling temperature).
 *
 * @returns shape []
 * @throws ArgumentError when no layer has learned matrices, and for a negative softness.
 * @example
 * ```ts
 * const layer = new WeightSharingLinear(initializer(device, 1), { features: 4, kernels: 2, elements: 4 });
 * device.write(layer.matrices.representations, permutationMatrices(cyclicGroup(4).elements.slice(1)).map((entry) => 60 * entry));
 * await closureRegularizer([layer]).item(); // => 0.000
 * ```
 */
export const closureRegularizer = (layers: readonly Regularized[], options: NearestOptions = {}): Tensor => {
  const softness = checkSoftness("closureRegularizer", options);
  return total("closureRegularizer", layers, (stack) => {
    const learned = stack.stack();
    const [count, d] = learned.shape;
    const pairs = matmul(reshape(learned, [count, 1, d, d]), reshape(learned, [1, count, d, d]));
    return mean(softMinimum(distances(pairs, withIdentity(learned)), -1, softness));
  });
};

/**
 * Σ_layers mean_i softmin_j ‖R_i R_j − I‖² / d, j any element, the identity included: 0 where every element has its inverse in the set, by which alone a set of
 * doubly stochastic matrices is one of permutations.
 *
 * @returns shape []
 * @throws ArgumentError when no layer has learned matrices, and for a negative softness.
 * @example
 * ```ts
 * const layer = new WeightSharingLinear(initializer(device, 1), { features: 4, kernels: 2, elements: 4 });
 * device.write(layer.matrices.representations, permutationMatrices(cyclicGroup(4).elements.slice(1)).map((entry) => 60 * entry));
 * await identityRegularizer([layer]).item(); // => 0.000
 * ```
 */
export const identityRegularizer = (layers: readonly Regularized[], options: NearestOptions = {}): Tensor => {
  const softness = checkSoftness("identityRegularizer", options);
  return total("identityRegularizer", layers, (stack) => {
    const learned = stack.stack();
    return mean(softMinimum(distances(products(learned, withIdentity(learned)), identityMatrix(learned)), -2, softness));
  });
};

/**
 * Σ_layers mean_{i < j} ⟨R_i, R_j⟩ / d over all pairs of elements, the identity included: the share of positions that two permutations treat alike, 1/d for uniform matrices.
 * Keeps elements from becoming the same.
 *
 * @returns shape []
 * @throws ArgumentError when no layer has learned matrices.
 * @example
 * ```ts
 * const layer = new WeightSharingLinear(initializer(device, 1), { features: 4, kernels: 2, elements: 4 });
 * device.write(layer.matrices.representations, new Float32Array(3 * 4 * 4));
 * await overlapRegularizer([layer]).item(); // => 0.25
 * ```
 */
export const overlapRegularizer = (layers: readonly Regularized[]): Tensor =>
  total("overlapRegularizer", layers, (stack) => {
    const all = withIdentity(stack.stack());
    const [g, d] = all.shape;
    // The sum over all pairs is the norm of the sum of all matrices: Σ_{i ≠ j} = ‖Σ_i R_i‖² − Σ_i ‖R_i‖².
    const pairs = sub(sum(square(sum(all, 0))), sum(square(all)));
    return mul(pairs, 1 / (g * (g - 1) * d));
  });
