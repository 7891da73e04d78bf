/** One network on one seed: trained, from where it was left off if it was, and measured. */
import { FileError } from "../errors.ts";
import type { Curve, LayerReport } from "../report/types.ts";
import type { EquivarianceRow } from "../symmetry/equivariance.ts";
import { nameOf } from "../symmetry/names.ts";
import { GroupTable, isGroupTable } from "../symmetry/table.ts";
import type { Run } from "./configuration.ts";
import type { Contender, Experiment } from "./experiment.ts";
import { compareCoefficients, compareLayers, layerReports, readStack } from "./measure.ts";
import type { RunRecord } from "./results.ts";
import { type Checkpoint, nothingSeen, type Seen } from "./seen.ts";
import { train, trainSettings } from "./train.ts";
import type { StepCost, Work } from "./work.ts";

/** Pictures of the matrices over training. */
const SNAPSHOTS = 24;
/** Held-out examples looked at while training; all of them at the end. */
const PEEK = 400;

export interface RunOptions {
  /** Default: nothing is left of an unfinished run. */
  readonly checkpoint?: Checkpoint;
  /** Steps, or seconds, between checkpoints. Default 60 seconds. */
  readonly every?: { readonly steps: number } | { readonly seconds: number };
  readonly signal?: AbortSignal;
  /** What the experiment's device was asked to do since this was last called. */
  look(): Work;
  onStep(seen: Seen): void;
  /** Something that a person should know. */
  note(text: string): void;
}

/** What a run found, by itself; when it was found, where and how is for the caller to say. */
export type Finding = Pick<
  RunRecord,
  "steps" | "parameters" | "seconds" | "step" | "loss" | "heldOutAccuracy" | "equivarianceError" | "agreement" | "recovered" | "layers" | "history"
>;

export interface RunResult {
  readonly finding: Finding;
  /** One per step. */
  readonly losses: readonly number[];
  readonly curves: readonly Curve[];
  readonly layers: readonly LayerReport[];
  /** Of each layer, of networks with learned matrices on images. */
  readonly equivariance?: readonly EquivarianceRow[];
  readonly finished: boolean;
  /** Steps that the run has when it is finished. */
  readonly steps: number;
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

const curvesOf = ({ name, layers }: Contender, seen: Seen): Curve[] => [
  { panel: "Loss", name, steps: seen.losses.map((_, i) => i + 1), values: seen.losses, scale: "log" },
  { panel: "Held-out accuracy", name, steps: seen.steps, values: seen.accuracy, scale: "share" },
  ...layers.flatMap((layer, i): Curve[] =>
    layer.planted([]) === undefined
      ? []
      : [{ panel: "Agreement with the planted symmetry", name: layer.name, steps: seen.steps, values: seen.agreement[i], scale: "share" }],
  ),
];

/** To three digits, which is what the number of held-out examples and rows can tell. */
const historyOf = ({ steps, accuracy, agreement }: Seen): NonNullable<RunRecord["history"]> => {
  const short = (values: readonly number[]): number[] => values.map((value) => Number(value.toFixed(3)));
  return { steps, accuracy: short(accuracy), agreement: short(agreement[0]) };
};

/** Of the steps of this sitting. */
const stepOf = (costs: readonly StepCost[]): RunRecord["step"] => {
  const last = costs.at(-1);
  if (!last) return undefined;
  const median = (name: "milliseconds" | "processor"): number => {
    const values = costs.map((cost) => cost[name]).sort((a, b) => a - b);
    return Number(values[Math.floor(values.length / 2)].toPrecision(4));
  };
  return { ...last, milliseconds: median("milliseconds"), processor: median("processor") };
};

const findingOf = async (
  experiment: Experiment,
  contender: Contender,
  seen: Seen,
  layers: readonly LayerReport[],
  costs: readonly StepCost[],
): Promise<Finding> => {
  const { losses } = seen;
  const [first] = layers;
  const equivarianceError = await experiment.equivarianceError(contender);
  const step = stepOf(costs);
  return {
    steps: losses.length,
    parameters: contender.network.parameterCount,
    seconds: Number(seen.seconds.toFixed(1)),
    ...(step && { step }),
    loss: {
      first: losses[0] ?? Number.NaN,
      last: losses.at(-1) ?? Number.NaN,
      tail: mean(losses.slice(-Math.max(1, Math.floor(losses.length / 10)))),
    },
    heldOutAccuracy: await experiment.heldOutAccuracy(contender),
    ...(equivarianceError !== undefined && { equivarianceError }),
    ...(first?.planted && { agreement: first.result.meanAgreement, recovered: first.result.recovered, history: historyOf(seen) }),
    ...(layers.length > 0 && {
      layers: layers.map(({ name, result, closure, group, coefficients }, i) => {
        const learned = result.elements.slice(1);
        const weights = contender.layers[i].base?.weights;
        return {
          name,
          agreement: result.meanAgreement,
          recovered: result.recovered,
          closure: closure.mean,
          ...(group && { group: { name: group.name ?? null, order: `${group.order}` } }),
          ...(isGroupTable(closure.products, closure.g) && { products: nameOf(new GroupTable(closure.products))?.names[0] ?? `order ${closure.g}` }),
          entropy: mean(learned.map(({ relativeEntropy }) => relativeEntropy)),
          distance: mean(learned.map(({ distance }) => distance)),
          agreements: learned.map(({ agreement }) => agreement),
          ...(weights && coefficients && { coefficients: compareCoefficients(coefficients.fit.coefficients, weights, coefficients.labels.length) }),
        };
      }),
    }),
  };
};

/**
 * Trains and measures. Interrupted by `signal` it leaves a checkpoint and measures what there is; the same call later goes on from there to the losses that an
 * uninterrupted run would have had. A checkpoint that is damaged or of another run is noted and the run begins anew.
 */
export const runOne = async (experiment: Experiment, run: Run, options: RunOptions): Promise<RunResult> => {
  const { checkpoint, every = { seconds: 60 }, signal } = options;
  const contender = experiment.contender(run.network);
  try {
    const { layers } = contender;
    const settings = trainSettings(run.training, experiment.stepsPerEpoch);
    const interval = Math.max(1, Math.ceil(settings.steps / SNAPSHOTS));
    const measured = (step: number): boolean => step % interval === 0 && step < settings.steps;
    let seen = nothingSeen(contender);
    const measure = async (step: number): Promise<void> => {
      const stacks = await Promise.all(layers.map(readStack));
      const accuracy = await experiment.heldOutAccuracy(contender, PEEK);
      seen.steps.push(step);
      seen.accuracy.push(accuracy);
      for (const [i, matrices] of stacks.entries()) seen.snapshots[i].push({ step, matrices });
      for (const [i, { result }] of compareLayers(layers, stacks).entries()) seen.agreement[i].push(result.meanAgreement);
    };
    contender.network.eval();
    await measure(0);
    const costs: StepCost[] = [];
    let since = performance.now();
    let saved = since;
    const done = await train(
      experiment,
      contender,
      settings,
      {
        start(optimizer) {
          try {
            seen = checkpoint?.load(contender, optimizer) ?? seen;
          } catch (error) {
            if (!(error instanceof FileError)) throw error;
            options.note(`${error.message}; the run begins anew.`);
          }
          return seen.losses.length;
        },
        look: options.look,
        async onStep(step, loss, cost) {
          seen.losses.push(loss);
          costs.push(cost);
          if (measured(step + 1)) await measure(step + 1);
          const now = performance.now();
          seen.seconds += (now - since) / 1000;
          since = now;
          options.onStep(seen);
        },
        looks: measured,
        pause: (step) =>
          checkpoint !== undefined && ("steps" in every ? step % every.steps === 0 : performance.now() - saved >= every.seconds * 1000),
        async save(_, optimizer) {
          await checkpoint?.save(contender, optimizer, seen);
          saved = performance.now();
        },
      },
      signal,
    );
    const finished = done === settings.steps;
    if (seen.steps.at(-1) !== done) await measure(done);
    if (!Number.isFinite(seen.losses.at(-1) ?? 0)) options.note(`${contender.name}: the loss is no longer finite; try a smaller learning rate.`);
    const reports = await layerReports(layers, seen.snapshots);
    const equivariance = layers.length > 0 ? await experiment.layerEquivariance?.(contender, reports) : undefined;
    return {
      finding: await findingOf(experiment, contender, seen, reports, costs),
      losses: seen.losses,
      curves: curvesOf(contender, seen),
      layers: reports,
      ...(equivariance && { equivariance }),
      finished,
      steps: settings.steps,
    };
  } finally {
    contender.network.dispose();
  }
};
