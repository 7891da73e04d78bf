/** Whether two sides computed the same. */

/** Largest difference of two tensors, relative to the largest entry of `want`; infinite where a value is missing or no number. */
export const difference = (got: ArrayLike<number>, want: ArrayLike<number>): number => {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let scale = 0;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const error = Math.abs(got[i] - want[i]);
    if (Number.isNaN(error)) return Number.POSITIVE_INFINITY;
    worst = Math.max(worst, error);
    scale = Math.max(scale, Math.abs(want[i]));
  }
  return worst === 0 ? 0 : worst / scale;
};

/** The worst difference among the tensors of a step. */
export const disagreement = (got: readonly ArrayLike<number>[], want: readonly ArrayLike<number>[]): number =>
  got.length === want.length && want.length > 0 ? Math.max(...want.map((values, i) => difference(got[i], values))) : Number.POSITIVE_INFINITY;
