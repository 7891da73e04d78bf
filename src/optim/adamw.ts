import { apply } from "../apply.ts";
import { checkNames, expected } from "../errors.ts";
import { adamw } from "../ops/optimizer/op.ts";
import type { Tensor } from "../tensor.ts";
import { type GroupOptions, Optimizer, type Update } from "./optimizer.ts";
import { checkRate } from "./rate.ts";

export interface AdamWOptions {
  /** Learning rate. Default 1e-3. */
  readonly lr?: number;
  /** Decay rates of the first and second moment. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second moment. Default 1e-8. */
  readonly eps?: number;
  /** Decoupled decay: every step multiplies the parameter by 1 − lr · weightDecay. Default 1e-2. */
  readonly weightDecay?: number;
}

const MOMENTS = ["exp_avg", "exp_avg_sq"];

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), with PyTorch's defaults and order of operations.
 * One call to the device per group and step; on webgpu one dispatch for every three parameters.
 *
 * @throws ArgumentError for an empty list, a tensor that is no float32 leaf or is listed twice, tensors of two devices,
 * a negative or NaN lr, eps or weightDecay, or betas outside of [0, 1).
 * @example
 * ```ts
 * const [weight, bias] = [parameter(device.tensor([[2], [3]])), parameter(device.tensor([1]))];
 * const optimizer = new AdamW([{ parameters: [weight] }, { parameters: [bias], weightDecay: 0 }], { lr: 0.1 });
 * sum(add(matmul(device.tensor([[1, -1]]), weight), bias)).backward();
 * optimizer.step(undefined, { clipNorm: 1 });
 * optimizer.zeroGrad();
 * await weight.read(); // => [1.898, 3.097]
 * await bias.read(); // => [0.900]
 * ```
 */
export class AdamW extends Optimizer {
  readonly betas: readonly [number, number];
  readonly eps: number;

  constructor(parameters: readonly Tensor[] | readonly GroupOptions[], options: AdamWOptions = {}) {
    const where = "AdamW";
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 1e-2 } = checkNames(where, options, ["lr", "betas", "eps", "weightDecay"]);
    if (!Array.isArray(betas) || betas.length !== 2 || !betas.every((beta) => beta >= 0 && beta < 1))
      throw expected(where, "two numbers in [0, 1)", "betas", betas);
    checkRate(where, "lr", lr);
    checkRate(where, "weightDecay", weightDecay);
    checkRate(where, "eps", eps);
    super(where, parameters, { lr, weightDecay }, MOMENTS);
    this.betas = [betas[0], betas[1]];
    this.eps = eps;
  }

  protected override update({ group: { lr, weightDecay }, inputs, offsets, step, limit }: Update): void {
    const [beta1, beta2] = this.betas;
    apply(
      adamw(offsets.length),
      inputs,
      { offsets, clip: limit !== undefined },
      {
        keep: 1 - lr * weightDecay,
        rate1: 1 - beta1,
        beta2,
        rate2: 1 - beta2,
        step: lr / (1 - beta1 ** step),
        correction: 1 / Math.sqrt(1 - beta2 ** step),
        eps: this.eps,
        limit: limit ?? 0,
      },
    );
  }
}
