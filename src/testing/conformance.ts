/** Runs one case on a device and on the reference and compares: outputs, gradients, guard words, leaks. Knows no op. */
import { apply, generate } from "../apply.ts";
import type { Device } from "../device.ts";
import { roundToHalf } from "../half.ts";
import { elements, isFloat } from "../op.ts";
import { scope } from "../scope.ts";
import { differentiate } from "../tape.ts";
import type { Tensor } from "../tensor.ts";
import { type Case, normal, type Tolerance } from "./cases.ts";
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

/** The case's input values, rounded to float32, or to float16, so that every device sees the same numbers. */
export const caseInputs = (entry: Case, seed = 1): Float64Array[] => {
  const random = testRandom(seed);
  return entry.inputs.map(({ shape, dtype, fill = normal() }) => {
    const count = elements(shape);
    const round = dtype === "float16" ? roundToHalf : Math.fround;
    return Float64Array.from({ length: count }, (_, i) => round(fill(random, i, count)));
  });
};

/** Whether the case asks for the gradient of input `i`. */
export const wantsGradient = (entry: Case, i: number): boolean => {
  const { dtype = "float32", gradient = true } = entry.inputs[i];
  return isFloat(dtype) && gradient && !("none" in entry.op.gradient);
};

const readAll = (tensors: readonly Tensor[]): Promise<ArrayLike<number>[]> =>
  Promise.all(tensors.map((tensor) => tensor.device.backend.read(tensor.storage.buffer)));

/** Runs the case's op, forward and, where it has gradients, backward with random cotangents. */
export const runCase = async (device: Device, entry: Case, seed = 1): Promise<CaseResult> => {
  const data = caseInputs(entry, seed);
  const random = testRandom(seed + 1);
  const held: Tensor[] = [];
  const inputs = entry.inputs.map(({ shape, dtype = "float32" }, i) => {
    const tensor = device.tensor(data[i], shape, dtype);
    if (wantsGradient(entry, i)) tensor.requiresGrad = true;
    held.push(tensor);
    return tensor;
  });
  try {
    const { op, attrs, scalars } = entry;
    const made = inputs.length > 0 ? apply(op, inputs, attrs, scalars) : generate(device, op, attrs, scalars);
    held.push(...made);
    const outputs = entry.view?.(made) ?? made;
    if (outputs !== made) held.push(...outputs);
    const compared = entry.outputs ?? outputs.map((_, i) => i);
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

/** The largest error in units of what the tolerance allows: at most 1 passes. NaN and infinities must agree exactly. */
export const errorRatio = (got: ArrayLike<number>, want: ArrayLike<number>, tolerance: Tolerance): number => {
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

/** Compares a device's result with the reference's, and checks the case's invariants (which throw). */
export const compareCase = (entry: Case, got: CaseResult, want: CaseResult, device: Device): Conformance => {
  const errors: Record<string, number> = {};
  const compared = entry.outputs ?? want.outputs.map((_, i) => i);
  want.outputs.forEach((values, i) => {
    errors[`output ${compared[i]}`] = errorRatio(got.outputs[i], values, entry.forward);
  });
  want.mutated.forEach((values, i) => {
    errors[`mutated input ${entry.op.mutates?.[i]}`] = errorRatio(got.mutated[i], values, entry.forward);
  });
  want.gradients.forEach((values, i) => {
    if (values) errors[`gradient of input ${i}`] = errorRatio(got.gradients[i] ?? [], values, entry.backward ?? entry.forward);
  });
  const inputSpecs = entry.inputs.map(({ shape, dtype = "float32" }) => ({ shape, dtype }));
  const call = { op: entry.op, inputs: inputSpecs, outputs: entry.op.outputs(inputSpecs, entry.attrs), attrs: entry.attrs };
  entry.invariants?.({ inputs: got.inputs, outputs: got.outputs, call });
  if (device.kind === "reference" && Object.keys(errors).length === 0) throw new Error(`${entry.name}: nothing was compared`);
  return { errors, passed: Object.values(errors).every((ratio) => ratio <= 1) };
};
