import type { ReferenceRun } from "../../op.ts";

export const REDUCTIONS = ["mean", "sum", "none"] as const;
export type Reduction = (typeof REDUCTIONS)[number];

export interface CrossEntropyAttrs extends Readonly<Record<string, number | boolean | string | readonly number[]>> {
  readonly reduction: Reduction;
  /** Whether the scalar `smoothing` is not 0. */
  readonly smooth: boolean;
}

/** logits [B, C], labels [B] -> loss [B] or [], statistics [B, 2]: the largest logit of a row and Σ exp(logit − largest). */
export const forward = ({
  call,
  scalars: { smoothing },
  inputs: [logits, labels],
  outputs: [loss, statistics],
  fault,
}: ReferenceRun<CrossEntropyAttrs>): void => {
  const { reduction } = call.attrs;
  const [batch, classes] = call.inputs[0].shape;
  let total = 0;
  for (let b = 0; b < batch; b++) {
    const row = logits.subarray(b * classes, (b + 1) * classes);
    let most = Number.NEGATIVE_INFINITY;
    for (const logit of row) if (Number.isNaN(logit) || logit > most) most = logit;
    const finite = Number.isFinite(most);
    let exponentials = finite ? 0 : Number.NaN;
    let mean = 0;
    for (const logit of row) {
      exponentials += Math.exp(logit - most);
      mean += (most - logit) / classes;
    }
    const label = labels[b];
    const known = label >= 0 && label < classes;
    if (!known) fault(label);
    let own = known && finite ? most - row[label] + Math.log(exponentials) : Number.NaN;
    if (smoothing !== 0) own = (1 - smoothing) * own + smoothing * (mean + Math.log(exponentials));
    if (reduction === "none") loss[b] = own;
    else total += own;
    statistics[2 * b] = finite ? most : 0;
    statistics[2 * b + 1] = exponentials;
  }
  if (reduction !== "none") loss[0] = reduction === "mean" ? total / batch : total;
};

/** g [B] or [], logits, labels, statistics -> dlogits = g · (softmax − target), over B for the mean. A label that is no class gives NaN, as its loss. */
export const backward = ({
  call,
  scalars: { smoothing },
  inputs: [g, logits, labels, statistics],
  outputs: [dlogits],
}: ReferenceRun<CrossEntropyAttrs>): void => {
  const { reduction } = call.attrs;
  const [batch, classes] = call.inputs[1].shape;
  for (let b = 0; b < batch; b++) {
    const scale = reduction === "none" ? g[b] : reduction === "mean" ? g[0] / batch : g[0];
    const known = labels[b] >= 0 && labels[b] < classes;
    for (let c = 0; c < classes; c++) {
      const share = Math.exp(logits[b * classes + c] - statistics[2 * b]) / statistics[2 * b + 1];
      const target = (labels[b] === c ? 1 - smoothing : 0) + smoothing / classes;
      dlogits[b * classes + c] = known ? scale * (share - target) : Number.NaN;
    }
  }
};
