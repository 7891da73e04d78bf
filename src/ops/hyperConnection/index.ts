import { apply } from "../../apply.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { forward } from "./op.ts";
import { checkOptions, type HyperConnectionOptions } from "./options.ts";

export type { HyperConnectionOptions } from "./options.ts";

/**
 * The residual mapping of manifold-constrained hyper-connections: Sinkhorn normalisation with DeepSeek's `eps`, fused with the affine
 * map before it and the mixing of streams behind it. With x = (scale · logits + bias) / temperature and every division by a sum
 * reading `/ (sum + eps)`:
 *
 *     P = softmax(x, -1) + eps;  P /= columns;  then iterations − 1 times  P /= rows;  P /= columns
 *
 * Columns of P sum to 1 within eps, rows in the limit. As `eps` keeps zeros away, P is not what `sinkhorn` gives: for sharp logits the two
 * differ entirely. The gradient is that of the iterations as they were run. With `streams` P itself is never stored, forward or backward.
 *
 * Xie et al., "mHC: Manifold-constrained hyper-connections" (2025), arXiv 2512.24880; the order of operations is that of DeepSeek's TileKernels.
 *
 * @param logits float32 `[..., n, m]`, n and m from 1 to 8; leading axes are the batch
 * @returns P, of the shape of `logits`; with `streams` `[..., m, d]` the product P · streams, `[..., n, d]`
 * @throws ArgumentError for another shape or dtype, or an option out of range; the next `read()` throws DataError when a logit, scale or
 * bias is NaN or infinite.
 * @example
 * ```ts
 * const logits = device.tensor([[2, 0], [0, 1]]);
 * const P = hyperConnection(logits, { scale: device.tensor(0.5), bias: device.zeros([2, 2]) });
 * await P.read(); // => [0.6792, 0.3208, 0.3208, 0.6792]
 * const streams = device.tensor([[1, 2, 3], [10, 20, 30]]);
 * await hyperConnection(logits, { streams }).read(); // => [2.6418, 5.2837, 7.9255, 8.3582, 16.7163, 25.0745]
 * hyperConnection(device.zeros([2, 9, 9])); // throws ArgumentError
 * ```
 */
export const hyperConnection = (logits: Tensor, options: HyperConnectionOptions = {}): Tensor => {
  const where = "hyperConnection";
  checkTensor(where, "logits", logits);
  const { iterations, eps, temperature, scale, bias, streams } = checkOptions(where, options);
  const operands = [logits, scale, bias, streams].filter((tensor) => tensor !== undefined);
  const attrs = { iterations, scale: scale !== undefined, bias: bias !== undefined, streams: streams !== undefined };
  return apply(forward, operands, attrs, { temperature, eps })[0];
};
