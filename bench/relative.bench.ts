/** Relative projections, fused, beside norms, statistics and a product of matrices as operations of their own. */
import { abs, add, div, exp, log, mul, pow, sqrt, square, sub } from "../src/ops/elementwise/index.ts";
import { max, mean, sum } from "../src/ops/reduce/index.ts";
import { type RelativeProjectionOptions, relativeProjection, type Similarity } from "../src/ops/relativeProjection/index.ts";
import { reshape, transpose } from "../src/ops/shape/index.ts";
import type { Tensor } from "../src/tensor.ts";
import type { Bench, BenchCase } from "./harness/bench.ts";
import { plainMatmul } from "./plain-matmul.ts";

const unit = (x: Tensor): Tensor => div(x, sqrt(sum(square(x), -1, { keepDims: true })));
/** Cosines of rows in standard units of the anchors, whose statistics are constants, as in the papers. */
const naive =
  (robust: boolean, product: (u: Tensor, v: Tensor) => Tensor) =>
  (x: Tensor, anchors: Tensor): Tensor => {
    if (!robust) return product(unit(x), unit(anchors));
    const rows = anchors.detach();
    const centre = mean(rows, 0, { keepDims: true });
    const deviation = sqrt(mean(square(sub(rows, centre)), 0, { keepDims: true }));
    return product(unit(div(sub(x, centre), deviation)), unit(div(sub(anchors, centre), deviation)));
  };
/** √(‖u‖² + ‖v‖² − 2 u · v), which is how distances become a product of matrices; NaN where rounding makes it negative. */
const distances = (x: Tensor, anchors: Tensor): Tensor => {
  const product = plainMatmul(x, transpose(anchors, 0, 1));
  const squares = add(sum(square(x), -1, { keepDims: true }), transpose(sum(square(anchors), -1, { keepDims: true }), 0, 1));
  return mul(sqrt(sub(squares, mul(product, 2))), -1);
};

/** What the other distances are made of: all differences, of every row from every anchor. */
const differences =
  (distance: (apart: Tensor) => Tensor) =>
  (x: Tensor, anchors: Tensor): Tensor =>
    mul(distance(abs(sub(reshape(x, [x.shape[0], 1, x.shape[1]]), anchors))), -1);
const P = 3;
const NAIVE: Partial<Record<Similarity, BenchCase["naive"]>> = {
  l1: differences((apart) => sum(apart, -1)),
  l2: distances,
  linf: differences((apart) => max(apart, -1)),
  // The root by way of the logarithm: a third is no number of float32.
  lp: differences((apart) => exp(div(log(sum(pow(apart, P), -1)), P))),
};

const projection = (
  B: number,
  K: number,
  d: number,
  options: Pick<RelativeProjectionOptions, "similarity" | "normalise">,
  more: Partial<BenchCase> = {},
): BenchCase => {
  const { similarity = "cosine", normalise = "none" } = options;
  const p = similarity === "lp" ? { p: P } : {};
  const operations = 2 * B * K * d;
  const [read, written] = [(B + K) * d, B * K];
  return {
    name: `relative ${B}x${d} on ${K}${similarity === "cosine" ? "" : ` ${similarity}`}${normalise === "none" ? "" : ` ${normalise}d`}`,
    inputs: [{ shape: [B, d] }, { shape: [K, d], batched: false }],
    output: [B, K],
    fused: (x, anchors) => relativeProjection(x, anchors, { ...options, ...p, detachAnchors: false }),
    naive: NAIVE[similarity] ?? naive(normalise === "standardise", (u, v) => plainMatmul(u, transpose(v, 0, 1))),
    rival: { operation: "relativeProjection", similarity, normalise, ...p },
    cost: {
      forward: { operations, bytes: 4 * (read + written) },
      "forward+backward": { operations: 3 * operations, bytes: 4 * (3 * read + 2 * written) },
    },
    tolerance: { relative: 2e-5, reason: "float32 sums of up to 4096 products in different orders, of rows with rounded norms and statistics" },
    ...more,
  };
};

export const bench: Bench = {
  name: "relative",
  about: "relative projections, beside norms, statistics and products as operations of their own",
  cases: [
    projection(4096, 512, 768, {}, { scaling: true }),
    projection(4096, 512, 768, { normalise: "standardise" }),
    projection(4096, 512, 768, { similarity: "l2" }),
    projection(512, 256, 256, { similarity: "l1" }),
    projection(256, 64, 512, { similarity: "linf" }),
    projection(512, 256, 256, { similarity: "lp" }),
    projection(256, 256, 768, { normalise: "standardise" }),
    projection(16, 768, 768, { normalise: "standardise" }),
    projection(64, 64, 96, { normalise: "standardise" }, { only: "software GPU" }),
    projection(65536, 1024, 768, { normalise: "standardise" }, { only: "hardware GPU" }),
  ],
};
