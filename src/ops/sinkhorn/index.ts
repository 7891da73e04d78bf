import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { isGradEnabled } from "../../gradMode.ts";
import { Tensor } from "../../tensor.ts";
import { plain, recorded } from "./op.ts";

export interface SinkhornOptions {
  /** Pairs of a row and a column normalisation, 1 to 100,000. Default 20. */
  readonly iterations?: number;
  /** The logits are divided by it; small values make P sharp. From 1e-30 to 1e30. Default 1. */
  readonly temperature?: number;
}

const COLDEST = 1e-30;
const HOTTEST = 1e30;

/**
 * Sinkhorn normalisation: alternately divides the rows, then the columns, of exp(logits / temperature) by their sums.
 * The result after exactly `iterations` pairs; its columns sum to 1, its rows only in the limit. The gradient is that of
 * the iterations as they were run, not of their limit.
 *
 * Sinkhorn and Knopp, "Concerning nonnegative matrices and doubly stochastic matrices" (1967); as a network layer,
 * Mena et al., "Learning latent permutations with Gumbel-Sinkhorn networks" (2018).
 *
 * @param logits float32 `[..., n, n]`, n from 1 to 4096; leading axes are the batch
 * @returns float32 of the shape of `logits`
 * @throws ArgumentError for another shape or dtype, or an option out of range; the next `read()` throws DataError when a logit is
 * NaN or infinite.
 * @example
 * ```ts
 * const P = sinkhorn(device.tensor([[0, 2], [1, 0]]), { iterations: 50, temperature: 0.5 });
 * await P.read(); // => [0.0474, 0.9526, 0.9526, 0.0474]
 * await sum(P, 0).read(); // => [1, 1]
 * ```
 */
export const sinkhorn = (logits: Tensor, { iterations = 20, temperature = 1 }: SinkhornOptions = {}): Tensor => {
  if (!(logits instanceof Tensor)) throw expected("sinkhorn", "a tensor", "logits", logits);
  if (!(temperature >= COLDEST && temperature <= HOTTEST)) {
    throw expected("sinkhorn", `a number from ${COLDEST} to ${HOTTEST}`, "temperature", temperature);
  }
  if (!(logits.requiresGrad && isGradEnabled())) return apply(plain, [logits], { iterations, history: false }, { temperature })[0];
  const [p, history] = apply(recorded, [logits], { iterations, history: true }, { temperature });
  history.dispose();
  return p;
};
