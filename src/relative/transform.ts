/** Maps of a space that are fitted to points, applied to others and undone, one after another: plain data. */
import { choice, createRandom } from "../data/random.ts";
import { checkInteger, checkNames, checkObject, checkRange, DataError, expected } from "../errors.ts";
import { rowNorms, unitRows } from "./distance.ts";
import { multiply, multiplyByTransposed, numericalRank, randomOrthogonal, svd, transposed } from "./linalg.ts";
import { checkMatrix, type Dense, dense, type HostMatrix, hostMatrix, roundingOf } from "./matrix.ts";
import { centred, columnStatistics } from "./standardise.ts";

/** What to fit, with means, deviations σ and covariance Σ of the points (divisor n). */
export type TransformStep =
  /** x − mean */
  | { readonly kind: "centre" }
  /** x / σ, feature by feature. Features without deviation stay as they are. */
  | { readonly kind: "scale" }
  /** (x − mean) / σ. Features without deviation are centred only. */
  | { readonly kind: "standardise" }
  /**
   * (x − mean) · Σ^(−1/2), the whitening that moves points least (ZCA). `shrinkage`, in [0, 1] and 0 by default: Σ is replaced by (1 − shrinkage)·Σ + shrinkage·(mean of its
   * eigenvalues)·I.
   */
  | { readonly kind: "whiten"; readonly shrinkage?: number }
  /** x / ‖x‖ₚ, row by row; rows of zeros stay. `p` at least 1, or "inf" for the largest entry. Default 2. No inverse. */
  | { readonly kind: "unitNorm"; readonly p?: number | "inf" }
  /** x over the mean of ‖x‖ₚ of the points, unless they are all 0. */
  | { readonly kind: "meanNorm"; readonly p?: number | "inf" }
  /** x · factor, which is not 0. */
  | { readonly kind: "isotropic"; readonly factor: number }
  /** x · Q with an orthogonal matrix, each as likely as any other. `seed`, here and below: 0 by default. */
  | { readonly kind: "isometry"; readonly seed?: number }
  /** The features in random order. */
  | { readonly kind: "permutation"; readonly seed?: number }
  /** Zeros up to so many features. */
  | { readonly kind: "padding"; readonly dimension: number };

/** A step with all of its numbers. */
export type FittedStep =
  /** (x − shift) / scale, feature by feature. */
  | { readonly kind: "scaling"; readonly shift: readonly number[]; readonly scale: readonly number[] }
  /** (x − shift) · weight; both matrices [d, d], row by row. */
  | { readonly kind: "linear"; readonly shift: readonly number[]; readonly weight: readonly number[]; readonly inverse: readonly number[] }
  | { readonly kind: "isotropic"; readonly factor: number }
  /** Feature i is feature order[i] of x. */
  | { readonly kind: "permutation"; readonly order: readonly number[] }
  | { readonly kind: "padding"; readonly from: number; readonly to: number }
  | { readonly kind: "unitNorm"; readonly p: number | "inf" };

/**
 * Steps in the order in which they are applied. Plain objects, numbers and lists: `JSON.stringify` writes them and `JSON.parse` gives the same numbers back;
 * `[...first, ...second]` does one transform after another, and `[]` nothing.
 */
export type Transform = readonly FittedStep[];

const KINDS = "centre, scale, standardise, whiten, unitNorm, meanNorm, isotropic, isometry, permutation, padding";
const FITTED_KINDS = "scaling, linear, isotropic, permutation, padding, unitNorm";
const MAX_ELEMENTS = 2 ** 31 - 1;

const checkPower = (where: string, argument: string, p: number | "inf"): number | "inf" => {
  if (p !== "inf" && !(typeof p === "number" && p >= 1 && p < Number.POSITIVE_INFINITY))
    throw expected(where, 'a number of at least 1, or "inf",', argument, p);
  return p;
};
const powerOf = (p: number | "inf"): number => (p === "inf" ? Number.POSITIVE_INFINITY : p);

const checkFactor = (where: string, argument: string, factor: number): number => {
  if (!Number.isFinite(factor) || factor === 0) throw expected(where, "a finite number other than 0", argument, factor);
  return factor;
};

/** Σ^exponent of centred points, shrunken, with exponents −1/2 and 1/2. */
const whitening = (where: string, x: Dense, shrinkage: number, epsilon: number): { readonly weight: Dense; readonly inverse: Dense } => {
  const { rows, columns: d } = x;
  const { values, v } = svd(centred(x));
  const [largest] = values;
  const rank = numericalRank(values, rows, d, epsilon);
  if (largest === 0 || (shrinkage === 0 && rank < d))
    throw new DataError(
      `${where}: expected points that differ in all of their ${d} dimensions${largest === 0 ? "" : ", or some shrinkage,"} for whitening, but received points that differ in ${rank}`,
    );
  // Relative to the largest, so that no square overflows.
  const variances = values.map((value) => (value / largest) ** 2 / rows);
  const average = variances.reduce((sum, value) => sum + value, 0) / d;
  const deviations = variances.map((value) => largest * Math.sqrt((1 - shrinkage) * value + shrinkage * average));
  // Directions beyond those of fewer points than features.
  const rest = largest * Math.sqrt(shrinkage * average);
  const power = (exponent: number): Dense => {
    const base = v.columns < d ? rest ** exponent : 0;
    const scaled = dense(
      d,
      v.columns,
      v.data.map((value, i) => value * (deviations[i % v.columns] ** exponent - base)),
    );
    const result = multiplyByTransposed(scaled, v);
    for (let i = 0; i < d; i++) result.data[i * (d + 1)] += base;
    return result;
  };
  return { weight: power(-1), inverse: power(1) };
};

const linear = (shift: ArrayLike<number>, weight: Dense, inverse: Dense): FittedStep => ({
  kind: "linear",
  shift: Array.from(shift),
  weight: Array.from(weight.data),
  inverse: Array.from(inverse.data),
});

const fitStep = (where: string, argument: string, x: Dense, step: TransformStep, epsilon: number): FittedStep => {
  const d = x.columns;
  checkObject(where, step, argument);
  switch (step.kind) {
    case "centre":
    case "scale":
    case "standardise": {
      const { kind } = checkNames(where, step, ["kind"], argument);
      const { mean, scale } = columnStatistics(x, kind === "centre" ? "centre" : "standardise");
      return { kind: "scaling", shift: Array.from(kind === "scale" ? new Float64Array(d) : mean), scale: Array.from(scale) };
    }
    case "whiten": {
      const { shrinkage = 0 } = checkNames(where, step, ["kind", "shrinkage"], argument);
      checkRange(where, `${argument}.shrinkage`, shrinkage, 0, 1, "a number in [0, 1]");
      const { weight, inverse } = whitening(where, x, shrinkage, epsilon);
      return linear(columnStatistics(x, "centre").mean, weight, inverse);
    }
    case "unitNorm": {
      const { p = 2 } = checkNames(where, step, ["kind", "p"], argument);
      return { kind: "unitNorm", p: checkPower(where, `${argument}.p`, p) };
    }
    case "meanNorm": {
      const { p = 2 } = checkNames(where, step, ["kind", "p"], argument);
      const mean = rowNorms(x, powerOf(checkPower(where, `${argument}.p`, p))).reduce((sum, norm) => sum + norm / x.rows, 0);
      return { kind: "scaling", shift: Array(d).fill(0), scale: Array(d).fill(mean === 0 ? 1 : mean) };
    }
    case "isotropic": {
      const { factor } = checkNames(where, step, ["kind", "factor"], argument);
      return { kind: "isotropic", factor: checkFactor(where, `${argument}.factor`, factor) };
    }
    case "isometry": {
      const { seed = 0 } = checkNames(where, step, ["kind", "seed"], argument);
      const q = randomOrthogonal(d, createRandom(seed).normal);
      return linear(new Float64Array(d), q, transposed(q));
    }
    case "permutation": {
      const { seed = 0 } = checkNames(where, step, ["kind", "seed"], argument);
      return { kind: "permutation", order: Array.from(choice(d, d, createRandom(seed))) };
    }
    case "padding": {
      const { dimension } = checkNames(where, step, ["kind", "dimension"], argument);
      checkInteger(where, `${argument}.dimension`, dimension, d, Math.floor(MAX_ELEMENTS / x.rows));
      return { kind: "padding", from: d, to: dimension };
    }
    default:
      throw expected(where, `one of ${KINDS}`, `${argument}.kind`, (step as TransformStep).kind);
  }
};

const checkNumbers = (where: string, argument: string, values: readonly number[], length?: number): void => {
  if (!Array.isArray(values)) throw expected(where, "a list of numbers", argument, values);
  if (length !== undefined && values.length !== length) throw expected(where, `${length} numbers`, argument, values.length);
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) throw expected(where, "finite numbers", argument, `${String(values[wrong])} at position ${wrong}`);
};

/** The features of its points, as a step says that there are; undefined where any number will do. Throws for what is no step. */
const checkStep = (where: string, argument: string, step: FittedStep): number | undefined => {
  checkObject(where, step, argument);
  switch (step.kind) {
    case "scaling": {
      const { shift, scale } = checkNames(where, step, ["kind", "shift", "scale"], argument);
      checkNumbers(where, `${argument}.shift`, shift);
      checkNumbers(where, `${argument}.scale`, scale, shift.length);
      for (const [i, factor] of scale.entries()) checkFactor(where, `${argument}.scale[${i}]`, factor);
      return shift.length;
    }
    case "linear": {
      const { shift, weight, inverse } = checkNames(where, step, ["kind", "shift", "weight", "inverse"], argument);
      checkNumbers(where, `${argument}.shift`, shift);
      checkNumbers(where, `${argument}.weight`, weight, shift.length ** 2);
      checkNumbers(where, `${argument}.inverse`, inverse, shift.length ** 2);
      return shift.length;
    }
    case "permutation": {
      const { order } = checkNames(where, step, ["kind", "order"], argument);
      checkNumbers(where, `${argument}.order`, order);
      const seen = new Set(order);
      if (seen.size !== order.length || !order.every((i) => Number.isInteger(i) && i >= 0 && i < order.length))
        throw expected(where, `every whole number below ${order.length} once`, `${argument}.order`, order);
      return order.length;
    }
    case "padding": {
      const { from, to } = checkNames(where, step, ["kind", "from", "to"], argument);
      checkInteger(where, `${argument}.from`, from, 1, MAX_ELEMENTS);
      checkInteger(where, `${argument}.to`, to, from, MAX_ELEMENTS);
      return from;
    }
    case "isotropic":
      checkFactor(where, `${argument}.factor`, checkNames(where, step, ["kind", "factor"], argument).factor);
      return undefined;
    case "unitNorm":
      checkPower(where, `${argument}.p`, checkNames(where, step, ["kind", "p"], argument).p);
      return undefined;
    default:
      throw expected(where, `one of ${FITTED_KINDS}`, `${argument}.kind`, (step as FittedStep).kind);
  }
};

const mapped = (x: Dense, map: (value: number, column: number) => number): Dense => ({
  ...x,
  data: x.data.map((value, i) => map(value, i % x.columns)),
});
const square = (values: readonly number[], d: number): Dense => dense(d, d, Float64Array.from(values));
/** Columns by number; none where there is no such. */
const columnsOf = (x: Dense, order: ArrayLike<number>): Dense => {
  const result = dense(x.rows, order.length);
  for (let i = 0; i < x.rows; i++)
    for (let j = 0; j < order.length; j++) if (order[j] < x.columns) result.data[i * order.length + j] = x.data[i * x.columns + order[j]];
  return result;
};
const firstColumns = (x: Dense, count: number): Dense =>
  columnsOf(
    x,
    Int32Array.from({ length: count }, (_, j) => j),
  );

const forward = (step: FittedStep, x: Dense): Dense => {
  switch (step.kind) {
    case "scaling":
      return mapped(x, (value, j) => (value - step.shift[j]) / step.scale[j]);
    case "linear":
      return multiply(
        mapped(x, (value, j) => value - step.shift[j]),
        square(step.weight, x.columns),
      );
    case "isotropic":
      return mapped(x, (value) => value * step.factor);
    case "permutation":
      return columnsOf(x, step.order);
    case "padding":
      return firstColumns(x, step.to);
    case "unitNorm":
      return unitRows(x, powerOf(step.p));
  }
};

const backward = (step: Exclude<FittedStep, { readonly kind: "unitNorm" }>, y: Dense): Dense => {
  switch (step.kind) {
    case "scaling":
      return mapped(y, (value, j) => value * step.scale[j] + step.shift[j]);
    case "linear":
      return mapped(multiply(y, square(step.inverse, y.columns)), (value, j) => value + step.shift[j]);
    case "isotropic":
      return mapped(y, (value) => value / step.factor);
    case "permutation": {
      const places = new Int32Array(y.columns);
      for (const [i, j] of step.order.entries()) places[j] = i;
      return columnsOf(y, places);
    }
    case "padding":
      return firstColumns(y, step.from);
  }
};

const checkSteps = <T>(where: string, argument: string, steps: readonly T[]): readonly T[] => {
  if (!Array.isArray(steps)) throw expected(where, "a list of steps", argument, steps);
  return steps;
};

/** One step after another; throws where points have other dimensions than a step was fitted to, or leave the range of float64. */
const through = (where: string, argument: string, points: HostMatrix, steps: readonly FittedStep[], inverse: boolean): HostMatrix => {
  const order = checkSteps(where, "transform", steps).map((step, i) => ({
    step,
    name: `transform[${i}]`,
    from: checkStep(where, `transform[${i}]`, step),
  }));
  let x = checkMatrix(where, argument, points);
  for (const { step, name, from } of inverse ? order.reverse() : order) {
    const columns = inverse && step.kind === "padding" ? step.to : from;
    if (columns !== undefined && x.columns !== columns) throw expected(where, `points of dimension ${columns} at ${name}`, argument, x.columns);
    if (step.kind === "padding" && x.rows * step.to > MAX_ELEMENTS)
      throw expected(where, `at most ${MAX_ELEMENTS} numbers in all`, `${name}.to`, step.to);
    if (!inverse) x = forward(step, x);
    else if (step.kind === "unitNorm") throw expected(where, "steps with an inverse", name, "unitNorm, which leaves nothing of how long a row was");
    else x = backward(step, x);
  }
  if (!x.data.every(Number.isFinite))
    throw new DataError(`${where}: expected results in the range of float64, but the steps of \`transform\` left it`);
  return hostMatrix(x);
};

/**
 * Fits maps of a space to points, each to what the ones before make of them: statistics are those of `x`, whichever points are transformed later. Everything in float64.
 *
 * @param x [n, d], usually the anchors
 * @param steps what to fit, in the order in which it is to be applied
 * @throws ArgumentError for points that are not finite, and steps of no known kind or with parameters out of range; DataError for whitening of points that do not differ in all
 * dimensions, without shrinkage.
 * @example
 * ```ts
 * const x = { shape: [3, 2], data: Float32Array.of(0, 1, 2, 1, 4, 4) };
 * const transform = fitTransform(x, [{ kind: "centre" }, { kind: "padding", dimension: 3 }]);
 * applyTransform(transform, x).data; // => [-2, -1, 0, 0, -1, 0, 2, 2, 0]
 * const turned = fitTransform(x, [{ kind: "centre" }, { kind: "isometry", seed: 1 }]);
 * const y = applyTransform(turned, x);
 * Math.hypot(y.data[0] - y.data[2], y.data[1] - y.data[3]); // => 2.0000000
 * invertTransform(turned, y).data; // => [0.00000, 1.00000, 2.00000, 1.00000, 4.00000, 4.00000]
 * fitTransform(x, [{ kind: "padding", dimension: 1 }]); // throws ArgumentError
 * ```
 */
export const fitTransform = (x: HostMatrix, steps: readonly TransformStep[]): Transform => {
  const where = "fitTransform";
  let points = checkMatrix(where, "x", x);
  const fitted: FittedStep[] = [];
  for (const [i, step] of checkSteps(where, "steps", steps).entries()) {
    const last = fitStep(where, `steps[${i}]`, points, step, roundingOf(x));
    fitted.push(last);
    points = forward(last, points);
  }
  return fitted;
};

/**
 * Points as the steps map them, one after the other. On a device the same is an op or two per step, with a step's numbers as tensors.
 *
 * @param x [n, d]
 * @returns [n, d'], float64
 * @throws ArgumentError for steps that are none, and points of another dimension than they were fitted to, or not finite; DataError where a result leaves the range of float64.
 * @example
 * ```ts
 * const anchors = { shape: [2, 2], data: Float32Array.of(1, 10, 3, 30) };
 * const standardised = fitTransform(anchors, [{ kind: "standardise" }]);
 * standardised[0]; // => { kind: "scaling", shift: [2, 20], scale: [1, 10] }
 * applyTransform(standardised, { shape: [1, 2], data: Float32Array.of(5, 5) }).data; // => [3, -1.5]
 * const unit = fitTransform(anchors, [{ kind: "unitNorm" }]);
 * applyTransform([...standardised, ...unit], anchors).data; // => [-0.70711, -0.70711, 0.70711, 0.70711]
 * const stored = JSON.stringify(standardised);
 * applyTransform(JSON.parse(stored), anchors).data; // => [-1, -1, 1, 1]
 * const [turn] = fitTransform(anchors, [{ kind: "isometry", seed: 3 }]);
 * if (turn.kind === "linear") {
 *   const onDevice = matmul(device.tensor([[1, 10], [3, 30]]), device.tensor(turn.weight, [2, 2]));
 *   await sum(square(onDevice), 1).read(); // => [101.000, 909.000]
 * }
 * ```
 */
export const applyTransform = (transform: Transform, x: HostMatrix): HostMatrix => through("applyTransform", "x", x, transform, false);

/**
 * The points that the steps map to these: their inverses in reverse order. Of padding it drops the features that were added, whatever became of them.
 *
 * @param y [n, d'], of the space that the transform leads to
 * @returns [n, d], float64
 * @throws ArgumentError for steps that are none or have no inverse ("unitNorm": nothing is left of how long a row was), and points of another dimension, or not finite; DataError
 * where a result leaves the range of float64.
 * @example
 * ```ts
 * const anchors = { shape: [3, 1], data: Float32Array.of(2, 4, 9) };
 * const transform = fitTransform(anchors, [{ kind: "centre" }, { kind: "isotropic", factor: 10 }]);
 * invertTransform(transform, { shape: [2, 1], data: Float32Array.of(0, 40) }).data; // => [5, 9]
 * invertTransform(fitTransform(anchors, [{ kind: "unitNorm" }]), anchors); // throws ArgumentError
 * ```
 */
export const invertTransform = (transform: Transform, y: HostMatrix): HostMatrix => through("invertTransform", "y", y, transform, true);
