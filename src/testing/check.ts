/** The conformance run: cases on a device against the reference, under guards; and the reference against finite differences. */
import { apply } from "../apply.ts";
import { openReference } from "../backends/reference/index.ts";
import { checkDevice, type Device } from "../device.ts";
import { describe, expected } from "../errors.ts";
import { elements } from "../op.ts";
import { deviceOf } from "../open.ts";
import type { Tensor } from "../tensor.ts";
import type { Case } from "./cases.ts";
import { checkEntry } from "./checks.ts";
import { type Conformance, caseInputs, compareCase, runCase, wantsGradient } from "./conformance.ts";
import { type GradcheckResult, gradcheck } from "./gradcheck.ts";
import { guarded } from "./guarded.ts";
import { checkSeed } from "./random.ts";

/** What became of a case on a device. */
export interface CheckResult extends Conformance {
  readonly entry: Case;
  /** The largest of `errors`: at most 1 passes; infinity where it did not come to a comparison. */
  readonly worst: number;
  /** What is wrong: errors beyond the tolerance, a broken invariant, guard words that were written, buffers left alive, or what was thrown. */
  readonly problem: string | undefined;
}

/** Elements from which finite differences are taken of a few entries only. */
const MANY = 512;

/**
 * Runs a case forward and, where it has gradients, backward with random cotangents: on the float64 reference, on the device with guard words behind every buffer and NaN in every
 * output, and on the device as it is. Compares everything with the reference, checks the case's invariants and that no buffer is left alive.
 * On a reference device invariants, guards and buffers are checked; its gradients are checked by `gradcheckCase`.
 *
 * @param seed of inputs and cotangents
 * @returns whatever the case throws is the result's `problem`
 * @throws ArgumentError for what is no device, case or seed
 * @example
 * ```ts
 * const [{ cases }] = rooms;
 * const { passed, problem } = await checkCase(device, cases[0]);
 * passed; // => true
 * ```
 */
export const checkCase = async (device: Device, entry: Case, seed = 1): Promise<CheckResult> => {
  checkDevice("checkCase", device);
  checkEntry("checkCase", entry);
  checkSeed("checkCase", seed);
  const guards = guarded(device.backend);
  const watched = deviceOf(guards);
  await using reference = deviceOf(openReference());
  const [truth, targets] = device.kind === "reference" ? [watched, []] : [reference, [watched, device]];
  const errors: Record<string, number> = {};
  let problem: string | undefined;
  try {
    const want = await runCase(truth, entry, seed);
    for (const target of [truth, ...targets]) {
      const before = target === truth ? 0 : target.counters.liveBuffers;
      const got = target === truth ? want : await runCase(target, entry, seed);
      const found = compareCase(entry, got, want, target);
      for (const [name, ratio] of Object.entries(found.errors)) errors[name] = Math.max(errors[name] ?? 0, ratio);
      const left = target.counters.liveBuffers - before;
      if (left !== 0) throw new Error(`${left} buffers are left alive`);
    }
    await guards.check();
    if (Object.values(errors).some((ratio) => !(ratio <= 1))) problem = `errors in units of the tolerance: ${JSON.stringify(errors)}`;
  } catch (error) {
    problem = error instanceof Error ? error.message : describe(error);
    // Freed buffers go back when they were looked at.
    await guards.check().catch(() => undefined);
  }
  const ratios = Object.values(errors);
  const worst = ratios.length > 0 ? Math.max(...ratios) : Number.POSITIVE_INFINITY;
  return { entry, errors, worst, problem, passed: problem === undefined };
};

/**
 * `checkCase` over a table, one after another. Cases that say `large` are left out on a software GPU.
 *
 * @throws ArgumentError before the first one runs, for what is no device, table of cases or seed
 * @example
 * ```ts
 * const [{ cases }] = rooms;
 * for await (const { entry, passed } of checkCases(device, cases.slice(0, 3))) console.log(entry.name, passed);
 * ```
 */
export async function* checkCases(device: Device, cases: readonly Case[], seed = 1): AsyncGenerator<CheckResult, void, undefined> {
  checkDevice("checkCases", device);
  if (!Array.isArray(cases)) throw expected("checkCases", "an array of cases", "cases", cases);
  for (const entry of cases) checkEntry("checkCases", entry);
  checkSeed("checkCases", seed);
  const slow = device.kind === "webgpu" && device.info.software;
  for (const entry of cases) if (!(slow && entry.large)) yield await checkCase(device, entry, seed);
}

/**
 * Compares the gradients of a case's op with central differences on the float64 reference, for every output that the case compares: what the other devices are held against.
 *
 * @returns the worst of all outputs; undefined where the case says `off`, or has no gradient or no elements
 * @throws ArgumentError for what is no case or seed; otherwise what the op and the case throw
 * @example
 * ```ts
 * const smooth = rooms.flatMap(({ cases }) => cases).filter(({ op, finiteDifferences }) => "saves" in op.gradient && !finiteDifferences);
 * (await gradcheckCase(smooth[0]))?.passed; // => true
 * ```
 */
export const gradcheckCase = async (entry: Case, seed = 1): Promise<GradcheckResult | undefined> => {
  checkEntry("gradcheckCase", entry);
  checkSeed("gradcheckCase", seed);
  const options = entry.finiteDifferences ?? {};
  const size = entry.inputs.reduce((sum, { shape }) => sum + elements(shape), 0);
  if ("off" in options || size === 0 || !entry.inputs.some((_, i) => wantsGradient(entry, i))) return undefined;
  await using device = deviceOf(openReference());
  const data = caseInputs(entry, seed);
  const inputs = entry.inputs.map(({ shape, dtype = "float32" }, i) => {
    const tensor = device.tensor(data[i], shape, dtype);
    if (wantsGradient(entry, i)) tensor.requiresGrad = true;
    return tensor;
  });
  let worst: GradcheckResult | undefined;
  for (const index of entry.outputs ?? [0]) {
    const run = (...args: Tensor[]): Tensor => {
      const outputs = apply(entry.op, args, entry.attrs, entry.scalars);
      return (entry.view?.(outputs) ?? outputs)[index];
    };
    const found = await gradcheck(run, inputs, { samples: size > MANY ? 8 : 24, ...options });
    if (!worst || (worst.passed && (!found.passed || found.worst > worst.worst))) worst = found;
  }
  return worst;
};
