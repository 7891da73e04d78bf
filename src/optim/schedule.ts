/** Learning rates over time: plain functions from the step (0 for the first) to a factor of the initial learning rate. */
import { checkRange, expected } from "../errors.ts";
import { Optimizer } from "./optimizer.ts";
import { checkRate } from "./rate.ts";

/** From the step, 0 for the first, to the factor of the initial learning rate. */
export type Schedule = (step: number) => number;

const checkSchedule = (where: string, argument: string, schedule: unknown): void => {
  if (typeof schedule !== "function") throw expected(where, "a function of the step", argument, schedule);
};

/** A schedule that is asked for steps alone. */
const scheduled =
  (where: string, factor: Schedule): Schedule =>
  (step) =>
    factor(checkRange(where, "step", step, 0, Number.MAX_VALUE, "a non-negative number"));

const checkSteps = (where: string, argument: string, value: number): void => {
  if (!Number.isInteger(value) || value < 1) throw expected(where, "a positive integer", argument, value);
};

/**
 * The same factor at every step. Default 1.
 *
 * @throws ArgumentError for a negative, infinite or NaN factor.
 * @example constant(0.5)(100); // => 0.5
 */
export const constant = (factor = 1): Schedule => {
  checkRate("constant", "factor", factor);
  return scheduled("constant", () => factor);
};

/**
 * Multiplies by `factor` after every `every` steps (PyTorch's StepLR). Default factor 0.1.
 *
 * @throws ArgumentError unless `every` is a positive integer, and for a negative, infinite or NaN factor.
 * @example stepDecay(30, 0.5)(60); // => 0.25
 */
export const stepDecay = (every: number, factor = 0.1): Schedule => {
  checkSteps("stepDecay", "every", every);
  checkRate("stepDecay", "factor", factor);
  return scheduled("stepDecay", (step) => factor ** Math.floor(step / every));
};

/**
 * From 1 to `floor` (default 0) along half a cosine over `steps` steps, and `floor` from there on (Loshchilov and Hutter 2017,
 * arXiv:1608.03983).
 *
 * @throws ArgumentError unless `steps` is a positive integer, and for a negative, infinite or NaN floor.
 * @example cosine(100)(50); // => 0.5
 */
export const cosine = (steps: number, floor = 0): Schedule => {
  checkSteps("cosine", "steps", steps);
  checkRate("cosine", "floor", floor);
  return scheduled("cosine", (step) => floor + ((1 - floor) * (1 + Math.cos((Math.PI * Math.min(step, steps)) / steps))) / 2);
};

/**
 * From 1 to `floor` by equal factors over `steps` steps, and `floor` from there on (PyTorch's ExponentialLR with gamma = floor^(1/steps)). What annealing of a temperature
 * takes: the same share of it every step.
 *
 * @throws ArgumentError unless `steps` is a positive integer, and for a floor that is not positive.
 * @example exponential(100, 0.01)(50); // => 0.1
 */
export const exponential = (steps: number, floor: number): Schedule => {
  checkSteps("exponential", "steps", steps);
  checkRange("exponential", "floor", floor, Number.MIN_VALUE, Number.MAX_VALUE, "a positive number");
  return scheduled("exponential", (step) => floor ** (Math.min(step, steps) / steps));
};

/**
 * From `from` to 1 in a straight line over `steps` steps, and 1 from there on (PyTorch's LinearLR). Default from 1/3.
 *
 * @throws ArgumentError unless `steps` is a positive integer, and for a negative, infinite or NaN `from`.
 * @example linearWarmup(10, 0)(5); // => 0.5
 */
export const linearWarmup = (steps: number, from = 1 / 3): Schedule => {
  checkSteps("linearWarmup", "steps", steps);
  checkRate("linearWarmup", "from", from);
  return scheduled("linearWarmup", (step) => from + ((1 - from) * Math.min(step, steps)) / steps);
};

/**
 * From 0 to 1 in a straight line over the first `ratio` (default 3/4) of each of `cycles` (default 4) equal parts of `steps`, and 1 for the rest of it;
 * 1 after `steps` (Fu et al. 2019, "Cyclical Annealing Schedule", arXiv:1903.10145). For the weight of a regulariser rather than a learning rate.
 *
 * @throws ArgumentError unless `steps` and `cycles` are positive integers and `ratio` lies in (0, 1].
 * @example
 * ```ts
 * const weight = cyclicLinear(400);
 * [0, 30, 75, 99, 100, 115].map(weight); // => [0, 0.4, 1, 1, 0, 0.2]
 * ```
 */
export const cyclicLinear = (steps: number, cycles = 4, ratio = 0.75): Schedule => {
  const where = "cyclicLinear";
  checkSteps(where, "steps", steps);
  checkSteps(where, "cycles", cycles);
  checkRange(where, "ratio", ratio, Number.MIN_VALUE, 1, "a number in (0, 1]");
  const period = steps / cycles;
  return scheduled(where, (step) => (step >= steps ? 1 : Math.min(1, (step % period) / (period * ratio))));
};

/**
 * One schedule after the other, each counting from its own start (PyTorch's SequentialLR).
 *
 * @param milestones rising steps at which the next schedule takes over: one fewer than schedules
 * @throws ArgumentError for no schedule, another number of milestones, or milestones that are no rising positive integers.
 * @example
 * ```ts
 * const schedule = chained([linearWarmup(100, 0), cosine(900)], [100]);
 * schedule(50); // => 0.5
 * schedule(550); // => 0.5
 * ```
 */
export const chained = (schedules: readonly Schedule[], milestones: readonly number[]): Schedule => {
  const where = "chained";
  if (!Array.isArray(schedules) || schedules.length === 0) throw expected(where, "at least one schedule", "schedules", schedules);
  for (const [i, schedule] of schedules.entries()) checkSchedule(where, `schedules[${i}]`, schedule);
  if (!Array.isArray(milestones) || milestones.length !== schedules.length - 1)
    throw expected(where, `${schedules.length - 1} steps`, "milestones", milestones);
  for (const [i, milestone] of milestones.entries()) {
    checkSteps(where, `milestones[${i}]`, milestone);
    if (i > 0 && milestone <= milestones[i - 1]) throw expected(where, "rising steps", "milestones", milestones);
  }
  return scheduled(where, (step) => {
    const index = milestones.filter((milestone) => step >= milestone).length;
    return (schedules as readonly Schedule[])[index](step - (index === 0 ? 0 : milestones[index - 1]));
  });
};

/**
 * Remembers every group's learning rate of now and gives a function that sets each to its factor at a step.
 *
 * @throws ArgumentError, from the function it gives, for a schedule that gives a negative, infinite or NaN factor.
 * @example
 * ```ts
 * const w = parameter(device.tensor([1]));
 * const optimizer = new SGD([w], { lr: 0.5 });
 * const setLr = scheduleLr(optimizer, cosine(10));
 * for (let step = 0; step < 10; step++) {
 *   setLr(step);
 *   optimizer.step(valueAndGrad(() => sum(mul(w, w)), [w]).gradients);
 * }
 * optimizer.groups[0].lr; // => 0.012
 * ```
 */
export const scheduleLr = (optimizer: Optimizer, schedule: Schedule): ((step: number) => void) => {
  if (!(optimizer instanceof Optimizer)) throw expected("scheduleLr", "an optimiser", "optimizer", optimizer);
  checkSchedule("scheduleLr", "schedule", schedule);
  const initial = optimizer.groups.map(({ lr }) => lr);
  return (step) => {
    const factor = checkRate("scheduleLr", `schedule(${String(step)})`, schedule(step));
    for (const [i, group] of optimizer.groups.entries()) group.lr = factor * initial[i];
  };
};

/** A stack of matrices, or what holds some. */
interface Tempered {
  temperature?: number;
  readonly stacks?: readonly Tempered[];
}

/**
 * Remembers the temperature of now of every stack and gives a function that sets each to its factor at a step: annealing, with `exponential`. Nothing is compiled or
 * planned anew, since a temperature is a number of the call.
 *
 * @param layers layers (of products both factors), `LearnedMatrices`, or what `DigitNetwork.learnedStacks()` gives; stacks that several share count once, frozen ones not at all
 * @throws ArgumentError for what has no temperature and, from the function it gives, for a schedule that gives a factor that is not positive.
 * @example
 * ```ts
 * const layer = new WeightSharingLift2d(initializer(device, 1), { inChannels: 1, outChannels: 2, kernelSize: 3, elements: 4 });
 * const setTemperature = scheduleTemperature([layer], exponential(1000, 0.1));
 * setTemperature(500);
 * layer.matrices.temperature; // => 0.3162
 * ```
 */
export const scheduleTemperature = (layers: readonly Tempered[], schedule: Schedule): ((step: number) => void) => {
  const where = "scheduleTemperature";
  if (!Array.isArray(layers)) throw expected(where, "an array of layers", "layers", layers);
  checkSchedule(where, "schedule", schedule);
  const stacks = [...new Set((layers as readonly Tempered[]).flatMap((layer) => layer?.stacks ?? [layer]))];
  const initial = stacks.map((stack) => {
    if (typeof stack?.temperature !== "number") throw expected(where, "layers, or stacks with a `temperature`,", "layers", stack);
    return stack.temperature;
  });
  return (step) => {
    const factor = schedule(step);
    checkRange(where, "schedule", factor, Number.MIN_VALUE, Number.MAX_VALUE, `a positive factor at step ${String(step)}`);
    for (const [i, stack] of stacks.entries()) stack.temperature = factor * initial[i];
  };
};
