import { expected } from "../errors.ts";

/** Throws unless the number is finite and not negative. */
export const checkRate = (where: string, argument: string, value: number): number => {
  if (!(typeof value === "number" && value >= 0 && value < Number.POSITIVE_INFINITY)) throw expected(where, "a non-negative number", argument, value);
  return value;
};
