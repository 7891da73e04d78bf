/** How stacks of matrices start: computed on the host, so that every device begins with the same numbers. */
import { type Permutation, permutationMatrix } from "../data/permutations.ts";
import { type Random, range, shuffle } from "../data/random.ts";
import { checkNames, expected } from "../errors.ts";

/**
 * Where a stack of matrices starts. With u ~ U[0, 1) for every logit, the same for every kind, and s the `sharpness` in [0, 1]:
 *
 * | kind | logits | doubly stochastic matrices |
 * |---|---|---|
 * | `"uniform"`, the paper's and the default | u | near 1/d everywhere |
 * | `"identity"` | log(s·I + (1 − s)/d) + u | near the identity |
 * | `"permutations"` | log(s·Q + (1 − s)/d) + u | near random permutations |
 *
 * `sharpness` is the share of a matrix that lies on its target before u; 0 is the paper's start up to a constant, 1 the target itself, up to 1e-12 and almost without
 * gradient. Default 0.5. All permutations of a stack differ from each other and from the identity.
 */
export type MatrixStart =
  | { readonly kind: "uniform" }
  | { readonly kind: "identity"; readonly sharpness?: number }
  | { readonly kind: "permutations"; readonly sharpness?: number };

/** In place of log 0. */
const LEAST = 1e-12;

/** Substream of the permutations: the uniform numbers are the same for every kind. */
const PERMUTATIONS = 1 << 20;

/** Random permutations of d positions that differ from each other and from the identity. */
const distinctPermutations = (count: number, d: number, random: Random): Permutation[] => {
  const seen = new Set([range(d).join()]);
  const found: Permutation[] = [];
  while (found.length < count) {
    const one = shuffle(range(d), random);
    if (seen.has(one.join())) continue;
    seen.add(one.join());
    found.push(one);
  }
  return found;
};

/** What the matrices start near: [count, d, d], row-major. */
const targets = (start: Exclude<MatrixStart, { kind: "uniform" }>, count: number, d: number, random: Random): Float64Array => {
  const result = new Float64Array(count * d * d);
  const all = start.kind === "identity" ? Array.from({ length: count }, () => range(d)) : distinctPermutations(count, d, random);
  for (const [i, one] of all.entries()) result.set(permutationMatrix(one), i * d * d);
  return result;
};

/** Throws for a start that `count` matrices of side d cannot have. */
export const checkStart = (where: string, start: MatrixStart, count: number, d: number): void => {
  const kind: unknown = start?.kind;
  if (kind !== "uniform" && kind !== "identity" && kind !== "permutations")
    throw expected(where, '"uniform", "identity" or "permutations"', "start.kind", kind);
  if (start.kind === "uniform") checkNames(where, start, ["kind"], "start");
  else checkNames(where, start, ["kind", "sharpness"], "start");
  const { sharpness = 0.5 } = start as { readonly sharpness?: number };
  if (!(sharpness >= 0 && sharpness <= 1)) throw expected(where, "a number in [0, 1]", "start.sharpness", sharpness);
  let most = 1;
  for (let i = 2; i <= d && most <= count; i++) most *= i;
  if (kind === "permutations" && most - 1 < count)
    throw expected(where, `at most ${most - 1} permutations, as many as ${d} positions have beside the identity,`, "start", count);
};

/** Logits of `count` matrices of side d, row-major. */
export const startLogits = (start: MatrixStart, count: number, d: number, random: Random): Float32Array => {
  const noise = Float32Array.from({ length: count * d * d }, () => random.uniform());
  if (start.kind === "uniform") return noise;
  const { sharpness = 0.5 } = start;
  const target = targets(start, count, d, random.stream(PERMUTATIONS));
  return noise.map((u, i) => Math.log(Math.max(sharpness * target[i] + (1 - sharpness) / d, LEAST)) + u);
};

/** The matrices that Sinkhorn's iteration makes of logits, on the host: rows, then columns. */
export const hostSinkhorn = (logits: Float32Array, d: number, iterations: number): Float32Array => {
  const values = Float64Array.from(logits, Math.exp);
  const normalise = (first: number, stride: number): void => {
    let total = 0;
    for (let i = 0; i < d; i++) total += values[first + i * stride];
    for (let i = 0; i < d; i++) values[first + i * stride] /= total;
  };
  for (let offset = 0; offset < values.length; offset += d * d) {
    for (let iteration = 0; iteration < iterations; iteration++) {
      for (let row = 0; row < d; row++) normalise(offset + row * d, 1);
      for (let column = 0; column < d; column++) normalise(offset + column, d);
    }
  }
  return Float32Array.from(values);
};
