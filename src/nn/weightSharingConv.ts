/** The weight-sharing layer as one call: Sinkhorn, expansion and convolution. */
import { expected } from "../errors.ts";
import { elements } from "../op.ts";
import { type Conv2dOptions, conv2d } from "../ops/conv/index.ts";
import { expandKernel, type FactorisedMatrices } from "../ops/expandKernel/index.ts";
import { expand, reshape } from "../ops/shape/index.ts";
import { sinkhorn } from "../ops/sinkhorn/index.ts";
import { scope } from "../scope.ts";
import { checkTensor, Tensor } from "../tensor.ts";
import { DerivedTensor } from "./derived.ts";
import { checkCount } from "./layers.ts";

export interface SinkhornSettings {
  /** Row and column normalisations per forward pass. Default 20. */
  readonly iterations?: number;
  /** The logits are divided by it. Default 1. */
  readonly temperature?: number;
}

/** What says how the elements of the group act: logits of matrices, of their two factors, or positions of fixed permutations. */
export type Sharing = Tensor | FactorisedMatrices;

export interface WeightSharingConvOptions extends SinkhornSettings, Pick<Conv2dOptions, "stride" | "padding" | "dilation"> {
  /** One number per output channel, shared by all group elements and positions: [Cout]. */
  readonly bias?: Tensor;
  /** Whether group element 0 is the identity, which needs no matrix. Default true. */
  readonly identity?: boolean;
  /** Where the expanded kernel is kept from call to call. Default: nowhere. */
  readonly cache?: KernelCache;
}

/**
 * Keeps the expanded kernel of one weight-sharing layer while its parameters stay as they are, so that evaluating a batch costs a convolution and nothing
 * else. Parameters that change in place (`device.write`, an optimiser's step), other tensors in their place or other settings give a new kernel. Where a
 * gradient of the kernel is wanted, every call computes it. One cache per layer; dispose of it with the layer.
 *
 * @example
 * ```ts
 * const [logits, w, x] = [device.zeros([3, 9, 9]), device.ones([2, 1, 3, 3]), device.ones([1, 1, 8, 8])];
 * using cache = new KernelCache();
 * weightSharingConv(x, logits, w, { cache }); // Sinkhorn, expansion, convolution
 * weightSharingConv(x, logits, w, { cache }); // a convolution
 * device.write(w, new Float32Array(18));
 * const y = weightSharingConv(x, logits, w, { cache }); // w has changed
 * await max(y).item(); // => 0
 * ```
 */
export class KernelCache implements Disposable {
  readonly #kernel = new DerivedTensor();
  readonly #bias = new DerivedTensor();

  /** Internal: the expanded kernel, [Cout·g, Cin·g_in, k, k]. The tensor is the caller's own. */
  kernel(where: string, sharing: Sharing, w: Tensor, settings: Required<SinkhornSettings> & { readonly identity: boolean }): Tensor {
    const sources = sharing instanceof Tensor ? [sharing, w] : [sharing.group, sharing.space, w];
    return this.#kernel.get(where, sources, JSON.stringify(settings), () =>
      scope(() => expandKernel(doublyStochastic(sharing, settings), w, { identity: settings.identity })),
    );
  }

  /** Internal: the bias of every group element, [Cout·g]. The tensor is the caller's own. */
  bias(where: string, bias: Tensor, group: number): Tensor {
    const [cout] = bias.shape;
    return this.#bias.get(where, [bias], `${group}`, () => scope(() => reshape(expand(reshape(bias, [cout, 1]), [cout, group]), [cout * group])));
  }

  /** Frees what is kept. The cache can be used again. */
  dispose(): void {
    this.#kernel.dispose();
    this.#bias.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Settings with their defaults; throws for those that make no sense. */
export const sinkhornSettings = (where: string, { iterations = 20, temperature = 1 }: SinkhornSettings): Required<SinkhornSettings> => {
  checkCount(where, "iterations", iterations);
  if (!(temperature > 0 && Number.isFinite(temperature))) throw expected(where, "a positive number", "temperature", temperature);
  return { iterations, temperature };
};

/** What `expandKernel` takes: P of the logits, or positions as they are. */
const doublyStochastic = (sharing: Sharing, { iterations, temperature }: Required<SinkhornSettings>): Sharing => {
  const normalised = (logits: Tensor): Tensor => sinkhorn(logits, { iterations, temperature });
  if (!(sharing instanceof Tensor)) return { group: normalised(sharing.group), space: normalised(sharing.space) };
  return sharing.dtype === "float32" ? normalised(sharing) : sharing;
};

/** Sinkhorn would take other shapes, and name them differently. */
const checkSharing = (where: string, sharing: Sharing, w: Tensor): void => {
  const d = elements(w.shape.slice(2));
  const square = (argument: string, tensor: Tensor, side: number | undefined): void => {
    const { shape } = tensor;
    if (shape.length !== 3 || shape[1] !== shape[2] || (side !== undefined && shape[1] !== side)) {
      const sides = side ?? "g_in";
      throw expected(where, `shape [matrices, ${sides}, ${sides}]`, argument, shape);
    }
  };
  if (!(sharing instanceof Tensor)) {
    if (typeof sharing !== "object" || sharing === null) throw expected(where, "a tensor, or an object with `group` and `space`,", "logits", sharing);
    checkTensor(where, "logits.group", sharing.group);
    checkTensor(where, "logits.space", sharing.space);
    square("logits.group", sharing.group, w.shape.length === 5 ? w.shape[2] : undefined);
    square("logits.space", sharing.space, d / sharing.group.shape[1]);
  } else if (sharing.dtype === "float32") square("logits", sharing, d);
};

/** `weightSharingConv` under the name of whoever calls it. */
export const convolveShared = (where: string, x: Tensor, sharing: Sharing, w: Tensor, options: WeightSharingConvOptions): Tensor => {
  checkTensor(where, "x", x);
  checkTensor(where, "w", w);
  const { bias, identity = true, stride, padding, dilation, cache } = options;
  if (typeof identity !== "boolean") throw expected(where, "true or false", "identity", identity);
  if (cache !== undefined && !(cache instanceof KernelCache)) throw expected(where, "a KernelCache", "cache", cache);
  const settings = { ...sinkhornSettings(where, options), identity };
  const [cout, cin, ...rest] = w.shape;
  if (rest.length !== 2 && rest.length !== 3) throw expected(where, "shape [Cout, Cin, k, k] or [Cout, Cin, g_in, k, k]", "w", w.shape);
  checkSharing(where, sharing, w);
  const wanted = rest.length === 2 ? [cin] : [cin, rest[0]];
  if (x.shape.length !== wanted.length + 3 || wanted.some((size, i) => size !== x.shape[i + 1]))
    throw expected(where, `shape [B, ${wanted.join(", ")}, H, W]`, "x", x.shape);
  if (bias !== undefined) {
    checkTensor(where, "bias", bias);
    if (bias.shape.length !== 1 || bias.shape[0] !== cout) throw expected(where, `shape [${cout}]`, "bias", bias.shape);
  }
  return scope(() => {
    using own = cache ? undefined : new KernelCache();
    const kept = cache ?? (own as KernelCache);
    const kernel = kept.kernel(where, sharing, w, settings);
    const group = kernel.shape[0] / cout;
    const every = bias && kept.bias(where, bias, group);
    const [height, width] = x.shape.slice(-2);
    const y = conv2d(reshape(x, [x.shape[0], kernel.shape[1], height, width]), kernel, {
      ...(every && { bias: every }),
      ...(stride !== undefined && { stride }),
      ...(padding !== undefined && { padding }),
      ...(dilation !== undefined && { dilation }),
    });
    return reshape(y, [x.shape[0], cout, group, y.shape[2], y.shape[3]]);
  });
};

/**
 * A convolution whose symmetry is learned, as one call: Sinkhorn makes the logits doubly stochastic, the canonical kernel is expanded through the matrices, and the
 * expansion is convolved. Lifting from images for w [Cout, Cin, k, k], group convolution for w [Cout, Cin, g_in, k, k].
 *
 * y[b, o, g] = bias[o] + Σ_i x[b, i] ⋆ (R[g] w[o, i]), R = (identity, sinkhorn(logits))
 *
 * Van der Linden et al., "Learning symmetries via weight-sharing with doubly stochastic tensors" (2024).
 *
 * @param x [B, Cin, H, W], or [B, Cin, g_in, H, W] for w with a group axis
 * @param logits as R of `expandKernel`, d being the numbers of a canonical kernel: float32 [matrices, d, d]; `{ group, space }` with float32 [matrices, g_in, g_in]
 * and [matrices, d/g_in, d/g_in], normalised one by one; or int32 positions [matrices, d] of fixed permutations, which are taken as they are
 * @param w float32 [Cout, Cin, k, k] or [Cout, Cin, g_in, k, k]
 * @returns [B, Cout, g, H', W'] with g = matrices, and one more with `identity`; H' and W' as of `conv2d`
 * @throws ArgumentError for other shapes or dtypes, and settings out of range. The next `read()` throws DataError for logits that are NaN or infinite, and positions
 * outside of a kernel.
 * @example
 * ```ts
 * const [logits, w] = [device.zeros([3, 9, 9]), device.ones([2, 1, 3, 3])];
 * const lifted = weightSharingConv(device.ones([5, 1, 8, 8]), logits, w, { bias: device.zeros([2]), padding: "same" });
 * lifted.shape; // => [5, 2, 4, 8, 8]
 * const factors = { group: device.zeros([3, 4, 4]), space: device.zeros([3, 9, 9]) };
 * weightSharingConv(lifted, factors, device.ones([3, 2, 4, 3, 3])).shape; // => [5, 3, 4, 6, 6]
 * ```
 */
export const weightSharingConv = (x: Tensor, logits: Sharing, w: Tensor, options: WeightSharingConvOptions = {}): Tensor =>
  convolveShared("weightSharingConv", x, logits, w, options);
