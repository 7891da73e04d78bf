/** Runs one case on a device and on the reference and compares: outputs, gradients, guard words, leaks. Knows no op. */
import { apply, generate } from "../apply.ts";
import { checkDevice, type Device } from "../device.ts";
import { ArgumentError, checkNames, expected } from "../errors.ts";
import { roundToHalf } from "../half.ts";
import { elements, isFloat } from "../op.ts";
import { scope } from "../scope.ts";
import { differentiate } from "../tape.ts";
import { checkTensors, type Tensor } from "../tensor.ts";
import { type Case, normal, type Tolerance } from "./cases.ts";
import { checkEntry, checkTolerance } from "./checks.ts";
import { testRandom } from "./random.ts";

/** Everything a case computes, in float64 where the device has it. */
export interface CaseResult {
  readonly inputs: readonly ArrayLike<number>[];
  readonly outputs: readonly ArrayLike<number>[];
  /** Inputs after the call, for ops that change them in place. */
  readonly mutated: readonly ArrayLike<number>[];
  /** By input; undefined where none was asked for. */
  readonly gradients: readonly (ArrayLike<number> | undefined)[];
}

/**
 * The case's input values, rounded to float32, or to float16, so that every device sees the same numbers.
 *
 * @throws ArgumentError for what is no case or seed, and a fill that gives no number
 */
export const caseInputs = (entry: Case, seed = 1): Float64Array[] => {
  checkEntry("caseInputs", entry);
  const random = testRandom(seed);
  return entry.inputs.map(({ shape, dtype, fill = normal() }, k) => {
    const count = elements(shape);
    const round = dtype === "float16" ? roundToHalf : Math.fround;
    return Float64Array.from({ length: count }, (_, i) => {
      const value = fill(random, i, count);
      if (typeof value !== "number") throw expected("caseInputs", "a number", `the result of entry.inputs[${k}].fill`, value);
      return round(value);
    });
  });
};

/** Whether the case asks for the gradient of input `i`. */
export const wantsGradient = (entry: Case, i: number): boolean => {
  const { dtype = "float32", gradient = true } = entry.inputs[i];
  return isFloat(dtype) && gradient && !("none" in entry.op.gradient);
};

const readAll = (tensors: readonly Tensor[]): Promise<ArrayLike<number>[]> => {
  const all = Promise.all(tensors.map((tensor) => tensor.device.backend.read(tensor.storage.buffer)));
  // What fails before somebody waits for it is told by what failed first, and is no rejection that nobody handles.
  all.catch(() => undefined);
  return all;
};

/**
 * Runs the case's op, forward and, where it has gradients, backward with random cotangents.
 *
 * @throws ArgumentError for what is no device, case or seed; otherwise what the op and the case throw
 */
export const runCase = async (device: Device, entry: Case, seed = 1): Promise<CaseResult> => {
  const where = "runCase";
  checkDevice(where, device);
  const data = caseInputs(checkEntry(where, entry), seed);
  const random = testRandom(seed + 1);
  const held: Tensor[] = [];
  try {
    const { op, attrs, scalars } = entry;
    const inputs = entry.inputs.map(({ shape, dtype = "float32" }, i) => {
      const tensor = device.tensor(data[i], shape, dtype);
      held.push(tensor);
      if (wantsGradient(entry, i)) tensor.requiresGrad = true;
      return tensor;
    });
    const [made, outputs] = scope(() => {
      const all = inputs.length > 0 ? apply(op, inputs, attrs, scalars) : generate(device, op, attrs, scalars);
      const viewed = entry.view ? entry.view(all) : all;
      checkTensors(where, "the result of entry.view", viewed);
      return [all, viewed] as const;
    });
    held.push(...made, ...outputs);
    const compared = entry.outputs ?? outputs.map((_, i) => i);
    if (compared.some((i) => i >= outputs.length)) throw expected(where, `positions of ${outputs.length} outputs`, "entry.outputs", compared);
    const outputValues = readAll(compared.map((i) => outputs[i]));
    const mutatedValues = readAll((entry.op.mutates ?? []).map((i) => inputs[i]));
    const roots = compared.map((i) => outputs[i]).filter((output) => output.node);
    const gradients = scope(() => {
      if (roots.length === 0) return inputs.map(() => undefined);
      const cotangents = roots.map((output) =>
        device.tensor(
          Float64Array.from({ length: output.size }, () => Math.fround(random.normal())),
          output.shape,
        ),
      );
      const leaves = differentiate(
        roots.map((output, i) => ({ output, cotangent: cotangents[i] })),
        entry.name,
      );
      return inputs.map((input) => leaves.get(input));
    });
    const gradientValues = await Promise.all(
      gradients.map(async (gradient) => {
        if (!gradient) return undefined;
        held.push(gradient);
        return (await readAll([gradient]))[0];
      }),
    );
    return { inputs: data, outputs: await outputValues, mutated: await mutatedValues, gradients: gradientValues };
  } finally {
    for (const tensor of held) tensor.dispose();
  }
};

const checkNumbers = (where: string, argument: string, list: ArrayLike<number>): void => {
  const numbers = Array.isArray(list)
    ? Array.from(list).every((value) => typeof value === "number")
    : ArrayBuffer.isView(list) && !(list instanceof DataView || list instanceof BigInt64Array || list instanceof BigUint64Array);
  if (!numbers) throw expected(where, "an array of numbers", argument, list);
};

/**
 * The largest error in units of what the tolerance allows: at most 1 passes. NaN and infinities must agree exactly.
 *
 * @throws ArgumentError for what are no arrays of numbers, or no tolerance
 */
export const errorRatio = (got: ArrayLike<number>, want: ArrayLike<number>, tolerance: Tolerance): number => {
  checkNumbers("errorRatio", "got", got);
  checkNumbers("errorRatio", "want", want);
  checkTolerance("errorRatio", "tolerance", tolerance);
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let scale = 0;
  for (let i = 0; i < want.length; i++) if (Number.isFinite(want[i])) scale = Math.max(scale, Math.abs(want[i]));
  const allowed = tolerance.absolute + tolerance.relative * scale;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    if (Object.is(got[i], want[i]) || got[i] === want[i]) continue;
    const error = Math.abs(got[i] - want[i]);
    worst = Math.max(worst, Number.isNaN(error) || allowed === 0 ? Number.POSITIVE_INFINITY : error / allowed);
  }
  return worst;
};

export interface Conformance {
  /** Name of the compared value ("output 0", "gradient of input 1") to its error in units of the tolerance. */
  readonly errors: Readonly<Record<string, number>>;
  readonly passed: boolean;
}

const checkResult = (where: string, argument: string, result: CaseResult): void => {
  const lists = checkNames(where, result, ["inputs", "outputs", "mutated", "gradients"], argument);
  for (const name of ["inputs", "outputs", "mutated", "gradients"] as const) {
    const list: readonly (ArrayLike<number> | undefined)[] = lists[name];
    if (!Array.isArray(list)) throw expected(where, "what `runCase` gives", `${argument}.${name}`, list);
    for (const [i, numbers] of list.entries())
      if (name !== "gradients" || numbers !== undefined) checkNumbers(where, `${argument}.${name}[${i}]`, numbers);
  }
};

/**
 * Compares a device's result with the reference's, and checks the case's invariants (which throw).
 *
 * @throws ArgumentError for what is no case, result or device, and where there is nothing to compare; otherwise what the invariants throw
 */
export const compareCase = (entry: Case, got: CaseResult, want: CaseResult, device: Device): Conformance => {
  const where = "compareCase";
  checkEntry(where, entry);
  checkResult(where, "got", got);
  checkResult(where, "want", want);
  checkDevice(where, device);
  const errors: Record<string, number> = {};
  const compared = entry.outputs ?? want.outputs.map((_, i) => i);
  want.outputs.forEach((values, i) => {
    errors[`output ${compared[i]}`] = errorRatio(got.outputs[i] ?? [], values, entry.forward);
  });
  want.mutated.forEach((values, i) => {
    errors[`mutated input ${entry.op.mutates?.[i]}`] = errorRatio(got.mutated[i] ?? [], values, entry.forward);
  });
  want.gradients.forEach((values, i) => {
    if (values) errors[`gradient of input ${i}`] = errorRatio(got.gradients[i] ?? [], values, entry.backward ?? entry.forward);
  });
  const inputSpecs = entry.inputs.map(({ shape, dtype = "float32" }) => ({ shape, dtype }));
  const call = { op: entry.op, inputs: inputSpecs, outputs: entry.op.outputs(inputSpecs, entry.attrs), attrs: entry.attrs };
  entry.invariants?.({ inputs: got.inputs, outputs: got.outputs, call });
  if (device.kind === "reference" && Object.keys(errors).length === 0)
    throw new ArgumentError(`${where}: expected outputs, changed inputs or gradients for \`want\` of ${entry.name}, but received none`);
  return { errors, passed: Object.values(errors).every((ratio) => ratio <= 1) };
};
