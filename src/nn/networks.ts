/** The paper's digit networks: one lifting and several group convolutions, each with layer norm and ReLU, then pooling and a linear map. */
import { identityPermutation, permutationMatrix } from "../data/permutations.ts";
import { checkNames, expected } from "../errors.ts";
import { mul, relu } from "../ops/elementwise/index.ts";
import { layerNorm } from "../ops/norm/index.ts";
import { maxPool2d } from "../ops/pool/index.ts";
import { mean } from "../ops/reduce/index.ts";
import { expand, reshape, transpose } from "../ops/shape/index.ts";
import { allOrNone, scope } from "../scope.ts";
import { checkTensor, type Tensor } from "../tensor.ts";
import { type Convolution, convolutions, groupOrder, SymmetricNetwork, type Symmetry } from "./convolutions.ts";
import type { Initializer } from "./init.ts";
import { checkCount, Linear } from "./layers.ts";
import { MATRIX_NAMES, type MatrixOptions, matrixOptions } from "./matrices.ts";
import type { PlainLayer, PlainModule } from "./plain.ts";

/**
 * Mean over group elements and positions: x [B, C, g, H, W] or [B, C, H, W] → [B, C]. Invariant when the layers before are equivariant.
 *
 * @example groupPool(device.ones([2, 8, 4, 6, 6])).shape; // => [2, 8]
 */
export const groupPool = (x: Tensor): Tensor => {
  checkTensor("groupPool", "x", x);
  return mean(x, x.shape.map((_, axis) => axis).slice(2));
};

/** Max pooling of the last two axes, whatever stands before them. */
export const poolImages = (x: Tensor, size: number): Tensor => {
  const [height, width] = x.shape.slice(-2);
  const y = maxPool2d(reshape(x, [x.shape[0], -1, height, width]), size);
  return reshape(y, [...x.shape.slice(0, -2), ...y.shape.slice(-2)]);
};

export interface DigitNetworkOptions extends MatrixOptions {
  /** Channels of every layer (times the group elements in a group network). */
  readonly width: number;
  /** Default 5. */
  readonly kernelSize?: number;
  /** Convolutions in all, the lifting one included. Default 5. */
  readonly layers?: number;
  /** Default 10. */
  readonly classes?: number;
  /**
   * Side of the max-pooling windows behind the lifting layer. Default 1, none, as in the paper; 2 makes every later layer
   * see twice as far for a quarter of the work, and stays equivariant when the lifted image's sides are even.
   */
  readonly pool?: number;
  /** Default 1. */
  readonly inChannels?: number;
  /**
   * Units of a ReLU layer between pooling over positions and over elements, the same for every element, so that it can tell what meets within one element.
   * Default 0: none, as in the paper.
   */
  readonly hidden?: number;
  /** "invariant" (default) pools over the group; "equivariant" keeps it: logits of every element, which say in which orientation something is seen. */
  readonly head?: "invariant" | "equivariant";
}

const WHERE = "DigitNetwork";
const MAX_LAYERS = 1000;

/** Of every layer norm. */
const EPS = 1e-5;

/**
 * x [B, inChannels, H, W] → logits [B, classes], or [B, g·classes], elements outermost, with the head "equivariant". Valid convolutions, so H and W must exceed layers·(kernelSize − 1).
 *
 * Parameter counts with 5×5 kernels, 5 layers and 10 classes: 412,170 at width 64 without symmetry; 410,890 at width 32
 * with 4 fixed elements (103,050 at width 16); the same and 121,875 for the matrices when they are learned.
 *
 * @throws ArgumentError for sizes that are no positive integers, a group that does not fit the kernel, and, from `forward`, for images
 * that are too small or have other channels.
 * @example
 * ```ts
 * const symmetry = { kind: "fixed", group: rotationGroup(3).elements } as const;
 * const network = new DigitNetwork(initializer(device, 1), symmetry, { width: 2, kernelSize: 3, layers: 2 });
 * const x = device.tensor(Float32Array.from({ length: 36 }, (_, i) => Math.sin(i)), [1, 1, 6, 6]);
 * const turned = reshape(take(reshape(x, [36]), rotationGroup(6).elements[1]), [1, 1, 6, 6]); // by 90°
 * const [logits, same] = [network.forward(x), network.forward(turned)];
 * logits.shape; // => [1, 10]
 * await max(abs(sub(logits, same))).item(); // => 0.000
 * ```
 */
export class DigitNetwork extends SymmetricNetwork implements PlainModule {
  readonly blocks: readonly Convolution[];
  readonly hidden: Linear | undefined;
  readonly head: Linear;
  /** Whether the head is "equivariant". */
  readonly equivariant: boolean;
  readonly #pool: number;
  readonly #minimum: number;
  readonly #group: number;
  readonly #options: DigitNetworkOptions;

  constructor(init: Initializer, symmetry: Symmetry, options: DigitNetworkOptions) {
    super();
    const {
      width,
      kernelSize = 5,
      layers = 5,
      classes = 10,
      inChannels = 1,
      pool = 1,
      hidden = 0,
      head = "invariant",
    } = checkNames(WHERE, options, [...MATRIX_NAMES, "width", "kernelSize", "layers", "classes", "inChannels", "pool", "hidden", "head"]);
    checkCount(WHERE, "width", width);
    checkCount(WHERE, "layers", layers, 1, MAX_LAYERS);
    checkCount(WHERE, "classes", classes);
    checkCount(WHERE, "pool", pool);
    checkCount(WHERE, "hidden", hidden, 0);
    if (head !== "invariant" && head !== "equivariant") throw expected(WHERE, '"invariant" or "equivariant"', "head", head);
    const shapes = Array.from({ length: layers }, (_, layer) => ({ inChannels: layer === 0 ? inChannels : width, outChannels: width, kernelSize }));
    [this.blocks, this.hidden, this.head] = allOrNone(() => [
      convolutions(WHERE, init, symmetry, shapes, options),
      hidden > 0 ? new Linear(init, width, hidden) : undefined,
      new Linear(init, hidden > 0 ? hidden : width, classes),
    ]);
    this.equivariant = head === "equivariant";
    this.#group = groupOrder(symmetry);
    this.#options = { ...matrixOptions(options), width, kernelSize, layers, classes, inChannels, pool, hidden, head };
    this.#pool = pool;
    this.#minimum = ((layers - 1) * (kernelSize - 1) + 1) * pool + kernelSize - 1;
  }

  get convolutions(): readonly Convolution[] {
    return this.blocks;
  }

  withSymmetry(init: Initializer, symmetry: Symmetry): DigitNetwork {
    return new DigitNetwork(init, symmetry, this.#options);
  }

  plainLayers(): PlainLayer[] {
    const layers = this.blocks.flatMap((block, i): PlainLayer[] => {
      const pool: PlainLayer[] = i === 0 && this.#pool > 1 ? [{ kind: "maxPool", size: this.#pool }] : [];
      return [...block.plainLayers(), { kind: "norm", eps: EPS }, { kind: "relu" }, ...pool];
    });
    const { hidden, head, equivariant } = this;
    const last: PlainLayer[] = hidden
      ? [this.#everyElement(hidden, true, false), { kind: "relu" }, this.#everyElement(head, false, !equivariant)]
      : [this.#everyElement(head, true, !equivariant)];
    return [...layers, { kind: "globalMean" }, ...last];
  }

  /**
   * A map of each element's channels as one of the channels of all, which come as [C, g] from the layers with positions and as [g, C] from another such map. What is pooled is the
   * mean over elements, as part of the map.
   */
  #everyElement({ weight, bias }: Linear, first: boolean, pooled: boolean): PlainLayer {
    const [units, width] = weight.shape;
    const g = this.#group;
    const wide = scope(() => {
      const [w, own] = first
        ? [
            [1, units, width, 1],
            [g, 1, 1, g],
          ]
        : [
            [1, units, 1, width],
            [g, 1, g, 1],
          ];
      const all = mul(reshape(weight, w), reshape(weight.device.tensor(permutationMatrix(identityPermutation(g))), own));
      return reshape(pooled ? mean(all, 0) : all, [-1, width * g]);
    });
    return { kind: "linear", weight: wide, bias: pooled ? bias : scope(() => reshape(expand(reshape(bias, [1, units]), [g, units]), [g * units])) };
  }

  /** What comes out of each block, behind norm, ReLU and pooling: [B, width, g, H', W'] each, without symmetry [B, width, H', W']. Throws as `forward`. */
  activations(x: Tensor): Tensor[] {
    checkTensor(WHERE, "x", x);
    const [height, width] = x.shape.slice(-2);
    if (x.shape.length !== 4 || Math.min(height, width) < this.#minimum) {
      throw expected(WHERE, `images of at least ${this.#minimum}×${this.#minimum} as [B, C, H, W]`, "x", x.shape);
    }
    let h = x;
    return scope(() =>
      this.blocks.map((block, i) => {
        const y = block.forward(h);
        h = relu(layerNorm(y, y.shape.slice(1), { eps: EPS }));
        if (i === 0 && this.#pool > 1) h = poolImages(h, this.#pool);
        return h;
      }),
    );
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const outputs = this.activations(x);
      const last = outputs[outputs.length - 1];
      if (!this.hidden && !this.equivariant) return this.head.forward(groupPool(last));
      const positions = last.shape.map((_, axis) => axis).slice(-2);
      const [batch, channels, elements = 1] = last.shape.slice(0, -2);
      const each = transpose(reshape(mean(last, positions), [batch, channels, elements]), 1, 2);
      const logits = this.head.forward(this.hidden ? relu(this.hidden.forward(each)) : each);
      return this.equivariant ? reshape(logits, [batch, -1]) : mean(logits, 1);
    });
  }
}
