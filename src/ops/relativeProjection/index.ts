import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { showShape } from "../../op.ts";
import { scope } from "../../scope.ts";
import { checkTensor, Tensor } from "../../tensor.ts";
import { project } from "./op.ts";
import { DISTANCES, type Kind, PRODUCTS, type ProjectionAttrs } from "./reference.ts";
import { type GivenStatistics, measure, type Normaliser, packed, RunningStatistics } from "./statistics.ts";

export { type GivenStatistics, type Normaliser, RunningStatistics, type RunningStatisticsOptions } from "./statistics.ts";

/** Of rows u and v in standard units; every one of them is larger for rows that are more alike. */
export type Similarity =
  /** u · v / (‖u‖ ‖v‖). */
  | "cosine"
  /** 1 − arccos(cosine) / π. */
  | "angular"
  /** u · v. */
  | "inner"
  /** u · v / √d. */
  | "scaledInner"
  /** −Σ |u − v|. */
  | "l1"
  /** −√(Σ (u − v)²). */
  | "l2"
  /** −max |u − v|. */
  | "linf"
  /** −(Σ |u − v|^p)^(1/p). */
  | "lp";

const WHERE = "relativeProjection";
const SIMILARITIES: readonly string[] = [...PRODUCTS, ...DISTANCES];
const NORMALISERS: readonly string[] = ["none", "centre", "standardise"];

export interface RelativeProjectionOptions {
  /** Default "cosine". */
  readonly similarity?: Similarity;
  /** Of the similarity "lp": at least 1, finite. Wanted there and nowhere else. */
  readonly p?: number;
  /**
   * What is done to the rows of x and of the anchors before they are compared, feature by feature: nothing, the mean taken off, or that and division by the
   * deviation, which makes the projection robust. Default "none".
   */
  readonly normalise?: Normaliser;
  /**
   * Where means and deviations come from: the anchors (the default: a row's result does not depend on the others), the rows of x ("batch"), tensors that are
   * given, or running averages. Whatever changes as the space does keeps the invariances.
   */
  readonly statistics?: "anchors" | "batch" | GivenStatistics | RunningStatistics;
  /** Whether anchors are constants in the backward pass, as in the papers. Default true; false for anchors that are learned. */
  readonly detachAnchors?: boolean;
  /** Whether statistics are constants in the backward pass. Default true; anchors that are constants have constant statistics in any case. */
  readonly detachStatistics?: boolean;
}

const checkFlag = (name: string, value: unknown): void => {
  if (typeof value !== "boolean") throw expected(WHERE, "true or false", name, value);
};
const isGiven = (statistics: unknown): statistics is GivenStatistics =>
  typeof statistics === "object" && statistics !== null && (statistics as GivenStatistics).mean instanceof Tensor;

const checkOptions = (x: Tensor, anchors: Tensor, options: RelativeProjectionOptions): Required<RelativeProjectionOptions> => {
  if (typeof options !== "object" || options === null) throw expected(WHERE, "an object", "options", options);
  const { similarity = "cosine", p, normalise = "none", statistics = "anchors", detachAnchors = true, detachStatistics = true } = options;
  checkTensor(WHERE, "x", x);
  checkTensor(WHERE, "anchors", anchors);
  if (x.shape.length !== 2) throw expected(WHERE, "shape [B, d]", "x", showShape(x.shape));
  if (!SIMILARITIES.includes(similarity)) throw expected(WHERE, `one of ${SIMILARITIES.join(", ")}`, "similarity", similarity);
  if (!NORMALISERS.includes(normalise)) throw expected(WHERE, `one of ${NORMALISERS.join(", ")}`, "normalise", normalise);
  if (similarity === "lp" && !(typeof p === "number" && p >= 1 && p < Number.POSITIVE_INFINITY)) throw expected(WHERE, "a number of at least 1", "p", p);
  if (similarity !== "lp" && p !== undefined) throw expected(WHERE, `nothing with similarity ${similarity}`, "p", p);
  if (statistics !== "anchors" && statistics !== "batch" && !(statistics instanceof RunningStatistics) && !isGiven(statistics))
    throw expected(WHERE, '"anchors", "batch", { mean, scale } or RunningStatistics', "statistics", statistics);
  if (statistics === "batch" && normalise !== "none" && x.shape[0] === 0) throw expected(WHERE, "at least one row for its statistics", "x", showShape(x.shape));
  checkFlag("detachAnchors", detachAnchors);
  checkFlag("detachStatistics", detachStatistics);
  return { similarity, p: p ?? 2, normalise, statistics, detachAnchors, detachStatistics };
};

/**
 * Rows as similarities to anchors (Moschella et al., ICLR 2023, arXiv:2209.15430), and, standardised, the robust form of García-Castellanos et al.
 * (UniReps 2024, arXiv:2409.10967): result[b, k] = similarity of row b of `x` and row k of `anchors`.
 *
 * Norms and statistics are applied as the kernels read the rows; nothing but the result is written, and for the backward pass the rows' inverse norms and the
 * statistics. A row of zeros has cosine 0 to everything, and gradient 0. A feature that is the same in all rows that its deviation is taken over is left out.
 *
 * | normalise | invariant to |
 * |---|---|
 * | none | rotations and a common factor (cosine, angular); rotations (inner, l2) |
 * | centre | translations too |
 * | standardise | z ↦ P D z + b with a permutation P and any factors D without 0, whichever similarity; not to rotations |
 *
 * @param x [B, d], float32
 * @param anchors [K, d], float32, K ≥ 1; put through the same encoder as `x`, for spaces that are to be comparable
 * @returns [B, K], float32; distances are negative, so that larger is always more alike
 * @throws ArgumentError when shapes, dtypes or options do not fit; DataError, from `read()`, for rows with NaN, infinities, or squares that overflow.
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
  const { similarity, p, normalise, statistics, detachAnchors, detachStatistics } = checkOptions(x, anchors, options);
  return scope(() => {
    const own = detachAnchors ? anchors.detach() : anchors;
    const operands = [x, own];
    if (normalise !== "none") {
      if (statistics instanceof RunningStatistics) operands.push(statistics.packed);
      else if (isGiven(statistics)) {
        const given = packed(WHERE, statistics, normalise, x.shape[1]);
        operands.push(detachStatistics ? given.detach() : given);
      } else operands.push(measure((statistics === "batch" ? x : anchors).detach(), normalise));
    }
    const through = detachStatistics || typeof statistics !== "string" ? "given" : statistics === "batch" ? "x" : "anchors";
    const attrs: ProjectionAttrs = {
      similarity: similarity as Kind,
      standardised: normalise !== "none",
      through: normalise === "none" ? "given" : through,
      scale: normalise === "standardise",
    };
    return apply(project(similarity as Kind), operands, attrs, { p })[0];
  });
};
