/** Statistics of features, as relativeProjection reads them: of given rows, given as they are, or running. */
import { apply } from "../../apply.ts";
import { ArgumentError, checkRange, expected } from "../../errors.ts";
import { noGrad } from "../../gradMode.ts";
import { showShape } from "../../op.ts";
import { keep, scope } from "../../scope.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { add, mul, sub } from "../elementwise/index.ts";
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

export interface RunningStatisticsOptions {
  /** Share of the new rows' statistics in every update but the first, in (0, 1]. Default 0.1. */
  readonly momentum?: number;
}

/**
 * Means and deviations of features that follow the rows they are shown: an exponential moving average that begins with the statistics of the first rows, not
 * with 0 and 1 (those would not change with the space as an encoder's other rows do, and a projection would lose its invariances).
 * Deviations are averaged, not variances. With `training` false they are frozen. Owns its memory: dispose of it.
 *
 * @example
 * ```ts
 * using running = new RunningStatistics({ momentum: 0.5 });
 * running.update(device.tensor([[0, 1], [2, 3]])); // means 1 and 2, deviations 1 and 1
 * running.update(device.tensor([[2, 0], [4, 0]])); // means 3 and 0, deviations 1 and 0
 * await running.mean.read(); // => [2, 1]
 * await running.scale.read(); // => [1, 0.5]
 * running.training = false;
 * running.update(device.tensor([[100, 100]])); // frozen
 * await running.mean.read(); // => [2, 1]
 * ```
 */
export class RunningStatistics implements Disposable {
  readonly momentum: number;
  /** Whether `update` has an effect. */
  training = true;
  #packed: Tensor | undefined;

  /** @throws ArgumentError for a momentum outside of (0, 1]. */
  constructor({ momentum = 0.1 }: RunningStatisticsOptions = {}) {
    checkRange("RunningStatistics", "momentum", momentum, Number.MIN_VALUE, 1, "a number in (0, 1]");
    this.momentum = momentum;
  }

  /**
   * Moves the statistics towards those of these rows.
   *
   * @param rows [n, d], float32, at least one row; nothing is recorded for a backward pass
   * @throws ArgumentError for another shape or dtype, or another number of features than before.
   */
  update(rows: Tensor): void {
    checkTensor("RunningStatistics.update", "rows", rows);
    if (!this.training) return;
    const before = this.#packed;
    if (before && rows.shape[1] !== before.shape[1])
      throw expected("RunningStatistics.update", `shape [n, ${before.shape[1]}]`, "rows", showShape(rows.shape));
    this.#packed = noGrad(() =>
      scope(() => {
        const now = measure("RunningStatistics.update", rows, "standardise");
        return keep(before ? add(before, mul(sub(now, before), this.momentum)) : now);
      }),
    );
    before?.dispose();
  }

  /** [2, d]: means, then deviations. Throws ArgumentError before the first update. */
  get packed(): Tensor {
    if (!this.#packed) throw new ArgumentError("RunningStatistics: expected an update with rows before its statistics are read, but received none");
    return this.#packed;
  }

  /** Shape [d]; a tensor of the caller's own. */
  get mean(): Tensor {
    return this.#row(0);
  }

  /** Deviations; shape [d]; a tensor of the caller's own. */
  get scale(): Tensor {
    return this.#row(1);
  }

  #row(index: 0 | 1): Tensor {
    const { packed } = this;
    return noGrad(() => scope(() => rowOf(packed, index)));
  }

  [Symbol.dispose](): void {
    this.#packed?.dispose();
    this.#packed = undefined;
  }
  dispose(): void {
    this[Symbol.dispose]();
  }
}
