/** Several relative spaces of the same anchors, each invariant to something else, made into one. */
import { checkNames, expected } from "../errors.ts";
import { add, exp, mul, sub, tanh } from "../ops/elementwise/index.ts";
import { matmul } from "../ops/matmul/index.ts";
import { layerNorm } from "../ops/norm/index.ts";
import { logsumexp, sum } from "../ops/reduce/index.ts";
import { permute, reshape, stack } from "../ops/shape/index.ts";
import { allOrNone, scope } from "../scope.ts";
import { checkTensor, type Tensor } from "../tensor.ts";
import { type Initializer, kaimingUniform, ones, zeros } from "./init.ts";
import { checkCount, Linear } from "./layers.ts";
import { Module } from "./module.ts";

/** How the spaces become one; what each does stands at `ProductOfInvariances`. */
export type Aggregation = "concat" | "sum" | "mlpSum" | "weighted" | "attention";

const AGGREGATIONS: readonly Aggregation[] = ["concat", "sum", "mlpSum", "weighted", "attention"];

export interface ProductOfInvariancesOptions {
  /** N, how many relative spaces there are. */
  readonly spaces: number;
  /** K, the anchors of each. At least 2, since the layer norm of one number is 0. */
  readonly anchors: number;
  /** Default "mlpSum", the best of the paper's. */
  readonly aggregation?: Aggregation;
}

const softmax = (x: Tensor, axis: number): Tensor => exp(sub(x, logsumexp(x, axis, { keepDims: true })));

/** A layer norm over the last axis with a gain and a shift of their own per space: [N, ..., K]. */
class Normalisation extends Module {
  readonly gain: Tensor;
  readonly shift: Tensor;

  constructor(init: Initializer, shape: readonly number[]) {
    super();
    [this.gain, this.shift] = allOrNone(() => [ones(init, shape), zeros(init, shape)]);
  }

  forward(x: Tensor): Tensor {
    return add(mul(layerNorm(x, x.shape[x.shape.length - 1]), this.gain), this.shift);
  }
}

/** Σₙ tanh(xₙ·weightₙᵀ + biasₙ): [N, B, K] → [B, K] */
class MlpSum extends Module {
  /** [N, K, K] */
  readonly weight: Tensor;
  /** [N, 1, K] */
  readonly bias: Tensor;

  constructor(init: Initializer, spaces: number, anchors: number) {
    super();
    [this.weight, this.bias] = allOrNone(() => [kaimingUniform(init, [spaces, anchors, anchors], anchors), zeros(init, [spaces, 1, anchors])]);
  }

  forward(x: Tensor): Tensor {
    return sum(tanh(add(matmul(x, this.weight, { transposeB: true }), this.bias)), 0);
  }
}

/** Σₙ softmax(logits)ₙ·xₙ: [N, B, K] → [B, K] */
class WeightedSum extends Module {
  /** [N, 1, 1], equal weights at the start. */
  readonly logits: Tensor;

  constructor(init: Initializer, spaces: number) {
    super();
    this.logits = zeros(init, [spaces, 1, 1]);
  }

  forward(x: Tensor): Tensor {
    return sum(mul(x, softmax(this.logits, 0)), 0);
  }
}

/** Self-attention of one head among the N spaces of a sample, a layer norm, and the sum: [N, B, K] → [B, K] */
class AttentionSum extends Module {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
  readonly normalisation: Normalisation;

  constructor(init: Initializer, anchors: number) {
    super();
    const projection = (): Linear => new Linear(init, anchors, anchors);
    [this.query, this.key, this.value, this.output, this.normalisation] = allOrNone(() => [
      projection(),
      projection(),
      projection(),
      projection(),
      new Normalisation(init, [anchors]),
    ]);
  }

  forward(x: Tensor): Tensor {
    const tokens = permute(x, [1, 0, 2]);
    const scores = matmul(this.query.forward(tokens), this.key.forward(tokens), { transposeB: true });
    const attention = softmax(mul(scores, 1 / Math.sqrt(x.shape[2])), -1);
    return sum(this.normalisation.forward(this.output.forward(matmul(attention, this.value.forward(tokens)))), 1);
  }
}

/**
 * The product of invariances: N relative spaces by the same K anchors, one per similarity (cosine, Euclidean, L1, L∞, ...), aggregated into one representation, so that
 * whoever decodes need not know which invariance links two encoders (Cannistraci et al., "From Bricks to Bridges", ICLR 2024, arXiv:2310.01211). Every space first passes
 * a layer norm of its own, and all aggregations work on what comes out:
 *
 * | aggregation | |
 * |---|---|
 * | concat | side by side: [B, N·K] |
 * | sum | Σₙ xₙ |
 * | mlpSum | Σₙ tanh(linearₙ(xₙ)), the paper's best |
 * | weighted | Σₙ softmax(w)ₙ·xₙ, with N learned w, 0 at the start |
 * | attention | one head of self-attention among the N spaces of a sample, a layer norm, then the sum |
 *
 * @throws ArgumentError for sizes that are no positive integers (K: at least 2), an unknown aggregation, and, from `forward` and `aggregate`, for other shapes.
 * @example
 * ```ts
 * const product = new ProductOfInvariances(initializer(device, 1), { spaces: 2, anchors: 3, aggregation: "sum" });
 * const [cosine, euclidean] = [device.tensor([[1, 0, -1]]), device.tensor([[-3, -2, -4]])];
 * const y = product.aggregate([cosine, euclidean]);
 * await y.read(); // => [1.2247, 1.2247, -2.4495]
 * product.features; // => 3
 * ```
 */
export class ProductOfInvariances extends Module {
  readonly normalisation: Normalisation;
  /** What is learned beside the layer norms; undefined for "concat" and "sum". */
  readonly head: Module | undefined;
  readonly #spaces: number;
  readonly #anchors: number;
  readonly #aggregation: Aggregation;

  constructor(init: Initializer, options: ProductOfInvariancesOptions) {
    super();
    const where = "ProductOfInvariances";
    const { spaces, anchors, aggregation = "mlpSum" } = checkNames(where, options, ["spaces", "anchors", "aggregation"]);
    checkCount(where, "spaces", spaces);
    checkCount(where, "anchors", anchors, 2);
    if (!AGGREGATIONS.includes(aggregation)) throw expected(where, `one of ${AGGREGATIONS.join(", ")}`, "aggregation", aggregation);
    this.#spaces = spaces;
    this.#anchors = anchors;
    this.#aggregation = aggregation;
    const head = (): Module | undefined => {
      if (aggregation === "mlpSum") return new MlpSum(init, spaces, anchors);
      if (aggregation === "weighted") return new WeightedSum(init, spaces);
      return aggregation === "attention" ? new AttentionSum(init, anchors) : undefined;
    };
    [this.normalisation, this.head] = allOrNone(() => [new Normalisation(init, [spaces, 1, anchors]), head()]);
  }

  /** Columns of the result: N·K for "concat", else K. */
  get features(): number {
    return this.#aggregation === "concat" ? this.#spaces * this.#anchors : this.#anchors;
  }

  /** N tensors [B, K] → [B, features] */
  aggregate(spaces: readonly Tensor[]): Tensor {
    if (!Array.isArray(spaces) || spaces.length !== this.#spaces)
      throw expected("ProductOfInvariances", `an array of ${this.#spaces} tensors`, "spaces", Array.isArray(spaces) ? spaces.length : spaces);
    for (const [n, space] of (spaces as readonly Tensor[]).entries()) {
      checkTensor("ProductOfInvariances", `spaces[${n}]`, space);
      if (space.shape.length !== 2 || space.shape[0] !== spaces[0].shape[0] || space.shape[1] !== this.#anchors)
        throw expected("ProductOfInvariances", `shape [${n === 0 ? "B" : spaces[0].shape[0]}, ${this.#anchors}]`, `spaces[${n}]`, space.shape);
    }
    return scope(() => this.forward(stack(spaces)));
  }

  /** x [N, B, K] → [B, features] */
  forward(x: Tensor): Tensor {
    checkTensor("ProductOfInvariances", "x", x);
    const [spaces, batch, anchors] = x.shape;
    if (x.shape.length !== 3 || spaces !== this.#spaces || anchors !== this.#anchors)
      throw expected("ProductOfInvariances", `shape [${this.#spaces}, B, ${this.#anchors}]`, "x", x.shape);
    return scope(() => {
      const normalised = this.normalisation.forward(x);
      if (this.head) return this.head.forward(normalised);
      return this.#aggregation === "sum" ? sum(normalised, 0) : reshape(permute(normalised, [1, 0, 2]), [batch, spaces * anchors]);
    });
  }
}
