/** The truth checks itself: gradients by finite differences, invariants, no leaks. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openReference } from "../src/backends/reference/index.ts";
import type { Device } from "../src/device.ts";
import { deviceOf } from "../src/open.ts";
import { rooms } from "../src/ops/index.ts";
import { checkCase, gradcheckCase } from "../src/testing/check.ts";

let device: Device;
beforeAll(() => {
  device = deviceOf(openReference());
});
afterAll(() => device.close());

for (const { name: room, cases } of rooms) {
  describe(room, () => {
    test.each(cases.map((entry) => [entry.name, entry] as const))("%s", async (_, entry) => {
      expect((await checkCase(device, entry)).problem).toBeUndefined();
      const check = await gradcheckCase(entry);
      expect(check?.passed ?? true, JSON.stringify(check)).toBe(true);
    });
  });
}
