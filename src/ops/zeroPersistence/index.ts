import { apply } from "../../apply.ts";
import { checkFinite, checkNames, expected } from "../../errors.ts";
import { showShape } from "../../op.ts";
import { scope } from "../../scope.ts";
import { Tensor } from "../../tensor.ts";
import { add, mul } from "../elementwise/index.ts";
import { forward, loss } from "./op.ts";
import { FORMS, type Form, LOSS_REDUCTIONS, type LossReduction, METRICS, type Metric } from "./reference.ts";

/** Each point's cloud, from 0: host integers, or an int32 tensor; undefined where the points' axes say it. */
export type CloudLabels = Tensor | readonly number[] | Int32Array | undefined;

export interface ZeroPersistenceOptions {
  /** Distance between points: Σ|x|, √Σx² (default) or max|x| of their difference. */
  readonly metric?: Metric;
  /** Labels are in [0, classes). Needed beside a tensor of labels; default for host labels: one more than the largest. */
  readonly classes?: number;
}

export interface ZeroPersistence {
  /** Death times, float32: [..., n − 1], place j for point j + 1 of its cloud; beside labels [N], with 0 for the first point of each cloud. */
  readonly deaths: Tensor;
  /** The other end of the edge that each death time is the length of, int32 of the same shape; −1 where there is no death time. */
  readonly partners: Tensor;
}

export interface DensificationOptions extends ZeroPersistenceOptions {
  /** The death time that all are drawn to. */
  readonly beta: number;
  /** Of a death time d: |d − β| (default), (d − β)² or max(0, d − β). */
  readonly form?: Form;
  /** Over all death times of all clouds. Default "sum"; the mean of none is 0. */
  readonly reduction?: LossReduction;
}

export interface PrePostOptions extends Omit<DensificationOptions, "beta"> {
  /** Of the representations after the relative transformation, and of those before it unless `preBeta` is given. */
  readonly beta: number;
  readonly preBeta?: number;
  /** Weights of both losses. Default [0.1, 0.9]. A weight of 0 leaves the loss out. */
  readonly weights?: readonly [number, number];
  /** Of the representations after; those before are always compared in "l2". */
  readonly metric?: Metric;
}

/** Host labels as a tensor, each looked at, and the number of classes. */
const withLabels = (where: string, points: Tensor, labels: NonNullable<CloudLabels>, classes: number | undefined): [Tensor, number] => {
  if (classes !== undefined && !(Number.isInteger(classes) && classes >= 1 && classes < 2 ** 31))
    throw expected(where, "a positive integer", "classes", classes);
  if (labels instanceof Tensor) {
    if (classes === undefined) throw expected(where, "the number of classes beside a tensor of labels", "classes", classes);
    return [labels, classes];
  }
  if (!(labels instanceof Int32Array || Array.isArray(labels))) throw expected(where, "an int32 tensor, an Int32Array or an array", "labels", labels);
  if (points.shape.length !== 2) throw expected(where, "shape [N, d] beside labels", "points", points.shape);
  if (labels.length !== points.shape[0])
    throw expected(where, `${points.shape[0]} labels beside points of shape ${showShape(points.shape)}`, "labels", labels);
  let known = classes ?? 1;
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i];
    const most = classes ?? 2 ** 31 - 1;
    if (!(Number.isInteger(label) && label >= 0 && label < most))
      throw expected(where, classes === undefined ? "a non-negative integer" : `an integer in [0, ${classes})`, `labels[${i}]`, label);
    if (classes === undefined) known = Math.max(known, label + 1);
  }
  return [points.device.tensor(labels, [labels.length], "int32"), known];
};

const persistence = (where: string, points: Tensor, labels: CloudLabels, options: ZeroPersistenceOptions): ZeroPersistence => {
  const { metric = "l2", classes } = options;
  if (!(points instanceof Tensor)) throw expected(where, "a tensor", "points", points);
  if (!METRICS.includes(metric)) throw expected(where, '"l1", "l2" or "linf"', "metric", metric);
  points.assertLive(where);
  if (labels === undefined && classes !== undefined) throw expected(where, "labels beside a number of classes", "labels", labels);
  const [tensor, known] = labels === undefined ? [undefined, 0] : withLabels(where, points, labels, classes);
  try {
    const attrs = { metric, labelled: tensor !== undefined, classes: known };
    const [deaths, partners, coordinates] = apply(forward, tensor ? [points, tensor] : [points], attrs);
    coordinates.dispose();
    return { deaths, partners };
  } finally {
    if (tensor !== labels) tensor?.dispose();
  }
};

/**
 * Death times of the connected components of many small clouds of points (degree-0 Vietoris–Rips persistence, with full distances as filtration
 * values): the lengths of the edges of each cloud's minimum spanning tree. All on the device, and nothing waits.
 *
 * Edges are compared by (length, lower row, higher row), so the tree is unique, duplicates and ties included. The component that never dies is left
 * out: a cloud of n points has n − 1 death times, and one of none or one has none. They come by point, not by size. Gradients flow through the
 * lengths to both ends of each edge; an edge of length 0 gives none; for "linf" they flow through the first coordinate of the largest difference.
 *
 * @param points shape [..., n, d], float32, each [n, d] a cloud; or [N, d] in any order beside labels
 * @param labels shape [N]: host integers, checked at once, or an int32 tensor beside `classes`, of which a value out of range raises DataError at
 * the next `read()`, as do numbers among the points that are not finite
 * @throws ArgumentError for other shapes, dtypes, metrics and host labels.
 * @see Hofer, Graf, Niethammer, Kwitt 2020, "Topologically Densified Distributions", arXiv:2002.04805
 * @example
 * ```ts
 * const { deaths, partners } = zeroPersistence(device.tensor([[0, 0], [10, 0], [3, 4], [1, 0]]));
 * await deaths.read(); // => [8.0623, 4.4721, 1]
 * await partners.read(); // => [2, 3, 0]
 * const mixed = zeroPersistence(device.tensor([[0], [10], [1], [13]]), [0, 1, 0, 1]);
 * await mixed.deaths.read(); // => [0, 0, 1, 3]
 * await mixed.partners.read(); // => [-1, -1, 0, 1]
 * zeroPersistence(device.zeros([2, 3]), [0, -1]); // throws ArgumentError
 * ```
 */
export const zeroPersistence = (points: Tensor, labels?: CloudLabels, options: ZeroPersistenceOptions = {}): ZeroPersistence =>
  persistence("zeroPersistence", points, labels, checkNames("zeroPersistence", options, ["metric", "classes"]));

const LOSS_NAMES = ["metric", "classes", "beta", "form", "reduction"] as const satisfies readonly (keyof DensificationOptions)[];

const densification = (where: string, points: Tensor, labels: CloudLabels, options: DensificationOptions): Tensor => {
  const { beta, form = "absolute", reduction = "sum" } = options;
  checkFinite(where, "beta", beta);
  if (!FORMS.includes(form)) throw expected(where, '"absolute", "squared" or "hinge"', "form", form);
  if (!LOSS_REDUCTIONS.includes(reduction)) throw expected(where, '"sum" or "mean"', "reduction", reduction);
  const { deaths, partners } = persistence(where, points, labels, options);
  try {
    const [result, terms] = apply(loss, [deaths, partners], { form, reduction }, { beta });
    terms.dispose();
    return result;
  } finally {
    deaths.dispose();
    partners.dispose();
  }
};

/**
 * Topological densification: draws the death times of every class towards β, so that the points of a class lie evenly β-connected.
 *
 * Σ |d − β| over the death times d of all clouds, or another `form` and `reduction`. With labels any mixed batch works: each label's points are a
 * cloud. On webgpu three dispatches forward and two backward, whatever the number of clouds.
 *
 * @param points as for `zeroPersistence`
 * @param labels as for `zeroPersistence`
 * @returns shape []
 * @throws ArgumentError as `zeroPersistence`, and for a β that is no finite number and options of other names.
 * @see Hofer, Graf, Niethammer, Kwitt 2020, arXiv:2002.04805; García-Castellanos et al. 2024, arXiv:2409.10967
 * @example
 * ```ts
 * const x = device.tensor([[0], [10], [1], [13]]);
 * x.requiresGrad = true;
 * const loss = densificationLoss(x, [0, 1, 0, 1], { beta: 2 });
 * await loss.item(); // => 2
 * loss.backward();
 * await x.grad?.read(); // => [1, -1, -1, 1]
 * ```
 */
export const densificationLoss = (points: Tensor, labels: CloudLabels, options: DensificationOptions): Tensor =>
  densification("densificationLoss", points, labels, checkNames("densificationLoss", options, LOSS_NAMES));

/**
 * Densification of representations before and after a relative transformation: 0.1 of the one plus 0.9 of the other.
 *
 * The death times before are Euclidean, whatever the metric of those after. `weights: [1, 0]` and `[0, 1]` are the one loss alone.
 *
 * @param pre shape [N, d] beside labels, or [..., n, d]
 * @param post as `pre`, with a d of its own
 * @returns shape []
 * @throws ArgumentError as `densificationLoss`, and for weights that are not two non-negative numbers, one of them positive.
 * @see García-Castellanos et al. 2024, arXiv:2409.10967
 * @example
 * ```ts
 * const pre = device.tensor([[0], [3]]);
 * const post = device.tensor([[0.5], [0.75]]);
 * await prePostDensificationLoss(pre, post, [0, 0], { beta: 2 }).item(); // => 1.675
 * await prePostDensificationLoss(pre, post, [0, 0], { beta: 2, weights: [1, 0] }).item(); // => 1
 * ```
 */
export const prePostDensificationLoss = (pre: Tensor, post: Tensor, labels: CloudLabels, options: PrePostOptions): Tensor => {
  const where = "prePostDensificationLoss";
  const { weights = [0.1, 0.9], beta, preBeta = beta } = checkNames(where, options, [...LOSS_NAMES, "preBeta", "weights"]);
  const valid = Array.isArray(weights) && weights.length === 2 && weights.every((weight) => Number.isFinite(weight) && weight >= 0);
  if (!valid || weights[0] + weights[1] === 0) throw expected(where, "two non-negative numbers, one of them positive", "weights", weights);
  const term = (weight: number, points: Tensor, more: DensificationOptions): Tensor | undefined => {
    if (weight === 0) return undefined;
    return mul(densification(where, points, labels, more), weight);
  };
  return scope(() => {
    const before = term(weights[0], pre, { ...options, beta: preBeta, metric: "l2" });
    const after = term(weights[1], post, options);
    return before && after ? add(before, after) : ((before ?? after) as Tensor);
  });
};
