/** The main job: train networks on data with an unknown symmetry, over seeds, and say what was found. */
import { basename, dirname, join } from "node:path";
import type { Device } from "../device.ts";
import type { DiscoverReport, NetworkReport } from "../report/types.ts";
import { checkpointFile } from "./checkpoint.ts";
import { type Configuration, type DataSettings, type Run, runsOf } from "./configuration.ts";
import type { Experiment } from "./experiment.ts";
import { imageExperiment } from "./images.ts";
import { plantedExperiment } from "./planted.ts";
import { appendResult, type NetworkSummary, type RunRecord, readResults, recordsOf, summarise } from "./results.ts";
import { type RunOptions, type RunResult, runOne } from "./run.ts";
import { trainSettings } from "./train.ts";
import { countWork } from "./work.ts";

export interface Progress {
  readonly network: string;
  readonly seed: number;
  /** Runs done, the one under way in part, and to do. */
  readonly done: number;
  readonly total: number;
  readonly loss: number;
  /** Held-out accuracy when last measured. */
  readonly accuracy: number | undefined;
  /** Mean agreement of the first layer's matrices with the planted elements when last measured. */
  readonly agreement: number | undefined;
}

export interface DiscoverOptions {
  /** File of finished runs: those that it holds are not done again, and unfinished ones leave a checkpoint beside it. Default: nothing is kept. */
  readonly results?: string;
  readonly every?: RunOptions["every"];
  /** What a record says of where and how it was made. */
  readonly provenance: Pick<RunRecord, "machine" | "command" | "device">;
  /** When the first data are there. */
  readonly onStart?: (experiment: Experiment) => void;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface DiscoverResult {
  readonly report: Omit<DiscoverReport, "title" | "command" | "device" | "date" | "settings">;
  /** Every run that is finished, the kept ones included. */
  readonly records: readonly RunRecord[];
  /** Runs in all. */
  readonly runs: number;
  readonly summary: readonly NetworkSummary[];
  /** The run that the report shows: the first learned network of this call, as far as it came; undefined when all were done before. */
  readonly shown: RunResult | undefined;
  readonly interrupted: boolean;
}

export const openExperiment = (device: Device, data: DataSettings, seed: number, batchSize: number): Experiment =>
  data.kind === "images" ? imageExperiment(device, data, seed, batchSize) : plantedExperiment(device, data, seed, batchSize);

/** Beside the results, under a name that says what it is of. */
const checkpointOf = (results: string, { network, seed, settings }: Run): ReturnType<typeof checkpointFile> => {
  const slug = network.name.replace(/[^A-Za-z0-9.-]+/g, "-");
  const path = join(dirname(results), "checkpoints", `${basename(results, ".jsonl")}.${slug}.${seed}.${settings}.safetensors`);
  return checkpointFile(path, `${network.name}, seed ${seed}, settings ${settings}`);
};

const interruption = (shown: RunResult | undefined, open: number): string =>
  shown && !shown.finished
    ? `Interrupted after ${shown.losses.length} of ${shown.steps} steps.`
    : `Interrupted with ${open} run${open === 1 ? "" : "s"} to do: what is told of those is of unfinished training, or nothing.`;

const reportRow = ({ network, kind, parameters, measures, seeds }: NetworkSummary): NetworkReport => ({
  name: seeds > 1 ? `${network}, mean of ${seeds} seeds` : network,
  parameters,
  heldOutAccuracy: measures.heldOutAccuracy?.mean ?? 0,
  ...(measures.equivarianceError && { equivarianceError: measures.equivarianceError.mean }),
  own: kind === "learned",
});

/**
 * Does the runs of a configuration that are not kept yet, seed by seed, and gathers the report.
 * An aborted `signal` stops the training at once; what was learned so far is measured and reported.
 */
export const discover = async (device: Device, configuration: Configuration, options: DiscoverOptions): Promise<DiscoverResult> => {
  const { results, signal, onProgress = () => {} } = options;
  const { device: counted, look } = countWork(device);
  const runs = runsOf(configuration);
  const records = recordsOf(runs, results === undefined ? [] : readResults(results));
  const notes: string[] = [];
  const curves: DiscoverReport["curves"][number][] = [];
  const partial: RunRecord[] = [];
  let opened: { readonly key: string; readonly experiment: Experiment } | undefined;
  let firstSeed: number | undefined;
  let shown: RunResult | undefined;
  const todo = runs.filter((_, i) => records[i] === undefined).length;
  let finished = 0;
  try {
    for (const [i, run] of runs.entries()) {
      if (records[i] || signal?.aborted) continue;
      const { network, seed, data, training, settings } = run;
      const key = `${seed} ${training.batchSize}`;
      if (opened?.key !== key) {
        opened?.experiment.dispose();
        opened = { key, experiment: openExperiment(counted, data, seed, training.batchSize) };
      }
      const { experiment } = opened;
      if (firstSeed === undefined) options.onStart?.(experiment);
      firstSeed ??= seed;
      const { steps } = trainSettings(training, experiment.stepsPerEpoch);
      const checkpoint = results === undefined ? undefined : checkpointOf(results, run);
      const result = await runOne(experiment, run, {
        ...(checkpoint && { checkpoint }),
        ...(options.every && { every: options.every }),
        ...(signal && { signal }),
        look,
        note: (text) => notes.push(text),
        onStep: ({ losses, accuracy, agreement }) =>
          onProgress({
            network: network.name,
            seed,
            done: finished + losses.length / steps,
            total: todo,
            loss: losses.at(-1) ?? Number.NaN,
            accuracy: accuracy.at(-1),
            agreement: agreement[0]?.at(-1),
          }),
      });
      const record: RunRecord = {
        experiment: configuration.name,
        network: network.name,
        kind: network.kind,
        seed,
        settings,
        date: new Date().toISOString().slice(0, 16),
        ...options.provenance,
        ...result.finding,
      };
      if (seed === firstSeed) curves.push(...result.curves);
      if (network.kind === "learned") shown ??= result;
      if (!result.finished) {
        partial.push(record);
        continue;
      }
      finished++;
      records[i] = record;
      if (results !== undefined) appendResult(results, record);
      checkpoint?.remove();
    }
    const whole = records.filter((record) => record !== undefined);
    const summary = summarise(whole);
    const interrupted = signal?.aborted ?? false;
    if (interrupted && whole.length < runs.length) notes.push(interruption(shown, runs.length - whole.length));
    return {
      report: {
        task: { name: opened?.experiment.name ?? configuration.name, description: opened?.experiment.description ?? configuration.about ?? "" },
        curves: curves.filter(({ values }) => values.length > 0),
        layers: shown?.layers ?? [],
        ...(shown?.equivariance?.length && { equivariance: shown.equivariance }),
        comparison: [...summary.map(reportRow), ...summarise(partial).map((row) => ({ ...reportRow(row), name: `${row.network}, unfinished` }))],
        notes,
      },
      records: whole,
      runs: runs.length,
      summary,
      shown,
      interrupted,
    };
  } finally {
    opened?.experiment.dispose();
  }
};
