/** Every argument of everything public in turn replaced by what is of another kind: a typed error or a result, and nothing left behind. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { openReference } from "../../src/backends/reference/index.ts";
import { deviceOf } from "../../src/open.ts";
import { SUBJECTS } from "../support/fuzz/index.ts";
import { outcomeOf } from "../support/fuzz/outcome.ts";

const OTHERS: readonly unknown[] = [undefined, null, 5, 10n, "a", Symbol.iterator, [], {}, () => 1, new Float32Array(3)];
/** Calls of each subject to begin with. */
const SAMPLES = 4;

/** Arguments of a subject may be its own, such as the steps that a schedule is asked for: what breaks on those is the subject. */
const isOurs = (error: unknown): boolean => error instanceof Error && /\/src\//.test(error.stack?.split("\n    at ")[1] ?? "");

test.each(Object.entries(SUBJECTS))("%s", async (name, subject) => {
  const device = deviceOf(openReference());
  for (const args of fc.sample(subject.args as fc.Arbitrary<unknown[]>, { numRuns: SAMPLES, seed: 11 }))
    for (const i of args.keys())
      for (const other of OTHERS) {
        const call = args.with(i, other);
        const breaks = await outcomeOf({ device, grad: false }, name, subject, call).then(() => false, isOurs);
        expect(breaks, `${name}(${fc.stringify(call)})`).toBe(false);
      }
  expect(device.counters.liveBuffers).toBe(0);
  await device.close();
});
