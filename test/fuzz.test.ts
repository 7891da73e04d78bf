/** Random calls of everything that the package exports: a typed error, or a result; never a crash, a write past the end, a buffer left alive or an answer that differs between devices. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openNative } from "../src/backends/native/index.ts";
import { openReference } from "../src/backends/reference/index.ts";
import type { Device } from "../src/device.ts";
import { deviceOf } from "../src/open.ts";
import { type GuardedBackend, guarded } from "../src/testing/guarded.ts";
import { isOrdinary } from "./support/fuzz/arguments.ts";
import { ELSEWHERE, SUBJECTS } from "./support/fuzz/index.ts";
import { difference, outcomeOf, PUBLIC, publicFunction } from "./support/fuzz/outcome.ts";
import { type ScarceBackend, scarce } from "./support/fuzz/scarce.ts";

const FULL = process.env.BIRKHOFF_TEST_FULL === "1";
const CALLS = FULL ? 1_000_000 : 20_000;
/** Another one every time in the full run, which prints it when it fails. */
const SEED = FULL ? Date.now() & 0xffffff : 20261129;
/** Calls between two looks at the guard words. */
const CHECK_EVERY = 100;

/** The cases say how near a kernel comes; this is for answers that are wrong. */
const TOLERANCE = 1e-3;

let backend: GuardedBackend;
let native: Device;
let ending: ScarceBackend;
let reference: Device;
beforeAll(async () => {
  backend = guarded(await openNative({ threads: 2 }));
  native = deviceOf(backend);
  ending = scarce(openReference());
  reference = deviceOf(ending);
});
afterAll(async () => {
  await native.close();
  await reference.close();
});

test("everything public is called", () => {
  const { exports } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { exports: Record<string, unknown> };
  const entries = Object.keys(exports).filter((path) => !/shaders|json/.test(path));
  expect(entries.map((path) => path.replace(/^\.\/?/, "").replace(/$/, path === "." ? "" : "/"))).toEqual(Object.keys(PUBLIC));
  // By what they are: an entry may export what another one does.
  const called = new Set([...Object.keys(SUBJECTS), ...Object.keys(ELSEWHERE)].map(publicFunction));
  const all = Object.entries(PUBLIC).flatMap(([entry, names]) => Object.entries(names).map(([name, value]) => [entry + name, value] as const));
  expect(all.flatMap(([name, value]) => (typeof value === "function" && !called.has(value) ? [name] : []))).toEqual([]);
});

const calls = fc.constantFrom(...Object.keys(SUBJECTS)).chain((name) =>
  fc.tuple(SUBJECTS[name].args, fc.boolean(), fc.option(fc.nat(8), { freq: 3, nil: undefined })).map(([args, grad, allocations]) => ({
    name,
    args,
    grad,
    allocations,
    toString: () => `${name}(${fc.stringify(args)}) grad ${grad}, allocations ${allocations}`,
  })),
);

test(`${CALLS} random calls`, async () => {
  let count = 0;
  await fc.assert(
    fc.asyncProperty(calls, async ({ name, args, grad, allocations }) => {
      const subject = SUBJECTS[name];
      const alive = native.counters.liveBuffers;
      const own = await outcomeOf({ device: native, grad }, name, subject, args);
      expect(native.counters.liveBuffers, "buffers left alive").toBe(alive);
      if (subject.host) return;
      const truth = await outcomeOf({ device: reference, grad }, name, subject, args);
      // Whether numbers out of the ordinary overflow is a matter of precision.
      const excused = subject.differs ?? (!isOrdinary(args) && [own, truth].some(({ error }) => error?.code === "ERR_DATA"));
      if (!excused) {
        expect(own.error?.code, own.error?.message ?? truth.error?.message).toBe(truth.error?.code);
        expect(own.facts.map(({ shape }) => shape)).toEqual(truth.facts.map(({ shape }) => shape));
        if (isOrdinary(args)) expect(difference(own, truth), "difference").toBeLessThan(TOLERANCE);
      }
      if (allocations !== undefined) {
        ending.left = allocations;
        const { error } = await outcomeOf({ device: reference, grad }, name, subject, args);
        ending.left = Number.POSITIVE_INFINITY;
        expect([truth.error?.code, "ERR_OUT_OF_MEMORY"]).toContain(error?.code);
      }
      expect(reference.counters.liveBuffers, "buffers left alive").toBe(0);
      if (++count % CHECK_EVERY === 0) await backend.check();
    }),
    { numRuns: CALLS, seed: SEED },
  );
  await backend.check();
}, 3_600_000);
