import { checkRange } from "../errors.ts";

/** Throws unless the number is finite and not negative. */
export const checkRate = (where: string, argument: string, value: number): number =>
  checkRange(where, argument, value, 0, Number.MAX_VALUE, "a non-negative number");
