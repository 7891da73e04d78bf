/** Maps from one space into another, fitted in closed form to parallel anchors: the baselines that relative representations are measured against. */
import { checkNames, checkObject, checkRange, expected } from "../errors.ts";
import { type Decomposition, filtered, inverseFilter, multiply, multiplyByTransposed, multiplyTransposed, svd } from "./linalg.ts";
import { checkChoice, checkMatrix, checkPaired, type Dense, dense, type HostMatrix, hostMatrix, roundingOf } from "./matrix.ts";
import { type ColumnStatistics, columnStatistics } from "./standardise.ts";

/**
 * How an alignment maps: "procrustes": the orthogonal map; "linear": any linear map; "linearOrthogonal": the orthogonal map nearest to the linear one; "affine": any linear
 * map and a translation.
 */
export type AlignmentMethod = "procrustes" | "linear" | "linearOrthogonal" | "affine";
export const ALIGNMENT_METHODS: readonly AlignmentMethod[] = ["procrustes", "linear", "linearOrthogonal", "affine"];

export interface AlignmentOptions {
  /** Default "procrustes". */
  readonly method?: AlignmentMethod;
  /**
   * What is done to both spaces with the anchors' statistics first, and undone with the target's after: "none", "centre" (the mean becomes 0) or "standardise" (and every
   * deviation 1). Default "standardise". "affine" centres at least.
   */
  readonly normalise?: "none" | "centre" | "standardise";
  /** λ ≥ 0 of ‖X·W − Y‖² + λ‖W‖², as in ridge regression. Not with "procrustes". Default 0: the smallest of all least-squares solutions. */
  readonly ridge?: number;
  /** In [0, 1]: XᵀX is replaced by (1 − shrinkage)·XᵀX + shrinkage·(mean of its eigenvalues)·I. Not with "procrustes". Default 0. */
  readonly shrinkage?: number;
}

/** y ≈ x·weight + bias */
export interface Alignment {
  /** [d, d'] */
  readonly weight: HostMatrix;
  /** [d'] */
  readonly bias: Float64Array;
  /** ‖X·weight + bias − Y‖ / ‖Y − mean(Y)‖ on the anchors: 0 for a perfect fit, 1 for no better than the mean. NaN when all anchors of Y are the same. */
  readonly residual: number;
}

const NORMALISATIONS: readonly string[] = ["none", "centre", "standardise"];

/**
 * U·Vᵀ of a [d, d'] matrix, the nearest matrix with orthonormal rows or columns (Schönemann 1966). The thin factors give what is left of the square orthogonal map after
 * both spaces were padded with zeros to equal dimension and the padding of the result was dropped, without the padding.
 */
const orthogonalPart = (cross: Dense): Dense => {
  const { u, v } = svd(cross);
  return multiplyByTransposed(u, v);
};

interface Regularisation {
  readonly ridge: number;
  readonly shrinkage: number;
  /** Rounding of the type that the anchors came in. */
  readonly epsilon: number;
}

/** What stands for 1/σ: σ / ((1 − α)σ² + α·mean(σ²) + λ), and 1/σ itself within the rank when nothing regularises. */
const ridgeFilter = ({ values }: Decomposition, x: Dense, { ridge, shrinkage, epsilon }: Regularisation): Float64Array => {
  if (ridge === 0 && shrinkage === 0) return inverseFilter(values, x.rows, x.columns, epsilon);
  const average = values.reduce((sum, value) => sum + value ** 2, 0) / x.columns;
  return values.map((value) => (value === 0 ? 0 : value / ((1 - shrinkage) * value ** 2 + shrinkage * average + ridge)));
};

const solve = (x: Dense, y: Dense, method: AlignmentMethod, regularisation: Regularisation): Dense => {
  if (method === "procrustes") return orthogonalPart(multiplyTransposed(x, y));
  const parts = svd(x);
  const linear = filtered(parts, ridgeFilter(parts, x, regularisation), y);
  return method === "linearOrthogonal" ? orthogonalPart(linear) : linear;
};

/** (x − mean)/scale, row by row. */
const normalised = (x: Dense, { mean, scale }: ColumnStatistics): Dense => ({
  ...x,
  data: x.data.map((value, i) => (value - mean[i % x.columns]) / scale[i % x.columns]),
});

/**
 * Fits a map from the space of `x` to the space of `y` on parallel anchors, in closed form: both are normalised with the statistics of their anchors, zero-padded to
 * equal dimension where the method is orthogonal, mapped, and de-normalised with the target's statistics; all of it is one affine map in the end (Maiorca et al., "Latent
 * Space Translation via Semantic Alignment", arXiv:2311.00664). Features without variance are centred and not scaled.
 *
 * With as many anchors as dimensions or fewer, a linear map fits them exactly and may be far off elsewhere: use `ridge` or `shrinkage`, or "procrustes".
 * Directions in which they differ by no more than rounding errors of their type (float32 or float64) are left out, as by `numpy.linalg.lstsq`.
 *
 * @param x [K, d], @param y [K, d']: the same anchors in both spaces
 * @throws ArgumentError for different numbers of rows, fewer than 2 of them where statistics are taken, values that are not finite, and options out of range.
 * @example
 * ```ts
 * const x = { shape: [3, 2], data: Float32Array.of(1, 0, 0, 1, 2, 2) };
 * const y = { shape: [3, 2], data: Float32Array.of(0, 1, -1, 0, -2, 2) }; // turned by 90°
 * const map = fitAlignment(x, y, { normalise: "none" });
 * map.weight.data; // => [0.00, 1.00, -1.00, 0.00]
 * applyAlignment(map, { shape: [1, 2], data: Float32Array.of(5, 7) }).data; // => [-7.00, 5.00]
 * ```
 */
export const fitAlignment = (x: HostMatrix, y: HostMatrix, options: AlignmentOptions = {}): Alignment => {
  const where = "fitAlignment";
  const {
    method = "procrustes",
    normalise = "standardise",
    ridge = 0,
    shrinkage = 0,
  } = checkNames(where, options, ["method", "normalise", "ridge", "shrinkage"]);
  checkChoice(where, "method", method, ALIGNMENT_METHODS);
  checkChoice(where, "normalise", normalise, NORMALISATIONS);
  checkRange(where, "ridge", ridge, 0, Number.MAX_VALUE, "a number of at least 0");
  checkRange(where, "shrinkage", shrinkage, 0, 1, "a number in [0, 1]");
  if (method === "procrustes" && (ridge > 0 || shrinkage > 0))
    throw expected(where, 'no regularisation with method "procrustes"', "ridge, shrinkage", [ridge, shrinkage]);
  const [from, to] = [checkMatrix(where, "x", x), checkMatrix(where, "y", y)];
  checkPaired(where, from, to);
  const level = method === "affine" && normalise === "none" ? "centre" : normalise;
  if (level !== "none" && from.rows < 2) throw expected(where, "at least 2 anchors, whose statistics are taken,", "x", `${from.rows}`);
  const [source, target] = [columnStatistics(from, level), columnStatistics(to, level)];
  const core = solve(normalised(from, source), normalised(to, target), method, { ridge, shrinkage, epsilon: roundingOf(x) });

  // ((x − μ)/σ · core)·σ' + μ' = x·weight + bias.
  const weight = dense(core.rows, core.columns);
  for (let i = 0; i < core.rows; i++)
    for (let j = 0; j < core.columns; j++) weight.data[i * core.columns + j] = (core.data[i * core.columns + j] * target.scale[j]) / source.scale[i];
  const shift = multiply(dense(1, core.rows, source.mean), weight).data;
  const bias = target.mean.map((value, j) => value - shift[j]);
  return { weight: hostMatrix(weight), bias, residual: residual(mapped(from, weight, bias), to) };
};

const mapped = (x: Dense, weight: Dense, bias: Float64Array): Dense => {
  const y = multiply(x, weight);
  for (let i = 0; i < y.data.length; i++) y.data[i] += bias[i % y.columns];
  return y;
};

const residual = (got: Dense, want: Dense): number => {
  const { mean } = columnStatistics(want, "centre");
  let [error, spread] = [0, 0];
  for (let i = 0; i < want.data.length; i++) {
    error += (got.data[i] - want.data[i]) ** 2;
    spread += (want.data[i] - mean[i % want.columns]) ** 2;
  }
  return spread === 0 ? Number.NaN : Math.sqrt(error / spread);
};

/**
 * x·weight + bias: points of the source space in the target space. On a device the same is a matrix product with a bias.
 *
 * @param x [n, d]
 * @returns [n, d'], float64
 * @throws ArgumentError for points of another dimension than the map's, or not finite.
 * @example
 * ```ts
 * const map = { weight: { shape: [2, 1], data: Float64Array.of(1, 10) }, bias: Float64Array.of(0.5), residual: 0 };
 * applyAlignment(map, { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }).data; // => [21.5, 43.5]
 * const [weight, bias] = [device.tensor(map.weight.data, map.weight.shape), device.tensor(map.bias)];
 * await matmul(device.tensor([[1, 2], [3, 4]]), weight, { bias }).read(); // => [21.5, 43.5]
 * ```
 */
export const applyAlignment = (map: Alignment, x: HostMatrix): HostMatrix => {
  const where = "applyAlignment";
  const { weight, bias } = checkObject(where, map, "map");
  const [w, points] = [checkMatrix(where, "map.weight", weight), checkMatrix(where, "x", x)];
  if (points.columns !== w.rows) throw expected(where, `points of dimension ${w.rows}`, "x", points.columns);
  if (!(bias instanceof Float64Array) || bias.length !== w.columns) throw expected(where, `${w.columns} values in a Float64Array`, "map.bias", bias);
  return hostMatrix(mapped(points, w, bias));
};
