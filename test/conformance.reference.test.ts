/** The truth checks itself: gradients by finite differences, invariants, no leaks. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apply } from "../src/apply.ts";
import { openReference } from "../src/backends/reference/index.ts";
import type { Device } from "../src/device.ts";
import { elements } from "../src/op.ts";
import { deviceOf } from "../src/open.ts";
import { rooms } from "../src/ops/index.ts";
import type { Tensor } from "../src/tensor.ts";
import { caseInputs, compareCase, runCase, wantsGradient } from "../src/testing/conformance.ts";
import { gradcheck } from "../src/testing/gradcheck.ts";
import { guarded } from "../src/testing/guarded.ts";

let device: Device;
const backend = guarded(openReference());
beforeAll(() => {
  device = deviceOf(backend);
});
afterAll(async () => {
  await device.close();
});

for (const { name: room, cases } of rooms) {
  describe(room, () => {
    test.each(cases.map((entry) => [entry.name, entry] as const))("%s", async (_, entry) => {
      const result = await runCase(device, entry);
      expect(compareCase(entry, result, result, device).passed).toBe(true);
      await backend.check();
      const wanted = entry.inputs.map((_input, i) => wantsGradient(entry, i));
      const options = entry.finiteDifferences ?? {};
      const size = entry.inputs.reduce((sum, { shape }) => sum + elements(shape), 0);
      if (!("off" in options) && wanted.some((want) => want) && size > 0) {
        const data = caseInputs(entry);
        const inputs = entry.inputs.map(({ shape, dtype = "float32" }, i) => {
          const tensor = device.tensor(data[i], shape, dtype);
          if (wanted[i]) tensor.requiresGrad = true;
          return tensor;
        });
        for (const index of entry.outputs ?? [0]) {
          const run = (...args: Tensor[]): Tensor => {
            const outputs = apply(entry.op, args, entry.attrs, entry.scalars);
            return (entry.view?.(outputs) ?? outputs)[index];
          };
          const check = await gradcheck(run, inputs, { samples: size > 512 ? 8 : 24, ...options });
          expect(check.passed, JSON.stringify(check)).toBe(true);
        }
        for (const tensor of inputs) tensor.dispose();
      }
      expect(device.counters.liveBuffers, "buffers left alive").toBe(0);
    });
  });
}
