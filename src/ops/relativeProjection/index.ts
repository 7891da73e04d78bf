import { apply } from "../../apply.ts";
import { checkInteger, checkNames, checkRange, expected } from "../../errors.ts";
import { noGrad } from "../../gradMode.ts";
import { keep, scope } from "../../scope.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { take } from "../shape/index.ts";
import { coefficients, standardised, whitened, whitening } from "./linear.ts";
import { project, range, top } from "./op.ts";
import { type Checked, checkOptions, isGiven, type RelativeProjectionOptions, WHERE } from "./options.ts";
import { type Lists, type RelativeRange, searchAll } from "./range.ts";
import type { Kind, ProjectionAttrs } from "./reference.ts";
import { RunningStatistics } from "./running.ts";
import { type GivenStatistics, given, givenMap, measure, type Normaliser, rowOf } from "./statistics.ts";

export type { RelativeProjectionOptions, Similarity } from "./options.ts";
export type { RelativeRange } from "./range.ts";
export { RunningStatistics, type RunningStatisticsOptions } from "./running.ts";
export type { GivenStatistics, Normaliser } from "./statistics.ts";

export interface FeatureStatisticsOptions {
  /** Default "standardise". */
  readonly normalise?: Exclude<Normaliser, "none">;
  /** As for relativeProjection. Default 0. */
  readonly shrinkage?: number;
}

/**
 * Statistics of the features of given rows (a training set, say), for `relativeProjection`: the mean, and for "standardise" the deviations
 * √(Σ (x − mean)² / n), or for "whiten" the inverse of a Cholesky factor of the covariance.
 *
 * @param rows [n, d], float32, at least one row; more than d of them for whitening without shrinkage
 * @returns tensors of the caller's own, recorded where `rows` wants a gradient
 * @throws ArgumentError when shape, dtype or options do not fit; DataError, from `read()`, for NaN, infinities, squares that overflow, and a covariance that is not positive definite.
 * @example
 * ```ts
 * const rows = device.tensor([[0, 1], [2, 1], [1, 4], [1, 2]]);
 * const { mean, scale } = featureStatistics(rows);
 * await mean.read(); // => [1, 2]
 * await scale?.read(); // => [0.70711, 1.22474]
 * const known = featureStatistics(rows, { normalise: "whiten" });
 * relativeProjection(device.ones([5, 2]), rows, { normalise: "whiten", statistics: known }).shape; // => [5, 4]
 * featureStatistics(device.ones([2, 2]), { normalise: "whiten" }); // throws ArgumentError
 * ```
 */
export const featureStatistics = (rows: Tensor, options: FeatureStatisticsOptions = {}): GivenStatistics => {
  const where = "featureStatistics";
  const { normalise = "standardise", shrinkage = 0 } = checkNames(where, options, ["normalise", "shrinkage"]);
  checkTensor(where, "rows", rows);
  if (!["centre", "standardise", "whiten"].includes(normalise)) throw expected(where, "one of centre, standardise, whiten", "normalise", normalise);
  checkRange(where, "shrinkage", shrinkage, 0, 1, "a number in [0, 1]");
  if (shrinkage > 0 && normalise !== "whiten") throw expected(where, "0 where nothing is inverted", "shrinkage", shrinkage);
  return scope((): GivenStatistics => {
    const statistics = measure(where, rows, normalise === "whiten" ? "centre" : normalise);
    const mean = rowOf(statistics, 0);
    if (normalise === "standardise") return { mean, scale: rowOf(statistics, 1) };
    return normalise === "centre" ? { mean } : { mean, whitening: whitening(where, "rows", rows, shrinkage)[1] };
  });
};

/**
 * Rows as similarities to anchors (Moschella et al., ICLR 2023, arXiv:2209.15430), and, standardised, the robust form of García-Castellanos et al.
 * (UniReps 2024, arXiv:2409.10967): result[b, k] = similarity of row b of `x` and row k of `anchors`.
 *
 * Norms, means and deviations are applied as the kernels read the rows; nothing but the result is written, and for the backward pass the rows' inverse norms and the
 * statistics. (Whitening and changes of basis go through products of matrices of their own.) A row of zeros has cosine 0 to everything, and gradient 0. A feature that is the same in all rows that its deviation is taken over is left out.
 *
 * | normalise | invariant to |
 * |---|---|
 * | none | rotations and a common factor (cosine, angular); rotations (inner, l2) |
 * | centre | translations too |
 * | standardise | z ↦ P D z + b with a permutation P and any factors D without 0, whichever similarity; not to rotations |
 * | whiten | z ↦ G z + b with any invertible G (cosine, angular, inner, l2): more anchors than features, no shrinkage |
 *
 * @param x [B, d], float32
 * @param anchors [K, d], float32, K ≥ 1; put through the same encoder as `x`, for spaces that are to be comparable
 * @returns [B, K], float32; distances are negative, so that larger is always more alike
 * @throws ArgumentError when shapes, dtypes or options do not fit; DataError, from `read()`, for rows with NaN, infinities, or squares that overflow, and for what is to be inverted and cannot be: a covariance without shrinkage of features that depend on each other, or anchors that do.
 * @example
 * ```ts
 * const x = device.tensor([[2, 0], [1, 1], [0, 0]]);
 * const anchors = device.tensor([[1, 0], [0, 3]]);
 * await relativeProjection(x, anchors).read(); // => [1, 0, 0.70711, 0.70711, 0, 0]
 * await relativeProjection(x, anchors, { similarity: "l2" }).read(); // => [-1, -3.60555, -1, -2.23607, -1, -3]
 * const robust = { normalise: "standardise" } as const;
 * const stretched = [mul(x, device.tensor([1, -10])), mul(anchors, device.tensor([1, -10]))] as const;
 * await relativeProjection(x, anchors, robust).read(); // => [0.89443, -0.89443, 0.89443, -0.89443, 0, 0]
 * await relativeProjection(...stretched, robust).read(); // => [0.89443, -0.89443, 0.89443, -0.89443, 0, 0]
 * relativeProjection(x, device.zeros([4, 3])); // throws ArgumentError
 * ```
 */
export const relativeProjection = (x: Tensor, anchors: Tensor, options: RelativeProjectionOptions = {}): Tensor => {
  const checked = checkOptions(WHERE, x, anchors, options);
  return scope(() => {
    const [u, v, ...statistics] = operandsOf(x, anchors, checked);
    const { kind, p, shrinkage } = checked;
    if (kind === undefined) {
      const [rows, basis] = statistics.length === 0 ? [u, v] : [u, v].map((each) => standardised(each, statistics[0]));
      return coefficients(rows, basis, shrinkage);
    }
    return apply(project(kind), [u, v, ...statistics], attrsOf(kind, statistics, checked), { p })[0];
  });
};

export interface RelativeTopK {
  /** [B, k], float32, in falling order. */
  readonly values: Tensor;
  /** [B, k], int32: the anchors' rows. */
  readonly indices: Tensor;
}

/**
 * The k anchors most alike to every row, without the matrix of all similarities: memory grows with B · k, however many anchors there are. Of equal similarities the first
 * anchor comes first. Not differentiable; arguments as `relativeProjection`, but for coefficients in a basis.
 *
 * @param x [B, d], float32
 * @param anchors [K, d], float32
 * @param k from 1 to K
 * @throws ArgumentError, DataError as `relativeProjection`.
 * @example
 * ```ts
 * const anchors = device.tensor([[1, 0], [0, 1], [1, 1]]);
 * const { values, indices } = relativeTopK(device.tensor([[2, 1], [0, 5]]), anchors, 2);
 * await values.read(); // => [0.94868, 0.89443, 1, 0.70711]
 * await indices.read(); // => [2, 0, 1, 2]
 * relativeTopK(anchors, anchors, 4); // throws ArgumentError
 * ```
 */
export const relativeTopK = (x: Tensor, anchors: Tensor, k: number, options: RelativeProjectionOptions = {}): RelativeTopK => {
  const checked = checkOptions("relativeTopK", x, anchors, options);
  const { kind, p } = checked;
  if (kind === undefined) throw expected("relativeTopK", "a similarity, not coefficients", "similarity", options.similarity);
  checkInteger("relativeTopK", "k", k, 1, Math.max(1, anchors.shape[0] ?? 1));
  return noGrad(() =>
    scope((): RelativeTopK => {
      const operands = operandsOf(x, anchors, checked);
      const [values, indices] = apply(top, operands, { similarity: kind, standardised: operands.length > 2, most: k }, { p });
      return { values, indices };
    }),
  );
};

/** Of float32. */
const LARGEST = 3.4028234663852886e38;

/**
 * All anchors that are at least so much alike to a row, for every row: a range search. The device holds no more than what is found, in blocks of rows, however many rows and anchors
 * there are. Not differentiable; arguments as `relativeProjection`, but for coefficients in a basis. Neither rows nor anchors may be changed in place before it is done.
 *
 * @param x [B, d], float32
 * @param anchors [K, d], float32
 * @param least the least similarity that counts, in the precision of the device; of distances, which are negative, −r for all within a radius r
 * @throws ArgumentError, DataError as `relativeProjection`; DataError for 2³¹ results or more.
 * @example
 * ```ts
 * const anchors = device.tensor([[1, 0], [0, 1], [1, 1]]);
 * const near = await relativeRange(device.tensor([[1, 0.5], [0, 9]]), anchors, -1, { similarity: "l1" });
 * near.offsets; // => [0, 2, 2]
 * near.indices; // => [0, 2]
 * near.values; // => [-0.5, -0.5]
 * await relativeRange(anchors, anchors, Number.NaN); // throws ArgumentError
 * ```
 */
export const relativeRange = async (x: Tensor, anchors: Tensor, least: number, options: RelativeProjectionOptions = {}): Promise<RelativeRange> => {
  const where = "relativeRange";
  const checked = checkOptions(where, x, anchors, options);
  const { kind, p } = checked;
  if (kind === undefined) throw expected(where, "a similarity, not coefficients", "similarity", options.similarity);
  checkRange(where, "least", least, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, "a number");
  const bound = Math.max(-LARGEST, Math.min(LARGEST, least));
  const B = x.shape[0];
  // Owned here, whichever scope this was called in.
  const [u, v, ...statistics] = noGrad(() => scope(() => operandsOf(x, anchors, checked).map((operand) => operand.detach()))).map(keep);
  const search = async (rows: Int32Array, most: number): Promise<Lists> => {
    const whole = rows.length === B && rows.every((row, i) => row === i);
    const found = noGrad(() =>
      scope(() =>
        apply(
          range,
          [whole ? u : take(u, rows), v, ...statistics],
          { similarity: kind, standardised: statistics.length > 0, most },
          { p, least: bound },
        ),
      ),
    ).map(keep);
    try {
      const [values, indices, counts] = await Promise.all(found.map((each) => each.read()));
      return { values, indices, counts } as Lists;
    } finally {
      for (const each of found) each.dispose();
    }
  };
  try {
    return await searchAll(where, B, anchors.shape[0], search);
  } finally {
    for (const operand of [u, v, ...statistics]) operand.dispose();
  }
};

/** Rows to compare, and [2, d] where they are to be put in standard units. */
const operandsOf = (x: Tensor, anchors: Tensor, checked: Checked): readonly Tensor[] => {
  const own = checked.detachAnchors ? anchors.detach() : anchors;
  if (checked.normalise !== "whiten") return [x, own, ...statisticsOf(x, own, checked)];
  const map = mapOf(x, own, checked);
  return [whitened(x, map), whitened(own, map)];
};

/** Statistics of x or of the anchors are constants to the tape: the projection's own rule takes its gradient through them. */
const statisticsOf = (x: Tensor, anchors: Tensor, { where, kind, normalise, statistics, detachStatistics }: Checked): readonly Tensor[] => {
  if (normalise === "none") return [];
  if (statistics instanceof RunningStatistics) return [statistics.packed];
  if (isGiven(statistics)) {
    const tensor = given(where, statistics, normalise, x.shape[1]);
    return [detachStatistics ? tensor.detach() : tensor];
  }
  const rows = statistics === "batch" ? x : anchors;
  return [measure(where, detachStatistics || kind ? rows.detach() : rows, normalise)];
};
const attrsOf = (similarity: Kind, statistics: readonly Tensor[], checked: Checked): ProjectionAttrs => ({
  similarity,
  standardised: statistics.length > 0,
  through: statistics.length > 0 ? throughOf(checked) : "given",
  scale: checked.normalise === "standardise",
});
const throughOf = ({ statistics, detachStatistics }: Checked): ProjectionAttrs["through"] =>
  detachStatistics || typeof statistics !== "string" ? "given" : statistics === "batch" ? "x" : "anchors";

const mapOf = (x: Tensor, anchors: Tensor, { where, statistics, shrinkage, detachStatistics }: Checked): readonly [Tensor, Tensor] => {
  const constant = (tensor: Tensor): Tensor => (detachStatistics ? tensor.detach() : tensor);
  if (statistics instanceof RunningStatistics) return [rowOf(statistics.packed, 0), statistics.whitening(shrinkage)];
  if (isGiven(statistics)) {
    const [mean, map] = givenMap(where, statistics, x.shape[1]);
    return [constant(mean), constant(map)];
  }
  return statistics === "batch" ? whitening(where, "x", constant(x), shrinkage) : whitening(where, "anchors", constant(anchors), shrinkage);
};
