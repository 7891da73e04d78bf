/** Which calls a room's cases make, forward and backward, found by running them on a device that computes nothing. */
import type { Backend, Buffer } from "../src/backend.ts";
import { DeviceError } from "../src/errors.ts";
import type { Call, Limits, Pass, Plan } from "../src/op.ts";
import { deviceOf } from "../src/open.ts";
import type { Room } from "../src/testing/cases.ts";
import { runCase } from "../src/testing/conformance.ts";

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint32: Uint32Array };

/** Notes every call that reaches it; all values are zero. */
const recorder = (limits: Limits, calls: Set<Call>): Backend => ({
  info: { kind: "webgpu", description: "notes the calls", software: true, details: {} },
  limits,
  counters: { dispatches: 0, submits: 0, allocations: 0, liveBuffers: 0, liveBytes: 0, pooledBytes: 0 },
  alloc: (dtype, length): Buffer => ({ dtype, length }),
  free: () => {},
  write: () => {},
  read: async ({ dtype, length }) => new ARRAYS[dtype](length),
  unsupported: () => undefined,
  run: (call) => void calls.add(call),
  synchronize: async () => {},
  close: async () => {},
});

export interface Trace {
  readonly calls: readonly Call[];
  /** Cases that a GPU with these limits does not run, with the reason. */
  readonly refused: readonly string[];
}

/** Every call of the room's cases on a GPU with the given limits. */
export const traceRoom = async (room: Room, limits: Limits): Promise<Trace> => {
  const calls = new Set<Call>();
  const refused: string[] = [];
  const device = deviceOf(recorder(limits, calls));
  for (const entry of room.cases) {
    try {
      await runCase(device, entry);
    } catch (error) {
      if (!(error instanceof DeviceError)) throw new Error(`${room.name}, case "${entry.name}": ${(error as Error).message}`, { cause: error });
      refused.push(`${entry.name}: ${error.message}`);
    }
  }
  return { calls: [...calls], refused };
};

const describeCall = (call: Call): string =>
  `${call.op.name} of ${call.inputs.map(({ shape }) => `[${shape}]`).join(", ")} ${JSON.stringify(call.attrs)}`;

const passProblems = (call: Call, pass: Pass, plan: Plan, limits: Limits): string[] => {
  const problems: string[] = [];
  const { shader, entry, bind, workgroups, constants = {}, params = {} } = pass;
  const bindings = shader.entries[entry]?.bindings;
  if (!bindings) return [`${shader.name} has no entry point ${entry}`];
  const wanted = bindings.filter(({ name, kind }) => kind !== "uniform" && name !== "status").map(({ name }) => name);
  for (const name of wanted) if (!bind[name]) problems.push(`${shader.name} (${entry}) gets nothing for its binding ${name}`);
  for (const [name, ref] of Object.entries(bind)) {
    if (!wanted.includes(name)) problems.push(`${shader.name} (${entry}) has no binding ${name}`);
    const [list, index] =
      "input" in ref ? [call.inputs, ref.input] : "output" in ref ? [call.outputs, ref.output] : [plan.scratch ?? [], ref.scratch];
    if (index < 0 || index >= list.length)
      problems.push(`${shader.name} (${entry}) binds ${name} to ${JSON.stringify(ref)}, which the call does not have`);
  }
  if (bindings.filter(({ kind }) => kind !== "uniform").length > limits.storageBuffers) {
    problems.push(`${shader.name} (${entry}) has more than ${limits.storageBuffers} storage buffers`);
  }
  for (const count of workgroups) {
    if (!Number.isInteger(count) || count < 0 || count > limits.workgroupsPerDimension)
      problems.push(`${shader.name} (${entry}) has workgroups [${workgroups}]`);
  }
  for (const name of Object.keys(constants)) if (!(name in shader.overrides)) problems.push(`${shader.name} has no override ${name}`);
  for (const [name, value] of Object.entries(shader.overrides)) {
    if (value === undefined && constants[name] === undefined && bindings)
      problems.push(`${shader.name} (${entry}) gets no value for override ${name}`);
  }
  if (bindings.some(({ kind }) => kind === "uniform")) {
    const given = new Set([...Object.keys(params), ...(call.op.scalars ?? []), "fault"]);
    for (const name of Object.keys(shader.params?.fields ?? {})) {
      if (!given.has(name)) problems.push(`${shader.name} (${entry}) gets no value for params.${name}`);
    }
    for (const name of Object.keys(params))
      if (!shader.params || !(name in shader.params.fields)) problems.push(`${shader.name} has no field params.${name}`);
  }
  return problems;
};

/** A call's passes on a GPU with the given limits, and what is wrong with them. */
export const planCall = (call: Call, limits: Limits): { readonly passes: readonly Pass[]; readonly problems: readonly string[] } => {
  const plan = call.op.plan(call, limits);
  const problems = plan.passes.flatMap((pass) => passProblems(call, pass, plan, limits));
  return { passes: plan.passes, problems: problems.map((problem) => `${describeCall(call)}: ${problem}`) };
};
