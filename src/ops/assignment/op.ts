import { whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, type Shape } from "../../op.ts";
import { requireFloat } from "../../shapes.ts";
import * as plan from "./plan.ts";
import type { MatrixAttrs } from "./reference.ts";
import * as reference from "./reference.ts";

/** Rows and columns of one matrix at most. */
export const MAX_SIDE = 4096;

/** Throws unless the last two sizes are those of a matrix that can be assigned. */
export const checkSides = (where: string, shape: Shape): void => {
  const sides = shape.slice(-2);
  if (sides.length < 2 || sides.some((side) => side < 1 || side > MAX_SIDE))
    throw expected(where, `shape [..., n, m] with n and m from 1 to ${MAX_SIDE}`, "scores", shape);
};

/** scores [..., n, m] -> the column of each row [..., n], int32. */
export const greedy = defineOp({
  name: "assignment.greedy",
  arity: 1,
  attributes: {},
  outputs: ([scores]) => {
    requireFloat("greedyAssignment", [scores], ["scores"]);
    checkSides("greedyAssignment", scores.shape);
    return [{ shape: scores.shape.slice(0, -1), dtype: "int32" }];
  },
  reference: reference.greedy,
  plan: plan.greedy,
  fault: () => "greedyAssignment: expected numbers for `scores`",
  gradient: { none: "a column is a whole number" },
});

/** assignment [..., n] -> matrices [..., n, columns] of 0 and 1. */
export const matrix = defineOp<MatrixAttrs>({
  name: "assignment.matrix",
  arity: 1,
  attributes: { columns: whole(1, 2 ** 31 - 1) },
  outputs: ([assignment], { columns }) => {
    const where = "assignmentMatrix";
    if (assignment.dtype !== "int32") throw expected(where, "dtype int32", "assignment", assignment.dtype);
    if (assignment.shape.length === 0) throw expected(where, "at least one axis", "assignment", assignment.shape);
    return [{ shape: [...assignment.shape, columns], dtype: "float32" }];
  },
  reference: reference.matrix,
  plan: plan.matrix,
  fault: ({ attrs: { columns } }) => `assignmentMatrix: expected integers in [-1, ${columns}) for \`assignment\``,
  gradient: { none: "whole numbers have no derivative" },
});

export const ops: readonly Op[] = [greedy, matrix] as readonly Op[];
