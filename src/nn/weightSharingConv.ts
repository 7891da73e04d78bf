/** The weight-sharing layer as one call: Sinkhorn, expansion and convolution. */
import { checkFlags, checkNames, expected } from "../errors.ts";
import { elements } from "../op.ts";
import { type Conv2dOptions, conv1d, conv2d, conv3d } from "../ops/conv/index.ts";
import { expandKernel, type FactorisedMatrices } from "../ops/expandKernel/index.ts";
import { expand, reshape } from "../ops/shape/index.ts";
import { scope } from "../scope.ts";
import { checkTensor, Tensor } from "../tensor.ts";
import { DerivedTensor } from "./derived.ts";
import { constrained, type MatrixSettings, type MatrixSource, matrixSettings } from "./matrices.ts";

/** What says how the elements of the group act: logits of matrices, of their two factors, or positions of fixed permutations. */
export type Sharing = Tensor | FactorisedMatrices;

/** Axes of an image. */
export type Dimensions = 1 | 2 | 3;

export interface WeightSharingConvOptions extends MatrixSettings, Pick<Conv2dOptions, "stride" | "padding" | "dilation"> {
  /** One number per output channel, shared by all group elements and positions: [Cout]. */
  readonly bias?: Tensor;
  /** Whether group element 0 is the identity, which needs no matrix. Default true. */
  readonly identity?: boolean;
  /** Axes of the images: 1 for signals, 3 for voxels. Default 2. */
  readonly dimensions?: Dimensions;
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

  /** Internal: the expanded kernel, [Cout·g, Cin·g_in, k, …]. The tensor is the caller's own. */
  kernel(where: string, matrices: MatrixSource, w: Tensor, { identity, dimensions }: { identity: boolean; dimensions: Dimensions }): Tensor {
    return this.#kernel.get(where, [...matrices.sources, w], `${identity} ${dimensions} ${matrices.key}`, () =>
      scope(() => {
        const [cout, cin, ...rest] = w.shape;
        const expanded = expandKernel(matrices.make(), reshape(w, [cout, cin, elements(rest)]), { identity });
        const sides = rest.slice(rest.length - dimensions);
        return reshape(expanded, [expanded.shape[0], cin * elements(rest.slice(0, rest.length - dimensions)), ...sides]);
      }),
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

/** What `expandKernel` takes: the matrices of the logits, or positions as they are. */
const sourceOf = (sharing: Sharing, settings: Required<MatrixSettings>): MatrixSource => ({
  sources: sharing instanceof Tensor ? [sharing] : [sharing.group, sharing.space],
  key: JSON.stringify(settings),
  make: () => {
    if (!(sharing instanceof Tensor)) return { group: constrained(sharing.group, settings), space: constrained(sharing.space, settings) };
    return sharing.dtype === "float32" ? constrained(sharing, settings) : sharing;
  },
});

/** Sinkhorn would take other shapes, and name them differently. */
const checkSharing = (where: string, sharing: Sharing, w: Tensor, grouped: boolean): void => {
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
    square("logits.group", sharing.group, grouped ? w.shape[2] : undefined);
    square("logits.space", sharing.space, d / sharing.group.shape[1]);
  } else if (sharing.dtype === "float32") square("logits", sharing, d);
};

const AXES = { 1: ["L"], 2: ["H", "W"], 3: ["D", "H", "W"] } as const;
const CONVOLUTIONS = { 1: conv1d, 2: conv2d, 3: conv3d } as const;

export type ConvolveOptions = Omit<WeightSharingConvOptions, keyof MatrixSettings>;

/** Throws unless x and w are those of a lifting or a group layer; says whether w has a group axis. */
const checkImages = (where: string, x: Tensor, w: Tensor, dimensions: Dimensions): boolean => {
  checkTensor(where, "x", x);
  checkTensor(where, "w", w);
  const [, cin, ...rest] = w.shape;
  const k = AXES[dimensions].map(() => "k").join(", ");
  if (rest.length !== dimensions && rest.length !== dimensions + 1)
    throw expected(where, `shape [Cout, Cin, ${k}] or [Cout, Cin, g_in, ${k}]`, "w", w.shape);
  const grouped = rest.length > dimensions;
  const wanted = grouped ? [cin, rest[0]] : [cin];
  if (x.shape.length !== wanted.length + dimensions + 1 || wanted.some((size, i) => size !== x.shape[i + 1]))
    throw expected(where, `shape [B, ${[...wanted, ...AXES[dimensions]].join(", ")}]`, "x", x.shape);
  return grouped;
};

/** Expansion and convolution, under the name of whoever calls. */
export const convolveShared = (where: string, x: Tensor, matrices: MatrixSource, w: Tensor, options: ConvolveOptions): Tensor => {
  const { bias, identity = true, dimensions = 2, stride, padding, dilation, cache } = options;
  checkImages(where, x, w, dimensions);
  const [cout] = w.shape;
  return scope(() => {
    using own = cache ? undefined : new KernelCache();
    const kept = cache ?? (own as KernelCache);
    const kernel = kept.kernel(where, matrices, w, { identity, dimensions });
    const group = kernel.shape[0] / cout;
    const every = bias && kept.bias(where, bias, group);
    const y = CONVOLUTIONS[dimensions](reshape(x, [x.shape[0], kernel.shape[1], ...x.shape.slice(-dimensions)]), kernel, {
      ...(every && { bias: every }),
      ...(stride !== undefined && { stride }),
      ...(padding !== undefined && { padding }),
      ...(dilation !== undefined && { dilation }),
    });
    return reshape(y, [x.shape[0], cout, group, ...y.shape.slice(2)]);
  });
};

/**
 * A convolution whose symmetry is learned, as one call: Sinkhorn makes the logits doubly stochastic, the canonical kernel is expanded through the matrices, and the
 * expansion is convolved. Lifting from images for w [Cout, Cin, k, k], group convolution for w [Cout, Cin, g_in, k, k]; with `dimensions` 1 or 3, as many axes
 * in place of the last two of x, w and result.
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
export const weightSharingConv = (x: Tensor, logits: Sharing, w: Tensor, options: WeightSharingConvOptions = {}): Tensor => {
  const where = "weightSharingConv";
  const names = ["iterations", "temperature", "constraint", "bias", "stride", "padding", "dilation", "identity", "dimensions", "cache"] as const;
  const { bias, identity = true, dimensions = 2, cache } = checkNames(where, options, names);
  checkFlags(where, { identity });
  if (!(dimensions in CONVOLUTIONS)) throw expected(where, "1, 2 or 3", "dimensions", dimensions);
  if (cache !== undefined && !(cache instanceof KernelCache)) throw expected(where, "a KernelCache", "cache", cache);
  const settings = matrixSettings(where, options);
  checkSharing(where, logits, w, checkImages(where, x, w, dimensions));
  const [cout] = w.shape;
  if (bias !== undefined) {
    checkTensor(where, "bias", bias);
    if (bias.shape.length !== 1 || bias.shape[0] !== cout) throw expected(where, `shape [${cout}]`, "bias", bias.shape);
  }
  return convolveShared(where, x, sourceOf(logits, settings), w, options);
};
