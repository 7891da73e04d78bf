import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeNpy } from "../src/data/disk.ts";
import { writeNpz } from "../src/data/npz.ts";
import type { Device } from "../src/device.ts";
import { openDevice } from "../src/open.ts";
import { renderStitchReport } from "../src/report/stitch.ts";
import { embeddingData, generatedData, type StitchData, splitData } from "../src/stitch/data.ts";
import { meanOf, type StitchResult, type StitchSettings, stitch } from "../src/stitch/index.ts";
import { temporaryFolder } from "./support/folder.ts";

const SETTINGS: StitchSettings = {
  seed: 3,
  seeds: 2,
  steps: 60,
  samples: 6,
  learningRate: 0.005,
  anchors: 60,
  latent: 12,
  decoderWidth: 24,
  heldOut: 200,
  shrinkage: 0.1,
  detachAnchors: false,
  densification: { weight: 0.02 },
};

const named = ({ rungs }: StitchResult, name: string) => {
  const found = rungs.find(({ rung }) => rung.name === name);
  if (!found) throw new Error(`no rung ${name}`);
  return found;
};
const numbers = ({ rungs }: StitchResult) => rungs.map(({ rung, tables, deaths }) => [rung.name, tables, [...deaths.pre], [...deaths.post]]);

let device: Device;
beforeAll(async () => {
  device = await openDevice({ device: "native" });
});
afterAll(async () => {
  expect(device.counters.liveBuffers, "buffers left alive").toBe(0);
  await device.close();
});
const run = (data: StitchData, settings: Partial<StitchSettings> = {}, signal?: AbortSignal): Promise<StitchResult> =>
  stitch(device, data, { ...SETTINGS, ...settings }, () => {}, signal);

describe("on generated classes", () => {
  const data = generatedData({ seed: 1, count: 1000, classes: 5 });
  let result: StitchResult;
  beforeAll(async () => {
    result = await run(data);
  });

  test("absolute latents are of no use to other decoders, relative ones are", () => {
    expect(result.seeds).toBe(2);
    expect(result.encoders).toEqual(["relu 64", "tanh 64", "relu 128", "gelu 96"]);
    const absolute = named(result, "absolute");
    expect(absolute.own.accuracy.mean).toBeGreaterThan(0.75);
    expect(absolute.stitched.accuracy.mean).toBeLessThan(0.4);
    for (const name of ["cosine", "centred", "robust", "whitened", "densified", "procrustes"])
      expect(named(result, name).stitched.accuracy.mean, name).toBeGreaterThan(absolute.stitched.accuracy.mean + 0.2);
  });

  test("a translated latent keeps its own decoder, and an encoder's own pair is the same on both rungs", () => {
    const [absolute, procrustes] = [named(result, "absolute"), named(result, "procrustes")];
    for (const [s, table] of absolute.tables.entries()) for (const [e, row] of table.entries()) expect(procrustes.tables[s][e][e]).toEqual(row[e]);
  });

  test("differences are paired by seed, with the least one that would have been seen", () => {
    const { against } = named(result, "robust");
    expect(against?.base).toBe("centred");
    const mean = (name: string): number => named(result, name).stitched.accuracy.mean;
    expect(against?.test.mean).toBeCloseTo(mean("robust") - mean("centred"), 12);
    expect(against?.detectable).toBeGreaterThan(0);
    expect(named(result, "absolute").against).toBeUndefined();
    expect(named(result, "densified").against?.base).toBe("robust");
  });

  test("death times: classes of 16 points, for every encoder, before and after", () => {
    const { deaths } = named(result, "robust");
    expect(deaths.pre.length).toBe(2 * 4 * 5 * 15);
    expect(deaths.post.length).toBe(deaths.pre.length);
    expect(Math.min(...deaths.pre)).toBeGreaterThanOrEqual(0);
  });

  test("the same seeds give the same numbers, and one rung alone those of all", async () => {
    const alone = await run(data, { rungs: ["densified"] });
    expect(alone.rungs.map(({ rung }) => rung.name)).toEqual(["robust", "densified"]);
    expect(numbers(alone)).toEqual(numbers(result).filter(([name]) => name === "robust" || name === "densified"));
  });

  test("the page says all of it, and nothing that was not measured", () => {
    const report = { title: "t <b>", description: "d", command: "c", device: "native", date: "now", settings: { seeds: 2 }, classes: 5 };
    const page = renderStitchReport({ ...report, result });
    for (const { rung } of result.rungs) expect(page).toContain(`<h4>${rung.name}</h4>`);
    expect(page).toContain("t &lt;b&gt;");
    expect(page).not.toMatch(/NaN|undefined|<script/);
    expect(page.match(/<svg/g)?.length).toBe(2);
    const nothing = renderStitchReport({ ...report, result: { ...result, rungs: [], seeds: 0, interrupted: true } });
    expect(nothing).toContain("Nothing was measured");
    expect(nothing).not.toMatch(/NaN|undefined/);
  });

  test("an interrupted seed is left out", async () => {
    const abort = new AbortController();
    let steps = 0;
    const stopped = await stitch(device, data, { ...SETTINGS, seeds: 3, rungs: ["cosine"] }, () => ++steps === 300 && abort.abort(), abort.signal);
    expect(stopped.interrupted).toBe(true);
    expect(stopped.seeds).toBe(1);
    expect(named(stopped, "cosine").tables[0]).toEqual(named(result, "cosine").tables[0]);
  });

  test("anchors as constants, as in the papers", async () => {
    const constant = await run(data, { seeds: 1, rungs: ["cosine"], detachAnchors: true });
    expect(named(constant, "cosine").stitched.accuracy.mean).toBeGreaterThan(0.4);
    expect(named(constant, "cosine").tables[0]).not.toEqual(named(result, "cosine").tables[0]);
    expect(named(constant, "cosine").against).toBeUndefined();
  });
});

describe("on embeddings in files", () => {
  const folder = temporaryFolder();
  const { views, labels } = generatedData({ seed: 2, count: 600, classes: 4 });
  const [{ values, size }] = views;
  // Another encoder's space: coordinates in another order, in other units, moved, and one more that says nothing.
  const other = new Float32Array(600 * (size + 1));
  for (let i = 0; i < 600; i++) for (let j = 0; j < size; j++) other[i * (size + 1) + ((7 * j) % size)] = (1 + (j % 5)) * values[i * size + j] + j;
  const paths = [join(folder, "first.npy"), join(folder, "second.npz")];
  writeNpy(paths[0], { shape: [600, size], data: values });
  writeNpz(paths[1], {
    embeddings: { shape: [600, size + 1], data: Float64Array.from(other) },
    labels: { shape: [600], data: BigInt64Array.from(labels, BigInt) },
  });

  test("robust relative representations of both spaces are the same, so decoders are interchangeable", async () => {
    const data = embeddingData(paths, undefined);
    expect(data.views.map(({ name }) => name)).toEqual(["first", "second"]);
    const result = await run(data, { seeds: 1, steps: 100, heldOut: 100 });
    expect(result.rungs.map(({ rung }) => rung.name)).toEqual(["absolute", "cosine", "centred", "robust", "whitened", "procrustes"]);
    const robust = named(result, "robust").tables[0];
    expect(Math.abs(robust[0][1].accuracy - robust[1][1].accuracy)).toBeLessThan(0.02);
    expect(robust[0][1].accuracy).toBeGreaterThan(0.7);
    const absolute = named(result, "absolute");
    expect(absolute.stitched.accuracy.mean).toBeLessThan(absolute.own.accuracy.mean - 0.2);
    await expect(run(data, { rungs: ["densified"] })).rejects.toThrow("(embeddings are not trained)");
  });

  test("given rows as anchors, which are never held out", async () => {
    const data = embeddingData(paths, undefined);
    const anchorRows = Int32Array.from({ length: 40 }, (_, i) => 15 * i);
    for (const seed of [0, 1]) {
      const { train, heldOut } = splitData(data, seed, 300, undefined, anchorRows);
      expect([...train, ...heldOut].sort((a, b) => a - b)).toEqual(Array.from({ length: 600 }, (_, i) => i));
      expect(heldOut.length).toBe(300);
      expect(anchorRows.every((row) => train.includes(row))).toBe(true);
    }
    const result = await run(data, { seeds: 1, steps: 60, heldOut: 100, anchors: 40, anchorRows, rungs: ["robust"] });
    expect(meanOf(named(result, "robust"), 0, 1, "accuracy")).toBeGreaterThan(0.6);
    expect(meanOf(named(result, "robust"), 1, 1, "ratio")).toBe(1);
  });

  test("what does not fit together is refused", () => {
    writeNpy(join(folder, "short.npy"), { shape: [10, 3], data: new Float32Array(30) });
    writeNpy(join(folder, "labels.npy"), { shape: [600], data: Int32Array.from(labels) });
    expect(() => embeddingData([paths[0], join(folder, "short.npy")], join(folder, "labels.npy"))).toThrow("expected 600 rows, one per label,");
    expect(() => embeddingData([paths[0], paths[0]], undefined)).toThrow("expected labels, in a file of their own or in one of the archives,");
    expect(() => embeddingData([paths[0], join(folder, "none.npy")], undefined)).toThrow("none.npy");
  });
});
