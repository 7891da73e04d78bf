/** Anchors that are learned: convex mixtures of points, the same mixtures in every space, so that anchors stay parallel. */
import { choice } from "../data/random.ts";
import { checkShape } from "../device.ts";
import { checkNames, checkRange, expected } from "../errors.ts";
import { add, exp, log, maximum, mul, neg, sqrt, square, sub } from "../ops/elementwise/index.ts";
import { matmul } from "../ops/matmul/index.ts";
import { logsumexp, mean, min, sum } from "../ops/reduce/index.ts";
import { reshape } from "../ops/shape/index.ts";
import { scope } from "../scope.ts";
import { checkTensor, type Tensor } from "../tensor.ts";
import { constants, drawn, type Initializer } from "./init.ts";
import { checkCount } from "./layers.ts";
import { Module, parameter } from "./module.ts";

export interface LearnedAnchorsOptions {
  /** K */
  readonly anchors: number;
  /** n, the number of points that are mixed. */
  readonly points: number;
  /** T: the smaller, the nearer a mixture is to one point. Default 0.2. */
  readonly temperature?: number;
  /** The point that each anchor begins at, with half of its weight. Default: different ones at random. */
  readonly indices?: ArrayLike<number>;
}

/**
 * K anchors softmax(Q/T)·X: rows of weights that are positive and sum to 1, times the points X [n, d]. Applied to another encoder's [n, d'] of the same n inputs, the same
 * weights give anchors that are parallel to them. Train Q with `anchorCoverage`, `anchorDiversity`, `mixtureEntropy` and `mixtureOverlap`, or through whatever comes behind
 * (learned anchors of PARAM, arXiv:2605.30596; what the losses weigh is the caller's choice).
 *
 * @throws ArgumentError for sizes that are no positive integers, more anchors than points, a temperature that is not positive, indices that are no points, and, from
 * `forward`, for another number of points.
 * @example
 * ```ts
 * const mixtures = new LearnedAnchors(initializer(device, 1), { anchors: 2, points: 3, indices: [0, 2] });
 * const [x, y] = [device.tensor([[0], [4], [8]]), device.tensor([[0, 0], [4, -4], [8, -8]])];
 * await mixtures.forward(x).read(); // => [3, 5]
 * await mixtures.forward(y).read(); // => [3, -3, 5, -5]
 * ```
 */
export class LearnedAnchors extends Module {
  /** Q: [K, n] */
  readonly logits: Tensor;
  readonly #temperature: number;

  constructor(init: Initializer, options: LearnedAnchorsOptions) {
    super();
    const where = "LearnedAnchors";
    const { anchors, points, temperature = 0.2 } = checkNames(where, options, ["anchors", "points", "temperature", "indices"]);
    checkCount(where, "points", points);
    checkCount(where, "anchors", anchors);
    if (anchors > points) throw expected(where, `at most ${points} anchors, one per point,`, "anchors", anchors);
    checkShape(where, [anchors, points]);
    checkRange(where, "temperature", temperature, Number.MIN_VALUE, Number.MAX_VALUE, "a positive number");
    const { indices = choice(points, anchors, drawn(init)) } = options;
    if (indices?.length !== anchors) throw expected(where, `${anchors} indices`, "indices", indices);
    const logits = new Float32Array(anchors * points);
    for (let k = 0; k < anchors; k++) {
      const index = indices[k];
      if (!Number.isInteger(index) || index < 0 || index >= points) throw expected(where, `integers in [0, ${points - 1}]`, "indices", index);
      // As much as all the others together.
      logits[k * points + index] = temperature * Math.log(Math.max(1, points - 1));
    }
    this.logits = parameter(constants(init, logits, [anchors, points]));
    this.#temperature = temperature;
  }

  /** softmax(Q/T): [K, n], rows sum to 1. */
  weights(): Tensor {
    return scope(() => {
      const scaled = mul(this.logits, 1 / this.#temperature);
      return exp(sub(scaled, logsumexp(scaled, -1, { keepDims: true })));
    });
  }

  /** x [n, d] → anchors [K, d] */
  forward(x: Tensor): Tensor {
    checkTensor("LearnedAnchors", "x", x);
    const [, points] = this.logits.shape;
    if (x.shape.length !== 2 || x.shape[0] !== points) throw expected("LearnedAnchors", `shape [${points}, d]`, "x", x.shape);
    return scope(() => matmul(this.weights(), x));
  }
}

const checkRows = (where: string, argument: string, x: Tensor, least = 1): void => {
  checkTensor(where, argument, x);
  if (x.shape.length !== 2 || x.shape[0] < least || x.shape[1] < 1)
    throw expected(where, `a matrix of at least ${least} row${least > 1 ? "s" : ""}`, argument, x.shape);
};

/** Added below the root, whose slope at 0 is infinite: a millionth as a distance. */
const EPS = 1e-12;

/** ‖aᵢ − bⱼ‖: [a, b], as √(‖a‖² + ‖b‖² − 2a·b) about the mean of b, where least is lost by cancellation. */
const distances = (a: Tensor, b: Tensor): Tensor => {
  const centre = mean(b, 0, { keepDims: true });
  const [x, y] = [sub(a, centre), sub(b, centre)];
  const squares = add(sum(square(x), 1, { keepDims: true }), reshape(sum(square(y), 1), [1, y.shape[0]]));
  return sqrt(add(maximum(sub(squares, mul(matmul(x, y, { transposeB: true }), 2)), 0), EPS));
};

/**
 * Mean over the points of the Euclidean distance to the nearest anchor: small when anchors are everywhere that points are.
 *
 * @param anchors [K, d], @param points [n, d]
 * @returns shape []
 * @throws ArgumentError for what are no matrices, or of different width.
 * @example
 * ```ts
 * const anchors = device.tensor([[0], [10]]);
 * await anchorCoverage(anchors, device.tensor([[1], [2], [10]])).item(); // => 1.00000
 * ```
 */
export const anchorCoverage = (anchors: Tensor, points: Tensor): Tensor => {
  checkRows("anchorCoverage", "anchors", anchors);
  checkRows("anchorCoverage", "points", points);
  if (anchors.shape[1] !== points.shape[1])
    throw expected("anchorCoverage", `shape [n, ${anchors.shape[1]}] like the anchors`, "points", points.shape);
  return scope(() => mean(min(distances(anchors, points), 0)));
};

/**
 * Minus the mean Euclidean distance of two different anchors: small when they are far apart.
 *
 * @param anchors [K, d] with K ≥ 2
 * @returns shape []
 * @throws ArgumentError for what is no matrix of at least 2 rows.
 * @example await anchorDiversity(device.tensor([[0, 0], [3, 4]])).item(); // => -5.00000
 */
export const anchorDiversity = (anchors: Tensor): Tensor => {
  checkRows("anchorDiversity", "anchors", anchors, 2);
  const [k] = anchors.shape;
  return scope(() => {
    const others = anchors.device.tensor(
      Float32Array.from({ length: k * k }, (_, i) => Number(i % (k + 1) !== 0)),
      [k, k],
    );
    return mul(sum(mul(distances(anchors, anchors), others)), -1 / (k * (k - 1)));
  });
};

/**
 * Mean entropy −Σᵢ w log w of the mixtures in nats: 0 when every anchor is one point, log n when every anchor is the mean of all (locality).
 *
 * @param weights [K, n], `LearnedAnchors.weights()`
 * @returns shape []
 * @throws ArgumentError for what is no matrix.
 * @example await mixtureEntropy(device.tensor([[0.5, 0.5], [1, 0]])).item(); // => 0.34657
 */
export const mixtureEntropy = (weights: Tensor): Tensor => {
  checkRows("mixtureEntropy", "weights", weights);
  return scope(() => neg(mul(sum(mul(weights, log(maximum(weights, 1e-30)))), 1 / weights.shape[0])));
};

/**
 * Mean of wₖ·wₗ over pairs of different mixtures: 0 when no two anchors share a point, largest when all have collapsed into one.
 *
 * @param weights [K, n] with K ≥ 2, `LearnedAnchors.weights()`
 * @returns shape []
 * @throws ArgumentError for what is no matrix of at least 2 rows.
 * @example await mixtureOverlap(device.tensor([[0.5, 0.5], [1, 0]])).item(); // => 0.5
 */
export const mixtureOverlap = (weights: Tensor): Tensor => {
  checkRows("mixtureOverlap", "weights", weights, 2);
  const [k] = weights.shape;
  // Σₖₗ wₖ·wₗ is the squared length of Σ w.
  return scope(() => mul(sub(sum(square(sum(weights, 0))), sum(square(weights))), 1 / (k * (k - 1))));
};
