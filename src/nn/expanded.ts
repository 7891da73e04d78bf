/**
 * Convolution with a kernel that is expanded through a stack of matrices: the part that learned and fixed groups share.
 * The stack says what each group element does to the canonical kernel; the identity comes first and costs nothing.
 */

import { expected } from "../errors.ts";
import { showShape } from "../op.ts";
import { conv2d } from "../ops/conv2d/index.ts";
import { expandKernel } from "../ops/expandKernel/index.ts";
import { expand, reshape } from "../ops/shape/index.ts";
import { checkTensor, type Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

export type Padding = number | "valid" | "same";

export abstract class ExpandedConv2d extends Module {
  /** Canonical kernel: [Cout, Cin, k, k] for lifting, [Cout, Cin, g_in, k, k] from a group. */
  abstract readonly weight: Tensor;
  /** One number per output channel, shared by all group elements and positions: [Cout]. */
  abstract readonly bias: Tensor;
  readonly #padding: Padding;

  constructor(padding: Padding) {
    super();
    this.#padding = padding;
  }

  /** The matrices of the elements after the identity, [g − 1, d, d], with d = k² or g_in·k². */
  abstract stack(): Tensor;

  /** The kernel of an ordinary convolution: [Cout·g, Cin·g_in, k, k]. */
  expandedKernel(): Tensor {
    return expandKernel(this.stack(), this.weight);
  }

  /**
   * @param x [B, Cin, H, W] for lifting, [B, Cin, g_in, H, W] otherwise
   * @returns [B, Cout, g, H', W']
   */
  forward(x: Tensor): Tensor {
    checkTensor(this.constructor.name, "x", x);
    const [cout, cin, ...rest] = this.weight.shape;
    const wanted = rest.length === 2 ? [cin] : [cin, rest[0]];
    const channels = x.shape.slice(1, -2);
    if (x.shape.length !== wanted.length + 3 || wanted.some((size, i) => size !== channels[i])) {
      throw expected(this.constructor.name, `shape [B, ${wanted.join(", ")}, H, W]`, "x", showShape(x.shape));
    }
    const [height, width] = x.shape.slice(-2);
    const kernel = this.expandedKernel();
    const elements = kernel.shape[0] / cout;
    const bias = reshape(expand(reshape(this.bias, [cout, 1]), [cout, elements]), [cout * elements]);
    const y = conv2d(reshape(x, [x.shape[0], kernel.shape[1], height, width]), kernel, { bias, padding: this.#padding });
    return reshape(y, [x.shape[0], cout, elements, y.shape[2], y.shape[3]]);
  }
}
