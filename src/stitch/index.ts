/** The experiment: pairs trained apart on every rung of the ladder, joined without training, over seeds. */
import { classBalancedBatches } from "../data/balanced.ts";
import type { Device } from "../device.ts";
import { ArgumentError } from "../errors.ts";
import { initializer } from "../nn/init.ts";
import { stratifiedAnchors } from "../relative/anchors.ts";
import { minimumDetectableEffect, type PairedTest, pairedTTest, type SampleSummary, summarize } from "../relative/statistics.ts";
import { rowsOf, type StitchData, splitData } from "./data.ts";
import { type Deaths, deathTimes, type Scores, stitchAll } from "./evaluate.ts";
import { ladder, type Rung } from "./ladder.ts";
import { Decoder, ENCODERS, Encoder, encoderName, Frozen } from "./networks.ts";
import { type Densification, type Pair, type PairSettings, trainPair } from "./train.ts";

export interface StitchSettings {
  /** Seeds of initial values, batches, anchors and splits: `seed`, `seed` + 1, … */
  readonly seed: number;
  readonly seeds: number;
  readonly steps: number;
  readonly samples: number;
  readonly learningRate: number;
  readonly anchors: number;
  /** Rows to take as anchors, the same in every view and for every seed, instead of `anchors` drawn by class. */
  readonly anchorRows?: Int32Array;
  readonly latent: number;
  /** Hidden units of decoders. */
  readonly decoderWidth: number;
  readonly heldOut: number;
  readonly train?: number;
  readonly shrinkage: number;
  readonly detachAnchors: boolean;
  /** Of the densification loss: its weight, and the death times it draws to; default: the mean ones of the robust pair of the same seed. */
  readonly densification: { readonly weight: number; readonly preBeta?: number; readonly beta?: number };
  /** Names of rungs; those that these are compared with or trained as are added. Default all. */
  readonly rungs?: readonly string[];
}

export interface StitchProgress {
  readonly done: number;
  readonly total: number;
  /** "seed 2 · relu 64 · robust" */
  readonly what: string;
  readonly loss: number;
}

/** What tables are of: the scores, and the accuracy over that of the encoder's own pair. */
export const MEASURES = ["accuracy", "f1", "mae", "ratio"] as const;
export type Measure = (typeof MEASURES)[number];

/** Of encoder e with decoder d, mean over seeds. */
export const meanOf = ({ tables }: RungResult, e: number, d: number, measure: Measure): number =>
  tables.reduce((sum, table) => sum + (measure === "ratio" ? ratioOf(table[e][e], table[e][d]) : table[e][d][measure]), 0) / tables.length;
const ratioOf = (own: Scores, stitched: Scores): number => stitched.accuracy / Math.max(own.accuracy, 1e-9);

export interface RungResult {
  readonly rung: Rung;
  /** Per seed, [encoder][decoder]. */
  readonly tables: readonly (readonly (readonly Scores[])[])[];
  /** Over seeds: mean over pairs of encoder and decoder that were trained together, and that were not. */
  readonly own: Readonly<Record<keyof Scores, SampleSummary>>;
  readonly stitched: Readonly<Record<keyof Scores, SampleSummary>>;
  /** Accuracy of stitched over that of the encoder's own pair, mean over encoder and decoder. */
  readonly ratio: SampleSummary;
  /** Of stitched accuracy against the rung it differs from by one thing, seed by seed; undefined for one seed and for the first rung. */
  readonly against?: { readonly base: string; readonly test: PairedTest; readonly detectable: number };
  /** Of all encoders and seeds. */
  readonly deaths: Deaths;
}

export interface StitchResult {
  readonly encoders: readonly string[];
  readonly seeds: number;
  readonly trainRows: number;
  readonly heldOutRows: number;
  readonly rungs: readonly RungResult[];
  readonly interrupted: boolean;
}

/** Rows of a class whose death times are looked at, and how often. */
const CLOUD = 16;

/** The rungs that settings ask for. Throws ArgumentError for a name that there is not. */
export const chosenRungs = (settings: StitchSettings, frozen: boolean): readonly Rung[] => {
  const all = ladder(settings).filter(({ densified }) => !(frozen && densified));
  const wanted = new Set(settings.rungs ?? all.map(({ name }) => name));
  for (const name of wanted) {
    const rung = all.find((each) => each.name === name);
    if (!rung) {
      throw new ArgumentError(
        `birkhoff stitch: expected some of ${all.map((each) => each.name).join(", ")} for \`--ladder\`, but received ${JSON.stringify(name)}${frozen ? " (embeddings are not trained)" : ""}`,
      );
    }
    if (rung.densified) wanted.add("robust");
    if (rung.trainedAs) wanted.add(rung.trainedAs);
  }
  return all.filter(({ name }) => wanted.has(name));
};

const off = (table: readonly (readonly Scores[])[], pick: (own: Scores, stitched: Scores) => number): number => {
  let [sum, count] = [0, 0];
  for (const [e, row] of table.entries())
    for (const [d, scores] of row.entries())
      if (e !== d) {
        sum += pick(table[e][e], scores);
        count++;
      }
  return sum / count;
};
const diagonal = (table: readonly (readonly Scores[])[], pick: (scores: Scores) => number): number =>
  table.reduce((sum, row, e) => sum + pick(row[e]), 0) / table.length;

const each = <T>(make: (key: keyof Scores) => T): Record<keyof Scores, T> => ({ accuracy: make("accuracy"), f1: make("f1"), mae: make("mae") });

/** Over seeds. */
const summarised = (rung: Rung, tables: RungResult["tables"], deaths: readonly Deaths[], base: RungResult["tables"] | undefined): RungResult => {
  const accuracies = (list: RungResult["tables"]): number[] => list.map((table) => off(table, (_, { accuracy }) => accuracy));
  const compared = base && tables.length >= 2 ? pairedTTest(accuracies(tables), accuracies(base)) : undefined;
  const joined = (name: keyof Deaths): Float32Array => Float32Array.from(deaths.flatMap((item) => Array.from(item[name])));
  return {
    rung,
    tables,
    own: each((key) => summarize(tables.map((table) => diagonal(table, (scores) => scores[key])))),
    stitched: each((key) => summarize(tables.map((table) => off(table, (_, scores) => scores[key])))),
    ratio: summarize(tables.map((table) => off(table, ratioOf))),
    ...(compared &&
      rung.base !== undefined && {
        against: { base: rung.base, test: compared, detectable: minimumDetectableEffect(compared.deviation, tables.length) },
      }),
    deaths: { pre: joined("pre"), post: joined("post") },
  };
};

/** Everything of one seed: the scores of every rung, by name. */
const runSeed = async (
  device: Device,
  data: StitchData,
  settings: StitchSettings,
  rungs: readonly Rung[],
  seed: number,
  onStep: (what: string, loss: number) => void,
  signal: AbortSignal | undefined,
): Promise<Map<string, { readonly table: Scores[][]; readonly deaths: Deaths }> | undefined> => {
  const split = splitData(data, seed, settings.heldOut, settings.train, settings.anchorRows);
  const labels = Int32Array.from(split.train, (index) => data.labels[index]);
  const anchors = settings.anchorRows ?? stratifiedAnchors(labels, settings.anchors, { seed, allocation: "equal" }).map((i) => split.train[i]);
  const samples = cloudSize(data, split.heldOut);
  const looked = classBalancedBatches(
    Int32Array.from(split.heldOut, (index) => data.labels[index]),
    { samples, seed },
  )
    .next()
    .value.map((i) => split.heldOut[i]);
  const count = data.frozen ? data.views.length : ENCODERS.length;
  const trained = new Map<string, Pair[]>();
  const results = new Map<string, { readonly table: Scores[][]; readonly deaths: Deaths }>();
  const means: { pre: number; post: number }[] = [];
  try {
    for (const rung of rungs) {
      let pairs = trained.get(rung.trainedAs ?? rung.name);
      if (!pairs) {
        pairs = [];
        trained.set(rung.name, pairs);
        for (let l = 0; l < count; l++) {
          const view = data.views[l % data.views.length];
          // The same initial values for every rung: what differs is the rung.
          const init = initializer(device, seed * 1000 + l);
          const shape = ENCODERS[l % ENCODERS.length];
          const encoder = data.frozen ? new Frozen() : new Encoder(init, view.size, settings.latent, shape);
          const width = rung.projection ? anchors.length : data.frozen ? view.size : settings.latent;
          const decoder = new Decoder(init, width, data.classes, settings.decoderWidth);
          const pair: Pair = { encoder, decoder, view, anchorRows: device.tensor(rowsOf(view, anchors), [anchors.length, view.size]) };
          pairs.push(pair);
          const what = `seed ${seed} · ${data.frozen ? view.name : encoderName(shape)} · ${rung.name}`;
          const pairSettings: PairSettings = {
            steps: settings.steps,
            samples: settings.samples,
            learningRate: settings.learningRate,
            seed,
            detachAnchors: settings.detachAnchors,
          };
          const { weight, preBeta = means[l]?.pre, beta = means[l]?.post } = settings.densification;
          const densification: Densification | undefined = rung.densified ? { weight, preBeta, beta } : undefined;
          await trainPair(device, data, split.train, pair, rung, pairSettings, densification, (loss) => onStep(what, loss), signal);
          if (signal?.aborted) return undefined;
        }
      }
      const found: Deaths[] = [];
      for (const pair of pairs) found.push(await deathTimes(device, pair, rung, looked, samples));
      if (rung.name === "robust") means.push(...found.map(({ pre, post }) => ({ pre: summarize(pre).mean, post: summarize(post).mean })));
      const joined = (name: keyof Deaths): Float32Array => Float32Array.from(found.flatMap((item) => Array.from(item[name])));
      results.set(rung.name, {
        table: await stitchAll(device, data, pairs, rung, split.heldOut),
        deaths: { pre: joined("pre"), post: joined("post") },
      });
    }
    return results;
  } finally {
    for (const { encoder, decoder, anchorRows } of [...trained.values()].flat()) {
      encoder.dispose();
      decoder.dispose();
      anchorRows.dispose();
    }
  }
};

/** So many rows of every class as the rarest one has, at most CLOUD. */
const cloudSize = ({ labels }: StitchData, rows: Int32Array): number => {
  const counts = new Map<number, number>();
  for (const row of rows) counts.set(labels[row], (counts.get(labels[row]) ?? 0) + 1);
  return Math.min(CLOUD, ...counts.values());
};

/**
 * Trains, joins and compares. A seed that was interrupted is left out.
 *
 * @throws ArgumentError for names of rungs that there are not, and data with too few rows for anchors, batches or both parts.
 */
export const stitch = async (
  device: Device,
  data: StitchData,
  settings: StitchSettings,
  onProgress: (progress: StitchProgress) => void,
  signal?: AbortSignal,
): Promise<StitchResult> => {
  const rungs = chosenRungs(settings, data.frozen);
  const count = data.frozen ? data.views.length : ENCODERS.length;
  const total = settings.seeds * settings.steps * count * rungs.filter(({ trainedAs }) => trainedAs === undefined).length;
  let done = 0;
  const seeds: NonNullable<Awaited<ReturnType<typeof runSeed>>>[] = [];
  for (let i = 0; i < settings.seeds && !signal?.aborted; i++) {
    const step = (what: string, loss: number): void => onProgress({ done: ++done, total, what, loss });
    const results = await runSeed(device, data, settings, rungs, settings.seed + i, step, signal);
    if (results) seeds.push(results);
  }
  const of = (name: string) => seeds.flatMap((results) => results.get(name) ?? []);
  return {
    encoders: data.frozen ? data.views.map(({ name }) => name) : ENCODERS.map(encoderName),
    seeds: seeds.length,
    trainRows: settings.train ?? data.labels.length - settings.heldOut,
    heldOutRows: settings.heldOut,
    rungs:
      seeds.length === 0
        ? []
        : rungs.map((rung) => {
            const [own, base] = [of(rung.name), rung.base === undefined ? [] : of(rung.base)];
            const tables = own.map(({ table }) => table);
            return summarised(
              rung,
              tables,
              own.map(({ deaths }) => deaths),
              base.length > 0 ? base.map(({ table }) => table) : undefined,
            );
          }),
    interrupted: signal?.aborted ?? false,
  };
};
