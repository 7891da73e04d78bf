/** Back from a relative space into an absolute one. */
import { checkNames, checkObject, checkRange, expected } from "../errors.ts";
import { unitRows } from "./distance.ts";
import { filtered, identity, inverseFilter, multiply, numericalRank, svd, transposed } from "./linalg.ts";
import { checkChoice, checkMatrix, type HostMatrix, hostMatrix, roundingOf } from "./matrix.ts";

export interface InverseProjectionOptions {
  /** What the relative space holds: "cosine" (default), products with anchors of length 1, or "inner", with the anchors as they are. */
  readonly similarity?: "cosine" | "inner";
  /** λ ≥ 0 of ‖x·Aᵀ − r‖² + λ‖x‖²: keeps noise from being blown up in directions in which the anchors hardly differ. Default 0. */
  readonly ridge?: number;
}

export interface InverseProjection {
  /** [K, d]: relative representations times this are points. */
  readonly weight: HostMatrix;
  /** Dimensions that the anchors span. Fewer than d: what a point has outside of their span cannot be known, and comes back as 0. */
  readonly rank: number;
  /** Largest singular value of the anchors over the smallest of the span: how much relative errors may grow. */
  readonly condition: number;
}

/**
 * The inverse of a relative projection: points of the *target's* space whose similarities to the target's anchors are the given ones, x = r·pinv(Aᵀ) (inverse relative
 * projection, Maiorca et al., arXiv:2406.15057). Encode with one model, project on its anchors, apply the inverse of another model's parallel anchors, and decode there.
 *
 * Cosines do not know how long a point was: what comes back has the right direction and, for exact cosines, length 1. With K < d anchors it is the smallest point that fits.
 * Directions in which the anchors differ by no more than rounding errors of their type (float32 or float64) count as not spanned.
 *
 * @param anchors [K, d], of the space to go back to
 * @throws ArgumentError for anchors that are not finite, of length 0 (with "cosine"), all 0, and options out of range.
 * @example
 * ```ts
 * const anchors = { shape: [3, 2], data: Float32Array.of(2, 0, 0, 3, 5, 5) };
 * const inverse = fitInverseProjection(anchors);
 * inverse.rank; // => 2
 * const cosines = { shape: [1, 3], data: Float64Array.of(0.6, 0.8, 1.4 / Math.SQRT2) }; // of (0.6, 0.8)
 * applyInverseProjection(inverse, cosines).data; // => [0.6000, 0.8000]
 * ```
 */
export const fitInverseProjection = (anchors: HostMatrix, options: InverseProjectionOptions = {}): InverseProjection => {
  const where = "fitInverseProjection";
  const { similarity = "cosine", ridge = 0 } = checkNames(where, options, ["similarity", "ridge"]);
  checkChoice(where, "similarity", similarity, ["cosine", "inner"]);
  checkRange(where, "ridge", ridge, 0, Number.MAX_VALUE, "a number of at least 0");
  const given = checkMatrix(where, "anchors", anchors);
  for (let k = 0; similarity === "cosine" && k < given.rows; k++) {
    if (given.data.subarray(k * given.columns, (k + 1) * given.columns).every((value) => value === 0))
      throw expected(where, "anchors with a direction", "anchors", `zeros in row ${k}`);
  }
  const a = similarity === "cosine" ? unitRows(given) : given;
  const parts = svd(a);
  const { values } = parts;
  const epsilon = roundingOf(anchors);
  const rank = numericalRank(values, a.rows, a.columns, epsilon);
  if (rank === 0) throw expected(where, "anchors that are not all zero", "anchors", "zeros");
  const filter = ridge > 0 ? values.map((value) => value / (value ** 2 + ridge)) : inverseFilter(values, a.rows, a.columns, epsilon);
  // r ≈ x·Aᵀ, so x = r·pinv(Aᵀ) = r·pinv(A)ᵀ.
  const weight = transposed(filtered(parts, filter, identity(a.rows)));
  return { weight: hostMatrix(weight), rank, condition: values[0] / values[rank - 1] };
};

/**
 * Relative representations as points: r·weight.
 *
 * @param relative [n, K]
 * @returns [n, d], float64
 * @throws ArgumentError for another number of columns than there were anchors, and values that are not finite.
 * @example
 * ```ts
 * const inverse = fitInverseProjection({ shape: [1, 1], data: Float32Array.of(4) }, { similarity: "inner" });
 * applyInverseProjection(inverse, { shape: [2, 1], data: Float32Array.of(8, 2) }).data; // => [2.0, 0.5]
 * ```
 */
export const applyInverseProjection = (inverse: InverseProjection, relative: HostMatrix): HostMatrix => {
  const where = "applyInverseProjection";
  const { weight } = checkObject(where, inverse, "inverse");
  const [w, r] = [checkMatrix(where, "inverse.weight", weight), checkMatrix(where, "relative", relative)];
  if (r.columns !== w.rows) throw expected(where, `${w.rows} columns, one per anchor,`, "relative", r.columns);
  return hostMatrix(multiply(r, w));
};
