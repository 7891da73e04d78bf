/** Random calls of every public function: a typed error, or a result; never a crash, a write past the end, a buffer left alive or an answer that differs between devices. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openNative } from "../src/backends/native/index.ts";
import { openReference } from "../src/backends/reference/index.ts";
import type { Device } from "../src/device.ts";
import { BirkhoffError } from "../src/errors.ts";
import { deviceOf } from "../src/open.ts";
import { sum } from "../src/ops/reduce/index.ts";
import { Tensor } from "../src/tensor.ts";
import { type GuardedBackend, guarded } from "../src/testing/guarded.ts";
import { isOrdinary, realise } from "./support/fuzz.ts";
import { callable, FUNCTIONS } from "./support/fuzz-functions.ts";

const FULL = process.env.BIRKHOFF_TEST_FULL === "1";
const CALLS = FULL ? 1_000_000 : 20_000;
/** Another one every time in the full run, which prints it when it fails. */
const SEED = FULL ? Date.now() & 0xffffff : 20261129;
/** Calls between two looks at the guard words. */
const CHECK_EVERY = 100;

/** The cases say how near a kernel comes; this is for answers that are wrong. */
const TOLERANCE = 1e-3;

interface Outcome {
  readonly error?: BirkhoffError;
  readonly values: readonly { readonly shape: readonly number[]; readonly values: ArrayLike<number> }[];
}

let backend: GuardedBackend;
let native: Device;
let reference: Device;
beforeAll(async () => {
  backend = guarded(await openNative());
  native = deviceOf(backend);
  reference = deviceOf(openReference());
});
afterAll(async () => {
  await native.close();
  await reference.close();
});

const tensorsOf = (value: unknown): Tensor[] =>
  value instanceof Tensor ? [value] : typeof value === "object" && value !== null ? Object.values(value).flatMap(tensorsOf) : [];

/** What a call comes to on a device, with the gradient of its first result where there is one. */
const outcome = async (device: Device, name: string, args: readonly unknown[], grad: boolean): Promise<Outcome> => {
  const made: Tensor[] = [];
  let results: Tensor[] = [];
  try {
    const given = realise(args, device, grad, made) as unknown[];
    results = tensorsOf(callable(name)(...given.map((value) => (value === "device" ? device : value))));
    const [first] = results;
    if (grad && first?.requiresGrad) {
      const loss = sum(first);
      try {
        loss.backward();
      } finally {
        loss.dispose();
      }
    }
    const values: { shape: readonly number[]; values: ArrayLike<number> }[] = [];
    for (const result of results) values.push({ shape: result.shape, values: await result.read() });
    for (const { grad: gradient } of made) if (gradient) await gradient.read();
    return { values };
  } catch (error) {
    if (error instanceof BirkhoffError) return { error, values: [] };
    throw error;
  } finally {
    for (const { grad: gradient } of made) gradient?.dispose();
    for (const tensor of new Set([...results, ...made])) if (!tensor.disposed) tensor.dispose();
  }
};

/** Largest difference of two answers, beside their largest number; what is not finite must be so in both. */
const difference = (own: Outcome, truth: Outcome): number => {
  let worst = 0;
  for (const [i, { values }] of truth.values.entries()) {
    const others = own.values[i].values;
    let largest = 1;
    for (const value of Array.from(values)) if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value));
    for (const [k, value] of Array.from(values).entries()) {
      const other = others[k];
      if (Number.isFinite(value) && Number.isFinite(other)) worst = Math.max(worst, Math.abs(value - other) / largest);
      else if (!Object.is(value, other)) worst = Number.POSITIVE_INFINITY;
    }
  }
  return worst;
};

const calls = fc
  .constantFrom(...Object.keys(FUNCTIONS))
  .chain((name) =>
    FUNCTIONS[name].chain((args) =>
      fc.boolean().map((grad) => ({ name, args, grad, toString: () => `${name}(${fc.stringify(args)}) grad ${grad}` })),
    ),
  );

test(`${CALLS} random calls`, async () => {
  let count = 0;
  await fc.assert(
    fc.asyncProperty(calls, async ({ name, args, grad }) => {
      const alive = native.counters.liveBuffers;
      const own = await outcome(native, name, args, grad);
      const truth = await outcome(reference, name, args, grad);
      // Whether numbers out of the ordinary overflow is a matter of precision.
      const excused = !isOrdinary(args) && [own, truth].some(({ error }) => error?.code === "ERR_DATA");
      if (!excused) {
        expect(own.error?.code, own.error?.message ?? truth.error?.message).toBe(truth.error?.code);
        expect(own.values.map(({ shape }) => shape)).toEqual(truth.values.map(({ shape }) => shape));
        if (isOrdinary(args)) expect(difference(own, truth), "difference").toBeLessThan(TOLERANCE);
      }
      expect(native.counters.liveBuffers, "buffers left alive").toBe(alive);
      if (++count % CHECK_EVERY === 0) await backend.check();
    }),
    { numRuns: CALLS, seed: SEED },
  );
  await backend.check();
}, 3_600_000);
