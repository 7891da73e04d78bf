/** A device that catches kernels writing where they must not, reading past the end, or leaving output unwritten. */
import type { Backend, Buffer, Counters, HostArray } from "../backend.ts";
import { checkBackend } from "../device.ts";
import { DeviceError } from "../errors.ts";
import { type Call, type DType, isFloat, type Scalars } from "../op.ts";

const GUARD = 64;
/** A quiet NaN with a payload: what unwritten output and everything past the end holds. */
const POISON = 0x7fc0dead;

interface Guarded extends Buffer {
  readonly inner: Buffer;
}

const poison = (dtype: DType, length: number): HostArray => {
  if (isFloat(dtype)) return new Float32Array(length).fill(Number.NaN);
  return dtype === "int32" ? new Int32Array(length).fill(POISON) : new Uint32Array(length).fill(POISON);
};

const isPoison = (value: number): boolean => Number.isNaN(value) || value === POISON;

export interface GuardedBackend extends Backend {
  /** Looks at the guard words of every buffer allocated since the last call, freed ones too. Rejects with DeviceError when one was changed. */
  check(): Promise<void>;
}

/**
 * Wraps any device: allocations are longer than asked for, filled with NaN, and kept until `check()` has seen their ends.
 *
 * @throws ArgumentError for a backend that lacks something
 */
export const guarded = (backend: Backend): GuardedBackend => {
  checkBackend("guarded", backend);
  const live = new Set<Guarded>();
  const freed: Guarded[] = [];
  const inner = (buffer: Buffer): Buffer => (buffer as Guarded).inner;
  const verify = async ({ dtype, length, inner: memory }: Guarded): Promise<void> => {
    const tail = (await backend.read(memory)).slice(length);
    const broken = tail.findIndex((value) => !isPoison(value));
    if (broken >= 0)
      throw new DeviceError(`guarded: a kernel wrote ${tail[broken]} past the end: ${broken} elements behind a ${dtype} buffer of ${length}`);
  };
  return {
    info: backend.info,
    limits: backend.limits,
    get counters(): Counters {
      return { ...backend.counters, liveBuffers: live.size };
    },
    alloc(dtype, length) {
      const memory = backend.alloc(dtype, length + GUARD);
      backend.write(memory, poison(dtype, length + GUARD));
      const buffer: Guarded = { dtype, length, inner: memory };
      live.add(buffer);
      return buffer;
    },
    free(buffer) {
      live.delete(buffer as Guarded);
      freed.push(buffer as Guarded);
    },
    write(buffer, values) {
      const padded = isFloat(buffer.dtype) ? new Float64Array(buffer.length + GUARD).fill(Number.NaN) : poison(buffer.dtype, buffer.length + GUARD);
      padded.set(values);
      backend.write(inner(buffer), padded);
    },
    async read(buffer) {
      return (await backend.read(inner(buffer))).slice(0, buffer.length);
    },
    unsupported: (call) => backend.unsupported(call),
    run(call: Call, scalars: Scalars, inputs, outputs) {
      backend.run(call, scalars, inputs.map(inner), outputs.map(inner));
    },
    synchronize: () => backend.synchronize(),
    close: () => backend.close(),
    async check() {
      const ended = freed.splice(0);
      try {
        for (const buffer of [...live, ...ended]) await verify(buffer);
      } finally {
        for (const buffer of ended) backend.free(buffer.inner);
      }
    },
  };
};
