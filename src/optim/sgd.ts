import { apply } from "../apply.ts";
import { checkFlags, checkNames, expected } from "../errors.ts";
import { sgd } from "../ops/optimizer/op.ts";
import type { Tensor } from "../tensor.ts";
import { type GroupOptions, Optimizer, type Update } from "./optimizer.ts";
import { checkRate } from "./rate.ts";

export interface SGDOptions {
  /** Learning rate. Default 1e-3. */
  readonly lr?: number;
  /** velocity ← momentum · velocity + gradient. Default 0, which keeps no velocity. */
  readonly momentum?: number;
  /** Added to the gradient, times the parameter. Default 0. */
  readonly weightDecay?: number;
  /** Looks ahead: steps along gradient + momentum · velocity. Default false. */
  readonly nesterov?: boolean;
}

/**
 * Stochastic gradient descent as PyTorch's `SGD` with dampening 0: the learning rate multiplies the velocity and is no part of it.
 * One call to the device per group and step; on webgpu one dispatch for every three parameters.
 *
 * @throws ArgumentError for an empty list, a tensor that is no float32 leaf or is listed twice, tensors of two devices,
 * a negative or NaN lr, momentum or weightDecay, or `nesterov` without momentum.
 * @example
 * ```ts
 * const w = parameter(device.tensor([1, -2]));
 * const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9 });
 * const { gradients } = valueAndGrad(() => sum(mul(w, w)), [w]);
 * optimizer.step(gradients);
 * await w.read(); // => [0.8, -1.6]
 * ```
 */
export class SGD extends Optimizer {
  readonly momentum: number;
  readonly nesterov: boolean;

  constructor(parameters: readonly Tensor[] | readonly GroupOptions[], options: SGDOptions = {}) {
    const where = "SGD";
    const { lr = 1e-3, momentum = 0, weightDecay = 0, nesterov = false } = checkNames(where, options, ["lr", "momentum", "weightDecay", "nesterov"]);
    checkRate(where, "lr", lr);
    checkRate(where, "weightDecay", weightDecay);
    checkRate(where, "momentum", momentum);
    checkFlags(where, { nesterov });
    if (nesterov && momentum === 0) throw expected(where, "a positive number, since `nesterov` is set,", "momentum", momentum);
    super(where, parameters, { lr, weightDecay }, momentum === 0 ? [] : ["momentum_buffer"]);
    this.momentum = momentum;
    this.nesterov = nesterov;
  }

  protected override update({ group: { lr, weightDecay }, inputs, offsets, limit }: Update): void {
    const { momentum, nesterov } = this;
    apply(
      sgd(offsets.length),
      inputs,
      { offsets, clip: limit !== undefined, velocity: momentum !== 0, nesterov },
      { lr, momentum, decay: weightDecay, limit: limit ?? 0 },
    );
  }
}
