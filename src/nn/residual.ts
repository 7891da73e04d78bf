/** The paper's network for CIFAR-10: a lifting convolution and residual blocks of group convolutions, then pooling and two linear maps. */
import { identityPermutation, permutationMatrix } from "../data/permutations.ts";
import { checkNames, expected } from "../errors.ts";
import { add, mul, relu } from "../ops/elementwise/index.ts";
import { linear } from "../ops/matmul/index.ts";
import { instanceNorm } from "../ops/norm/index.ts";
import { expand, reshape } from "../ops/shape/index.ts";
import { allOrNone, scope } from "../scope.ts";
import { checkTensor, type Tensor } from "../tensor.ts";
import { type Convolution, convolutions, groupOrder, SymmetricNetwork, type Symmetry } from "./convolutions.ts";
import { type Initializer, kaimingUniform } from "./init.ts";
import { BatchNorm, Conv2d, checkCount, Dropout, Linear } from "./layers.ts";
import { MATRIX_NAMES, type MatrixOptions, matrixOptions } from "./matrices.ts";
import { Module } from "./module.ts";
import { groupPool, poolImages } from "./networks.ts";
import { everyElement, type PlainLayer, type PlainModule } from "./plain.ts";

export interface ResidualNetworkOptions extends MatrixOptions {
  /** Channels of the lifting layer and of the first block (times the group elements in a group network); every further block has twice as many as the one before. */
  readonly width: number;
  /** Default 7. */
  readonly kernelSize?: number;
  /** Residual blocks of two convolutions each. Default 2. */
  readonly blocks?: number;
  /** Default 10. */
  readonly classes?: number;
  /** Default 3. */
  readonly inChannels?: number;
  /** Side of the max-pooling windows behind every block; 1 is none. Default 2. */
  readonly pool?: number;
  /** Units between pooling over everything and the classes. Default 256. */
  readonly hidden?: number;
  /** Probability with which one of these is 0 in training. Default 0.3. */
  readonly dropout?: number;
}

/** The last of more would have more channels than a tensor has numbers. */
const MAX_BLOCKS = 31;

/** Of the instance norms. */
const EPS = 1e-5;

/** Two convolutions beside a shortcut; sizes stay, then pooling. */
class ResidualBlock extends Module {
  readonly first: Convolution;
  readonly second: Convolution;
  /** 1×1, where the number of channels changes. */
  readonly shortcut: Conv2d | undefined;
  readonly norm: BatchNorm;
  readonly #pool: number;

  constructor(init: Initializer, [first, second]: readonly Convolution[], inChannels: number, outChannels: number, pool: number) {
    super();
    this.first = first;
    this.second = second;
    this.shortcut = inChannels === outChannels ? undefined : new Conv2d(init, { inChannels, outChannels, kernelSize: 1 });
    this.norm = new BatchNorm(init, outChannels);
    this.#pool = pool;
  }

  /** The shortcut sees group elements as more rows of the images. */
  #short(x: Tensor): Tensor {
    if (!this.shortcut) return x;
    const [batch, channels, ...places] = x.shape;
    const flat = reshape(x, [batch, channels, -1, places[places.length - 1]]);
    const y = this.shortcut.forward(flat);
    return reshape(y, [batch, y.shape[1], ...places]);
  }

  /** @param g group elements: an instance norm is over a channel of all of them */
  plainLayers(g: number): PlainLayer[] {
    const layers = [this.first, this.second].flatMap((conv): PlainLayer[] => [
      ...conv.plainLayers(),
      { kind: "norm", groups: conv.weight.shape[0], eps: EPS },
      { kind: "relu" },
    ]);
    const pool: PlainLayer[] = this.#pool > 1 ? [{ kind: "maxPool", size: this.#pool }] : [];
    return [{ kind: "residual", layers, shortcut: this.#plainShortcut(g) }, ...this.norm.plainLayers(g), ...pool, { kind: "relu" }];
  }

  /** 1×1, from every element to the same one. */
  #plainShortcut(g: number): PlainLayer[] {
    if (!this.shortcut) return [];
    const { weight, bias } = this.shortcut;
    const [out, channels] = weight.shape;
    const wide = scope(() => {
      const same = reshape(weight.device.tensor(permutationMatrix(identityPermutation(g))), [1, g, 1, g]);
      return reshape(mul(reshape(weight, [out, 1, channels, 1]), same), [out * g, channels * g, 1, 1]);
    });
    return [{ kind: "conv", weight: wide, bias: everyElement(bias, g), padding: 0 }];
  }

  forward(x: Tensor): Tensor {
    const inner = relu(instanceNorm(this.first.forward(x), { eps: EPS }));
    const outer = relu(instanceNorm(this.second.forward(inner), { eps: EPS }));
    const sum = this.norm.forward(add(outer, this.#short(x)));
    return relu(this.#pool > 1 ? poolImages(sum, this.#pool) : sum);
  }
}

/**
 * x [B, inChannels, H, W] → logits [B, classes]: the residual network of the paper's experiments on CIFAR-10 (after Knigge et al. 2022, arXiv:2110.13059), of plain, fixed group or
 * weight-sharing convolutions.
 *
 * lift → batch norm → ReLU → blocks → mean over group and positions → linear without bias → batch norm → ReLU → dropout → linear
 *
 * A block is conv → instance norm → ReLU → conv → instance norm → ReLU, plus its input (through a 1×1 convolution where channels change), → batch norm → max pooling → ReLU. Convolutions
 * keep the size of the images.
 *
 * Parameter counts with 7×7 kernels, 2 blocks and 10 classes: 428,170 at width 32 without symmetry, 1,660,170 at 64, 6,544,906 at 128; 1,632,394 at width 32 with 4 fixed elements;
 * the same and 468,195 for the matrices when they are learned.
 *
 * Batch norm and dropout differ in training and afterwards: call `eval()` before evaluating. `plainLayers` are those of evaluation.
 *
 * @throws ArgumentError for sizes that are no positive integers, dropout outside of [0, 1), a group that does not fit the kernel, and, from `forward`, for images that are too
 * small or have other channels.
 * @example
 * ```ts
 * const symmetry = { kind: "fixed", group: rotationGroup(3).elements } as const;
 * const network = new ResidualNetwork(initializer(device, 1), symmetry, { width: 2, kernelSize: 3, inChannels: 1, hidden: 4 }).eval();
 * const x = device.tensor(Float32Array.from({ length: 64 }, (_, i) => Math.sin(i)), [1, 1, 8, 8]);
 * const turned = reshape(take(reshape(x, [64]), rotationGroup(8).elements[1]), [1, 1, 8, 8]); // by 90°
 * const [logits, same] = [network.forward(x), network.forward(turned)];
 * logits.shape; // => [1, 10]
 * await max(abs(sub(logits, same))).item(); // => 0.000
 * ```
 */
export class ResidualNetwork extends SymmetricNetwork implements PlainModule {
  readonly lift: Convolution;
  readonly norm: BatchNorm;
  readonly blocks: readonly ResidualBlock[];
  /** Of the linear map without bias: [hidden, channels]. */
  readonly projection: Tensor;
  readonly projectionNorm: BatchNorm;
  readonly dropout: Dropout;
  readonly head: Linear;
  readonly #minimum: number;
  readonly #group: number;
  readonly #options: ResidualNetworkOptions;

  constructor(init: Initializer, symmetry: Symmetry, options: ResidualNetworkOptions) {
    super();
    const where = "ResidualNetwork";
    const {
      width,
      kernelSize = 7,
      blocks = 2,
      classes = 10,
      inChannels = 3,
      pool = 2,
      hidden = 256,
      dropout = 0.3,
    } = checkNames(where, options, [...MATRIX_NAMES, "width", "kernelSize", "blocks", "classes", "inChannels", "pool", "hidden", "dropout"]);
    for (const [name, value] of Object.entries({ width, kernelSize, classes, inChannels, pool, hidden })) checkCount(where, name, value);
    checkCount(where, "blocks", blocks, 1, MAX_BLOCKS);
    const widths = Array.from({ length: blocks }, (_, block) => width * 2 ** block);
    const channels = [inChannels, width, ...widths.flatMap((wide) => [wide, wide])];
    const shapes = channels.slice(1).map((outChannels, i) => ({ inChannels: channels[i], outChannels, kernelSize, padding: "same" as const }));
    const last = widths[blocks - 1];
    [this.lift, this.norm, this.blocks, this.projection, this.projectionNorm, this.dropout, this.head] = allOrNone(() => {
      const [lift, ...others] = convolutions(where, init, symmetry, shapes, options);
      return [
        lift,
        new BatchNorm(init, width),
        widths.map((wide, block) => new ResidualBlock(init, others.slice(2 * block, 2 * block + 2), channels[1 + 2 * block], wide, pool)),
        kaimingUniform(init, [hidden, last], last),
        new BatchNorm(init, hidden),
        new Dropout(init, dropout),
        new Linear(init, hidden, classes),
      ];
    });
    this.#group = groupOrder(symmetry);
    this.#options = { ...matrixOptions(options), width, kernelSize, blocks, classes, inChannels, pool, hidden, dropout };
    this.#minimum = Math.max(2, pool) * pool ** (blocks - 1);
  }

  get convolutions(): readonly Convolution[] {
    return [this.lift, ...this.blocks.flatMap(({ first, second }) => [first, second])];
  }

  withSymmetry(init: Initializer, symmetry: Symmetry): ResidualNetwork {
    return new ResidualNetwork(init, symmetry, this.#options);
  }

  plainLayers(): PlainLayer[] {
    const { projection } = this;
    const [hidden, channels] = projection.shape;
    const g = this.#group;
    // The mean over elements as part of the map.
    const weight = scope(() =>
      reshape(expand(reshape(mul(projection, 1 / g), [hidden, channels, 1]), [hidden, channels, g]), [hidden, channels * g]),
    );
    return [
      ...this.lift.plainLayers(),
      ...this.norm.plainLayers(g),
      { kind: "relu" },
      ...this.blocks.flatMap((block) => block.plainLayers(g)),
      { kind: "globalMean" },
      { kind: "linear", weight },
      ...this.projectionNorm.plainLayers(),
      { kind: "relu" },
      ...this.head.plainLayers(),
    ];
  }

  /** What comes out behind the lifting layer and behind each block, after norm, pooling and ReLU: [B, channels, g, H', W'] each, without symmetry [B, channels, H', W']. */
  activations(x: Tensor): Tensor[] {
    checkTensor("ResidualNetwork", "x", x);
    if (x.shape.length !== 4 || Math.min(...x.shape.slice(-2)) < this.#minimum)
      throw expected("ResidualNetwork", `images of at least ${this.#minimum}×${this.#minimum} as [B, C, H, W]`, "x", x.shape);
    return scope(() => {
      const outputs = [relu(this.norm.forward(this.lift.forward(x)))];
      for (const block of this.blocks) outputs.push(block.forward(outputs[outputs.length - 1]));
      return outputs;
    });
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const outputs = this.activations(x);
      const hidden = linear(groupPool(outputs[outputs.length - 1]), this.projection);
      return this.head.forward(this.dropout.forward(relu(this.projectionNorm.forward(hidden))));
    });
  }
}
