/** The update rules, in float64, as PyTorch defines them. */
import type { Numbers, ReferenceRun } from "../../op.ts";

/** Inputs of an update: state, the parameters, their gradients, and with `clip` the norm of all gradients. */
export type UpdateAttrs = {
  /** Where the state of each parameter begins in the group's flat state. */
  readonly offsets: readonly number[];
  /** Whether the last input is a norm that limits the gradients. */
  readonly clip: boolean;
};
export type SgdAttrs = UpdateAttrs & { readonly velocity: boolean; readonly nesterov: boolean };

/** min(1, limit / (norm + 1e-6)): PyTorch's `clip_grad_norm_`. */
export const clipFactor = (norm: number, limit: number): number => Math.min(1, limit / (norm + 1e-6));

/** Calls `update(state place, parameter, index, clipped gradient)` for every element. */
const visit = (
  { call, scalars, inputs }: ReferenceRun<UpdateAttrs>,
  update: (at: number, parameter: Numbers, i: number, gradient: number) => void,
): void => {
  const { offsets, clip } = call.attrs;
  const factor = clip ? clipFactor(inputs[inputs.length - 1][0], scalars.limit) : 1;
  for (const [k, offset] of offsets.entries()) {
    const [parameter, gradient] = [inputs[1 + k], inputs[1 + offsets.length + k]];
    for (let i = 0; i < parameter.length; i++) update(offset + i, parameter, i, factor * gradient[i]);
  }
};

export const sgd = (run: ReferenceRun<SgdAttrs>): void => {
  const { lr, momentum, decay } = run.scalars;
  const { velocity, nesterov } = run.call.attrs;
  const [state] = run.inputs;
  visit(run, (at, parameter, i, gradient) => {
    let d = gradient + decay * parameter[i];
    if (velocity) {
      state[at] = momentum * state[at] + d;
      d = nesterov ? d + momentum * state[at] : state[at];
    }
    parameter[i] -= lr * d;
  });
};

export const adamw = (run: ReferenceRun<UpdateAttrs>): void => {
  const { keep, rate1, beta2, rate2, step, correction, eps } = run.scalars;
  const [state] = run.inputs;
  const total = state.length / 2;
  visit(run, (at, parameter, i, gradient) => {
    state[at] += rate1 * (gradient - state[at]);
    state[total + at] = beta2 * state[total + at] + rate2 * gradient * gradient;
    parameter[i] = keep * parameter[i] - (step * state[at]) / (Math.sqrt(state[total + at]) * correction + eps);
  });
};

export const norm = ({ call, inputs, outputs: [y], fault }: ReferenceRun<{ check: boolean }>): void => {
  y[0] = Math.sqrt(inputs.reduce((sum, values) => (values as Float64Array).reduce((part, value) => part + value * value, sum), 0));
  if (call.attrs.check && !Number.isFinite(y[0])) fault(y[0]);
};

export const clip = ({ scalars, inputs, outputs }: ReferenceRun): void => {
  const factor = clipFactor(inputs[inputs.length - 1][0], scalars.limit);
  for (const [k, y] of outputs.entries()) for (let i = 0; i < y.length; i++) y[i] = factor * inputs[k][i];
};
