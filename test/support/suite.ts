/** Every room × case on one backend, against the float64 reference, under guard words and poisoned outputs. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "../../src/backend.ts";
import { openReference } from "../../src/backends/reference/index.ts";
import type { Device } from "../../src/device.ts";
import { deviceOf } from "../../src/open.ts";
import { rooms } from "../../src/ops/index.ts";
import type { Case } from "../../src/testing/cases.ts";
import { compareCase, runCase } from "../../src/testing/conformance.ts";
import { type GuardedBackend, guarded } from "../../src/testing/guarded.ts";

/** `adapt` puts another plan or kernel in place of a case's own. */
export const conformance = (
  open: () => Promise<Backend>,
  include: (entry: Case) => boolean = () => true,
  adapt: (entry: Case) => Case = (entry) => entry,
): void => {
  let inner: Backend;
  let backend: GuardedBackend;
  let device: Device;
  let plain: Device;
  let reference: Device;
  beforeAll(async () => {
    inner = await open();
    backend = guarded(inner);
    device = deviceOf(backend);
    plain = deviceOf(inner);
    reference = deviceOf(openReference());
  });
  afterAll(async () => {
    await inner?.close();
  });
  for (const { name: room, cases } of rooms) {
    const list = cases.filter(include);
    if (list.length === 0) continue;
    describe(room, () => {
      for (const entry of list.map(adapt)) {
        test(entry.name, async () => {
          const want = await runCase(reference, entry);
          expect(compareCase(entry, want, want, reference).passed).toBe(true);
          for (const target of [device, plain]) {
            const got = await runCase(target, entry);
            const { errors, passed } = compareCase(entry, got, want, target);
            expect(passed, `errors in units of the tolerance: ${JSON.stringify(errors)}`).toBe(true);
            expect(target.counters.liveBuffers, "buffers left alive").toBe(0);
            await backend.check();
          }
        });
      }
    });
  }
};
