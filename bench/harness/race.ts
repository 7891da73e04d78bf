/** One case on one device: everybody's results compared, then everybody timed in turns. */
import { setTimeout } from "node:timers/promises";
import { Bench } from "tinybench";
import type { DeviceKind } from "../../src/backend.ts";
import type { Device } from "../../src/device.ts";
import { type BenchCase, type Contestant, type Cost, type Pass, passesOf, type StepCounts } from "./bench.ts";
import { disagreement } from "./compare.ts";
import { type Data, dataOf, sliceOf } from "./data.ts";
import { type Ours, ours, type RecordingBackend } from "./ours.ts";
import type { Peaks } from "./probe.ts";
import { type Rival, Unavailable } from "./rival.ts";

/** Times of one side, in milliseconds a step. */
export interface Timing {
  readonly name: string;
  readonly medianMs: number;
  /** Relative margin of error of the mean, in percent. */
  readonly spread: number;
}

export interface Measured {
  readonly fused: Timing;
  readonly naive: Timing;
  /** The fused form on one thread, where the device has more. */
  readonly oneThread?: Timing;
  readonly rivals: readonly Timing[];
  readonly counts: StepCounts;
  readonly naiveCounts: StepCounts;
  /** Of those who share a GPU's interface with us. */
  readonly rivalCounts: Readonly<Record<string, StepCounts>>;
}

export interface Outcome {
  readonly entry: BenchCase;
  readonly pass: Pass;
  /** Largest differences from the fused form, by side. */
  readonly errors: Readonly<Record<string, number>>;
  /** Rivals that did not take part, with the reason. */
  readonly absent: Readonly<Record<string, string>>;
  readonly measured?: Measured;
  /** Why nothing was measured. */
  readonly refused?: string;
}

export interface RaceOptions {
  readonly rounds: number;
  /** How long a sample lasts at the least; 0 is one step. */
  readonly sampleMs: number;
  /** Between two turns. */
  readonly pauseMs: number;
  /** Whether rivals are timed, and not only compared and counted. */
  readonly timeRivals: boolean;
}

const MOST_STEPS = 2000;

/** Steps that take so long in a row: what a step takes alone, or among a few, says little of short ones. */
const stepsFor = async (contestant: Contestant, pass: Pass, sampleMs: number): Promise<number> => {
  await contestant.run(pass, 1);
  let steps = 1;
  for (let ms = await contestant.run(pass, steps); ms < sampleMs && steps < MOST_STEPS; ms = await contestant.run(pass, steps)) {
    const wanted = Math.ceil((steps * sampleMs) / ms);
    steps = Math.min(MOST_STEPS, Math.max(2 * steps, Math.min(8 * steps, wanted)));
  }
  return steps;
};

/** Samples of several contestants in turns, so that whatever else the machine does meets all of them alike. */
export const timeInTurns = async (
  contestants: readonly Contestant[],
  pass: Pass,
  { rounds, sampleMs, pauseMs }: Omit<RaceOptions, "timeRivals">,
): Promise<readonly Timing[]> => {
  const steps: number[] = [];
  for (const contestant of contestants) steps.push(await stepsFor(contestant, pass, sampleMs));
  const samples: number[][] = contestants.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, contestant] of contestants.entries()) {
      // Threads of who was before may spin on for a while, and those of who is next have cooled down.
      await setTimeout(pauseMs);
      if (steps[i] > 1) await contestant.run(pass, Math.ceil(steps[i] / 4));
      samples[i].push((await contestant.run(pass, steps[i])) / steps[i]);
    }
  }
  return Promise.all(contestants.map(({ name }, i) => summarize(name, samples[i])));
};

/** tinybench times one task after the other; it is handed the samples that were taken in turns, for its statistics. */
export const summarize = async (name: string, samples: readonly number[]): Promise<Timing> => {
  let next = 0;
  const bench = new Bench({ iterations: samples.length, time: 0, warmup: false, throws: true });
  // The first call only asks whether the task is asynchronous.
  bench.add(name, () => ({ overriddenDuration: samples[next++] ?? samples[0] }), { async: false });
  const [{ result }] = await bench.run();
  if (!("latency" in result)) throw new Error(`${name}: no statistics`);
  return { name, medianMs: result.latency.p50, spread: result.latency.rme };
};

interface Compared {
  readonly errors: Readonly<Record<string, number>>;
  readonly rivals: readonly Contestant[];
  readonly absent: Readonly<Record<string, string>>;
}

/** How far everybody is from the fused form: the naive form, the rivals that have this pass, and the float64 reference on a slice. */
const compareAll = async (
  { fused, naive, rivals }: { readonly fused: Ours; readonly naive: Ours; readonly rivals: readonly Contestant[] },
  pass: Pass,
  entry: BenchCase,
  data: Data,
  reference: Device | undefined,
): Promise<Compared> => {
  const got = await fused.results(pass);
  const errors: Record<string, number> = { naive: disagreement(await naive.results(pass), got) };
  const absent: Record<string, string> = {};
  for (const rival of rivals) {
    try {
      errors[rival.name] = disagreement(await rival.results(pass), got);
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      absent[rival.name] = error.message;
    }
  }
  if (reference) {
    const slice = sliceOf(entry, data);
    using truth = ours("reference", entry.fused, slice.entry, slice.data, reference);
    const want = await truth.results(pass);
    // Behind the slice the cotangent is zero, and with it all gradients: those of weights are the slice's own.
    const sliced = (await fused.resultsUpTo(pass, slice.outputs)).map((values, i) => Array.prototype.slice.call(values, 0, want[i].length));
    errors.reference = disagreement(sliced, want);
  }
  return { errors, rivals: rivals.filter(({ name }) => absent[name] === undefined), absent };
};

export interface Opened {
  readonly device: Device;
  readonly backend: RecordingBackend;
}

export interface RaceContext {
  readonly kind: DeviceKind;
  /** A fresh device. Both forms get one of their own: a pool full of the other's buffers would cost allocations. */
  open(): Promise<Opened>;
  /** The same on one thread; left out where the device has no more. */
  openAlone?(): Promise<Opened>;
  /** The float64 device; left out where the device itself is that one. */
  readonly reference?: Device;
  readonly rivals: readonly Rival[];
  /** Rivals that are out of the whole run, with the reason. */
  readonly absent: Readonly<Record<string, string>>;
}

const unlessUnavailable = (error: unknown): undefined => {
  if (!(error instanceof Unavailable)) throw error;
};

/** All passes of a case. What goes wrong refuses the pass, or all of them, and is told; it does not end the run. */
export const race = async (entry: BenchCase, context: RaceContext, options: RaceOptions): Promise<readonly Outcome[]> => {
  try {
    return await racePasses(entry, context, options);
  } catch (error) {
    return passesOf(entry).map((pass) => ({ entry, pass, errors: {}, absent: context.absent, refused: (error as Error).message }));
  }
};

const racePasses = async (entry: BenchCase, context: RaceContext, options: RaceOptions): Promise<readonly Outcome[]> => {
  const { kind, reference } = context;
  const data = dataOf(entry);
  const missing: Record<string, string> = { ...context.absent };
  const [first, second] = [await context.open(), await context.open()];
  await using _first = first.device;
  await using _second = second.device;
  using fused = ours("fused", entry.fused, entry, data, first.device, first.backend);
  const third = entry.scaling ? await context.openAlone?.() : undefined;
  await using _third = third?.device;
  using alone = third && ours("one thread", entry.fused, entry, data, third.device);
  using naive = ours("naive", entry.naive, entry, data, second.device, second.backend);
  const rivals: Contestant[] = [];
  for (const rival of context.rivals) {
    try {
      rivals.push(await rival.prepare(entry, data, kind === "webgpu"));
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      missing[rival.name] = error.message;
    }
  }
  const outcomes: Outcome[] = [];
  for (const pass of passesOf(entry)) {
    let errors: Readonly<Record<string, number>> = {};
    let absent: Readonly<Record<string, string>> = missing;
    try {
      const compared = await compareAll({ fused, naive, rivals }, pass, entry, data, reference);
      errors = compared.errors;
      absent = { ...missing, ...compared.absent };
      const refused = verdict(errors, entry.tolerance.relative);
      if (refused !== undefined) {
        outcomes.push({ entry, pass, errors, absent, refused });
        continue;
      }
      const single = alone ? [alone] : [];
      const timed = options.timeRivals ? compared.rivals : [];
      const times = await timeInTurns([fused, naive, ...single, ...timed], pass, options);
      const rivalCounts: Record<string, StepCounts> = {};
      for (const rival of kind === "webgpu" ? compared.rivals : []) {
        const counts = await rival.counts?.(pass).catch(unlessUnavailable);
        if (counts) rivalCounts[rival.name] = counts;
      }
      const [ownTime, naiveTime] = times;
      const measured = {
        fused: ownTime,
        naive: naiveTime,
        ...(alone && { oneThread: times[2] }),
        rivals: times.slice(2 + single.length),
        counts: await fused.counts(pass),
        naiveCounts: await naive.counts(pass),
        rivalCounts,
      };
      outcomes.push({ entry, pass, errors, absent, measured });
    } catch (error) {
      outcomes.push({ entry, pass, errors, absent, refused: (error as Error).message });
    }
  }
  return outcomes;
};

/** Why results that differ so much are not timed, or undefined. */
export const verdict = (errors: Readonly<Record<string, number>>, allowed: number): string | undefined => {
  const wrong = Object.entries(errors).filter(([, error]) => !(error <= allowed));
  if (wrong.length === 0) return undefined;
  return `the fused form differs from ${wrong.map(([name, error]) => `${name} by ${error.toExponential(1)}`).join(", ")}; ${allowed} is allowed`;
};

/** How much of the device's limit is used, and which limit it is: the one that the case meets first. */
export const shareOf = ({ operations, bytes }: Cost, medianMs: number, peaks: Peaks): { readonly share: number; readonly shareOf: "fma" | "copy" } =>
  operations / bytes > peaks.fma / peaks.copy
    ? { share: operations / medianMs / peaks.fma, shareOf: "fma" }
    : { share: bytes / medianMs / peaks.copy, shareOf: "copy" };
