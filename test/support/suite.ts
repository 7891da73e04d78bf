/** Every room × case on one backend, against the float64 reference, under guard words and poisoned outputs. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "../../src/backend.ts";
import type { Device } from "../../src/device.ts";
import { deviceOf } from "../../src/open.ts";
import { rooms } from "../../src/ops/index.ts";
import type { Case } from "../../src/testing/cases.ts";
import { checkCase } from "../../src/testing/check.ts";

/** `adapt` puts another plan or kernel in place of a case's own. */
export const conformance = (
  open: () => Promise<Backend>,
  include: (entry: Case) => boolean = () => true,
  adapt: (entry: Case) => Case = (entry) => entry,
): void => {
  let device: Device;
  beforeAll(async () => {
    device = deviceOf(await open());
  });
  afterAll(() => device?.close());
  for (const { name: room, cases } of rooms) {
    const list = cases.filter(include);
    if (list.length === 0) continue;
    describe(room, () => {
      test.each(list.map((entry) => [entry.name, adapt(entry)] as const))("%s", async (_, entry) => {
        expect((await checkCase(device, entry)).problem).toBeUndefined();
        expect(device.counters.liveBuffers, "buffers left alive").toBe(0);
      });
    });
  }
};
