/** The harness of `birkhoff bench`: what it compares, refuses and reports. No time is asserted. */
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import type { BenchCase, Contestant } from "../bench/harness/bench.ts";
import { difference, disagreement } from "../bench/harness/compare.ts";
import { dataOf, sliceOf } from "../bench/harness/data.ts";
import { bytesOf, ours, recording } from "../bench/harness/ours.ts";
import { type Opened, race, shareOf, summarize, timeInTurns, verdict } from "../bench/harness/race.ts";
import { type Line, lineOf, textOf } from "../bench/harness/report.ts";
import { Rival, type RivalProgram, Unavailable } from "../bench/harness/rival.ts";
import { benches } from "../bench/index.ts";
import { intern } from "../src/apply.ts";
import { openReference } from "../src/backends/reference/index.ts";
import { FLOOR_LIMITS } from "../src/op.ts";
import { deviceOf } from "../src/open.ts";
import { cumsum } from "../src/ops/cumsum/op.ts";
import { add, mul } from "../src/ops/elementwise/index.ts";
import type { Tensor } from "../src/tensor.ts";

const open = async (): Promise<Opened> => {
  const backend = recording(openReference());
  return { device: deviceOf(backend), backend };
};
const truth = deviceOf(openReference());
afterAll(async () => {
  await truth.close();
});

const shape = [4, 3];
const doubling: BenchCase = {
  name: "double 4x3",
  inputs: [{ shape }],
  output: shape,
  fused: (x) => mul(x, 2),
  naive: (x) => add(x, x),
  rival: { operation: "double" },
  cost: { forward: { operations: 12, bytes: 96 }, "forward+backward": { operations: 24, bytes: 192 } },
  tolerance: { relative: 1e-6, reason: "exact but for float32" },
};
const program = (manner: string): RivalProgram => ({
  name: "doubler",
  on: "any",
  command: () => ({ program: process.execPath, args: [fileURLToPath(new URL("support/rival.mjs", import.meta.url)), manner] }),
});
const OPTIONS = { rounds: 3, sampleMs: 0, pauseMs: 0, timeRivals: true };
const run = async (entry: BenchCase, rivals: readonly Rival[] = []) =>
  race(entry, { kind: "reference", open, reference: truth, rivals, absent: { other: "not installed" } }, OPTIONS);

describe("results", () => {
  test("differences are relative to the largest entry, and infinite for what is missing or no number", () => {
    expect(difference([1, 2.2], [1, 2])).toBeCloseTo(0.1);
    expect(difference([0, 0], [0, 0])).toBe(0);
    expect(difference([1e-9], [0])).toBe(Number.POSITIVE_INFINITY);
    expect(difference([1, Number.NaN, 1], [1, 1, 1])).toBe(Number.POSITIVE_INFINITY);
    expect(difference([1], [1, 1])).toBe(Number.POSITIVE_INFINITY);
    expect(disagreement([[1], [2]], [[1], [2.5]])).toBeCloseTo(0.2);
    expect(disagreement([[1]], [[1], [2]])).toBe(Number.POSITIVE_INFINITY);
    expect(disagreement([], [])).toBe(Number.POSITIVE_INFINITY);
  });

  test("a verdict names who differs by how much", () => {
    expect(verdict({ naive: 1e-7, torch: 0 }, 1e-6)).toBeUndefined();
    expect(verdict({ naive: 1e-3, torch: Number.NaN }, 1e-6)).toBe("the fused form differs from naive by 1.0e-3, torch by NaN; 0.000001 is allowed");
  });

  test("data are the same every time, and a slice takes what is batched alone", () => {
    const data = dataOf(doubling);
    expect(dataOf(doubling)).toEqual(data);
    expect(sliceOf(doubling, data)).toMatchObject({ outputs: 12 });
    const heavy: BenchCase = {
      ...doubling,
      inputs: [{ shape }, { shape: [3], batched: false }],
      cost: { forward: { operations: 4e7, bytes: 1 } },
    };
    const all = dataOf(heavy);
    const slice = sliceOf(heavy, all);
    expect(slice.outputs).toBe(6);
    expect(slice.data.inputs.map(({ length }) => length)).toEqual([6, 3]);
    expect(slice.entry.inputs.map((input) => input.shape)).toEqual([[2, 3], [3]]);
    expect(slice.data.inputs[0]).toEqual(all.inputs[0].slice(0, 6));
  });
});

describe("a race", () => {
  test("compares, times and counts every pass", async () => {
    const outcomes = await run(doubling);
    expect(outcomes.map(({ pass, refused }) => [pass, refused])).toEqual([
      ["forward", undefined],
      ["forward+backward", undefined],
    ]);
    for (const { errors, measured, absent } of outcomes) {
      expect(errors).toEqual({ naive: 0, reference: 0 });
      expect(absent).toEqual({ other: "not installed" });
      expect(measured?.fused.medianMs).toBeGreaterThan(0);
    }
    // x and 2x forward, the same of the cotangent backward.
    expect(outcomes[0].measured?.counts).toMatchObject({ dispatches: 1, bytes: 96 });
    expect(outcomes[1].measured?.counts).toMatchObject({ dispatches: 2 });
  });

  test("leaves no buffer behind", async () => {
    const { device, backend } = await open();
    const side = ours("fused", doubling.fused, doubling, dataOf(doubling), device, backend);
    const before = device.counters.liveBuffers;
    for (const pass of ["forward", "forward+backward"] as const) {
      await side.run(pass, 3);
      await side.results(pass);
      await side.resultsUpTo(pass, 5);
      await side.counts(pass);
      expect(device.counters.liveBuffers).toBe(before);
    }
    const [first, gradient] = await side.results("training step");
    await side.run("training step", 1);
    // AdamW's moments stay, the gradient that was asked for does not change with the parameter, and nothing else comes.
    const held = device.counters.liveBuffers;
    await side.run("training step", 3);
    expect(device.counters.liveBuffers).toBe(held);
    const [moved, again] = await side.results("training step");
    expect(again).toEqual(gradient);
    expect(moved).not.toEqual(first);
    side[Symbol.dispose]();
    expect(device.counters.liveBuffers).toBe(0);
    await device.close();
  });

  test("refuses a naive form that computes something else, in the pass where it does", async () => {
    const [forward, both] = await run({ ...doubling, naive: (x) => mul(add(x, x), 1.001) });
    for (const outcome of [forward, both]) {
      expect(outcome.refused).toMatch(/^the fused form differs from naive by 1\.0e-3; /);
      expect(outcome.measured).toBeUndefined();
    }
  });

  test("refuses a fused form that is wrong on one device alone", async () => {
    const onOne = (x: Tensor): Tensor => mul(x, x.device === truth ? 2 : 3);
    const [outcome] = await run({ ...doubling, fused: onOne, naive: onOne });
    expect(outcome.refused).toMatch(/^the fused form differs from reference by /);
  });

  test("compares gradients of weights on a slice of the batch", async () => {
    const heavy: BenchCase = {
      ...doubling,
      inputs: [{ shape }, { shape: [3], batched: false }],
      fused: mul,
      naive: mul,
      cost: { "forward+backward": { operations: 4e7, bytes: 1 } },
    };
    const [{ errors, refused }] = await run(heavy);
    expect(refused).toBeUndefined();
    expect(errors.reference).toBe(0);
  });

  test("an error refuses the pass and is told", async () => {
    const broken = (): Tensor => {
      throw new Error("no kernel for this");
    };
    expect((await run({ ...doubling, naive: broken })).map(({ refused }) => refused)).toEqual(["no kernel for this", "no kernel for this"]);
    const lost = (): Promise<Opened> => Promise.reject(new Error("no device any more"));
    const outcomes = await race(doubling, { kind: "reference", open: lost, rivals: [], absent: {} }, OPTIONS);
    expect(outcomes.map(({ pass, refused }) => [pass, refused])).toEqual([
      ["forward", "no device any more"],
      ["forward+backward", "no device any more"],
    ]);
  });
});

describe("times", () => {
  test("medians of samples", async () => {
    expect(await summarize("x", [3, 1, 2])).toMatchObject({ name: "x", medianMs: 2 });
    expect(await summarize("x", [5])).toMatchObject({ medianMs: 5 });
  });

  test("everybody takes turns, with as many steps as fill a sample behind some that do not count", async () => {
    const turns: string[] = [];
    const side = (name: string, ms: number): Contestant => ({
      name,
      run: async (_, steps) => {
        turns.push(`${name}${steps}`);
        return ms * steps;
      },
      results: async () => [],
    });
    const timings = await timeInTurns([side("a", 1), side("b", 50)], "forward", { rounds: 2, sampleMs: 20, pauseMs: 0 });
    expect(turns).toEqual(["a1", "a1", "a8", "a20", "b1", "b1", "a5", "a20", "b1", "a5", "a20", "b1"]);
    expect(timings.map(({ name, medianMs }) => [name, medianMs])).toEqual([
      ["a", 1],
      ["b", 50],
    ]);
  });
});

describe("rivals", () => {
  test("take part: results by file, time by steps", async () => {
    const rival = await Rival.start(program("well"), 1);
    try {
      expect(rival.description).toBe("doubler 1.0");
      const contestant = await rival.prepare(doubling, dataOf(doubling), false);
      expect(await contestant.run("forward", 3)).toBe(6);
      const [result, gradient] = await contestant.results("forward+backward");
      expect(Array.from(result)).toEqual(Array.from(dataOf(doubling).inputs[0], (x) => 2 * x));
      expect(Array.from(gradient)).toEqual(Array.from(dataOf(doubling).cotangent, (x) => 2 * x));
      const [outcome] = await run(doubling, [rival]);
      expect(outcome.measured?.rivals).toMatchObject([{ name: "doubler", medianMs: 2 }]);
      const [other] = await run({ ...doubling, rival: { operation: "halve" } }, [rival]);
      expect(other.absent.doubler).toBe("it has no halve");
      expect(other.measured?.rivals).toEqual([]);
      const [counted] = await race(doubling, { kind: "webgpu", open, rivals: [rival], absent: {} }, { ...OPTIONS, timeRivals: false });
      expect(counted.measured).toMatchObject({ rivals: [], rivalCounts: { doubler: { dispatches: 7, submits: 2, newBuffers: 1, bytes: 48 } } });
    } finally {
      await rival.close();
    }
  });

  test.each([
    ["wrong", /differs from doubler by 2\.\de-1/],
    ["error", /^doubler: out of luck$/],
  ])("one that is %s refuses the case", async (manner, reason) => {
    const rival = await Rival.start(program(manner), 1);
    try {
      const [outcome] = await run(doubling, [rival]);
      expect(outcome.refused).toMatch(reason);
    } finally {
      await rival.close();
    }
  });

  test.each([
    [program("missing"), "not installed: try again"],
    [program("crash"), "its process ended (exit code 3): something broke"],
    [{ ...program("well"), command: () => ({ program: "/nowhere/python", args: [] }) }, "spawn /nowhere/python ENOENT"],
  ])("one that is not there says why", async (absent, reason) => {
    const error = await Rival.start(absent, 1).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(Unavailable);
    expect((error as Error).message).toBe(reason);
  });
});

describe("reports", () => {
  const peaks = { fma: 1e6, copy: 1e4, how: "counted" };
  const timing = (name: string, medianMs: number) => ({ name, medianMs, spread: 1 });
  const counts = { dispatches: 2, submits: 1, newBuffers: 0, bytes: 200 };
  const outcome = {
    entry: doubling,
    pass: "forward+backward" as const,
    errors: { naive: 1e-7 },
    absent: { "jax-js-wasm": "not installed" },
    measured: {
      fused: timing("fused", 2),
      naive: timing("naive", 8),
      rivals: [timing("torch", 60)],
      counts,
      naiveCounts: { ...counts, dispatches: 9 },
      rivalCounts: { "tfjs-webgpu": { dispatches: 3, submits: 2, newBuffers: 1, bytes: 1e6 } },
    },
  };
  const on = (software: boolean) => ({ kind: "webgpu" as const, info: { kind: "webgpu" as const, description: "card", software, details: {} } });

  test("the share is of the limit that is met first", () => {
    expect(shareOf({ operations: 1e6, bytes: 1e3 }, 2, peaks)).toEqual({ share: 0.5, shareOf: "fma" });
    expect(shareOf({ operations: 1e4, bytes: 1e4 }, 2, peaks)).toEqual({ share: 0.5, shareOf: "copy" });
  });

  test("a line has every field, ratios theirs over ours", () => {
    const line = lineOf(outcome, on(false), peaks) as Line;
    expect(line).toMatchObject({
      case: "double 4x3",
      device: "webgpu",
      pass: "forward+backward",
      medianMs: 2,
      ratioToNaive: 4,
      rivals: { torch: 30 },
    });
    expect(line).toMatchObject({ shareOf: "copy", dispatches: 2, submits: 1, newBuffers: 0, bytes: 200, minimumBytes: 192, naiveDispatches: 9 });
    expect(line.share).toBeCloseTo(192 / 2 / 1e4);
    expect(textOf(line)).toContain("naive 4.00x  torch 30.0x");
    expect(textOf(line)).toContain("tfjs-webgpu: 3 dispatches, 2 submits, 1 new buffers, 1.00 MB");
    expect(textOf(line)).toContain("jax-js-wasm not raced: not installed");
  });

  test("a software GPU is marked, has no share, and its milliseconds are not shown", () => {
    const line = lineOf(outcome, on(true), peaks) as Line;
    expect(line).toMatchObject({ software: true, share: null, shareOf: null });
    expect(textOf(line)).not.toMatch(/\d ms/);
  });

  test("a refusal has no numbers", () => {
    const { measured, ...rest } = outcome;
    const line = lineOf({ ...rest, refused: "they differ" }, on(false), peaks);
    expect(line).toEqual({
      ...{ case: "double 4x3", device: "webgpu", pass: "forward+backward", software: false, description: "card" },
      ...{ refused: "they differ", errors: { naive: 1e-7 } },
    });
    expect(textOf(line)).toContain("REFUSED: they differ");
  });

  test("bytes on a GPU are those of every buffer of every dispatch", () => {
    const call = intern(cumsum, [{ shape: [4, 8], dtype: "float32" }], { axis: 1, reverse: false });
    expect(bytesOf(call, "webgpu", FLOOR_LIMITS)).toBe(256);
    expect(bytesOf(call, "native", FLOOR_LIMITS)).toBe(256);
  });
});

test("names of cases are unique", () => {
  const names = benches.flatMap(({ cases }) => cases.map(({ name }) => name));
  expect(new Set(names).size).toBe(names.length);
});

test.each(benches.map(({ name, cases }) => [name, cases] as const))(
  "%s: tolerances have reasons, the shapes fit, fused and naive agree on a small batch",
  async (_, cases) => {
    for (const entry of cases) {
      expect(entry.tolerance.reason).not.toBe("");
      // One item of what is for hardware GPUs alone may take float64 loops minutes; its forms are those of the other cases, and so are those of what has no forward pass of its own.
      if (entry.only === "hardware GPU" || !entry.cost.forward) continue;
      const operations = Math.max(...Object.values(entry.cost).map((cost) => cost.operations));
      // As little as one item of the batch.
      const scale = { forward: { operations: Math.max(operations, 2e7 * entry.output[0]), bytes: 1 } };
      const { entry: small, data } = sliceOf({ ...entry, cost: scale }, dataOf(entry));
      using fused = ours("fused", small.fused, small, data, truth);
      using naive = ours("naive", small.naive, small, data, truth);
      expect(disagreement(await naive.results("forward"), await fused.results("forward"))).toBeLessThan(1e-9);
      // Where nothing is a batch, everything is computed.
      const batched = entry.inputs.some((input) => input.batched ?? true);
      expect(small.output).toEqual(batched ? [1, ...entry.output.slice(1)] : entry.output);
    }
  },
);
