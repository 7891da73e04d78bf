/** The training loop: the same for every network; in steady state it allocates nothing on the device. */
import { expected } from "../errors.ts";
import { Dropout } from "../nn/layers.ts";
import {
  closureRegularizer,
  entropyRegularizer,
  identityRegularizer,
  normRegularizer,
  overlapRegularizer,
  sharpnessRegularizer,
} from "../nn/regularizers.ts";
import { matrixGroups, restMatrices } from "../nn/training.ts";
import { add, mul } from "../ops/elementwise/index.ts";
import type { GroupOptions } from "../optim/optimizer.ts";
import { exponential, type Schedule, scheduleTemperature } from "../optim/schedule.ts";
import { AdamW, type Optimizer, scheduleLr } from "../optim.ts";
import { scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";
import type { TrainingSettings, TrainSettings } from "./configuration.ts";
import type { Contender, Experiment } from "./experiment.ts";
import type { StepCost, Work } from "./work.ts";

/** With steps and warm-up counted out. */
export const trainSettings = (training: TrainingSettings, stepsPerEpoch: number): TrainSettings => {
  const steps = training.steps ?? training.epochs * stepsPerEpoch;
  return { ...training, steps, warmup: Math.min(training.warmup ?? stepsPerEpoch, steps) };
};

export interface TrainObserver {
  /** Before the first step: puts an earlier state back. Returns the steps done so far, 0 for none. */
  start(optimizer: Optimizer): number;
  /** After every step, in order; the loss is without regularisers. May return a promise, which is awaited before the step after the next. */
  onStep(step: number, loss: number, cost: StepCost): void | Promise<void>;
  /** Whether `onStep` looks at the network after so many steps: the next one waits until it has. */
  looks(step: number): boolean;
  /** After a step whose losses have all been seen, where `pause` says so. */
  save(step: number, optimizer: Optimizer): Promise<void>;
  /** Whether to save after so many steps. */
  pause(step: number): boolean;
  /** What the device was asked to do since this was last called. */
  look(): Work;
}

const REGULARISERS = [
  ["norm", normRegularizer],
  ["entropy", entropyRegularizer],
  ["closure", closureRegularizer],
  ["identity", identityRegularizer],
  ["sharpness", sharpnessRegularizer],
  ["overlap", overlapRegularizer],
] as const;

/** With the head at its own rate, where it has one: what was pooled over all positions and elements differs little from image to image, and weights that start at 1/√width are long on their way to the size that this asks for. */
const headGroups = (groups: readonly GroupOptions[], { head }: Contender, { headLearningRate: lr }: TrainSettings): readonly GroupOptions[] => {
  if (lr === undefined) return groups;
  if (!head) throw expected("birkhoff discover", "only where images are classified", "training.headLearningRate", lr);
  const own = new Set(head.parameters());
  const others = groups.map((group) => ({ ...group, parameters: group.parameters.filter((parameter) => !own.has(parameter)) }));
  return [...others, { parameters: [...own], lr }];
};

/** Factor of the learning rates. */
const rateOf = ({ steps, decay }: TrainSettings): Schedule => {
  const start = steps * (1 - decay);
  return (step) => (step < start ? 1 : 0.5 * (1 + Math.cos((Math.PI * (step - start)) / (steps - start))));
};

/** In milliseconds. */
const clocks = (): { readonly time: number; readonly processor: number } => {
  const { user, system } = process.cpuUsage();
  return { time: performance.now(), processor: (user + system) / 1000 };
};

/**
 * Trains one network, which is in evaluation mode between steps. Stops between two steps when `signal` is aborted, and saves there.
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
  const { network } = contender;
  const stacks = contender.stacks.filter(({ representations }) => representations.size > 0);
  const { learningRate, matrixLearningRate, weightDecay, steps, warmup, temperature } = settings;
  const groups = matrixGroups(network, stacks, { lr: learningRate, matrixLr: matrixLearningRate });
  const optimizer = new AdamW(headGroups(groups, contender, settings), { weightDecay });
  const setRates = scheduleLr(optimizer, rateOf(settings));
  const learning = restMatrices(stacks, warmup);
  const falling = ({ from, to }: { from: number; to: number }): Schedule => {
    const fall = exponential(Math.max(1, steps - 1 - warmup), to / from);
    return (step) => from * fall(Math.max(0, step - warmup));
  };
  const setTemperature = temperature && scheduleTemperature(stacks, falling(temperature));
  const regularise = (loss: Tensor): Tensor =>
    REGULARISERS.reduce((total, [name, regulariser]) => {
      const weight = settings[name] ?? 0;
      return stacks.length > 0 && weight > 0 ? add(total, mul(regulariser(stacks), weight)) : total;
    }, loss);
  const dropouts = network.modules().filter((module) => module instanceof Dropout);
  let pending: Promise<readonly [loss: number, cost: StepCost]> | undefined;
  let done = observer.start(optimizer);
  let finished = clocks();
  const settle = async (): Promise<void> => {
    if (pending) await observer.onStep(done - 1, ...(await pending));
    pending = undefined;
  };
  try {
    while (done < steps && !signal?.aborted) {
      const asked = clocks();
      observer.look();
      const active = learning(done);
      setRates(done);
      setTemperature?.(done);
      for (const dropout of dropouts) dropout.stream = done;
      experiment.feed(done);
      const loss = scope(() => {
        network.train();
        const task = experiment.loss(network);
        network.eval();
        (active ? regularise(task) : task).backward();
        optimizer.step();
        optimizer.zeroGrad();
        return task.detach();
      });
      // The loss of the step before is awaited while this one runs: the device never idles, the queue stays short.
      const work = observer.look();
      const value = loss.item().then((number) => {
        const [from, to] = [asked.time > finished.time ? asked : finished, clocks()];
        finished = to;
        return [number, { milliseconds: to.time - from.time, processor: to.processor - from.processor, ...work }] as const;
      });
      loss.dispose();
      await settle();
      pending = value;
      done++;
      const pause = done < steps && observer.pause(done);
      if (pause || observer.looks(done)) await settle();
      if (pause) await observer.save(done, optimizer);
    }
    await settle();
    if (done < steps) await observer.save(done, optimizer);
  } finally {
    optimizer.dispose();
    learning(steps);
  }
  return done;
};
