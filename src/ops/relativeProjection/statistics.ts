/** Statistics of features, as relativeProjection reads them: of given rows, or given as they are. */
import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { showShape } from "../../op.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { reshape, slice, stack } from "../shape/index.ts";
import { statistics as measureOp } from "./op.ts";

/** Which of the statistics the rows of a projection are put in units of; "none": in none. */
export type Normaliser = "none" | "centre" | "standardise" | "whiten";

/** Statistics that are known: of the training set, say. Tensors of shape [d], float32. */
export interface GivenStatistics {
  readonly mean: Tensor;
  /** Deviations; a feature with 0 is left out. Wanted for "standardise" alone. */
  readonly scale?: Tensor;
  /** [d, d]: W of rows (x − mean) · Wᵀ, for "whiten" alone. */
  readonly whitening?: Tensor;
}

/** x -> [2, d], recorded when x wants a gradient. */
export const measure = (where: string, x: Tensor, normalise: Normaliser): Tensor => {
  if (x.dtype !== "float32") throw expected(where, "dtype float32", "rows", x.dtype);
  if (x.shape.length !== 2 || x.shape[0] === 0) throw expected(where, "shape [n, d] with at least one row", "rows", showShape(x.shape));
  return apply(measureOp, [x], { scale: normalise === "standardise" })[0];
};
/** One of both rows, [d]. */
export const rowOf = (packed: Tensor, index: 0 | 1): Tensor => reshape(slice(packed, { axis: 0, start: index, end: index + 1 }), [packed.shape[1]]);

const check = (where: string, statistics: GivenStatistics, name: keyof GivenStatistics, shape: readonly number[]): Tensor => {
  const tensor = statistics[name];
  checkTensor(where, `statistics.${name}`, tensor);
  if (tensor?.dtype !== "float32") throw expected(where, "dtype float32", `statistics.${name}`, tensor?.dtype);
  if (showShape(tensor.shape) !== showShape(shape)) throw expected(where, `shape ${showShape(shape)}`, `statistics.${name}`, showShape(tensor.shape));
  return tensor;
};

/** [2, d] from tensors of a user's own. */
export const given = (where: string, statistics: GivenStatistics, normalise: Normaliser, d: number): Tensor => {
  const mean = check(where, statistics, "mean", [d]);
  const scale = normalise === "standardise" ? check(where, statistics, "scale", [d]) : mean.device.ones([d]);
  return stack([mean, scale]);
};
/** Mean, [1, d], and whitening map from tensors of a user's own. */
export const givenMap = (where: string, statistics: GivenStatistics, d: number): readonly [Tensor, Tensor] => [
  reshape(check(where, statistics, "mean", [d]), [1, d]),
  check(where, statistics, "whitening", [d, d]),
];
