/** What an optimiser remembers, under PyTorch's names, one tensor per parameter and moment. */

import type { HostTensor, StateDict } from "../data/safetensors.ts";
import { checkStored, matchKeys, toHost } from "../data/stateDict.ts";
import { expected } from "../errors.ts";
import { showShape } from "../op.ts";
import type { ParameterGroup } from "./optimizer.ts";
import { checkRate } from "./rate.ts";

interface Slot {
  readonly prefix: string;
  readonly group: number;
  readonly index: number;
  readonly shape: readonly number[];
  /** Where its first moment begins in the group's values, and how far away the next one is. */
  readonly from: number;
  readonly stride: number;
}

const slotsOf = (groups: readonly ParameterGroup[]): Slot[] =>
  groups
    .flatMap(({ parameters, offsets, state }, group) =>
      parameters.map(({ shape }, index) => ({ group, index, shape, from: offsets[index], stride: state.values.shape[1] })),
    )
    .map((slot, i) => ({ ...slot, prefix: `state.${i}` }));

const rateNames = (group: number): readonly [string, string] => [`param_groups.${group}.lr`, `param_groups.${group}.weight_decay`];
const scalar = (value: number): HostTensor => ({ dtype: "F64", shape: [], data: Float64Array.of(value) });

export const saveOptimizer = async (groups: readonly ParameterGroup[], moments: readonly string[]): Promise<StateDict> => {
  const state: StateDict = new Map();
  // Before anything is waited for: a step in between would not belong to the values.
  const rates = groups.map(({ lr, weightDecay }) => [lr, weightDecay]);
  const steps = groups.map(({ state }) => [...state.steps]);
  const values = await Promise.all(groups.map(({ state }) => toHost(state.values)));
  for (const { prefix, group, index, shape, from, stride } of slotsOf(groups)) {
    const { dtype, data } = values[group];
    const size = shape.reduce((product, length) => product * length, 1);
    state.set(`${prefix}.step`, { dtype: "I64", shape: [], data: BigInt64Array.of(BigInt(steps[group][index])) });
    for (const [row, moment] of moments.entries()) {
      const start = row * stride + from;
      state.set(`${prefix}.${moment}`, { dtype, shape: [...shape], data: data.slice(start, start + size) });
    }
  }
  for (const [group, pair] of rates.entries()) for (const [i, name] of rateNames(group).entries()) state.set(name, scalar(pair[i]));
  return state;
};

const readScalar = (where: string, state: ReadonlyMap<string, HostTensor>, name: string, dtype: "F64" | "I64"): number => {
  const tensor = state.get(name);
  if (tensor?.dtype !== dtype || !Array.isArray(tensor.shape) || tensor.shape.length !== 0 || tensor.data?.length !== 1)
    throw expected(
      where,
      `one number of dtype ${dtype}`,
      `state[${JSON.stringify(name)}]`,
      tensor && `${tensor.dtype} ${showShape(tensor.shape ?? [])}`,
    );
  return Number(tensor.data[0]);
};

/** Checks everything before it changes anything. */
export const loadOptimizer = (
  where: string,
  groups: readonly ParameterGroup[],
  moments: readonly string[],
  state: ReadonlyMap<string, HostTensor>,
): void => {
  const slots = slotsOf(groups);
  const wanted = slots.flatMap(({ prefix }) => ["step", ...moments].map((name) => `${prefix}.${name}`));
  matchKeys(where, [...wanted, ...groups.flatMap((_, group) => rateNames(group))], state);
  const values = groups.map(({ state }) => new Float64Array(state.values.size));
  const steps = slots.map(({ prefix, group, shape, from, stride }) => {
    const step = readScalar(where, state, `${prefix}.step`, "I64");
    if (!Number.isSafeInteger(step) || step < 0) throw expected(where, "a non-negative integer", `state["${prefix}.step"]`, step);
    for (const [row, moment] of moments.entries()) {
      const name = `${prefix}.${moment}`;
      const value = state.get(name) as HostTensor;
      checkStored(where, name, { dtype: "float32", shape }, value);
      values[group].set(value.data as Float32Array, row * stride + from);
    }
    return step;
  });
  const rates = groups.map((_, group) => rateNames(group).map((name) => checkRate(where, `state["${name}"]`, readScalar(where, state, name, "F64"))));
  for (const [i, { group, index }] of slots.entries()) groups[group].state.steps[index] = steps[i];
  for (const [i, group] of groups.entries()) {
    [group.lr, group.weightDecay] = rates[i];
    group.state.values.device.write(group.state.values, values[i]);
  }
};
