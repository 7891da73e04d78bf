/** How a learned matrix mixes the elements of a candidate group: the paper's measure (arXiv 2412.04594, appendix B.1). */
import { checkPermutations, type Permutation, permutationMatrices } from "../data/permutations.ts";
import { splitStack, type Values } from "./matrices.ts";

export interface CoefficientFit {
  /** [g, candidates], rows on the simplex: not negative, with sum 1. */
  readonly coefficients: Float64Array;
  /** ‖Σ_k c_k P_k − R_i‖ (Frobenius), [g]. */
  readonly distances: Float64Array;
  /**
   * Bound on the squared distance in excess of the smallest possible, [g]: twice the duality gap, some 1e-13·d by rounding.
   */
  readonly gaps: Float64Array;
  /** Whether the candidates are linearly independent, as the elements of a free action are: then no other coefficients are as near. */
  readonly unique: boolean;
}

/** Solves the symmetric system a·x = b, [n, n] row-major, by elimination with row exchanges; both are overwritten. */
const solve = (a: Float64Array, b: Float64Array): Float64Array => {
  const n = b.length;
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(a[i * n + k]) > Math.abs(a[pivot * n + k])) pivot = i;
    if (pivot !== k) {
      for (let j = k; j < n; j++) [a[k * n + j], a[pivot * n + j]] = [a[pivot * n + j], a[k * n + j]];
      [b[k], b[pivot]] = [b[pivot], b[k]];
    }
    for (let i = k + 1; i < n; i++) {
      const factor = a[i * n + k] / a[k * n + k];
      if (factor === 0) continue;
      for (let j = k; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
      b[i] -= factor * b[k];
    }
  }
  for (let k = n - 1; k >= 0; k--) {
    for (let j = k + 1; j < n; j++) b[k] -= a[k * n + j] * b[j];
    b[k] /= a[k * n + k];
  }
  return b;
};

/** Minimum of ½cᵀGc − bᵀc on the affine hull of the chosen candidates: their weights, with sum 1. */
const affineMinimum = (gram: Float64Array, b: Float64Array, chosen: readonly number[]): Float64Array => {
  const count = b.length;
  const n = chosen.length + 1;
  const system = new Float64Array(n * n);
  const right = new Float64Array(n);
  for (const [i, k] of chosen.entries()) {
    for (const [j, l] of chosen.entries()) system[i * n + j] = gram[k * count + l];
    system[i * n + n - 1] = 1;
    system[(n - 1) * n + i] = 1;
    right[i] = b[k];
  }
  right[n - 1] = 1;
  return solve(system, right).subarray(0, n - 1);
};

/**
 * Wolfe's nearest point of a polytope (1976, doi:10.1007/BF01580381): an active-set method whose candidates in use are always affinely independent, so that it ends after
 * finitely many steps also where the candidates are not.
 */
const nearestMixture = (gram: Float64Array, b: Float64Array, tolerance: number): { readonly c: Float64Array; readonly gap: number } => {
  const count = b.length;
  const c = new Float64Array(count);
  let chosen = [b.indexOf(b.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY))];
  c[chosen[0]] = 1;
  const slopes = new Float64Array(count);
  // Each round adds one candidate; no set of them comes twice, and only rounding could bring one back.
  for (let round = 0; ; round++) {
    for (let k = 0; k < count; k++) {
      let slope = -b[k];
      for (const l of chosen) slope += gram[k * count + l] * c[l];
      slopes[k] = slope;
    }
    const own = chosen.reduce((sum, k) => sum + c[k] * slopes[k], 0);
    let steepest = 0;
    for (let k = 1; k < count; k++) if (slopes[k] < slopes[steepest]) steepest = k;
    const gap = Math.max(0, own - slopes[steepest]);
    if (gap <= tolerance || chosen.includes(steepest) || round > 50 * count) return { c, gap };
    chosen.push(steepest);
    for (;;) {
      const target = affineMinimum(gram, b, chosen);
      // How far towards the minimum before a weight is used up.
      let share = 1;
      let empty = -1;
      for (const [i, k] of chosen.entries()) {
        if (target[i] > 0) continue;
        const reach = c[k] > 0 ? c[k] / (c[k] - target[i]) : 0;
        if (empty < 0 || reach < share) [share, empty] = [reach, k];
      }
      for (const [i, k] of chosen.entries()) c[k] += share * (target[i] - c[k]);
      if (empty < 0) break;
      c[empty] = 0;
      chosen = chosen.filter((k) => k !== empty);
    }
  }
};

/** Rank by elimination with the largest pivot on the diagonal: of permutations the entries are integers, so that a pivot is 0 or far from it. */
const isIndependent = (gram: Float64Array, count: number): boolean => {
  const a = gram.slice();
  const largest = gram.reduce((most, value) => Math.max(most, value), 0);
  const left = Array.from({ length: count }, (_, k) => k);
  while (left.length > 0) {
    const k = left.reduce((best, other) => (a[other * count + other] > a[best * count + best] ? other : best));
    if (a[k * count + k] <= 1e-9 * largest) return false;
    left.splice(left.indexOf(k), 1);
    for (const i of left) for (const j of left) a[i * count + j] -= (a[i * count + k] * a[k * count + j]) / a[k * count + k];
  }
  return true;
};

const product = (a: Values, b: Values): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};

/** Candidates of either kind as matrices. */
const candidateMatrices = (where: string, d: number, candidates: readonly Permutation[] | Values): Values[] => {
  const given = candidates instanceof Float32Array || candidates instanceof Float64Array;
  return splitStack(where, "candidates", given ? candidates : permutationMatrices(checkPermutations(where, "candidates", candidates, d)), d);
};

/**
 * The convex mixture of candidates that is nearest to each matrix of a stack: min ‖Σ_k c_k P_k − R‖ over c on the simplex. One-hot coefficients with distance 0 are an
 * element of the group; mass on a part of the candidates is a partial symmetry.
 *
 * @param stack row-major [g, d, d]
 * @param candidates the elements of a group, in any order: permutations of d positions, or matrices, row-major [G, d, d], such as rotations that interpolate
 * @throws ArgumentError for stacks that are not a multiple of d·d and candidates that are no permutations of d positions; DataError for entries that are not finite
 * @example
 * ```ts
 * const shifts = cyclicGroup(3).elements;
 * const R = Float64Array.of(0.75, 0, 0.25, 0.25, 0.75, 0, 0, 0.25, 0.75); // three quarters identity, one quarter shift by one
 * fitCoefficients(R, 3, shifts).coefficients; // => [0.75, 0.25, 0]
 * fitCoefficients(R, 3, permutationMatrices(shifts)).coefficients; // => [0.75, 0.25, 0]
 * ```
 */
export const fitCoefficients = (stack: Values, d: number, candidates: readonly Permutation[] | Values): CoefficientFit => {
  const where = "fitCoefficients";
  const matrices = splitStack(where, "stack", stack, d);
  const known = candidateMatrices(where, d, candidates);
  const count = known.length;
  const gram = new Float64Array(count * count);
  for (let k = 0; k < count; k++) for (let l = 0; l <= k; l++) gram[k * count + l] = gram[l * count + k] = product(known[k], known[l]);
  const coefficients = new Float64Array(matrices.length * count);
  const distances = new Float64Array(matrices.length);
  const gaps = new Float64Array(matrices.length);
  const rest = new Float64Array(d * d);
  for (const [i, matrix] of matrices.entries()) {
    const b = Float64Array.from(known, (candidate) => product(candidate, matrix));
    const { c, gap } = nearestMixture(gram, b, 1e-13 * Math.max(d, ...b.map(Math.abs)));
    coefficients.set(c, i * count);
    rest.set(matrix);
    for (const [k, weight] of c.entries()) if (weight > 0) for (let at = 0; at < d * d; at++) rest[at] -= weight * known[k][at];
    distances[i] = Math.sqrt(product(rest, rest));
    gaps[i] = 2 * gap;
  }
  return { coefficients, distances, gaps, unique: isIndependent(gram, count) };
};
