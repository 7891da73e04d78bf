/** The main job: train a network on data with an unknown symmetry, and its rivals beside it, and say what was found. */
import type { Curve, DiscoverReport, NetworkReport, Snapshot } from "../report/types.ts";
import type { Contender, Experiment } from "./experiment.ts";
import { compareLayers, layerReports, readStack } from "./measure.ts";
import { type TrainSettings, train } from "./train.ts";

export interface Progress {
  readonly network: string;
  /** Steps done and to do, over all networks. */
  readonly done: number;
  readonly total: number;
  readonly loss: number;
  /** Held-out accuracy when last measured. */
  readonly accuracy: number | undefined;
  /** Mean agreement of the first layer's matrices with the planted elements when last measured. */
  readonly agreement: number | undefined;
}

export interface DiscoverSettings extends TrainSettings {
  /** Train the rivals too. */
  readonly compare: boolean;
}

export interface DiscoverResult {
  readonly report: Omit<DiscoverReport, "title" | "command" | "device" | "date" | "settings">;
  readonly heldOutAccuracy: number;
  /** Of the first layer's learned matrices; undefined when nothing is known to compare with. */
  readonly agreement: number | undefined;
  /** Every matrix's nearest permutation is the planted element, in the first layer. */
  readonly recovered: boolean;
  /** Losses of the learned network, one per step. */
  readonly losses: readonly number[];
  readonly interrupted: boolean;
}

/** Pictures of the matrices over training. */
const SNAPSHOTS = 24;
/** Held-out examples looked at while training; all of them at the end. */
const PEEK = 400;

const trainContender = async (
  experiment: Experiment,
  contender: Contender,
  settings: DiscoverSettings,
  onProgress: (step: number, loss: number, accuracy: number | undefined, agreement: number | undefined) => void,
  signal: AbortSignal | undefined,
): Promise<{ losses: number[]; curves: Curve[]; snapshots: Snapshot[][] }> => {
  const { layers, name } = contender;
  const losses: number[] = [];
  const seen = { steps: [] as number[], accuracy: [] as number[], agreement: layers.map((): number[] => []) };
  const snapshots: Snapshot[][] = layers.map(() => []);
  const measure = async (step: number): Promise<void> => {
    seen.steps.push(step);
    seen.accuracy.push(await experiment.heldOutAccuracy(contender, PEEK));
    const stacks = await Promise.all(layers.map(readStack));
    for (const [i, matrices] of stacks.entries()) snapshots[i].push({ step, matrices });
    for (const [i, result] of compareLayers(layers, stacks).entries()) seen.agreement[i].push(result.meanAgreement);
  };
  const interval = Math.max(1, Math.ceil(settings.steps / SNAPSHOTS));
  await measure(0);
  const done = await train(
    experiment,
    contender,
    settings,
    {
      onStep: async (step, loss) => {
        losses.push(loss);
        if ((step + 1) % interval === 0 && step + 1 < settings.steps) await measure(step + 1);
        onProgress(step + 1, loss, seen.accuracy.at(-1), seen.agreement[0]?.at(-1));
      },
    },
    signal,
  );
  if (seen.steps.at(-1) !== done) await measure(done);
  const curves: Curve[] = [
    { panel: "Loss", name, steps: losses.map((_, i) => i + 1), values: losses, scale: "log" },
    { panel: "Held-out accuracy", name, steps: seen.steps, values: seen.accuracy, scale: "share" },
    ...layers
      .filter(({ planted }) => planted([]) !== undefined)
      .map(
        (layer): Curve => ({
          panel: "Agreement with the planted symmetry",
          name: layer.name,
          steps: seen.steps,
          values: seen.agreement[layers.indexOf(layer)],
          scale: "share",
        }),
      ),
  ];
  return { losses, curves, snapshots };
};

const interruption = (done: number, steps: number): string =>
  done < steps
    ? `Interrupted after ${done} of ${steps} steps.`
    : "Interrupted while the networks to compare with were trained: the figures of the last one are of unfinished training.";

/**
 * Trains the learned network and, with `compare`, its rivals, measures all, and gathers the report.
 * An aborted `signal` stops the training at once; what was learned so far is measured and reported.
 */
export const discover = async (
  experiment: Experiment,
  settings: DiscoverSettings,
  onProgress: (progress: Progress) => void = () => {},
  signal?: AbortSignal,
): Promise<DiscoverResult> => {
  const contenders = experiment.contenders.filter(({ role }) => role === "learned" || settings.compare);
  const total = contenders.length * settings.steps;
  const curves: Curve[] = [];
  const comparison: NetworkReport[] = [];
  const notes: string[] = [];
  let losses: readonly number[] = [];
  let layers: DiscoverReport["layers"] = [];
  for (const [i, contender] of contenders.entries()) {
    if (signal?.aborted && contender.role !== "learned") continue;
    const run = await trainContender(
      experiment,
      contender,
      settings,
      (step, loss, accuracy, agreement) => onProgress({ network: contender.name, done: i * settings.steps + step, total, loss, accuracy, agreement }),
      signal,
    );
    curves.push(...run.curves);
    const equivarianceError = await experiment.equivarianceError(contender);
    comparison.push({
      name: contender.name,
      parameters: contender.network.parameterCount,
      heldOutAccuracy: await experiment.heldOutAccuracy(contender),
      ...(equivarianceError !== undefined && { equivarianceError }),
      own: contender.role === "learned",
    });
    if (!Number.isFinite(run.losses.at(-1) ?? 0)) notes.push(`${contender.name}: the loss is no longer finite; try a smaller learning rate.`);
    if (contender.role === "learned") {
      losses = run.losses;
      layers = await layerReports(contender.layers, run.snapshots);
    }
  }
  const [first] = layers;
  const interrupted = signal?.aborted ?? false;
  if (interrupted) notes.push(interruption(losses.length, settings.steps));
  return {
    report: {
      task: { name: experiment.name, description: experiment.description },
      curves: curves.filter(({ values }) => values.length > 0),
      layers,
      comparison,
      notes,
    },
    heldOutAccuracy: comparison.find(({ own }) => own)?.heldOutAccuracy ?? 0,
    agreement: first?.planted && first.result.meanAgreement,
    recovered: first?.result.recovered ?? false,
    losses,
    interrupted,
  };
};
