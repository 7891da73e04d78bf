/** Training: optimisers that change parameters in place, and learning rates over time. */
export { AdamW, type AdamWOptions } from "./optim/adamw.ts";
export { type GroupOptions, Optimizer, type OptimizerState, ParameterGroup, type StepOptions } from "./optim/optimizer.ts";
export {
  chained,
  constant,
  cosine,
  cyclicLinear,
  exponential,
  linearWarmup,
  type Schedule,
  scheduleLr,
  scheduleTemperature,
  stepDecay,
} from "./optim/schedule.ts";
export { SGD, type SGDOptions } from "./optim/sgd.ts";
