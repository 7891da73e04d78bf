/** Statistics of features that follow the rows they are shown. */
import type { HostTensor, StateDict } from "../../data/safetensors.ts";
import { checkStored, matchKeys, saveState } from "../../data/stateDict.ts";
import type { Device } from "../../device.ts";
import { ArgumentError, checkFlags, checkNames, checkRange, expected } from "../../errors.ts";
import { noGrad } from "../../gradMode.ts";
import { showShape } from "../../op.ts";
import { keep, scope } from "../../scope.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { add, mul, sub } from "../elementwise/index.ts";
import { reshape } from "../shape/index.ts";
import { covarianceOf, whiteningOf } from "./linear.ts";
import { measure, rowOf } from "./statistics.ts";

export interface RunningStatisticsOptions {
  /** Share of the new rows' statistics in every update but the first, in (0, 1]. Default 0.1. */
  readonly momentum?: number;
  /** Whether the covariance [d, d] is followed too, which "whiten" takes. Default false. */
  readonly covariance?: boolean;
}

const WHERE = "RunningStatistics";

/**
 * Means, deviations and, if asked for, the covariance of features that follow the rows they are shown: an exponential moving average that begins with the statistics of
 * the first rows, not with 0 and 1 (those would not change with the space as an encoder's other rows do, and a projection would lose its invariances).
 * Deviations are averaged, not variances, and covariances about the mean of each update's rows. With `training` false all are frozen. They are constants to the tape, whatever `detachStatistics`. Owns its memory: dispose of it.
 *
 * @example
 * ```ts
 * using running = new RunningStatistics({ momentum: 0.5, covariance: true });
 * running.update(device.tensor([[0, 1], [2, 3]])); // means 1 and 2, deviations 1 and 1
 * running.update(device.tensor([[2, 0], [4, 0]])); // means 3 and 0, deviations 1 and 0
 * await running.mean.read(); // => [2, 1]
 * await running.scale.read(); // => [1, 0.5]
 * await running.covariance.read(); // => [1, 0.5, 0.5, 0.5]
 * running.training = false;
 * running.update(device.tensor([[100, 100]])); // frozen
 * await running.mean.read(); // => [2, 1]
 * const whitened = { normalise: "whiten", statistics: running } as const;
 * await relativeProjection(device.tensor([[3, 1]]), device.tensor([[2, 2]]), whitened).read(); // => [-0.70711]
 * using again = new RunningStatistics({ covariance: true });
 * again.loadStateDict(await running.stateDict(), device);
 * await again.scale.read(); // => [1, 0.5]
 * ```
 */
export class RunningStatistics implements Disposable {
  readonly momentum: number;
  /** Whether the covariance is followed. */
  readonly followsCovariance: boolean;
  /** Whether `update` has an effect. */
  training = true;
  #packed: Tensor | undefined;
  #covariance: Tensor | undefined;
  /** The map of the covariance as it is, for the shrinkage that was last asked for. */
  #map: { readonly shrinkage: number; readonly tensor: Tensor } | undefined;

  /** @throws ArgumentError for a momentum outside of (0, 1], or a flag that is none. */
  constructor(options: RunningStatisticsOptions = {}) {
    const { momentum = 0.1, covariance = false } = checkNames(WHERE, options, ["momentum", "covariance"]);
    checkRange(WHERE, "momentum", momentum, Number.MIN_VALUE, 1, "a number in (0, 1]");
    checkFlags(WHERE, { covariance });
    this.momentum = momentum;
    this.followsCovariance = covariance;
  }

  /**
   * Moves the statistics towards those of these rows.
   *
   * @param rows [n, d], float32, at least one row; nothing is recorded for a backward pass
   * @throws ArgumentError for another shape or dtype, or another number of features than before.
   */
  update(rows: Tensor): void {
    const where = `${WHERE}.update`;
    checkTensor(where, "rows", rows);
    if (!this.training) return;
    const [packed, covariance] = [this.#packed, this.#covariance];
    if (packed && rows.shape[1] !== packed.shape[1]) throw expected(where, `shape [n, ${packed.shape[1]}]`, "rows", showShape(rows.shape));
    const towards = (before: Tensor | undefined, now: Tensor): Tensor => (before ? add(before, mul(sub(now, before), this.momentum)) : now);
    const next = noGrad(() =>
      scope(() => {
        const now = measure(where, rows, "standardise");
        const around = this.followsCovariance ? covarianceOf(sub(rows, rowOf(now, 0))) : undefined;
        return [towards(packed, now), around && towards(covariance, around)] as const;
      }),
    );
    this.#replace(...next);
  }

  #replace(packed: Tensor | undefined, covariance: Tensor | undefined): void {
    for (const tensor of [this.#packed, this.#covariance, this.#map?.tensor]) tensor?.dispose();
    this.#packed = packed && keep(packed);
    this.#covariance = covariance && keep(covariance);
    this.#map = undefined;
  }

  /** [2, d]: means, then deviations. Throws ArgumentError before the first update. */
  get packed(): Tensor {
    if (!this.#packed) throw new ArgumentError(`${WHERE}: expected an update with rows before its statistics are read, but received none`);
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

  /** Shape [d, d]; a tensor of the caller's own. Throws ArgumentError where it is not followed. */
  get covariance(): Tensor {
    const covariance = this.#followed();
    return noGrad(() => reshape(covariance, covariance.shape));
  }

  /** @internal W with W · covariance · Wᵀ = I, of the covariance that is shrunk so much; kept until the statistics change, and not the caller's. */
  whitening(shrinkage: number): Tensor {
    const covariance = this.#followed();
    if (this.#map?.shrinkage !== shrinkage) {
      this.#map?.tensor.dispose();
      this.#map = undefined;
      this.#map = { shrinkage, tensor: noGrad(() => scope(() => keep(whiteningOf(covariance, shrinkage)))) };
    }
    return this.#map.tensor;
  }

  #followed(): Tensor {
    if (!this.followsCovariance) throw expected(WHERE, "true where the covariance is read", "covariance", false);
    void this.packed;
    return this.#covariance as Tensor;
  }

  #row(index: 0 | 1): Tensor {
    const { packed } = this;
    return noGrad(() => scope(() => rowOf(packed, index)));
  }

  /**
   * `mean`, `scale` and, where it is followed, `covariance`, for `encodeSafetensors` and `loadStateDict`.
   *
   * @throws ArgumentError before the first update.
   */
  stateDict(): Promise<StateDict> {
    const named = new Map([
      ["mean", this.mean],
      ["scale", this.scale],
      ...(this.followsCovariance ? [["covariance", this.covariance] as const] : []),
    ]);
    return saveState(named).finally(() => {
      for (const tensor of named.values()) tensor.dispose();
    });
  }

  /**
   * Takes over the statistics that `stateDict` gave, on this device. Nothing changes when anything does not fit.
   *
   * @throws ArgumentError for other names, shapes or kinds of values than `stateDict` gives, what is not finite, and deviations below 0.
   */
  loadStateDict(state: ReadonlyMap<string, HostTensor>, device: Device): void {
    const where = `${WHERE}.loadStateDict`;
    const names = ["mean", "scale", ...(this.followsCovariance ? ["covariance"] : [])];
    matchKeys(where, names, state);
    const d = state.get("mean")?.shape?.[0] ?? 0;
    const [mean, scale, covariance] = names.map((name, i) => {
      const value = state.get(name) as HostTensor;
      checkStored(where, name, { dtype: "float32", shape: i < 2 ? [d] : [d, d] }, value);
      const numbers = Float64Array.from(value.data as Float32Array);
      const wrong = numbers.find((number) => !Number.isFinite(number) || (name === "scale" && number < 0));
      if (wrong !== undefined)
        throw expected(where, `finite numbers${name === "scale" ? " of at least 0" : ""}`, `state[${JSON.stringify(name)}]`, wrong);
      return numbers;
    });
    this.#replace(
      ...scope(() => [device.tensor(Float64Array.of(...mean, ...scale), [2, d]), covariance && device.tensor(covariance, [d, d])] as const),
    );
  }

  [Symbol.dispose](): void {
    this.#replace(undefined, undefined);
  }
  dispose(): void {
    this[Symbol.dispose]();
  }
}
