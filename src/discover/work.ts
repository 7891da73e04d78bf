/** What a device is asked to do, counted by the definitions of the ops, however it does them. */
import type { Backend, Buffer } from "../backend.ts";
import { Device } from "../device.ts";
import { type Call, ELEMENT_BYTES } from "../op.ts";
import { rooms } from "../ops/index.ts";

export interface Work {
  /** Floating-point operations, a multiply-add being two. */
  readonly operations: number;
  /** That all calls read and write when each touches its inputs and outputs once. */
  readonly bytes: number;
  /** The most that was held at once, in bytes; what kernels use inside is not in it. */
  readonly memory: number;
}

/** What a step of training takes. */
export interface StepCost extends Work {
  /** From when the step before was done, or from when this one was asked for where that is later, until it was done. */
  readonly milliseconds: number;
  /** Of all threads of the process together, in milliseconds: what other programs do in the meantime is not in it. */
  readonly processor: number;
}

/** The same device, whose calls are counted; `look` says what was asked for since it was last called. Closing it closes the device. */
export const countWork = (device: Device): { readonly device: Device; look(): Work } => {
  const { backend } = device;
  const costs = new Map<Call, Pick<Work, "operations" | "bytes">>();
  const costOf = (call: Call): Pick<Work, "operations" | "bytes"> => {
    const [name] = call.op.name.split(".");
    // A program's own ops have no room.
    const cost = costs.get(call) ?? rooms.find((room) => room.name === name)?.cost(call) ?? { operations: 0, bytes: 0 };
    costs.set(call, cost);
    return cost;
  };
  let [operations, bytes, live, most] = [0, 0, 0, 0];
  const size = ({ dtype, length }: Pick<Buffer, "dtype" | "length">): number => ELEMENT_BYTES[dtype] * length;
  const counted: Backend = {
    ...(backend.gpu && { gpu: backend.gpu }),
    get info() {
      return backend.info;
    },
    get limits() {
      return backend.limits;
    },
    get counters() {
      return backend.counters;
    },
    alloc(dtype, length) {
      const buffer = backend.alloc(dtype, length);
      live += size(buffer);
      most = Math.max(most, live);
      return buffer;
    },
    free(buffer) {
      live -= size(buffer);
      backend.free(buffer);
    },
    run(call, scalars, inputs, outputs) {
      const cost = costOf(call);
      operations += cost.operations;
      bytes += cost.bytes;
      backend.run(call, scalars, inputs, outputs);
    },
    write: (buffer, values) => backend.write(buffer, values),
    read: (buffer) => backend.read(buffer),
    unsupported: (call) => backend.unsupported(call),
    synchronize: () => backend.synchronize(),
    close: () => backend.close(),
  };
  return {
    device: new Device(counted, device.accumulate, device.rejected),
    look() {
      const work = { operations, bytes, memory: most };
      [operations, bytes, most] = [0, 0, live];
      return work;
    },
  };
};
