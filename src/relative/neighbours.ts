/** Do two spaces put the same points near one another? */
import { checkInteger, checkNames, expected } from "../errors.ts";
import { comparable, POINT_METRICS, type PointMetric, squaredDistance } from "./distance.ts";
import { checkChoice, checkMatrix, checkPaired, type Dense, type HostMatrix } from "./matrix.ts";

export interface NeighbourOptions {
  /** "cosine" (default) or "euclidean". */
  readonly metric?: PointMetric;
}

export interface JaccardOptions extends NeighbourOptions {
  /** Neighbours per point. Default 10, or all others where there are fewer. */
  readonly k?: number;
}

/** The k rows nearest to row i, itself left out; the lower number first when distances are equal. */
const nearestRows = (x: Dense, i: number, k: number): Int32Array => {
  const rows = new Int32Array(k);
  const distances = new Float64Array(k).fill(Number.POSITIVE_INFINITY);
  for (let j = 0; j < x.rows; j++) {
    const distance = j === i ? Number.POSITIVE_INFINITY : squaredDistance(x, i, x, j);
    if (!(distance < distances[k - 1])) continue;
    // Later rows go behind those of the same distance.
    let at = k - 1;
    for (; at > 0 && distances[at - 1] > distance; at--) {
      distances[at] = distances[at - 1];
      rows[at] = rows[at - 1];
    }
    distances[at] = distance;
    rows[at] = j;
  }
  return rows;
};

/**
 * Mean over the points of |A ∩ B| / |A ∪ B|, where A and B are the k nearest neighbours of the point in either space: 1 where both have the same neighbourhoods, about
 * k/(2n) for unrelated spaces. Dimensions may differ. Float64, O(n²·(d + d')).
 *
 * @param x [n, d], @param y [n, d']: the same n inputs
 * @throws ArgumentError for different numbers of rows, fewer than 2, k out of range, and values that are not finite.
 * @example
 * ```ts
 * const x = { shape: [4, 1], data: Float32Array.of(0, 1, 10, 11) };
 * const y = { shape: [4, 1], data: Float32Array.of(0, 10, 1, 11) };
 * neighbourhoodJaccard(x, x, { k: 1, metric: "euclidean" }); // => 1
 * neighbourhoodJaccard(x, y, { k: 1, metric: "euclidean" }); // => 0
 * ```
 */
export const neighbourhoodJaccard = (x: HostMatrix, y: HostMatrix, options: JaccardOptions = {}): number => {
  const where = "neighbourhoodJaccard";
  const { metric = "cosine" } = checkNames(where, options, ["metric", "k"]);
  checkChoice(where, "metric", metric, POINT_METRICS);
  const [left, right] = [checkMatrix(where, "x", x), checkMatrix(where, "y", y)];
  checkPaired(where, left, right);
  const n = left.rows;
  if (n < 2) throw expected(where, "at least 2 rows", "x", n);
  const k = options.k ?? Math.min(10, n - 1);
  checkInteger(where, "k", k, 1, n - 1);
  const [a, b] = [comparable(left, metric), comparable(right, metric)];
  let total = 0;
  for (let i = 0; i < n; i++) {
    const first = new Set(nearestRows(a, i, k));
    const shared = nearestRows(b, i, k).filter((j) => first.has(j)).length;
    total += shared / (2 * k - shared);
  }
  return total / n;
};

/**
 * Mean over the rows of 1/rank of row i of `y` among all rows of `y`, by nearness to row i of `x`: 1 where every point finds its partner first. Both must lie in one
 * space, as relative representations by parallel anchors do. Rows as near as the partner count before it, so a space that has collapsed into one point gets 1/n, not 1.
 *
 * @param x [n, d], @param y [n, d]: the same n inputs
 * @throws ArgumentError for different shapes, and values that are not finite.
 * @example
 * ```ts
 * const x = { shape: [3, 1], data: Float32Array.of(0, 5, 9) };
 * const y = { shape: [3, 1], data: Float32Array.of(1, 9, 5) };
 * meanReciprocalRank(x, y, { metric: "euclidean" }); // => 0.611111
 * ```
 */
export const meanReciprocalRank = (x: HostMatrix, y: HostMatrix, options: NeighbourOptions = {}): number => {
  const where = "meanReciprocalRank";
  const { metric = "cosine" } = checkNames(where, options, ["metric"]);
  checkChoice(where, "metric", metric, POINT_METRICS);
  const [left, right] = [checkMatrix(where, "x", x), checkMatrix(where, "y", y)];
  checkPaired(where, left, right);
  if (left.columns !== right.columns) throw expected(where, `${left.columns} columns like \`x\``, "y", right.columns);
  const [a, b] = [comparable(left, metric), comparable(right, metric)];
  let total = 0;
  for (let i = 0; i < a.rows; i++) {
    const own = squaredDistance(a, i, b, i);
    let rank = 0;
    for (let j = 0; j < b.rows; j++) if (squaredDistance(a, i, b, j) <= own) rank++;
    total += 1 / rank;
  }
  return total / a.rows;
};
