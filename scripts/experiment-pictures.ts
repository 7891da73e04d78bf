/** The pictures of docs/experiments.md, out of runs of a few seconds with the settings and seeds of its tables; that of real digits takes minutes, and needs the digits. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Device } from "../src/device.ts";
import { checkConfiguration, readConfiguration } from "../src/discover/configuration.ts";
import { type DiscoverResult, discover } from "../src/discover/index.ts";
import type { RunRecord } from "../src/discover/results.ts";
import { cayleyPicture, coefficientPictures } from "../src/report/analysis.ts";
import { arranged, type Picture } from "../src/report/pictures.ts";
import { curvePicture, kernelPicture, svgFile, trainingPicture } from "../src/report/svg.ts";
import type { Curve, LayerReport, Snapshot } from "../src/report/types.ts";
import { writePage } from "../src/report/write.ts";

const ROOT = join(fileURLToPath(import.meta.url), "../..");
export const PICTURES = join(ROOT, "docs/images/experiments");
/** Of a file, so that the page stays light. */
const MOST_BYTES = 60_000;

/** So many seeds of an experiment, with those of its networks that are named (default the first). */
const run = (device: Device, experiment: string, count = 1, networks?: readonly string[]): Promise<DiscoverResult> => {
  const path = join(ROOT, "experiments", `${experiment}.json`);
  const whole = checkConfiguration(readConfiguration(path), path);
  const chosen = networks ? whole.networks.filter(({ name }) => networks.includes(name ?? "")) : whole.networks.slice(0, 1);
  const from = Array.isArray(whole.seeds) ? whole.seeds[0] : whole.seeds.from;
  const provenance = { machine: "", command: "", device: device.kind };
  return discover(device, { ...whole, networks: chosen, seeds: { from, count } }, { provenance });
};

const firstLayer = async (device: Device, experiment: string): Promise<LayerReport> => {
  const { shown } = await run(device, experiment);
  if (!shown) throw new Error(`${experiment}: expected a learned network first`);
  return shown.layers[0];
};

/** The snapshots nearest to these steps. */
const at = ({ snapshots }: LayerReport, steps: readonly number[]): Snapshot[] =>
  steps.map((step) => snapshots.reduce((best, next) => (Math.abs(next.step - step) < Math.abs(best.step - step) ? next : best)));

const training = async (
  device: Device,
  experiment: string,
  title: string,
  steps: readonly number[],
  elements?: readonly number[],
): Promise<Picture> => {
  const layer = await firstLayer(device, experiment);
  return { ...trainingPicture(layer, { snapshots: at(layer, steps), ...(elements && { elements }) }), title };
};

const NETWORKS = ["paper's setting", "+ matrices rest 200 steps", "+ matrices ten times as fast", "+ both (ours)"] as const;

/** Mean over seeds of what records have noted while training. */
const means = (records: readonly RunRecord[], panel: string, measure: "accuracy" | "agreement"): Curve[] =>
  NETWORKS.map((name) => {
    const histories = records.flatMap(({ network, history }) => (network === name && history ? [history] : []));
    const { steps } = histories[0];
    const values = steps.map((_, i) => histories.reduce((sum, history) => sum + history[measure][i], 0) / histories.length);
    return { panel, name, steps, values, scale: "share" };
  });

const SEEDS = 10;

const rest = async (device: Device): Promise<Picture> => {
  const { report, records } = await run(device, "options-cyclic-16", SEEDS, NETWORKS);
  const panels = [
    means(records, `Agreement with the planted shifts, mean of ${SEEDS} seeds`, "agreement"),
    means(records, `Held-out accuracy, mean of ${SEEDS} seeds`, "accuracy"),
    report.curves.filter(({ panel }) => panel === "Loss").map((curve) => ({ ...curve, panel: "Loss of the first seed" })),
  ];
  return arranged("Shifts of 16 positions, with and without a rest of the matrices at the start", panels.map(curvePicture), 2);
};

const MAKERS: Readonly<Record<string, (device: Device) => Promise<Picture>>> = {
  "c8-training": (device) => training(device, "toy-cyclic-8", "Shifts of 8 positions: matrices over training", [0, 170, 210, 250, 1000]),
  // One of each kind of rotation: by 90°, by 180° about a face and about an edge, by 120°.
  "cube-training": async (device) => {
    const layer = await firstLayer(device, "toy-cube");
    const kinds = ["90° about [1, 0, 0]", "180° about [1, 0, 0]", "180° about [1, 1, 0]", "120° about [1, 1, 1]"];
    const elements = kinds.map((kind) => layer.planted?.labels.indexOf(kind) ?? -1);
    const snapshots = at(layer, [0, 210, 250, 300, 1000]);
    return { ...trainingPicture(layer, { elements, snapshots }), title: "The 24 rotations of a cube: four of the matrices over training" };
  },
  "cube-cayley": async (device) => ({
    ...cayleyPicture(await firstLayer(device, "toy-cube")),
    title: "The Cayley table of the 24 matrices, rounded: S4",
  }),
  "half-coefficients": async (device) => {
    const [found, planted] = coefficientPictures(await firstLayer(device, "toy-half-16"));
    const title = "Half of 16 shifts take part, two by turns in each matrix";
    return arranged(title, [
      { ...found, title: "learned: coefficients on the shifts" },
      { ...planted, title: "planted" },
    ]);
  },
  rest,
  "digits-lifting": async (device) => {
    const layer = await firstLayer(device, "lifting-turns");
    const matrices = trainingPicture(layer, { snapshots: at(layer, [0, 250, 625, 1250, 3000]) });
    const kernels = kernelPicture(layer, 4);
    return arranged("Real digits: the lifting layer's matrices and kernels", [matrices, ...(kernels ? [kernels] : [])], 1);
  },
};

export const PICTURE_NAMES = Object.keys(MAKERS);

/** Makes the named pictures, or all. */
export const writePictures = async (device: Device, names: readonly string[]): Promise<void> => {
  for (const name of names.length > 0 ? names : PICTURE_NAMES) {
    if (!MAKERS[name]) throw new Error(`experiments --pictures: expected some of ${PICTURE_NAMES.join(", ")}, but received ${name}`);
    const path = join(PICTURES, `${name}.svg`);
    writePage(path, svgFile(await MAKERS[name](device)));
    const { size } = statSync(path);
    console.log(`${path}: ${size} bytes`);
    if (size > MOST_BYTES) throw new Error(`${path}: expected at most ${MOST_BYTES} bytes, but it has ${size}`);
  }
};
