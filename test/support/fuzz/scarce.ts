/** A device whose memory ends after so many allocations. */
import type { Backend } from "../../../src/backend.ts";
import { outOfMemory } from "../../../src/errors.ts";

export interface ScarceBackend extends Backend {
  /** Allocations that still succeed. */
  left: number;
}

export const scarce = (backend: Backend): ScarceBackend => ({
  left: Number.POSITIVE_INFINITY,
  info: backend.info,
  limits: backend.limits,
  get counters() {
    return backend.counters;
  },
  alloc(dtype, length) {
    if (this.left-- <= 0) throw outOfMemory(backend.info.kind, length, 0);
    return backend.alloc(dtype, length);
  },
  free: (buffer) => backend.free(buffer),
  write: (buffer, values) => backend.write(buffer, values),
  read: (buffer) => backend.read(buffer),
  unsupported: (call) => backend.unsupported(call),
  run: (call, scalars, inputs, outputs) => backend.run(call, scalars, inputs, outputs),
  synchronize: () => backend.synchronize(),
  close: () => backend.close(),
});
