/** Which calls a room's cases make, forward and backward, found by running them on a device that computes nothing. */
import type { Backend, Buffer } from "../src/backend.ts";
import { prepare, refusal } from "../src/backends/webgpu/prepare.ts";
import { DeviceError } from "../src/errors.ts";
import type { Call, Limits, Pass } from "../src/op.ts";
import { deviceOf } from "../src/open.ts";
import type { Room } from "../src/testing/cases.ts";
import { runCase } from "../src/testing/conformance.ts";

const ARRAYS = { float32: Float32Array, float16: Float32Array, int32: Int32Array, uint32: Uint32Array };

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

/** A call's passes on a GPU with the given limits, and what is wrong with them: the backend's own look at the plan, before any GPU is there. */
export const planCall = (call: Call, limits: Limits): { readonly passes: readonly Pass[]; readonly problems: readonly string[] } => {
  try {
    const plan = call.op.plan(call, limits);
    const prepared = prepare(call, plan, () => 1);
    const reason = refusal(call, plan, limits);
    return { passes: prepared.passes.map(({ pass }) => pass), problems: reason ? [`${describeCall(call)}: ${reason}`] : [] };
  } catch (error) {
    return { passes: [], problems: [`${describeCall(call)}: ${(error as Error).message}`] };
  }
};
