/** Results and interrupted runs of `birkhoff discover`. */
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PICTURE_NAMES, PICTURES } from "../scripts/experiment-pictures.ts";
import { PAGE, PAGES, withTables } from "../scripts/experiments.ts";
import { plantedTask } from "../src/data/planted.ts";
import type { Device } from "../src/device.ts";
import { checkConfiguration, readConfiguration, runsOf } from "../src/discover/configuration.ts";
import { type DiscoverOptions, type DiscoverResult, discover, openExperiment } from "../src/discover/index.ts";
import { compareCoefficients } from "../src/discover/measure.ts";
import { appendResult, type RunRecord, readResults, summarise } from "../src/discover/results.ts";
import { train, trainSettings } from "../src/discover/train.ts";
import { FileError } from "../src/errors.ts";
import { openDevice } from "../src/open.ts";
import { renderReport } from "../src/report/page.ts";
import { reportPictures } from "../src/report/svg.ts";
import { fitCoefficients } from "../src/symmetry/coefficients.ts";
import type { Tensor } from "../src/tensor.ts";
import { writeDigits } from "./support/digits.ts";
import { small } from "./support/experiment.ts";
import { temporaryFolder } from "./support/folder.ts";

describe("coefficients", () => {
  test.each(["half", "rot45", "two-axes"] as const)("%s: those of a mixture are found, and compared with the planted ones", (name) => {
    const { base, weights, elements, d } = plantedTask(name, { prototypes: 1 });
    const stack = new Float32Array(elements * d * d);
    for (let i = 0; i < elements; i++)
      for (let k = 0; k < elements; k++)
        for (let at = 0; at < d * d; at++) stack[i * d * d + at] += weights[i * elements + k] * base.matrices[k * d * d + at];
    const fitted = fitCoefficients(stack, d, base.matrices).coefficients;
    for (const [i, value] of fitted.entries()) expect(value).toBeCloseTo(weights[i], 6);
    const same = compareCoefficients(fitted, weights, elements);
    expect([same.taking, same.own]).toEqual([expect.closeTo(1, 6), expect.closeTo(1, 6)]);
    expect(same.distance).toBeLessThan(1e-6);
    // Halfway to what does not take part (of half: the last shift).
    const away = Float64Array.from(weights, (weight, at) => 0.5 * weight + (at % elements === elements - 1 ? 0.5 : 0));
    const partly = compareCoefficients(away, weights, elements);
    if (name === "half") expect(partly).toEqual({ taking: 0.5, own: 0.5, distance: expect.closeTo(0.5, 12) });
    else expect(partly.own).toBe(0.5);
  });
});

describe("results", () => {
  const record = (network: string, seed: number, heldOutAccuracy: number): RunRecord => ({
    ...{ experiment: "x", network, kind: "plain", seed, settings: "abc", date: "2026-01-01T00:00", machine: "m", command: "c", device: "native" },
    ...{ steps: 1, parameters: 2, seconds: 3, loss: { first: 1, last: 1, tail: 1 }, heldOutAccuracy },
  });

  test("a line that was being written is dropped and written anew; another broken line is an error", () => {
    const path = join(temporaryFolder(), "deep", "x.jsonl");
    expect(readResults(path)).toEqual([]);
    const records = [record("é", 0, 0.5), record("a", 1, 0.6)];
    for (const each of records) appendResult(path, each);
    expect(readResults(path)).toEqual(records);
    truncateSync(path, readFileSync(path).length - 5);
    expect(readResults(path)).toEqual([records[0]]);
    appendResult(path, records[1]);
    expect(readResults(path)).toEqual(records);
    writeFileSync(path, `{"network":"a"}\n${JSON.stringify(records[0])}\n`);
    expect(() => readResults(path)).toThrow(FileError);
    expect(() => readResults(path)).toThrow("in line 1 of");
  });

  test("mean, deviation and paired differences", () => {
    const [base, other] = summarise([record("a", 0, 0.5), record("b", 0, 0.6), record("a", 1, 0.7), record("b", 1, 0.9), record("b", 2, 0.1)]);
    expect(base.measures.heldOutAccuracy).toMatchObject({ count: 2, mean: 0.6 });
    expect(base.differences).toEqual({});
    expect(other).toMatchObject({ network: "b", seeds: 3, differences: { heldOutAccuracy: { count: 2 } } });
    expect(other.differences.heldOutAccuracy?.mean).toBeCloseTo(0.15, 12);
    expect(other.differences.heldOutAccuracy?.detectable).toBeGreaterThan(0.15);
  });
});

test.each(PAGES)("%s has the tables that the results give", (path) => {
  const page = readFileSync(path, "utf8");
  expect(page).toMatch(/^\| `toy-cyclic-8` \|/m);
  expect(withTables(page)).toBe(page);
});

test("docs/experiments.md shows every picture that the script makes, small, in light and dark", () => {
  const shown = [...readFileSync(PAGE, "utf8").matchAll(/!\[[^\]]{30,}\]\(images\/experiments\/([a-z0-9-]+)\.svg\)/g)].map(([, name]) => name);
  expect(shown.sort()).toEqual([...PICTURE_NAMES].sort());
  expect(readdirSync(PICTURES).sort()).toEqual(shown.map((name) => `${name}.svg`));
  for (const name of shown) {
    const text = readFileSync(join(PICTURES, `${name}.svg`), "utf8");
    expect(text.length).toBeLessThan(60_000);
    expect(text).toContain("@media (prefers-color-scheme:dark)");
    expect(text).not.toMatch(/NaN|undefined|var\(/);
  }
});

test("every configuration in experiments/ is one, under its own name", () => {
  const folder = join(PAGE, "../../experiments");
  const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
  expect(files.length).toBeGreaterThan(8);
  for (const file of files) {
    const path = join(folder, file);
    expect(`${checkConfiguration(readConfiguration(path), path).name}.json`).toBe(file);
  }
});

describe("runs", () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice({ device: "native" });
  });
  afterAll(() => device.close());

  const provenance = { machine: "m", command: "c", device: "native" };
  const file = (): string => join(temporaryFolder(), "x.jsonl");
  const go = (value: unknown, options: Partial<DiscoverOptions> = {}, on = device): Promise<DiscoverResult> =>
    discover(on, checkConfiguration(value, "x.json"), { provenance, ...options });
  const learned = { ...small, networks: [{ kind: "learned" }], seeds: [3] };
  const digits = temporaryFolder();
  const images = {
    ...learned,
    data: { kind: "images", folder: digits, heldOut: 20 },
    network: { kernelSize: 3, layers: 2, pool: 1, width: 2 },
    training: { steps: 60, warmup: 10, batchSize: 8 },
  };

  const wished = (network: object): object => ({
    network: { ...images.network, ...network },
    training: { ...images.training, entropy: 1e-3, closure: 0.1, identity: 0.1, sharpness: 0.1, overlap: 0.1, temperature: { from: 1, to: 0.2 } },
  });

  test.each([
    { factorised: true },
    { shared: "learned", start: { kind: "identity", sharpness: 0.9 } },
    { constraint: "rowStochastic" },
    { constraint: "none" },
    { frozen: true, start: { kind: "permutations", sharpness: 1 } },
  ])("matrices with %j are trained, measured and shown", async (network) => {
    writeDigits(digits);
    const { shown, report } = await go({ ...images, ...wished(network), seeds: [3] });
    expect(report.layers.map(({ d }) => d)).toEqual([9, 36]);
    expect(report.notes).toEqual([]);
    for (const { snapshots } of report.layers) {
      const [first, last] = [snapshots[0].matrices, snapshots[snapshots.length - 1].matrices];
      expect(last.every(Number.isFinite)).toBe(true);
      expect(first.join() === last.join()).toBe("frozen" in network);
    }
    expect(shown?.losses.at(-1)).toBeLessThan(shown?.losses[0] as number);
    const whole = { ...report, title: "t", command: "c", device: "d", date: "", settings: {} };
    const page = renderReport(whole);
    const seen = page.slice(page.indexOf("<main"), page.indexOf("</main"));
    const free = "constraint" in network && network.constraint === "none";
    expect(seen).not.toMatch(/NaN|undefined/);
    expect(seen.includes("these matrices are not stochastic")).toBe(free);
    expect(seen.includes("Certainty")).toBe(!free);
    // Nobody learns a group in sixty steps, and none is called found, unless the permutations that the matrices start from are one.
    expect(seen).toContain("<b>none</b><span>group</span>");
    const [heat] = reportPictures(whole);
    expect(/class="r\d/.test(heat.body.html)).toBe(free);
  });

  // Behind a rest the task is convex in the matrices, and none of the constraints is needed to find the group.
  test.each([{}, { constraint: "rowStochastic" }, { constraint: "none" }] as const)(
    "%j: the task is learned, and the group found",
    async (network) => {
      const toy = { ...learned, data: { kind: "generated", size: 6 }, training: { steps: 500, warmup: 150, batchSize: 32 } };
      const { records, shown } = await go({ ...toy, network, seeds: [1] });
      const [{ heldOutAccuracy, recovered, layers, loss }] = records;
      expect(heldOutAccuracy).toBeGreaterThan(0.95);
      expect(loss.tail).toBeLessThan(loss.first / 20);
      expect([recovered, layers?.[0].group?.name, shown?.layers[0].closure.table !== undefined]).toEqual([true, "C6", true]);
      expect(Number.isNaN(layers?.[0].entropy)).toBe("constraint" in network && network.constraint === "none");
    },
  );

  const turns = {
    ...images,
    data: { ...images.data, side: 3, redraw: true, target: "classAndTurn" },
    network: { kernelSize: 2, layers: 1, pool: 1, width: 2, hidden: 3 },
  };

  const colours = {
    ...learned,
    data: { kind: "images", folder: "nowhere", format: "cifar10", generated: true, transform: "none", side: 8, train: 64, heldOut: 12 },
    network: { architecture: "residual", kernelSize: 3, layers: 1, width: 2, hidden: 6, elements: 4, group: "rot90" },
    training: { steps: 60, warmup: 10, batchSize: 8, norm: 0.1 },
  };

  /** Stops a run after a step as a kill would: nothing is tidied up. By default it is saved at steps at which it is measured too. */
  const killedAfter = async (value: unknown, results: string, steps: number, on = device, every = 15): Promise<void> => {
    let count = 0;
    const onProgress = (): void => {
      if (++count === steps) throw new Error("killed");
    };
    await expect(go(value, { results, every: { steps: every }, onProgress }, on)).rejects.toThrow("killed");
  };

  test.each([
    ["generated", learned],
    ["images", images],
    ["a shared group with everything that may be asked of it", { ...images, ...wished({ shared: "tied", start: { kind: "permutations" } }) }],
    ["turned images", turns],
    ["a residual network on generated images in colour", colours],
  ])("%s: a run killed halfway goes on to the same losses, pictures and figures", async (_, value) => {
    writeDigits(digits);
    const whole = await go(value);
    const results = file();
    await killedAfter(value, results, 33);
    let steps = 0;
    const resumed = await go(value, { results, onProgress: () => steps++ });
    expect([steps, resumed.report.notes]).toEqual([30, []]);
    expect(resumed.shown?.losses).toEqual(whole.shown?.losses);
    expect(resumed.shown?.losses).toHaveLength(60);
    expect(resumed.shown?.layers.map(({ snapshots }) => snapshots)).toEqual(whole.shown?.layers.map(({ snapshots }) => snapshots));
    const facts = ({ records: [{ seconds: _, date: __, step, ...rest }] }: DiscoverResult): unknown => ({
      ...rest,
      step: { ...step, milliseconds: 0, processor: 0 },
    });
    expect(facts(resumed)).toEqual(facts(whole));
    expect(readResults(results)).toEqual(resumed.records);
    expect(readdirSync(join(results, "..", "checkpoints"))).toEqual([]);
  });

  test.each(["reference", "webgpu"] as const)("%s: a run killed halfway goes on to the same losses", async (kind) => {
    await using other = await openDevice({ device: kind });
    const short = { ...learned, training: { steps: 12, warmup: 4, batchSize: 8 } };
    const whole = await go(short, {}, other);
    const results = file();
    await killedAfter(short, results, 9, other, 6);
    let steps = 0;
    const resumed = await go(short, { results, onProgress: () => steps++ }, other);
    expect(steps).toBe(6);
    expect(resumed.shown?.losses).toHaveLength(12);
    expect(resumed.shown?.losses).toEqual(whole.shown?.losses);
  });

  test("Ctrl-C leaves a checkpoint, and what was learned is reported", async () => {
    const results = file();
    const abort = new AbortController();
    let count = 0;
    const onProgress = (): void => {
      if (++count === 7) abort.abort();
    };
    const stopped = await go(learned, { results, onProgress, signal: abort.signal });
    expect(stopped.interrupted).toBe(true);
    expect(stopped.records).toEqual([]);
    expect(stopped.report.notes.join()).toMatch(/Interrupted after [78] of 60 steps/);
    expect(stopped.report.comparison[0].name).toBe("learned, unfinished");
    const [resumed, whole] = [await go(learned, { results }), await go(learned)];
    expect(resumed.shown?.losses).toEqual(whole.shown?.losses);
  });

  test("half a checkpoint, and one of other settings, are never taken for this run's", async () => {
    const results = file();
    await killedAfter(learned, results, 33);
    const folder = join(results, "..", "checkpoints");
    const [name] = readdirSync(folder);
    const bytes = readFileSync(join(folder, name));
    const whole = await go(learned);
    const other = Buffer.from(bytes.toString("latin1").replace("seed 3", "seed 4"), "latin1");
    for (const content of [bytes.subarray(0, bytes.length - 40), bytes.subarray(0, 100), Buffer.alloc(0), other]) {
      const fresh = file();
      mkdirSync(join(fresh, "..", "checkpoints"));
      writeFileSync(join(fresh, "..", "checkpoints", name), content);
      let steps = 0;
      const again = await go(learned, { results: fresh, onProgress: () => steps++ });
      expect(again.report.notes.join()).toContain("the run begins anew");
      expect(again.shown?.losses).toEqual(whole.shown?.losses);
      expect(steps).toBe(60);
    }
  });

  test("runs that the results hold are not done again; other settings and other seeds are", async () => {
    const results = file();
    const first = await go(small, { results });
    expect(first.records).toHaveLength(4);
    const again = await go(small, { results });
    expect(again.shown).toBeUndefined();
    expect(again.records).toEqual(first.records);
    const more = await go(
      { ...small, seeds: [3, 4, 5], networks: [{ kind: "learned" }, { kind: "plain", training: { learningRate: 0.02 } }] },
      { results },
    );
    expect(more.records).toHaveLength(6);
    expect(readResults(results)).toHaveLength(4 + 1 + 3);
    expect(more.summary[1].differences.heldOutAccuracy?.count).toBe(3);
  });

  test("class and turn are told by every kind of network; that of the given group turns its answers with the image", async () => {
    writeDigits(digits);
    const networks = [{ kind: "fixed" }, { kind: "learned" }, { kind: "plain" }];
    const { records } = await go({ ...turns, networks, training: { steps: 300, warmup: 0, batchSize: 16, decay: 0.5 } });
    expect(records.map(({ kind }) => kind)).toEqual(["fixed", "learned", "plain"]);
    for (const { heldOutAccuracy } of records) expect(heldOutAccuracy).toBeGreaterThan(2 / 12);
    expect(records[0].equivarianceError).toBeLessThan(1e-5);
    expect(records[2].equivarianceError).toBeGreaterThan(1e-3);
    expect(records[1].history?.steps).toHaveLength(25);
    for (const [change, message] of [
      [{ data: { ...turns.data, transform: "flip" } }, '"class" unless quarter turns are planted for `data.target`'],
      [{ data: { ...turns.data, side: 4 } }, "a divisor of 6, the side of square images, for `data.side`"],
      [{ network: { ...turns.network, elements: 3 } }, "expected 4, one of each turn, for `networks.elements`"],
    ] as const)
      await expect(go({ ...turns, ...change })).rejects.toThrow(message);
  });

  test("the head learns at a rate of its own, where there is one", async () => {
    writeDigits(digits);
    const withHead = (headLearningRate: number): object => ({ ...images, training: { ...images.training, steps: 1, decay: 0, headLearningRate } });
    const [run] = runsOf(checkConfiguration(withHead(1), "x.json"));
    const experiment = openExperiment(device, run.data, 3, run.training.batchSize);
    const contender = experiment.contender(run.network);
    const [weight] = contender.head?.parameters() ?? [];
    const kernel = contender.network.parameters().find((parameter) => parameter.shape.length > 2) as Tensor;
    const before = [await weight.read(), await kernel.read()];
    const look = () => ({ operations: 0, bytes: 0, memory: 0 });
    const observer = { start: () => 0, onStep: () => {}, save: () => Promise.resolve(), pause: () => false, looks: () => false, look };
    await train(experiment, contender, trainSettings(run.training, experiment.stepsPerEpoch), observer);
    const moved = async (tensor: Tensor, from: ArrayLike<number>): Promise<number> =>
      Math.max(...(await tensor.read()).map((x, i) => Math.abs(x - from[i])));
    // AdamW's first step is the rate itself, whatever the gradient.
    expect(await moved(weight, before[0])).toBeCloseTo(1, 3);
    expect(await moved(kernel, before[1])).toBeCloseTo(run.training.learningRate, 3);
    contender.network.dispose();
    experiment.dispose();
    await expect(go({ ...small, training: { ...small.training, headLearningRate: 1 } })).rejects.toThrow("only where images are classified");
  });

  test("a step's batch does not depend on the steps before", async () => {
    writeDigits(digits);
    for (const value of [learned, images, turns, { ...colours, network: { ...colours.network, dropout: 0 } }]) {
      const [{ data, seed, training, network }] = runsOf(checkConfiguration(value, "x.json"));
      const [one, other] = [openExperiment(device, data, seed, training.batchSize), openExperiment(device, data, seed, training.batchSize)];
      const contender = one.contender(network);
      const loss = async ({ loss }: typeof one): Promise<number> => {
        const tensor = loss(contender.network);
        const value = await tensor.item();
        tensor.dispose();
        return value;
      };
      for (let step = 0; step < 12; step++) one.feed(step);
      other.feed(11);
      expect(await loss(other)).toBe(await loss(one));
      other.feed(10);
      expect(await loss(other)).not.toBe(await loss(one));
      contender.network.dispose();
      one.dispose();
      other.dispose();
    }
  });
});
