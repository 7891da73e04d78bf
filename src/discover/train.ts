/** The training loop: the same for every network; in steady state it allocates nothing on the device. */
import { entropyRegularizer, normRegularizer } from "../nn/regularizers.ts";
import { add, mul } from "../ops/elementwise/index.ts";
import { AdamW, type Optimizer } from "../optim.ts";
import { scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import type { TrainingSettings, TrainSettings } from "./configuration.ts";
import type { Contender, Experiment } from "./experiment.ts";

/** With steps and warm-up counted out. */
export const trainSettings = (training: TrainingSettings, stepsPerEpoch: number): TrainSettings => {
  const steps = training.steps ?? training.epochs * stepsPerEpoch;
  return { ...training, steps, warmup: Math.min(training.warmup ?? stepsPerEpoch, steps) };
};

export interface TrainObserver {
  /** Before the first step: puts an earlier state back. Returns the steps done so far, 0 for none. */
  start(optimizer: Optimizer): number;
  /** After every step, in order; the loss is without regularisers. May return a promise, which the next step awaits. */
  onStep(step: number, loss: number): void | Promise<void>;
  /** After a step whose losses have all been seen, where `pause` says so. */
  save(step: number, optimizer: Optimizer): Promise<void>;
  /** Whether to save after so many steps. */
  pause(step: number): boolean;
}

/** Factor of the learning rate at a step. */
const schedule = (step: number, { steps, decay }: TrainSettings): number => {
  const start = steps * (1 - decay);
  return step < start ? 1 : 0.5 * (1 + Math.cos((Math.PI * (step - start)) / (steps - start)));
};

/**
 * Trains one network. Stops between two steps when `signal` is aborted, and saves there.
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
  const { learningRate, matrixLearningRate, weightDecay, norm, entropy, steps, warmup } = settings;
  const optimizer = new AdamW(
    [{ parameters: weights, lr: learningRate }, ...(matrices.length > 0 ? [{ parameters: matrices, lr: matrixLearningRate }] : [])],
    { weightDecay },
  );
  const regularise = (loss: Tensor): Tensor => {
    let total = loss;
    if (matrices.length > 0 && norm > 0) total = add(total, mul(normRegularizer(stacks), norm));
    if (matrices.length > 0 && entropy > 0) total = add(total, mul(entropyRegularizer(stacks), entropy));
    return total;
  };
  let pending: Promise<number> | undefined;
  let done = observer.start(optimizer);
  const settle = async (): Promise<void> => {
    if (pending) await observer.onStep(done - 1, await pending);
    pending = undefined;
  };
  try {
    while (done < steps && !signal?.aborted) {
      const active = done >= warmup;
      for (const matrix of matrices) matrix.requiresGrad = active;
      const factor = schedule(done, settings);
      for (const [i, group] of optimizer.groups.entries()) group.lr = factor * (i === 0 ? learningRate : matrixLearningRate);
      experiment.feed(done);
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
      await settle();
      pending = value;
      done++;
      if (done < steps && observer.pause(done)) {
        await settle();
        await observer.save(done, optimizer);
      }
    }
    await settle();
    if (done < steps) await observer.save(done, optimizer);
  } finally {
    optimizer.dispose();
    for (const matrix of matrices) matrix.requiresGrad = true;
  }
  return done;
};
