/** What every optimiser does: groups, checks, which parameters take part in a step, and the norm that limits them. */

import type { HostTensor, StateDict } from "../data/safetensors.ts";
import type { Device } from "../device.ts";
import { ArgumentError, checkNames, expected, StateError } from "../errors.ts";
import { zeroGrad } from "../grad.ts";
import { noGrad } from "../gradMode.ts";
import { showShape } from "../op.ts";
import { checkMaxNorm, gradNorm } from "../ops/optimizer/index.ts";
import { allOrNone, keep } from "../scope.ts";
import { type Storage, Tensor } from "../tensor.ts";
import { checkRate } from "./rate.ts";
import { loadOptimizer, saveOptimizer } from "./state.ts";

/** Parameters that share a learning rate and a weight decay; what is left out is taken from the optimiser's options. */
export interface GroupOptions {
  readonly parameters: readonly Tensor[];
  readonly lr?: number;
  readonly weightDecay?: number;
}

export interface StepOptions {
  /** Scales all gradients together so that their norm is at most this (PyTorch's `clip_grad_norm_`). Default: no limit. */
  readonly clipNorm?: number;
}

/**
 * What an optimiser remembers of a group. `stateDict` and `loadStateDict` save and restore it.
 */
export interface OptimizerState {
  /** The moments of all parameters, one after the other in their order: [rows, elements of the group]. Owned by the optimiser. */
  readonly values: Tensor;
  /** Steps that each parameter has taken part in. */
  readonly steps: number[];
}

/**
 * One group of an optimiser.
 *
 * @example
 * ```ts
 * const [group] = new SGD([parameter(device.ones([3]))], { lr: 0.1 }).groups;
 * group.lr = 0.05;
 * group.parameters.length; // => 1
 * group.lr = -1; // throws ArgumentError
 * ```
 */
export class ParameterGroup {
  readonly parameters: readonly Tensor[];
  readonly state: OptimizerState;
  /** Where each parameter's moments begin in a row of `state.values`. */
  readonly offsets: readonly number[];
  readonly #where: string;
  #lr: number;
  #weightDecay: number;

  /** Internal: optimisers make their groups. */
  constructor(where: string, { parameters, lr, weightDecay }: Required<GroupOptions>, rows: number) {
    this.#where = where;
    this.#lr = checkRate(where, "lr", lr);
    this.#weightDecay = checkRate(where, "weightDecay", weightDecay);
    this.parameters = [...parameters];
    let total = 0;
    this.offsets = parameters.map(({ size }) => {
      total += size;
      return total - size;
    });
    this.state = { values: keep(parameters[0].device.zeros([rows, total])), steps: parameters.map(() => 0) };
  }

  /** Learning rate. May change at any time; nothing is compiled again. */
  get lr(): number {
    return this.#lr;
  }

  set lr(value: number) {
    this.#lr = checkRate(this.#where, "lr", value);
  }

  /** Weight decay. May change at any time. */
  get weightDecay(): number {
    return this.#weightDecay;
  }

  set weightDecay(value: number) {
    this.#weightDecay = checkRate(this.#where, "weightDecay", value);
  }
}

/** Part of a step: some parameters of one group that have taken the same number of steps. */
export interface Update {
  readonly group: ParameterGroup;
  /** State, parameters, gradients, and the norm when there is one: what an update op takes. */
  readonly inputs: readonly Tensor[];
  readonly offsets: readonly number[];
  /** 1 for the first step. */
  readonly step: number;
  /** The largest norm of all gradients, when they are clipped. */
  readonly limit: number | undefined;
}

/**
 * Base of `SGD` and `AdamW`.
 *
 * @example
 * ```ts
 * const w = parameter(device.tensor([3, 4]));
 * const optimizer: Optimizer = new SGD([w], { lr: 1 });
 * optimizer.step([device.tensor([6, 8])], { clipNorm: 1 }); // a gradient of norm 10, scaled to 1
 * await w.read(); // => [2.400, 3.200]
 * await optimizer.gradientNorm?.item(); // => 10
 * const saved = await optimizer.stateDict();
 * new SGD([w], { lr: 0.1 }).loadStateDict(saved); // goes on where `optimizer` stands, with lr 1
 * ```
 */
export abstract class Optimizer implements Disposable {
  readonly groups: readonly ParameterGroup[];
  readonly #where: string;
  readonly #moments: readonly string[];
  readonly #storages = new Set<Storage>();
  #norm: Tensor | undefined;
  #disposed = false;

  protected constructor(
    where: string,
    parameters: readonly Tensor[] | readonly GroupOptions[],
    defaults: { lr: number; weightDecay: number },
    moments: readonly string[],
  ) {
    this.#where = where;
    this.#moments = moments;
    if (!Array.isArray(parameters) || parameters.length === 0) throw expected(where, "at least one parameter", "parameters", parameters);
    const options: readonly GroupOptions[] = isGroups(parameters) ? parameters : [{ parameters: parameters as readonly Tensor[] }];
    for (const [i, group] of options.entries()) this.#checkGroup(group, isGroups(parameters) ? `parameters[${i}].parameters` : "parameters", options);
    this.groups = allOrNone(() =>
      options.map(
        ({ parameters, lr = defaults.lr, weightDecay = defaults.weightDecay }) =>
          new ParameterGroup(where, { parameters, lr, weightDecay }, moments.length),
      ),
    );
  }

  /** What the optimiser remembers, by group. */
  get state(): readonly OptimizerState[] {
    return this.groups.map(({ state }) => state);
  }

  /** The norm of all gradients before clipping, shape [], of the last step with `clipNorm`. Owned by the optimiser. */
  get gradientNorm(): Tensor | undefined {
    return this.#norm;
  }

  /**
   * Changes the parameters in place. Those that are frozen (`requiresGrad` false) or have no gradient stay as they are.
   *
   * @param gradients in the order of the parameters over all groups, undefined to skip one; default: each parameter's `grad`
   * @throws ArgumentError when the number, a shape or a dtype of gradients does not fit or they live on another device;
   * StateError after `dispose()` or for a disposed tensor.
   */
  step(gradients?: readonly (Tensor | undefined)[], options: StepOptions = {}): void {
    if (this.#disposed) throw new StateError(`${this.#where}: expected a live optimiser, but received one that was disposed`);
    const count = this.#storages.size;
    const { clipNorm } = checkNames(`${this.#where}.step`, options, ["clipNorm"]);
    if (gradients !== undefined && (gradients as typeof gradients | null)?.length !== count)
      throw expected(this.#where, `${count} gradients, one per parameter,`, "gradients", gradients);
    if (clipNorm !== undefined) checkMaxNorm(this.#where, "clipNorm", clipNorm);
    let position = 0;
    const pairs = this.groups.map((group) =>
      group.parameters.flatMap((parameter, index) => {
        const i = position++;
        const gradient = gradients ? gradients[i] : parameter.grad;
        if (!gradient || !parameter.requiresGrad) return [];
        this.#checkPair(parameter, gradient, gradients ? `gradients[${i}]` : `parameters[${i}].grad`);
        return [{ index, parameter, gradient }];
      }),
    );
    const used = pairs.flat();
    if (used.length === 0) return;
    noGrad(() => {
      if (clipNorm !== undefined) {
        this.#norm?.dispose();
        this.#norm = keep(gradNorm(used.map(({ gradient }) => gradient)));
      }
      const norm = clipNorm === undefined ? [] : [this.#norm as Tensor];
      for (const [k, group] of this.groups.entries()) {
        for (const part of byStep(group, pairs[k])) {
          const inputs = [group.state.values, ...part.map(({ parameter }) => parameter), ...part.map(({ gradient }) => gradient), ...norm];
          const step = group.state.steps[part[0].index] + 1;
          this.update({ group, inputs, offsets: part.map(({ index }) => group.offsets[index]), step, limit: clipNorm });
          for (const { index } of part) group.state.steps[index] = step;
        }
      }
    });
  }

  /**
   * What makes the next steps the same bits: per parameter, counted over all groups, `state.<i>.step` and PyTorch's moments (`exp_avg` and `exp_avg_sq` of `AdamW`,
   * `momentum_buffer` of `SGD` with momentum), per group `param_groups.<g>.lr` and `.weight_decay`. What cannot change (betas, eps, momentum) is not part of it.
   *
   * @throws StateError after `dispose()`; otherwise as `read`.
   */
  stateDict(): Promise<StateDict> {
    return saveOptimizer(this.groups, this.#moments);
  }

  /**
   * Goes on where the optimiser stood that gave the state. The parameters themselves are the modules'. Nothing changes when anything does not fit.
   *
   * @throws ArgumentError for another kind of optimiser, other parameters, and values that are out of range; StateError after `dispose()`.
   */
  loadStateDict(state: ReadonlyMap<string, HostTensor>): void {
    for (const { state } of this.groups) state.values.assertLive(this.#where);
    loadOptimizer(`${this.#where}.loadStateDict`, this.groups, this.#moments, state);
  }

  /** Frees the `grad` of every parameter. */
  zeroGrad(): void {
    for (const { parameters } of this.groups) zeroGrad(parameters);
  }

  /** Frees the state; the parameters live on. Safe to call twice. */
  dispose(): void {
    this.#disposed = true;
    this.#norm?.dispose();
    this.#norm = undefined;
    for (const { state } of this.groups) state.values.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Runs the update op. */
  protected abstract update(update: Update): void;

  #checkGroup(group: GroupOptions, argument: string, all: readonly GroupOptions[]): void {
    const where = this.#where;
    const { parameters, lr = 0, weightDecay = 0 } = checkNames(where, group, ["parameters", "lr", "weightDecay"], argument);
    checkRate(where, "lr", lr);
    checkRate(where, "weightDecay", weightDecay);
    if (!Array.isArray(parameters) || parameters.length === 0) throw expected(where, "at least one parameter", argument, parameters);
    const device: Device | undefined = all[0].parameters[0]?.device;
    for (const [i, parameter] of parameters.entries()) {
      const name = `${argument}[${i}]`;
      if (!(parameter instanceof Tensor)) throw expected(where, "a tensor", name, parameter);
      parameter.assertLive(where);
      if (parameter.node) throw refused(where, "a leaf tensor", name, "the result of an operation");
      if (parameter.dtype !== "float32") throw expected(where, "dtype float32", name, parameter.dtype);
      if (parameter.device !== device)
        throw new ArgumentError(`${where}: expected parameters of one device, but received ${device?.kind} and ${parameter.device.kind}`);
      if (this.#storages.has(parameter.storage)) throw refused(where, "each parameter once", name, "one whose memory is listed before");
      this.#storages.add(parameter.storage);
    }
  }

  #checkPair(parameter: Tensor, gradient: Tensor, name: string): void {
    const where = this.#where;
    if (!(gradient instanceof Tensor)) throw expected(where, "a tensor", name, gradient);
    parameter.assertLive(where);
    gradient.assertLive(where);
    if (gradient.device !== parameter.device) {
      throw new ArgumentError(
        `${where}: expected tensors of one device, but received ${parameter.device.kind} for a parameter and ${gradient.device.kind} for its gradient`,
      );
    }
    if (gradient.dtype !== "float32") throw expected(where, "dtype float32", name, gradient.dtype);
    if (showShape(gradient.shape) !== showShape(parameter.shape)) throw expected(where, `shape ${showShape(parameter.shape)}`, name, gradient.shape);
    if (this.#storages.has(gradient.storage)) throw refused(where, "memory of its own", name, "that of a parameter");
  }
}

/** `expected` with prose for what came. */
const refused = (where: string, what: string, argument: string, came: string): ArgumentError =>
  new ArgumentError(`${where}: expected ${what} for \`${argument}\`, but received ${came}`);

const isGroups = (parameters: readonly Tensor[] | readonly GroupOptions[]): parameters is readonly GroupOptions[] =>
  parameters.every((entry) => typeof entry === "object" && entry !== null && "parameters" in entry);

interface Pair {
  readonly index: number;
  readonly parameter: Tensor;
  readonly gradient: Tensor;
}

/** Usually one list: parameters that were skipped before have taken fewer steps, and so have other bias corrections. */
const byStep = ({ state }: ParameterGroup, pairs: readonly Pair[]): Pair[][] => {
  const lists = new Map<number, Pair[]>();
  for (const pair of pairs) {
    const step = state.steps[pair.index];
    const list = lists.get(step);
    if (list) list.push(pair);
    else lists.set(step, [pair]);
  }
  return [...lists.values()];
};
