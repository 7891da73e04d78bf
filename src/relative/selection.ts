/** Anchors by where the points lie: far apart, in the middle of clusters, or near to everything. */
import { createRandom, type Random } from "../data/random.ts";
import { checkInteger, checkNames, expected } from "../errors.ts";
import type { AnchorOptions } from "./anchors.ts";
import { comparable, POINT_METRICS, type PointMetric, squaredDistance } from "./distance.ts";
import { checkChoice, checkMatrix, type Dense, dense, type HostMatrix, hostMatrix } from "./matrix.ts";

export interface CoverageOptions {
  /** "euclidean" (default), or "cosine", which looks at directions alone. */
  readonly metric?: PointMetric;
}

export interface FarthestPointOptions extends AnchorOptions, CoverageOptions {
  /** Row to begin with. Default: one at random. */
  readonly first?: number;
}

export interface KMeansOptions extends AnchorOptions, CoverageOptions {
  /** At most so many rounds. Default 100; usually it is over sooner. */
  readonly iterations?: number;
}

export interface KMeansAnchors {
  /** The point nearest to each centre among those of its cluster: [anchors]. */
  readonly indices: Int32Array;
  /** Means of the clusters, which are no points themselves: [anchors, d]. Of unit rows with metric "cosine". */
  readonly centres: HostMatrix;
  /** The cluster of every point: [n]. */
  readonly assignment: Int32Array;
  /** Σ of squared distances to the own centre. */
  readonly inertia: number;
  /** Rounds until nothing changed, or all. */
  readonly iterations: number;
}

const checkPoints = (where: string, points: HostMatrix, anchors: number, metric: PointMetric): Dense => {
  checkChoice(where, "metric", metric, POINT_METRICS);
  const checked = checkMatrix(where, "points", points);
  checkInteger(where, "anchors", anchors, 1, checked.rows);
  return comparable(checked, metric);
};

/** More anchors than there are different points would be the same anchor twice. */
const tooFew = (where: string, anchors: number, different: number): Error =>
  expected(where, `at least ${anchors} different points, one per anchor,`, "points", `${different}`);

/**
 * Farthest-point sampling: every next anchor is the point farthest from all anchors so far, the one of the lowest number when several are. The largest distance of a point
 * to its nearest anchor is at most twice the least possible (Gonzalez 1985). O(n · anchors · d).
 *
 * @param points [n, d]
 * @returns row numbers in the order in which they were chosen
 * @throws ArgumentError unless 1 ≤ anchors ≤ n, when fewer points are different, and for points that are not finite.
 * @example
 * ```ts
 * const points = { shape: [4, 1], data: Float32Array.of(0, 1, 10, 4) };
 * farthestPointAnchors(points, 3, { first: 0 }); // => [0, 2, 3]
 * ```
 */
export const farthestPointAnchors = (points: HostMatrix, anchors: number, options: FarthestPointOptions = {}): Int32Array => {
  const where = "farthestPointAnchors";
  const { seed = 0, metric = "euclidean" } = checkNames(where, options, ["seed", "metric", "first"]);
  const x = checkPoints(where, points, anchors, metric);
  const first = options.first ?? createRandom(seed).integer(x.rows);
  checkInteger(where, "first", first, 0, x.rows - 1);
  const chosen = Int32Array.of(first, ...new Int32Array(anchors - 1));
  const nearest = new Float64Array(x.rows).fill(Number.POSITIVE_INFINITY);
  for (let k = 1; k < anchors; k++) {
    let next = 0;
    for (let i = 0; i < x.rows; i++) {
      nearest[i] = Math.min(nearest[i], squaredDistance(x, i, x, chosen[k - 1]));
      if (nearest[i] > nearest[next]) next = i;
    }
    if (nearest[next] === 0) throw tooFew(where, anchors, k);
    chosen[k] = next;
  }
  return chosen;
};

/** k-means++ (Arthur and Vassilvitskii 2007): every next centre is a point drawn with probability in proportion to its squared distance to the nearest centre so far. */
const plusPlus = (where: string, x: Dense, anchors: number, random: Random): Dense => {
  const centres = dense(anchors, x.columns);
  const nearest = new Float64Array(x.rows).fill(Number.POSITIVE_INFINITY);
  let next = random.integer(x.rows);
  for (let k = 0; ; k++) {
    centres.data.set(x.data.subarray(next * x.columns, (next + 1) * x.columns), k * x.columns);
    if (k === anchors - 1) return centres;
    let total = 0;
    for (let i = 0; i < x.rows; i++) {
      nearest[i] = Math.min(nearest[i], squaredDistance(x, i, centres, k));
      total += nearest[i];
    }
    if (total === 0) throw tooFew(where, anchors, k + 1);
    let left = random.uniform() * total;
    // The last one of positive weight, should rounding leave something over.
    for (let i = 0; i < x.rows; i++) {
      if (nearest[i] === 0) continue;
      next = i;
      left -= nearest[i];
      if (left < 0) break;
    }
  }
};

/** The nearest centre of every point; [0, 1, …] of the lowest number when several are. */
const assign = (x: Dense, centres: Dense, assignment: Int32Array, distances: Float64Array): boolean => {
  let changed = false;
  for (let i = 0; i < x.rows; i++) {
    let [best, least] = [0, Number.POSITIVE_INFINITY];
    for (let k = 0; k < centres.rows; k++) {
      const distance = squaredDistance(x, i, centres, k);
      if (distance < least) [best, least] = [k, distance];
    }
    changed ||= assignment[i] !== best;
    assignment[i] = best;
    distances[i] = least;
  }
  return changed;
};

/** Gives a cluster without points the point that is farthest from its centre, out of a cluster that keeps one. */
const fillEmpty = (assignment: Int32Array, distances: Float64Array, sizes: Int32Array): void => {
  for (let k = 0; k < sizes.length; k++) {
    if (sizes[k] > 0) continue;
    let farthest = -1;
    for (let i = 0; i < assignment.length; i++) if (sizes[assignment[i]] > 1 && (farthest < 0 || distances[i] > distances[farthest])) farthest = i;
    sizes[assignment[farthest]]--;
    sizes[k] = 1;
    assignment[farthest] = k;
    distances[farthest] = 0;
  }
};

/** Means of the clusters, none of which is empty afterwards. */
const update = (x: Dense, centres: Dense, assignment: Int32Array, distances: Float64Array): void => {
  const sizes = new Int32Array(centres.rows);
  for (const k of assignment) sizes[k]++;
  fillEmpty(assignment, distances, sizes);
  centres.data.fill(0);
  for (let i = 0; i < x.rows; i++) {
    for (let j = 0, to = assignment[i] * x.columns, from = i * x.columns; j < x.columns; j++) centres.data[to + j] += x.data[from + j];
  }
  for (let k = 0; k < centres.rows; k++) for (let j = 0; j < x.columns; j++) centres.data[k * x.columns + j] /= sizes[k];
};

/**
 * Prototypes: k-means with a k-means++ start and Lloyd's rounds, then the point nearest to every centre among those of its cluster, so that all anchors are different
 * points. O(n · anchors · d) per round.
 *
 * @param points [n, d]
 * @throws ArgumentError unless 1 ≤ anchors ≤ n, when fewer points are different, and for points that are not finite.
 * @example
 * ```ts
 * const points = { shape: [6, 1], data: Float32Array.of(0, 1, 2, 50, 51, 52) };
 * const { indices, centres, inertia } = kMeansAnchors(points, 2);
 * indices.toSorted(); // => [1, 4]
 * centres.data.toSorted(); // => [1, 51]
 * inertia; // => 4
 * ```
 */
export const kMeansAnchors = (points: HostMatrix, anchors: number, options: KMeansOptions = {}): KMeansAnchors => {
  const where = "kMeansAnchors";
  const { seed = 0, metric = "euclidean", iterations = 100 } = checkNames(where, options, ["seed", "metric", "iterations"]);
  const x = checkPoints(where, points, anchors, metric);
  checkInteger(where, "iterations", iterations, 1, 2 ** 31 - 1);
  const centres = plusPlus(where, x, anchors, createRandom(seed));
  const assignment = new Int32Array(x.rows).fill(-1);
  const distances = new Float64Array(x.rows);
  let rounds = 0;
  while (rounds < iterations && assign(x, centres, assignment, distances)) {
    update(x, centres, assignment, distances);
    rounds++;
  }
  // The result is of one piece: distances are to the centres that are returned, and every cluster has a point.
  const indices = new Int32Array(anchors).fill(-1);
  for (let i = 0; i < x.rows; i++) {
    const k = assignment[i];
    distances[i] = squaredDistance(x, i, centres, k);
    if (indices[k] < 0 || distances[i] < distances[indices[k]]) indices[k] = i;
  }
  return { indices, centres: hostMatrix(centres), assignment, inertia: distances.reduce((sum, value) => sum + value, 0), iterations: rounds };
};

/**
 * Greedy coverage: every next anchor is the point that lowers Σ over points of the distance to the nearest anchor most. That sum is a supermodular function of the anchors,
 * so what greed saves is at least 1 − 1/e of what the best choice would (Nemhauser, Wolsey and Fisher 1978), and a saving never grows: only candidates that may still be
 * the best are looked at again (Minoux 1978). O(n² · d) for the first two anchors, then usually far less.
 *
 * @param points [n, d]
 * @returns row numbers in the order in which they were chosen; the first is the medoid
 * @throws ArgumentError unless 1 ≤ anchors ≤ n, when fewer points are different, and for points that are not finite.
 * @example
 * ```ts
 * const points = { shape: [5, 1], data: Float32Array.of(0, 1, 2, 100, 101) };
 * coverageAnchors(points, 2); // => [2, 3]
 * ```
 */
export const coverageAnchors = (points: HostMatrix, anchors: number, options: CoverageOptions = {}): Int32Array => {
  const where = "coverageAnchors";
  const { metric = "euclidean" } = checkNames(where, options, ["metric"]);
  const x = checkPoints(where, points, anchors, metric);
  const n = x.rows;
  const chosen = new Int32Array(anchors);
  const nearest = new Float64Array(n).fill(Number.POSITIVE_INFINITY);
  const bounds = new Float64Array(n).fill(Number.POSITIVE_INFINITY);
  /** What an anchor at c would save; before the first one, minus what would be left. */
  const saving = (c: number): number => {
    let total = 0;
    for (let i = 0; i < n; i++) {
      const distance = Math.sqrt(squaredDistance(x, i, x, c));
      total += nearest[i] === Number.POSITIVE_INFINITY ? -distance : Math.max(0, nearest[i] - distance);
    }
    return total;
  };
  for (let k = 0; k < anchors; k++) {
    const fresh = new Uint8Array(n);
    let best = 0;
    for (;;) {
      best = bounds.indexOf(bounds.reduce((most, bound) => Math.max(most, bound)));
      if (fresh[best]) break;
      fresh[best] = 1;
      bounds[best] = saving(best);
    }
    if (k > 0 && bounds[best] <= 0) throw tooFew(where, anchors, k);
    chosen[k] = best;
    for (let i = 0; i < n; i++) nearest[i] = Math.min(nearest[i], Math.sqrt(squaredDistance(x, i, x, best)));
    if (k === 0) bounds.fill(Number.POSITIVE_INFINITY);
    bounds[best] = Number.NEGATIVE_INFINITY;
  }
  return chosen;
};
