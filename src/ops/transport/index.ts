import { apply } from "../../apply.ts";
import { checkFlags, checkNames, checkRange, expected } from "../../errors.ts";
import { scope } from "../../scope.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { concat } from "../shape/index.ts";
import { transport } from "./op.ts";

export interface ApplyPlanOptions {
  /** Applies Pᵀ instead of P. Default false. */
  readonly transpose?: boolean;
  /** The logits are divided by it. Default 1. */
  readonly temperature?: number;
  /** int32 or uint32, [n, m] or [..., n, m]: entries where it is 0 are 0 in P. */
  readonly mask?: Tensor;
}

/**
 * P · x or Pᵀ · x for the transport plan P = exp(logits / temperature + f + g) of known potentials, without storing P:
 * a second use of what `sinkhorn` found.
 *
 * @param logits float32 [..., n, m]
 * @param f potentials of the rows, float32 [..., n]; at or below −1e29: a row without mass
 * @param g potentials of the columns, float32 [..., m]
 * @param x float32 [..., m, d], or [m, d] for the whole batch; with `transpose` n in place of m
 * @returns float32 [..., n, d]; with `transpose` [..., m, d]
 * @throws ArgumentError for shapes or dtypes that do not fit, or a temperature that is no positive number.
 * @example
 * ```ts
 * const logits = device.tensor([[0, 2], [1, 0]]);
 * const { P, f, g } = sinkhorn(logits, { outputs: ["P", "f", "g"] });
 * const x = device.tensor([[1], [10]]);
 * await applyPlan(logits, f, g, x).read(); // => [8.3582, 2.6418]
 * await matmul(P, x).read(); // => [8.3582, 2.6418]
 * ```
 */
export const applyPlan = (logits: Tensor, f: Tensor, g: Tensor, x: Tensor, options: ApplyPlanOptions = {}): Tensor => {
  for (const [name, value] of Object.entries({ logits, f, g, x })) checkTensor("applyPlan", name, value);
  const { transpose = false, temperature = 1, mask } = checkNames("applyPlan", options, ["transpose", "temperature", "mask"]);
  checkFlags("applyPlan", { transpose });
  checkRange("applyPlan", "temperature", temperature, Number.MIN_VALUE, Number.MAX_VALUE, "a positive number");
  const [n, m] = logits.shape.slice(-2);
  if (logits.shape.length < 2) throw expected("applyPlan", "shape [..., n, m]", "logits", logits.shape);
  const batch = logits.shape.slice(0, -2);
  for (const [name, tensor, size] of [
    ["f", f, n],
    ["g", g, m],
  ] as const) {
    if (tensor.shape.join() !== [...batch, size].join()) throw expected("applyPlan", `shape [${[...batch, size].join(", ")}]`, name, tensor.shape);
  }
  return scope(
    () =>
      apply(
        transport,
        [logits, concat([f, g], -1), x, ...(mask ? [mask] : [])],
        { kind: transpose ? "columns" : "rows", rowOffset: 0, columnOffset: n, masked: mask !== undefined },
        { temperature },
      )[0],
  );
};
