/** The training loop: the same for every contender; in steady state it allocates nothing on the device. */
import { entropyRegularizer, normRegularizer } from "../nn/regularizers.ts";
import { add, mul } from "../ops/elementwise/index.ts";
import { AdamW } from "../optim.ts";
import { scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import type { Contender, Experiment } from "./experiment.ts";

export interface TrainSettings {
  readonly steps: number;
  /** Steps at the start in which the matrices rest: they sharpen towards wrong permutations while the kernels are still wrong. */
  readonly warmup: number;
  readonly learningRate: number;
  /** Of the matrices' logits. */
  readonly matrixLearningRate: number;
  readonly weightDecay: number;
  readonly normWeight: number;
  readonly entropyWeight: number;
  /** Share of the steps at the end over which the learning rates fall to zero along a cosine. */
  readonly decay: number;
}

export interface TrainObserver {
  /** After every step, in order; the loss is without regularisers. May return a promise, which the next step awaits. */
  onStep(step: number, loss: number): void | Promise<void>;
}

/** Factor of the learning rate at a step. */
const schedule = (step: number, { steps, decay }: TrainSettings): number => {
  const start = steps * (1 - decay);
  return step < start ? 1 : 0.5 * (1 + Math.cos((Math.PI * (step - start)) / (steps - start)));
};

/**
 * Trains one contender. Stops between two steps when `signal` is aborted.
 *
 * @returns the number of steps done
 */
export const train = async (
  experiment: Experiment,
  contender: Contender,
  settings: TrainSettings,
  observer: TrainObserver,
  signal?: AbortSignal,
): Promise<number> => {
  const { network, layers } = contender;
  const stacks = layers.map(({ layer }) => layer);
  const matrices = stacks.map(({ representations }) => representations).filter(({ size }) => size > 0);
  const weights = network.parameters().filter((parameter) => !matrices.includes(parameter) && parameter.size > 0);
  const { learningRate, matrixLearningRate, weightDecay } = settings;
  const optimizer = new AdamW(
    [{ parameters: weights, lr: learningRate }, ...(matrices.length > 0 ? [{ parameters: matrices, lr: matrixLearningRate }] : [])],
    { weightDecay },
  );
  const regularise = (loss: Tensor): Tensor => {
    let total = loss;
    if (matrices.length > 0 && settings.normWeight > 0) total = add(total, mul(normRegularizer(stacks), settings.normWeight));
    if (matrices.length > 0 && settings.entropyWeight > 0) total = add(total, mul(entropyRegularizer(stacks), settings.entropyWeight));
    return total;
  };
  let pending: Promise<number> | undefined;
  let step = 0;
  try {
    for (; step < settings.steps && !signal?.aborted; step++) {
      const active = step >= settings.warmup;
      for (const matrix of matrices) matrix.requiresGrad = active;
      const factor = schedule(step, settings);
      for (const [i, group] of optimizer.groups.entries()) group.lr = factor * (i === 0 ? learningRate : matrixLearningRate);
      experiment.feed(step);
      const loss = scope(() => {
        const task = experiment.loss(network);
        (active ? regularise(task) : task).backward();
        optimizer.step();
        optimizer.zeroGrad();
        return task.detach();
      });
      // The loss of the step before is awaited while this one runs: the device never idles, the queue stays short.
      const value = loss.item();
      loss.dispose();
      if (pending) await observer.onStep(step - 1, await pending);
      pending = value;
    }
    if (pending) await observer.onStep(step - 1, await pending);
  } finally {
    optimizer.dispose();
    for (const matrix of matrices) matrix.requiresGrad = true;
  }
  return step;
};
