/** The ordinary layers that networks need beside the group layers. */
import { checkNames, checkRange, expected } from "../errors.ts";
import { noGrad } from "../gradMode.ts";
import { conv2d } from "../ops/conv/index.ts";
import { minimum, mul, relu, sub } from "../ops/elementwise/index.ts";
import { linear } from "../ops/matmul/index.ts";
import { batchNorm } from "../ops/norm/index.ts";
import { uniform } from "../ops/random/index.ts";
import { reshape } from "../ops/shape/index.ts";
import { allOrNone, keep, scope } from "../scope.ts";
import { checkTensor, type Tensor } from "../tensor.ts";
import { drawn, type Initializer, kaimingUniform, ones, zeros } from "./init.ts";
import { Module } from "./module.ts";
import { everyElement, type PlainLayer, type PlainModule } from "./plain.ts";

/** Throws unless `value` is a whole number from `low` to `high`. */
export const checkCount = (where: string, argument: string, value: number, low = 1, high = 2 ** 31 - 1): void => {
  if (!Number.isInteger(value) || value < low) throw expected(where, `an integer of at least ${low}`, argument, value);
  if (value > high) throw expected(where, `an integer of at most ${high}`, argument, value);
};

/**
 * y = x·weightᵀ + bias, from x [..., inFeatures] to [..., outFeatures]. Weights start as PyTorch's, biases at 0.
 *
 * @throws ArgumentError for sizes that are no positive integers, and from `forward` for another last axis of x.
 * @example
 * ```ts
 * const layer = new Linear(initializer(device, 1), 8, 3);
 * layer.forward(device.ones([5, 8])).shape; // => [5, 3]
 * layer.parameterCount; // => 27
 * ```
 */
export class Linear extends Module implements PlainModule {
  /** [outFeatures, inFeatures] */
  readonly weight: Tensor;
  /** [outFeatures] */
  readonly bias: Tensor;

  constructor(init: Initializer, inFeatures: number, outFeatures: number) {
    super();
    checkCount("Linear", "inFeatures", inFeatures);
    checkCount("Linear", "outFeatures", outFeatures);
    [this.weight, this.bias] = allOrNone(() => [kaimingUniform(init, [outFeatures, inFeatures], inFeatures), zeros(init, [outFeatures])]);
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }

  plainLayers(): PlainLayer[] {
    return [{ kind: "linear", weight: this.weight, bias: this.bias }];
  }
}

export interface Conv2dLayerOptions {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: number;
  /** Default 0, which is "valid"; as in `conv2d`. */
  readonly padding?: number | "valid" | "same";
}

/**
 * Plain 2D convolution, from x [B, inChannels, H, W] to [B, outChannels, H', W'], stride 1. Weights start as PyTorch's, biases at 0.
 *
 * @throws ArgumentError for sizes that are no positive integers; `forward` throws as `conv2d`.
 * @example
 * ```ts
 * const layer = new Conv2d(initializer(device, 1), { inChannels: 1, outChannels: 4, kernelSize: 3, padding: "same" });
 * layer.forward(device.ones([2, 1, 8, 8])).shape; // => [2, 4, 8, 8]
 * ```
 */
export class Conv2d extends Module implements PlainModule {
  /** [outChannels, inChannels, k, k] */
  readonly weight: Tensor;
  /** [outChannels] */
  readonly bias: Tensor;
  readonly #padding: number | "valid" | "same";

  constructor(init: Initializer, options: Conv2dLayerOptions) {
    super();
    const {
      inChannels,
      outChannels,
      kernelSize,
      padding = 0,
    } = checkNames("Conv2d", options, ["inChannels", "outChannels", "kernelSize", "padding"]);
    checkCount("Conv2d", "inChannels", inChannels);
    checkCount("Conv2d", "outChannels", outChannels);
    checkCount("Conv2d", "kernelSize", kernelSize);
    const shape = [outChannels, inChannels, kernelSize, kernelSize];
    [this.weight, this.bias] = allOrNone(() => [kaimingUniform(init, shape, inChannels * kernelSize ** 2), zeros(init, [outChannels])]);
    this.#padding = padding;
  }

  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, { bias: this.bias, padding: this.#padding });
  }

  plainLayers(): PlainLayer[] {
    return [{ kind: "conv", weight: this.weight, bias: this.bias, padding: this.#padding }];
  }
}

const BATCH_EPS = 1e-5;

/**
 * Normalises every channel of x [N, C, ...] over the batch and its places and then scales and shifts it (`batchNorm`): by the statistics of the batch in training, which it
 * keeps running means of, and by those afterwards (`eval()`). They are saved and loaded with the parameters, and are none. Scales start at 1, shifts at 0.
 *
 * @throws ArgumentError for channels that are no positive integer; `forward` throws as `batchNorm`.
 * @example
 * ```ts
 * const layer = new BatchNorm(initializer(device, 1), 2);
 * const x = device.tensor([[1, 10], [3, 30]]);
 * await layer.forward(x).read(); // => [-1.000, -1.000, 1.000, 1.000]
 * await layer.runningMean.read(); // => [0.2, 2.0]
 * layer.eval().forward(x).shape; // => [2, 2]
 * [layer.parameters().length, layer.namedState().size]; // => [2, 4]
 * ```
 */
export class BatchNorm extends Module implements PlainModule {
  /** [channels] */
  readonly weight: Tensor;
  /** [channels] */
  readonly bias: Tensor;
  /** [channels] */
  readonly runningMean: Tensor;
  /** [channels] */
  readonly runningVar: Tensor;

  constructor(init: Initializer, channels: number) {
    super();
    checkCount("BatchNorm", "channels", channels);
    [this.weight, this.bias, this.runningMean, this.runningVar] = allOrNone(() => [
      ones(init, [channels]),
      zeros(init, [channels]),
      keep(init.device.zeros([channels])),
      keep(init.device.ones([channels])),
    ]);
  }

  override namedParameters(): Map<string, Tensor> {
    const { weight, bias } = this;
    return new Map(Object.entries({ weight, bias }));
  }

  forward(x: Tensor): Tensor {
    const { weight, bias, runningMean, runningVar, training } = this;
    return batchNorm(x, { weight, bias, runningMean, runningVar, training, eps: BATCH_EPS });
  }

  /** As it evaluates. */
  plainLayers(g = 1): PlainLayer[] {
    const [weight, bias, mean, variance] = [this.weight, this.bias, this.runningMean, this.runningVar].map((values) => everyElement(values, g));
    return [{ kind: "batchNorm", weight, bias, mean, variance, eps: BATCH_EPS }];
  }
}

/** Whatever is above 0 in a random number is made larger than any scale. */
const HUGE = 1e30;

/**
 * In training sets each number to 0 with probability p and divides the others by 1 − p (Srivastava et al. 2014); afterwards (`eval()`) it does nothing. Masks are the same on every
 * device: functions of the initialiser's seed and of `stream`.
 *
 * @throws ArgumentError for p outside of [0, 1).
 * @example
 * ```ts
 * const layer = new Dropout(initializer(device, 1), 0.5);
 * const x = device.ones([1000]);
 * const first = layer.forward(x);
 * await max(first).item(); // => 2
 * await mean(first).item(); // => 1.0
 * layer.stream = 0; // the mask of the first pass again
 * await max(abs(sub(layer.forward(x), first))).item(); // => 0
 * await min(layer.eval().forward(x)).item(); // => 1
 * ```
 */
export class Dropout extends Module {
  /** Probability of a 0. */
  readonly p: number;
  /** Number of the next mask. Counts up with every pass in training; set to the number of a step, training that was left off goes on with the masks that it would have had. */
  stream = 0;
  readonly #seed: number;

  constructor(init: Initializer, p: number) {
    super();
    this.p = checkRange("Dropout", "p", p, 0, 1 - Number.EPSILON / 2, "a number in [0, 1)");
    this.#seed = drawn(init).uint32();
  }

  forward(x: Tensor): Tensor {
    checkTensor("Dropout", "x", x);
    const { p, training } = this;
    if (!training || p === 0) return reshape(x, x.shape);
    return scope(() => {
      const numbers = uniform(x.device, x.shape, { seed: this.#seed, stream: this.stream++ });
      // Above p: scaled beyond the limit, and brought back to it.
      const mask = noGrad(() => minimum(mul(relu(sub(numbers, p)), HUGE), 1 / (1 - p)));
      return mul(x, mask);
    });
  }
}
