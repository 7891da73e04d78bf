/** What runs found, one line of JSON each in a file that grows; and what several seeds allow to say of it. */
import { appendFileSync, existsSync, readFileSync, truncateSync } from "node:fs";
import { FileError } from "../errors.ts";
import { minimumDetectableEffect, pairedTTest, type SampleSummary, summarize } from "../relative/statistics.ts";
import { makeFolderOf } from "../report/write.ts";
import type { NetworkKind, Run } from "./configuration.ts";

/** One finished run. */
export interface RunRecord {
  readonly experiment: string;
  readonly network: string;
  readonly kind: NetworkKind;
  readonly seed: number;
  /** Hash of the settings. */
  readonly settings: string;
  readonly date: string;
  readonly machine: string;
  readonly command: string;
  readonly device: string;
  readonly steps: number;
  readonly parameters: number;
  /** Of training. */
  readonly seconds: number;
  /** Of the first and last step, and the mean of the last tenth. */
  readonly loss: { readonly first: number; readonly last: number; readonly tail: number };
  readonly heldOutAccuracy: number;
  readonly equivarianceError?: number;
  /** Of learned matrices, where it is known what they should be: of the first layer. */
  readonly agreement?: number;
  readonly recovered?: boolean;
  readonly layers?: readonly LayerRecord[];
}

export interface LayerRecord {
  readonly name: string;
  readonly agreement: number;
  readonly recovered: boolean;
  readonly closure: number;
  /** Mean over the learned matrices: of rows, as a share of log d; of the distance to the nearest permutation. */
  readonly entropy: number;
  readonly distance: number;
  /** Of each learned matrix, in order: share of rows whose largest entry is where the planted element has it. */
  readonly agreements: readonly number[];
  readonly coefficients?: CoefficientRecord;
}

/** How a learned stack lies to the elements that take part. */
export interface CoefficientRecord {
  /** Least of the matrices after the identity: the sum of coefficients on elements that take part at all, and on those that the matrix itself should become. */
  readonly taking: number;
  readonly own: number;
  /** Mean over the matrices of Σ_k |c_k − planted_k| / 2: 0 when they are the planted mixtures, 1 when they share nothing with them. */
  readonly distance: number;
}

const keyOf = ({ network, seed, settings }: Pick<RunRecord, "network" | "seed" | "settings">): string => JSON.stringify([network, seed, settings]);

/** The whole lines of a file: what follows the last one was being written when its writer was stopped. */
const wholeLines = (path: string): { readonly text: string; readonly torn: boolean } => {
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const end = text.lastIndexOf("\n") + 1;
  return { text: text.slice(0, end), torn: end < text.length };
};

/**
 * All runs of a file, none where there is no file.
 *
 * @throws FileError for a line that is none of a run.
 */
export const readResults = (path: string): RunRecord[] =>
  wholeLines(path)
    .text.split("\n")
    .slice(0, -1)
    .map((line, i) => {
      let record: RunRecord | undefined;
      try {
        record = JSON.parse(line);
      } catch {
        // Said below.
      }
      if (typeof record?.network !== "string" || typeof record.seed !== "number" || typeof record.settings !== "string")
        throw new FileError(
          `birkhoff discover: expected a run as JSON in line ${i + 1} of ${JSON.stringify(path)}, but received ${JSON.stringify(line.slice(0, 60))}`,
        );
      return record;
    });

export const appendResult = (path: string, record: RunRecord): void => {
  const { text, torn } = wholeLines(path);
  makeFolderOf("birkhoff discover", path);
  if (torn) truncateSync(path, Buffer.byteLength(text));
  appendFileSync(path, `${JSON.stringify(record)}\n`);
};

/** For each run its record, or undefined; the last one of a file counts. */
export const recordsOf = (runs: readonly Run[], records: readonly RunRecord[]): (RunRecord | undefined)[] => {
  const known = new Map(records.map((record) => [keyOf(record), record]));
  return runs.map((run) => known.get(keyOf({ ...run, network: run.network.name })));
};

/** What is summarised over seeds. */
export const MEASURES = ["heldOutAccuracy", "agreement", "equivarianceError", "seconds"] as const;
export type Measure = (typeof MEASURES)[number];

export interface NetworkSummary {
  readonly network: string;
  readonly kind: NetworkKind;
  readonly parameters: number;
  readonly seeds: number;
  readonly measures: Readonly<Partial<Record<Measure, SampleSummary>>>;
  /** Seeds in which the planted symmetry was recovered exactly. */
  readonly recovered?: number;
  /** Held-out accuracy beside that of the first network, over the seeds that both have. */
  readonly against?: { readonly base: string; readonly count: number; readonly mean: number; readonly p: number; readonly detectable: number };
}

/** Networks in the order of their first records; differences are of the first network. */
export const summarise = (records: readonly RunRecord[]): NetworkSummary[] => {
  const byName = new Map<string, RunRecord[]>();
  for (const record of records) byName.set(record.network, [...(byName.get(record.network) ?? []), record]);
  const [[base, first] = ["", []]] = byName;
  return [...byName].map(([network, own]): NetworkSummary => {
    const measures: Partial<Record<Measure, SampleSummary>> = {};
    for (const measure of MEASURES) {
      const values = own.map((record) => record[measure]).filter((value) => value !== undefined && value !== null);
      if (values.length > 0) measures[measure] = summarize(values);
    }
    const pairs = own.flatMap((record) => {
      const partner = first.find(({ seed }) => seed === record.seed);
      return partner && network !== base ? [[record.heldOutAccuracy, partner.heldOutAccuracy] as const] : [];
    });
    const test =
      pairs.length > 1
        ? pairedTTest(
            pairs.map(([a]) => a),
            pairs.map(([, b]) => b),
          )
        : undefined;
    return {
      network,
      kind: own[0].kind,
      parameters: own[0].parameters,
      seeds: own.length,
      measures,
      ...(own.some(({ recovered }) => recovered !== undefined) && { recovered: own.filter(({ recovered }) => recovered).length }),
      ...(test && {
        against: { base, count: test.count, mean: test.mean, p: test.p, detectable: minimumDetectableEffect(test.deviation, test.count) },
      }),
    };
  });
};
