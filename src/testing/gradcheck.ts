import type { Device } from "../device.ts";
import { ArgumentError, checkNames, expected } from "../errors.ts";
import { noGrad } from "../gradMode.ts";
import { checkFunction, refusePromise, scope } from "../scope.ts";
import { differentiate } from "../tape.ts";
import { checkTensors, Tensor } from "../tensor.ts";
import { checkSeed, testRandom } from "./random.ts";

export interface GradcheckOptions {
  /** Half the distance of the two evaluations, relative to max(1, |x|). Default 1e-5. */
  readonly step?: number;
  /** Allowed |analytic − numeric| relative to the largest gradient entry. Default 1e-6. */
  readonly tolerance?: number;
  /** Entries checked per input, spread evenly: all of fewer than twice as many, else at least so many. Default 64. */
  readonly samples?: number;
  /** Of the random cotangent. Default 7. */
  readonly seed?: number;
}

export interface GradcheckResult {
  readonly passed: boolean;
  /** Largest error relative to the largest gradient entry, over all inputs. */
  readonly worst: number;
  /** Where it was found. */
  readonly input: number;
  readonly element: number;
  readonly analytic: number;
  readonly numeric: number;
}

/**
 * Compares the gradient of `fn` with central differences, contracted with a random cotangent (never the plain sum:
 * some functions have a constant sum). Runs on the reference device, in float64.
 *
 * @param fn synchronous; gives one float32 tensor of any shape
 * @param inputs leaves of a reference device; those with `requiresGrad` are checked, and are unchanged afterwards
 * @throws ArgumentError on another device, where float32 rounding would drown the differences, when no input has `requiresGrad`, for options that are no positive numbers, and when
 * `fn` gives no tensor of that device; StateError for inputs that are no leaves, and a result that does not depend on them. Inputs are as before then, too.
 * @example
 * ```ts
 * const x = device.tensor([0.5, -1, 2]);
 * x.requiresGrad = true;
 * const { passed } = await gradcheck((x) => tanh(x), [x]);
 * passed; // => true
 * ```
 */
export const gradcheck = async (
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): Promise<GradcheckResult> => {
  const { step = 1e-5, tolerance = 1e-6, samples = 64, seed = 7 } = checkNames("gradcheck", options, ["step", "tolerance", "samples", "seed"]);
  for (const [name, value] of Object.entries({ step, tolerance, samples })) {
    if (!(typeof value === "number" && value > 0 && value < Number.POSITIVE_INFINITY)) throw expected("gradcheck", "a positive number", name, value);
  }
  checkSeed("gradcheck", seed);
  checkFunction("gradcheck", fn);
  checkTensors("gradcheck", "inputs", inputs);
  const device: Device | undefined = inputs[0]?.device;
  if (device?.kind !== "reference" || inputs.some((input) => input.device !== device))
    throw new ArgumentError(`gradcheck: expected tensors of one reference device for \`inputs\`, but received ${device?.kind ?? "none"}`);
  const checked = inputs.filter((input) => input.requiresGrad);
  if (checked.length === 0) throw new ArgumentError("gradcheck: expected at least one tensor with requiresGrad for `inputs`, but received none");

  const random = testRandom(seed);
  let weights: Float64Array | undefined;
  const evaluate = (): Tensor => {
    const output = fn(...inputs);
    refusePromise("gradcheck", output);
    if (!(output instanceof Tensor) || output.device !== device)
      throw expected("gradcheck", "a tensor of the same device", "the result of fn", output);
    return output;
  };
  const value = async (): Promise<number> => {
    // Cut off, so that an input that `fn` gives back stays.
    using result = noGrad(() => scope(() => evaluate().detach()));
    const values = await result.readFloat64();
    return values.reduce((total, entry, i) => total + entry * (weights?.[i] ?? 0), 0);
  };

  const analytic = scope(() => {
    const output = evaluate();
    weights = Float64Array.from({ length: output.size }, () => random.normal());
    const leaves = differentiate([{ output, cotangent: device.tensor(weights, output.shape) }], "gradcheck");
    return checked.map((input) => leaves.get(input));
  });

  /** The worst of an input's entries. */
  const compare = async (input: Tensor, gradient: Float64Array): Promise<void> => {
    const scale = gradient.reduce((largest, entry) => Math.max(largest, Math.abs(entry)), 1e-3);
    const values = await input.readFloat64();
    const stride = Math.max(1, Math.floor(values.length / samples));
    try {
      for (let i = 0; i < values.length; i += stride) {
        const h = step * Math.max(1, Math.abs(values[i]));
        const at = async (x: number): Promise<number> => {
          device.write(
            input,
            values.map((old: number, j: number) => (j === i ? x : old)),
          );
          return value();
        };
        const numeric = ((await at(values[i] + h)) - (await at(values[i] - h))) / (2 * h);
        const error = Math.abs(numeric - gradient[i]) / scale;
        compared++;
        if (!(error <= result.worst))
          result = {
            passed: error <= tolerance && result.passed,
            worst: error,
            input: inputs.indexOf(input),
            element: i,
            analytic: gradient[i],
            numeric,
          };
      }
    } finally {
      device.write(input, values);
    }
  };

  let result: GradcheckResult = { passed: true, worst: 0, input: 0, element: 0, analytic: 0, numeric: 0 };
  let compared = 0;
  try {
    for (const [k, input] of checked.entries()) await compare(input, (await analytic[k]?.readFloat64()) ?? new Float64Array(input.size));
  } finally {
    for (const gradient of analytic) gradient?.dispose();
  }
  return { ...result, passed: result.passed && (compared > 0 || checked.every((input) => input.size === 0)) };
};
