import { apply } from "../../apply.ts";
import { DataError, expected } from "../../errors.ts";
import { noGrad } from "../../gradMode.ts";
import { requireFloat } from "../../shapes.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";
import { largestAssignment } from "./jonkerVolgenant.ts";
import { checkSides, greedy, matrix } from "./op.ts";
import { split } from "./reference.ts";

/**
 * Rounds soft permutation matrices to hard ones, on the device: the largest entry of a matrix gets its row and column assigned to each
 * other, then the largest of the remaining ones, until rows or columns are used up. Of equal entries the first in row-major order
 * comes first (−0 equals 0). For scores of at least 0 the total is at least half of the best one (see `optimalAssignment`). Not differentiable.
 *
 * @param scores float32, shape [..., n, m], n and m from 1 to 4096; infinities are legal, NaN raises DataError at the next `read()`
 * @returns int32, shape [..., n]: the column given to each row, −1 for a row without one
 * @throws ArgumentError for another shape or dtype.
 * @example
 * ```ts
 * const scores = device.tensor([[0.9, 0.8], [0.7, 0.1], [0, 0.3]]);
 * await greedyAssignment(scores).read(); // => [0, -1, 1]
 * greedyAssignment(device.zeros([3])); // throws ArgumentError
 * ```
 */
export const greedyAssignment = (scores: Tensor): Tensor => {
  checkTensor("greedyAssignment", "scores", scores);
  return noGrad(() => apply(greedy, [scores], {})[0]);
};

/**
 * The one-to-one assignment with the largest total score (Jonker and Volgenant 1987, doi:10.1007/BF02278710), exact in float64. Waits for
 * the scores and computes on the host, in O(n³) at worst: seconds for n in the thousands. Not differentiable.
 *
 * @param scores float32, shape [..., n, m], n and m from 1 to 4096, finite
 * @returns int32, shape [..., n], on the device of `scores`: the column given to each row, −1 for a row without one
 * @throws ArgumentError for another shape or dtype; rejects with DataError for scores that are not finite.
 * @example
 * ```ts
 * const scores = device.tensor([[0.9, 0.8], [0.7, 0.1], [0, 0.3]]);
 * await (await optimalAssignment(scores)).read(); // => [1, 0, -1]
 * await optimalAssignment(device.full([2, 2], NaN)); // throws DataError
 * ```
 */
export const optimalAssignment = async (scores: Tensor): Promise<Tensor> => {
  const where = "optimalAssignment";
  checkTensor(where, "scores", scores);
  requireFloat(where, [scores], ["scores"]);
  checkSides(where, scores.shape);
  const { device, shape } = scores;
  const { batch, rows, columns } = split(shape);
  const values = await scores.read();
  const broken = values.find((score) => !Number.isFinite(score));
  if (broken !== undefined) throw new DataError(`${where}: expected finite numbers for \`scores\`, but received ${broken}`);
  const result = new Int32Array(batch * rows);
  for (let b = 0; b < batch; b++)
    result.set(largestAssignment(values.subarray(b * rows * columns, (b + 1) * rows * columns), rows, columns), b * rows);
  return device.tensor(result, shape.slice(0, -1));
};

/**
 * Hard matrices of an assignment: entry [..., i, j] is 1 where `assignment[..., i]` is j, and 0 elsewhere. Rows with −1 are 0.
 *
 * @param assignment int32, shape [..., n], as from `greedyAssignment`; a value that is neither −1 nor a column raises DataError at the
 * next `read()`
 * @param columns m
 * @returns float32, shape [..., n, m]
 * @throws ArgumentError for another dtype, a scalar, or a number of columns that is none.
 * @example
 * ```ts
 * const assignment = device.tensor(Int32Array.of(1, -1));
 * await assignmentMatrix(assignment, 3).read(); // => [0, 1, 0, 0, 0, 0]
 * ```
 */
export const assignmentMatrix = (assignment: Tensor, columns: number): Tensor => {
  const where = "assignmentMatrix";
  checkTensor(where, "assignment", assignment);
  if (!Number.isInteger(columns) || columns < 1 || columns >= 2 ** 31) throw expected(where, "a positive integer below 2^31", "columns", columns);
  return apply(matrix, [assignment], { columns })[0];
};
