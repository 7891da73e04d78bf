/** What a case of a kernel must be. */
import { checkSpec } from "../device.ts";
import { ArgumentError, BirkhoffError, checkFlags, checkInteger, checkNames, checkObject, checkRange, describe, expected } from "../errors.ts";
import type { Op, Spec } from "../op.ts";
import { checkFunction } from "../scope.ts";
import type { Case, CaseInput, Tolerance } from "./cases.ts";

export const checkNumber = (where: string, argument: string, value: unknown): void => {
  if (typeof value !== "number") throw expected(where, "a number", argument, value);
};

export const checkNotNegative = (where: string, argument: string, value: unknown): void => {
  checkRange(where, argument, value, 0, Number.MAX_VALUE, "a finite number of at least 0");
};

export const checkList = (where: string, argument: string, list: unknown): void => {
  if (!Array.isArray(list)) throw expected(where, "an array", argument, list);
};

const checkInput = (where: string, argument: string, input: CaseInput): void => {
  const { shape, dtype = "float32", fill, gradient = true } = checkNames(where, input, ["shape", "dtype", "fill", "gradient"], argument);
  checkSpec(where, { shape, dtype }, argument);
  if (fill !== undefined) checkFunction(where, fill, `${argument}.fill`);
  checkFlags(where, { [`${argument}.gradient`]: gradient });
};

const checkOp = (where: string, argument: string, op: Op): void => {
  const { name, outputs, reference, plan, gradient } = checkObject(where, op, argument);
  if (typeof name !== "string") throw expected(where, "a text", `${argument}.name`, name);
  for (const [part, fn] of Object.entries({ outputs, reference, plan })) checkFunction(where, fn, `${argument}.${part}`);
  checkObject(where, gradient, `${argument}.gradient`);
};

export const checkTolerance = (where: string, argument: string, tolerance: Tolerance): void => {
  const { relative, absolute, reason } = checkNames(where, tolerance, ["relative", "absolute", "reason"], argument);
  for (const [name, value] of Object.entries({ relative, absolute })) checkNotNegative(where, `${argument}.${name}`, value);
  if (typeof reason !== "string") throw expected(where, "a text", `${argument}.reason`, reason);
};

const PARTS = [
  "name",
  "op",
  "inputs",
  "attrs",
  "scalars",
  "forward",
  "backward",
  "view",
  "outputs",
  "finiteDifferences",
  "invariants",
  "large",
  "slow",
] as const;

/** Ops say themselves what they take; whatever else they stumble over is none of it. */
const outputsOf = (where: string, { op, inputs, attrs }: Case): readonly Spec[] => {
  try {
    return op.outputs(
      inputs.map(({ shape, dtype = "float32" }) => ({ shape, dtype })),
      attrs,
    );
  } catch (error) {
    if (error instanceof BirkhoffError) throw error;
    const said = error instanceof Error ? error.message : describe(error);
    throw new ArgumentError(`${where}: expected inputs and attributes of ${op.name} for \`entry\`, but it could not take them: ${said}`, {
      cause: error,
    });
  }
};

/** A case as it came, when it is one; throws for what it lacks, and for names that are none of it. */
export const checkEntry = (where: string, entry: Case): Case => {
  checkNames(where, entry, PARTS, "entry");
  if (typeof entry.name !== "string") throw expected(where, "a text", "entry.name", entry.name);
  checkOp(where, "entry.op", entry.op);
  checkList(where, "entry.inputs", entry.inputs);
  for (const [i, input] of entry.inputs.entries()) checkInput(where, `entry.inputs[${i}]`, input);
  checkObject(where, entry.attrs, "entry.attrs");
  const made = outputsOf(where, entry);
  checkList(where, "the result of entry.op.outputs", made);
  for (const [i, spec] of made.entries()) checkSpec(where, spec, `the result of entry.op.outputs[${i}]`);
  const { scalars = {}, backward = entry.forward, view, outputs = [], finiteDifferences = {}, invariants, large = false, slow = false } = entry;
  for (const [name, value] of Object.entries(checkObject(where, scalars, "entry.scalars"))) checkNumber(where, `entry.scalars.${name}`, value);
  checkTolerance(where, "entry.forward", entry.forward);
  checkTolerance(where, "entry.backward", backward);
  for (const [name, fn] of Object.entries({ view, invariants })) if (fn !== undefined) checkFunction(where, fn, `entry.${name}`);
  checkList(where, "entry.outputs", outputs);
  for (const [i, position] of outputs.entries()) checkInteger(where, `entry.outputs[${i}]`, position, 0, 2 ** 31 - 1);
  const differences: { readonly off?: string; readonly step?: number; readonly tolerance?: number } = finiteDifferences;
  checkNames(where, differences, ["off", "step", "tolerance"], "entry.finiteDifferences");
  checkFlags(where, { "entry.large": large, "entry.slow": slow });
  return entry;
};
