/**
 * A run that was left off, in one safetensors file: parameters, moments and step counts of the optimiser, and what was seen so far. Batches and initial values are
 * functions of seed and step, so no state of random numbers is needed.
 */
import { existsSync, rmSync } from "node:fs";
import { makeFolderOf, readSafetensors, writeSafetensors } from "../data/disk.ts";
import type { HostTensor, StateDict } from "../data/safetensors.ts";
import { BirkhoffError, FileError } from "../errors.ts";
import type { Optimizer } from "../optim.ts";
import type { Snapshot } from "../report/types.ts";
import type { Contender } from "./experiment.ts";
import type { Checkpoint, Seen } from "./seen.ts";

const WHERE = "birkhoff discover";
const FORMAT = "birkhoff checkpoint 1";

const list = (values: readonly number[]): HostTensor => ({ dtype: "F64", shape: [values.length], data: Float64Array.from(values) });

/** Under names that begin with what they are of. */
const prefixed = (prefix: string, tensors: StateDict): [string, HostTensor][] => [...tensors].map(([name, tensor]) => [`${prefix}.${name}`, tensor]);

const under = (prefix: string, tensors: StateDict): StateDict =>
  new Map([...tensors].flatMap(([name, tensor]) => (name.startsWith(`${prefix}.`) ? [[name.slice(prefix.length + 1), tensor] as const] : [])));

const save = async (path: string, identity: string, contender: Contender, optimizer: Optimizer, seen: Seen): Promise<void> => {
  const [network, moments] = await Promise.all([contender.network.stateDict(), optimizer.stateDict()]);
  const tensors: StateDict = new Map([...prefixed("network", network), ...prefixed("optimizer", moments)]);
  for (const name of ["losses", "steps", "accuracy"] as const) tensors.set(`seen.${name}`, list(seen[name]));
  for (const [i, { d }] of contender.layers.entries()) {
    tensors.set(`seen.agreement.${i}`, list(seen.agreement[i]));
    const { length } = seen.snapshots[i];
    const size = length === 0 ? 0 : seen.snapshots[i][0].matrices.length;
    const data = new Float32Array(length * size);
    for (const [k, { matrices }] of seen.snapshots[i].entries()) data.set(matrices, k * size);
    tensors.set(`seen.snapshots.${i}`, { dtype: "F32", shape: [length, size / (d * d), d, d], data });
  }
  makeFolderOf(WHERE, path);
  writeSafetensors(path, tensors, { format: FORMAT, identity, seconds: String(seen.seconds) });
};

const numbers = (tensors: StateDict, name: string): number[] => {
  const tensor = tensors.get(name);
  if (tensor?.dtype !== "F64") throw new FileError(`${WHERE}: expected ${name} in the checkpoint, but received ${tensor?.dtype ?? "none"}`);
  return Array.from(tensor.data as Float64Array);
};

const load = (path: string, identity: string, contender: Contender, optimizer: Optimizer): Seen | undefined => {
  if (!existsSync(path)) return undefined;
  try {
    const { tensors, metadata } = readSafetensors(path);
    if (metadata.format !== FORMAT || metadata.identity !== identity)
      throw new FileError(
        `${WHERE}: expected a checkpoint of this run in ${JSON.stringify(path)}, but received one of ${metadata.identity ?? "something else"}`,
      );
    const seen: Seen = {
      losses: numbers(tensors, "seen.losses"),
      steps: numbers(tensors, "seen.steps"),
      accuracy: numbers(tensors, "seen.accuracy"),
      agreement: contender.layers.map((_, i) => numbers(tensors, `seen.agreement.${i}`)),
      snapshots: contender.layers.map((_, i) => snapshotsOf(tensors, i)),
      seconds: Number(metadata.seconds),
    };
    // Refuses what does not fit before anything changes; the optimiser's state is the larger one, so it goes first.
    optimizer.loadStateDict(under("optimizer", tensors));
    contender.network.loadStateDict(under("network", tensors));
    return seen;
  } catch (error) {
    if (!(error instanceof BirkhoffError)) throw error;
    throw new FileError(error.message, { cause: error });
  }
};

const snapshotsOf = (tensors: StateDict, layer: number): Snapshot[] => {
  const steps = numbers(tensors, "seen.steps");
  const all = tensors.get(`seen.snapshots.${layer}`);
  if (all?.dtype !== "F32" || all.shape[0] !== steps.length) throw new FileError(`${WHERE}: expected ${steps.length} snapshots in the checkpoint`);
  const size = all.data.length / Math.max(steps.length, 1);
  return steps.map((step, k) => ({ step, matrices: (all.data as Float32Array).slice(k * size, (k + 1) * size) }));
};

/**
 * A run's checkpoint in a file.
 *
 * @param identity what the run is of; a checkpoint of another is refused
 */
export const checkpointFile = (path: string, identity: string): Checkpoint & { remove(): void } => ({
  save: (contender, optimizer, seen) => save(path, identity, contender, optimizer, seen),
  load: (contender, optimizer) => load(path, identity, contender, optimizer),
  remove: () => rmSync(path, { force: true }),
});
