/** What users pass to relativeProjection, checked. */
import { checkFlags, checkNames, checkRange, expected } from "../../errors.ts";
import { showShape } from "../../op.ts";
import { checkTensor, Tensor } from "../../tensor.ts";
import { DISTANCES, type Kind, PRODUCTS } from "./reference.ts";
import { RunningStatistics } from "./running.ts";
import type { GivenStatistics, Normaliser } from "./statistics.ts";

/** Of rows u and v in units of the normaliser; larger is more alike, but for coefficients. */
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
  | "lp"
  /** −√((x − a)ᵀ Σ⁻¹ (x − a)) with the covariance Σ: "l2" of whitened rows. */
  | "mahalanobis"
  /** No similarities but coefficients: of the combination of anchors nearest to u, the one of least norm where there are several. */
  | "changeOfBasis";

export interface RelativeProjectionOptions {
  /** Default "cosine". */
  readonly similarity?: Similarity;
  /** Of the similarity "lp": at least 1, finite. Wanted there and nowhere else. */
  readonly p?: number;
  /**
   * What is done to the rows of x and of the anchors before they are compared: nothing; every feature's mean taken off; that and division by its deviation, which
   * makes the projection robust; or mean and covariance taken off. Default "none", and "whiten" for "mahalanobis".
   */
  readonly normalise?: Normaliser;
  /**
   * Where statistics come from: the anchors (the default: a row's result does not depend on the other rows), the rows of x ("batch"), tensors that are
   * given, or running averages, which are constants in the backward pass. Whatever changes as the space does keeps the invariances.
   */
  readonly statistics?: "anchors" | "batch" | GivenStatistics | RunningStatistics;
  /**
   * Share, in [0, 1], of a multiple of the identity of the same trace in what is inverted: in the covariance of "whiten", or in the products of the anchors of "changeOfBasis".
   * More than 0 is needed for whitening with d rows or fewer, and costs exact invariance. Default 0.
   */
  readonly shrinkage?: number;
  /** Whether anchors are constants in the backward pass, as in the papers. Default true; false for anchors that are learned. */
  readonly detachAnchors?: boolean;
  /** Whether statistics are constants in the backward pass; those of anchors that are constants, and running ones, are in any case. Default true. */
  readonly detachStatistics?: boolean;
}

export interface Checked {
  /** The public function that was called. */
  readonly where: string;
  /** What rows are compared by: undefined for coefficients. */
  readonly kind: Kind | undefined;
  readonly p: number;
  readonly normalise: Normaliser;
  readonly statistics: "anchors" | "batch" | GivenStatistics | RunningStatistics;
  readonly shrinkage: number;
  readonly detachAnchors: boolean;
  readonly detachStatistics: boolean;
}

export const WHERE = "relativeProjection";
const SIMILARITIES: readonly string[] = [...PRODUCTS, ...DISTANCES, "mahalanobis", "changeOfBasis"];
const NORMALISERS: readonly string[] = ["none", "centre", "standardise", "whiten"];

export const isGiven = (statistics: unknown): statistics is GivenStatistics =>
  typeof statistics === "object" &&
  statistics !== null &&
  !(statistics instanceof RunningStatistics) &&
  (statistics as GivenStatistics).mean instanceof Tensor;

/** Those of the powers 1 and 2 have kernels of their own, with the same values and gradients. */
const kindOf = (similarity: Similarity, p: number | undefined): Kind | undefined => {
  if (similarity === "changeOfBasis") return undefined;
  if (similarity === "mahalanobis" || p === 2) return "l2";
  return p === 1 ? "l1" : similarity;
};

const checkStatistics = (where: string, x: Tensor, statistics: unknown, normalise: Normaliser): void => {
  if (statistics !== "anchors" && statistics !== "batch" && !(statistics instanceof RunningStatistics) && !isGiven(statistics))
    throw expected(where, '"anchors", "batch", { mean, scale } or RunningStatistics', "statistics", statistics);
  if (statistics instanceof RunningStatistics && normalise === "whiten" && !statistics.followsCovariance)
    throw expected(where, "RunningStatistics made with `covariance: true` for whitening", "statistics", statistics);
  if (statistics === "batch" && normalise !== "none" && x.shape[0] === 0)
    throw expected(where, "at least one row for its statistics", "x", showShape(x.shape));
};

export const checkOptions = (where: string, x: Tensor, anchors: Tensor, options: RelativeProjectionOptions): Checked => {
  checkNames(where, options, ["similarity", "p", "normalise", "statistics", "shrinkage", "detachAnchors", "detachStatistics"]);
  const { similarity = "cosine", p, statistics = "anchors", shrinkage = 0, detachAnchors = true, detachStatistics = true } = options;
  const mahalanobis = similarity === "mahalanobis";
  const { normalise = mahalanobis ? "whiten" : "none" } = options;
  for (const [name, tensor] of [["x", x] as const, ["anchors", anchors] as const]) {
    checkTensor(where, name, tensor);
    if (tensor.dtype !== "float32") throw expected(where, "dtype float32", name, tensor.dtype);
    if (tensor.shape.length !== 2) throw expected(where, name === "x" ? "shape [B, d]" : "shape [K, d]", name, showShape(tensor.shape));
  }
  if (anchors.shape[0] === 0) throw expected(where, "at least one anchor", "anchors", showShape(anchors.shape));
  if (x.shape[1] !== anchors.shape[1])
    throw expected(where, `shape [K, ${x.shape[1]}] to fit x ${showShape(x.shape)}`, "anchors", showShape(anchors.shape));
  if (!SIMILARITIES.includes(similarity)) throw expected(where, `one of ${SIMILARITIES.join(", ")}`, "similarity", similarity);
  if (!NORMALISERS.includes(normalise)) throw expected(where, `one of ${NORMALISERS.join(", ")}`, "normalise", normalise);
  if (mahalanobis && normalise !== "whiten") throw expected(where, '"whiten" or nothing with similarity mahalanobis', "normalise", normalise);
  if (similarity === "lp" && !(typeof p === "number" && p >= 1 && p < Number.POSITIVE_INFINITY))
    throw expected(where, "a number of at least 1", "p", p);
  if (similarity !== "lp" && p !== undefined) throw expected(where, `nothing with similarity ${similarity}`, "p", p);
  checkRange(where, "shrinkage", shrinkage, 0, 1, "a number in [0, 1]");
  if (shrinkage > 0 && normalise !== "whiten" && similarity !== "changeOfBasis")
    throw expected(where, "0 where nothing is inverted", "shrinkage", shrinkage);
  checkStatistics(where, x, statistics, normalise);
  checkFlags(where, { detachAnchors, detachStatistics });
  return { where, kind: kindOf(similarity, p), p: p ?? 2, normalise, statistics, shrinkage, detachAnchors, detachStatistics };
};
