import { apply } from "../../apply.ts";
import { checkNames, checkRange, expected } from "../../errors.ts";
import { Tensor } from "../../tensor.ts";
import { forward } from "./op.ts";
import { REDUCTIONS, type Reduction } from "./reference.ts";

export interface CrossEntropyOptions {
  /** Default "mean" over the batch. */
  readonly reduction?: Reduction;
  /** Share of the target that is spread evenly over all classes, in [0, 1]. Default 0. */
  readonly labelSmoothing?: number;
}

const where = "softmaxCrossEntropy";

/** Host labels as a tensor, each looked at. */
const hostLabels = (labels: readonly number[] | Int32Array, logits: Tensor): Tensor => {
  const [batch, classes] = logits.shape;
  if (logits.shape.length !== 2) throw expected(where, "shape [batch, classes]", "logits", logits.shape);
  if (labels.length !== batch) throw expected(where, `${batch} labels for logits of shape [${batch}, ${classes}]`, "labels", `${labels.length}`);
  for (let b = 0; b < labels.length; b++) {
    const label = labels[b];
    if (!(Number.isInteger(label) && label >= 0 && label < classes)) throw expected(where, `an integer in [0, ${classes})`, `labels[${b}]`, label);
  }
  return logits.device.tensor(labels, [labels.length], "int32");
};

/**
 * Cross-entropy of softmax(logits) against class labels, as PyTorch's `cross_entropy`: log Σ exp(row) − row[label].
 *
 * With label smoothing ε the target is (1 − ε) at the label plus ε / classes everywhere (Szegedy et al. 2016, arXiv:1512.00567).
 * As in PyTorch the mean over an empty batch is NaN, and the sum 0.
 *
 * @param logits shape [batch, classes], float32
 * @param labels shape [batch]: host integers, checked at once, or an int32 tensor, of which a value that is no class raises
 * DataError at the next `read()`
 * @returns shape [], or [batch] with reduction "none"
 * @throws ArgumentError for other shapes and dtypes, a host label that is no class (names its position), and options out of range.
 * @example
 * ```ts
 * const logits = device.tensor([[2, 0, 0], [0, 0, 0]]);
 * await softmaxCrossEntropy(logits, [0, 2]).item(); // => 0.66908
 * await softmaxCrossEntropy(logits, [0, 2], { reduction: "none" }).read(); // => [0.2395, 1.0986]
 * softmaxCrossEntropy(logits, [0, 3]); // throws ArgumentError
 * ```
 */
export const softmaxCrossEntropy = (logits: Tensor, labels: Tensor | readonly number[] | Int32Array, options: CrossEntropyOptions = {}): Tensor => {
  const { reduction = "mean", labelSmoothing = 0 } = checkNames(where, options, ["reduction", "labelSmoothing"]);
  if (!(logits instanceof Tensor)) throw expected(where, "a tensor", "logits", logits);
  if (!REDUCTIONS.includes(reduction)) throw expected(where, '"mean", "sum" or "none"', "reduction", reduction);
  checkRange(where, "labelSmoothing", labelSmoothing, 0, 1, "a number in [0, 1]");
  if (!(labels instanceof Tensor || labels instanceof Int32Array || Array.isArray(labels)))
    throw expected(where, "an int32 tensor, an Int32Array or an array", "labels", labels);
  const attrs = { reduction, smooth: labelSmoothing !== 0 };
  logits.assertLive(where);
  const tensor = labels instanceof Tensor ? labels : hostLabels(labels as Int32Array, logits);
  try {
    const [loss, statistics] = apply(forward, [logits, tensor], attrs, { smoothing: labelSmoothing });
    statistics.dispose();
    return loss;
  } finally {
    if (tensor !== labels) tensor.dispose();
  }
};
