/** Normalisers and similarities that take a linear map: made of products of matrices and the inverse of a Cholesky factor. */
import { apply } from "../../apply.ts";
import { expected } from "../../errors.ts";
import { showShape } from "../../op.ts";
import type { Tensor } from "../../tensor.ts";
import { inverseCholesky } from "../cholesky/index.ts";
import { add, div, maximum, mul, square, sub } from "../elementwise/index.ts";
import { matmul } from "../matmul/index.ts";
import { sum } from "../reduce/index.ts";
import { slice } from "../shape/index.ts";
import { project } from "./op.ts";
import { measure } from "./statistics.ts";

const identity = (like: Tensor, n: number): Tensor =>
  like.device.tensor(
    Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
    [n, n],
  );

/** (1 − shrinkage) · a + shrinkage · size · identity, where size is the mean of the diagonal of a. */
const shrunk = (a: Tensor, shrinkage: number): Tensor => {
  if (shrinkage === 0) return a;
  const one = identity(a, a.shape[0]);
  return add(mul(a, 1 - shrinkage), mul(one, mul(sum(mul(a, one)), shrinkage / a.shape[0])));
};

/**
 * W with W a Wᵀ = I for a = factor · the products of all rows, or all columns, of `of`. Products square the condition number, and with it the error of W: what W
 * makes of `of` has products that are nearly the identity, and the W of those puts it right (as in CholeskyQR2, Yamamoto et al. 2015).
 */
const rootOf = (of: Tensor, columns: boolean, factor: number, shrinkage: number): Tensor => {
  const squares = (x: Tensor): Tensor => mul(matmul(x, x, columns ? { transposeA: true } : { transposeB: true }), factor);
  const first = inverseCholesky(shrunk(squares(of), shrinkage));
  if (shrinkage > 0) return first;
  const second = inverseCholesky(squares(columns ? matmul(of, first, { transposeB: true }) : matmul(first, of)));
  return matmul(second, first);
};

/** The mean of rows, [1, d], and W, [d, d], for which (x − mean) · Wᵀ have the identity for covariance. */
export const whitening = (where: string, argument: string, rows: Tensor, shrinkage: number): readonly [Tensor, Tensor] => {
  const [n, d] = rows.shape;
  if (shrinkage === 0 && n <= d) {
    throw expected(where, `more than d = ${d} rows for whitening without shrinkage`, argument, showShape(rows.shape));
  }
  const centre = slice(measure(where, rows, "centre"), { axis: 0, start: 0, end: 1 });
  return [centre, rootOf(sub(rows, centre), true, 1 / n, shrinkage)];
};

/** [d, d], of rows whose mean is taken off. */
export const covarianceOf = (centred: Tensor): Tensor => mul(matmul(centred, centred, { transposeA: true }), 1 / centred.shape[0]);

/** W with W · a · Wᵀ = I for a covariance that is known by itself. What rounding leaves of W · a · Wᵀ is whitened once more, as in `rootOf`. */
export const whiteningOf = (a: Tensor, shrinkage: number): Tensor => {
  const shrinking = shrunk(a, shrinkage);
  const first = inverseCholesky(shrinking);
  return matmul(inverseCholesky(matmul(matmul(first, shrinking), first, { transposeB: true })), first);
};

/** (x − mean) · Wᵀ. */
export const whitened = (x: Tensor, [centre, w]: readonly [Tensor, Tensor]): Tensor => matmul(sub(x, centre), w, { transposeB: true });

/** (x − mean) / deviation; 0 where that is 0. `statistics` is [2, d]. */
export const standardised = (x: Tensor, statistics: Tensor): Tensor => {
  const row = (index: number): Tensor => slice(statistics, { axis: 0, start: index, end: index + 1 });
  const deviation = row(1);
  return mul(sub(x, row(0)), div(deviation, maximum(square(deviation), 1.2e-38)));
};

/** u · vᵀ, by the projection itself: in blocks of both sides' rows where they are too many. */
const products = (u: Tensor, v: Tensor): Tensor =>
  apply(project("inner"), [u, v], { similarity: "inner", standardised: false, through: "given", scale: false }, { p: 2 })[0];

/** Coefficients c of the anchors v with c · v nearest to u, the shortest of them: u vᵀ (v vᵀ)⁻¹, or u (vᵀ v)⁻¹ vᵀ with more anchors than features. */
export const coefficients = (u: Tensor, v: Tensor, shrinkage: number): Tensor => {
  const [K, d] = v.shape;
  const few = K <= d;
  const w = rootOf(v, !few, 1, shrinkage);
  const solved = (b: Tensor): Tensor => matmul(matmul(b, w, { transposeB: true }), w);
  return few ? solved(products(u, v)) : products(solved(u), v);
};
