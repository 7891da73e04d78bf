/** Symmetries of a grid that move values between its points. */
import { expected } from "../errors.ts";

/** Matrices that act on `d` positions, the identity first. */
export interface MatrixSet {
  readonly name: string;
  /** What people call each. */
  readonly labels: readonly string[];
  readonly d: number;
  /** Row-major [count, d, d]: result[n] = Σ_m R[n, m] values[m]. */
  readonly matrices: Float32Array;
}

/**
 * Rotations by multiples of 360°/count of the disk in a k × k image, counter-clockwise, with bilinear weights: what falls between or outside of the disk's pixels is
 * lost, so rows sum to at most 1. The disk has the pixels whose centres are at most k/2 from the middle, row by row.
 *
 * @throws ArgumentError unless k is an integer from 2 to 64 and count one from 1 to 64
 */
export const diskRotations = (count: number, k: number): MatrixSet => {
  if (!Number.isInteger(k) || k < 2 || k > 64) throw expected("diskRotations", "an integer in [2, 64]", "k", k);
  if (!Number.isInteger(count) || count < 1 || count > 64) throw expected("diskRotations", "an integer in [1, 64]", "count", count);
  const middle = (k - 1) / 2;
  const pixels = Array.from({ length: k * k }, (_, n) => [Math.floor(n / k), n % k] as const).filter(
    ([row, column]) => Math.hypot(row - middle, column - middle) <= k / 2,
  );
  const positions = new Map(pixels.map(([row, column], n) => [row * k + column, n]));
  const d = pixels.length;
  const matrices = new Float32Array(count * d * d);
  for (let i = 0; i < count; i++) {
    const quarters = (4 * i) / count;
    const radians = (2 * Math.PI * i) / count;
    // Exact where pixels fall on pixels.
    const [cos, sin] = Number.isInteger(quarters) ? [[1, 0, -1, 0][quarters], [0, 1, 0, -1][quarters]] : [Math.cos(radians), Math.sin(radians)];
    for (const [n, [row, column]] of pixels.entries()) {
      const [y, x] = [row - middle, column - middle];
      const [sourceRow, sourceColumn] = [middle + y * cos + x * sin, middle - y * sin + x * cos];
      const [top, left] = [Math.floor(sourceRow), Math.floor(sourceColumn)];
      for (const [r, weightRow] of [
        [top, top + 1 - sourceRow],
        [top + 1, sourceRow - top],
      ]) {
        for (const [c, weightColumn] of [
          [left, left + 1 - sourceColumn],
          [left + 1, sourceColumn - left],
        ]) {
          const m = r >= 0 && r < k && c >= 0 && c < k ? positions.get(r * k + c) : undefined;
          if (m !== undefined && weightRow * weightColumn > 0) matrices[(i * d + n) * d + m] += weightRow * weightColumn;
        }
      }
    }
  }
  return { name: `C${count}`, labels: Array.from({ length: count }, (_, i) => (i === 0 ? "identity" : `${(360 * i) / count}°`)), d, matrices };
};
