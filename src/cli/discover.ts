import { once } from "node:events";
import { PLANTED_NAMES, type PlantedName } from "../data/planted.ts";
import { TRANSFORM_KINDS, type TransformKind } from "../data/transforms.ts";
import type { Device } from "../device.ts";
import type { Experiment } from "../discover/experiment.ts";
import { imageExperiment } from "../discover/images.ts";
import { type DiscoverResult, type DiscoverSettings, discover, type Progress } from "../discover/index.ts";
import { plantedExperiment } from "../discover/planted.ts";
import { ArgumentError } from "../errors.ts";
import { openDevice } from "../open.ts";
import { writeReport } from "../report/page.ts";
import { DEVICE_FLAGS, describeFlags, type Flag, type Flags, parseFlags } from "./args.ts";
import { interruption } from "./interrupt.ts";
import { openOptions } from "./options.ts";
import { progressDisplay } from "./progress.ts";

const FLAGS: readonly Flag[] = [
  { name: "task", type: "text", choices: PLANTED_NAMES, help: "generated task (default cyclic): a teacher with this planted symmetry. One of" },
  { name: "size", type: "integer", least: 2, help: "length of the signals of cyclic and half, side of the images of rot90 and dihedral" },
  { name: "prototypes", type: "integer", least: 1, help: "kernels of the teacher; default twice the length of a signal" },
  { name: "noise", type: "number", least: 0, help: "standard deviation of the noise on the teacher's answers; default 0.1" },
  { name: "data", type: "text", value: "folder", help: "real images instead: a folder of IDX files (gzip or plain)" },
  { name: "transform", type: "text", choices: TRANSFORM_KINDS, help: "symmetry planted in the images; default rot90. One of" },
  { name: "train", type: "integer", least: 1, help: "images to train on; default all that are not held out" },
  { name: "held-out", type: "integer", least: 1, help: "images held out; default a fifth of them, at most 2000" },
  { name: "width", type: "integer", least: 1, help: "channels per layer of the image network; default 16" },
  { name: "kernel-size", type: "integer", least: 1, help: "side of its kernels; default 5" },
  { name: "layers", type: "integer", least: 1, help: "its convolutions, the lifting one included; default 3" },
  { name: "pool", type: "integer", least: 1, help: "side of the max-pooling windows behind the lifting layer; default 2" },
  { name: "elements", type: "integer", least: 2, help: "group elements to learn, the identity included; default as planted" },
  { name: "iterations", type: "integer", least: 1, help: "Sinkhorn iterations; default 20" },
  { name: "epochs", type: "integer", least: 1, help: "passes over the images (or hundreds of generated batches)" },
  { name: "steps", type: "integer", least: 1, help: "training steps per network, instead of --epochs" },
  { name: "warmup", type: "integer", least: 0, help: "steps before the matrices begin to learn" },
  { name: "batch-size", type: "integer", least: 1, help: "examples per step; default 64, of images 32" },
  { name: "lr", type: "number", least: 0, help: "learning rate of kernels; default 0.01, of images 0.02" },
  { name: "matrix-lr", type: "number", least: 0, help: "learning rate of the matrices" },
  { name: "norm", type: "number", least: 0, help: "weight of the norm regulariser" },
  { name: "entropy", type: "number", least: 0, help: "weight of the entropy regulariser; default 0" },
  { name: "seed", type: "integer", least: 0, help: "of data, initial values and order; default 0" },
  { name: "no-compare", type: "switch", help: "train the learned network only" },
  ...DEVICE_FLAGS,
  { name: "report", type: "text", value: "file", help: "where the page is written; default report/index.html" },
  { name: "json", type: "switch", help: "end with one line of JSON on standard output, and nothing else there" },
  { name: "help", type: "switch", help: "this text" },
];

const batchSizeOf = (flags: Flags): number => flags.number("batch-size") ?? (flags.text("data") === undefined ? 64 : 32);

/** Options that mean something for one kind of data only. */
const ONLY = {
  generated: ["task", "size", "prototypes", "noise"],
  images: ["transform", "train", "held-out", "width", "kernel-size", "layers", "pool"],
} as const;

const makeExperiment = (device: Device, flags: Flags): Experiment => {
  const folder = flags.text("data");
  for (const name of folder === undefined ? ONLY.images : ONLY.generated) {
    if (flags.text(name) !== undefined) {
      throw new ArgumentError(
        `birkhoff discover: expected --${name} ${folder === undefined ? "together with" : "without"} \`--data\`, but received it ${folder === undefined ? "alone" : "with it"}`,
      );
    }
  }
  const seed = flags.number("seed") ?? 0;
  const batchSize = batchSizeOf(flags);
  const iterations = flags.number("iterations") ?? 20;
  const optional = (names: readonly string[]): Record<string, number> =>
    Object.fromEntries(names.flatMap((name) => (flags.number(name) === undefined ? [] : [[name, flags.number(name) as number]])));
  if (folder !== undefined) {
    return imageExperiment(device, {
      folder,
      transform: (flags.text("transform") ?? "rot90") as TransformKind,
      seed,
      batchSize,
      iterations,
      width: flags.number("width") ?? 16,
      kernelSize: flags.number("kernel-size") ?? 5,
      layers: flags.number("layers") ?? 3,
      pool: flags.number("pool") ?? 2,
      ...optional(["elements", "train"]),
      ...(flags.number("held-out") !== undefined && { heldOut: flags.number("held-out") as number }),
    });
  }
  const task = (flags.text("task") ?? "cyclic") as PlantedName;
  return plantedExperiment(device, task, {
    seed,
    batchSize,
    iterations,
    noise: flags.number("noise") ?? 0.1,
    ...optional(["size", "prototypes", "elements"]),
  });
};

const makeSettings = (experiment: Experiment, flags: Flags): DiscoverSettings => {
  const images = flags.text("data") !== undefined;
  const steps = flags.number("steps") ?? (flags.number("epochs") ?? (images ? 24 : 20)) * experiment.stepsPerEpoch;
  return {
    steps,
    warmup: Math.min(flags.number("warmup") ?? (images ? experiment.stepsPerEpoch : 300), steps),
    learningRate: flags.number("lr") ?? (images ? 0.02 : 0.01),
    matrixLearningRate: flags.number("matrix-lr") ?? (images ? 0.2 : 0.1),
    weightDecay: 1e-4,
    normWeight: flags.number("norm") ?? (images ? 0.01 : 1e-4),
    entropyWeight: flags.number("entropy") ?? 0,
    decay: 0.5,
    compare: !flags.has("no-compare"),
  };
};

const percent = (share: number | undefined): string => (share === undefined ? "–" : `${(100 * share).toFixed(1)} %`);

const facts = ({ network, loss, accuracy, agreement }: Progress): string =>
  `${network} · loss ${loss.toPrecision(3)} · accuracy ${percent(accuracy)}${agreement === undefined ? "" : ` · agreement ${percent(agreement)}`}`;

/** What a person reads at the end. */
const summary = ({ report, recovered, agreement }: DiscoverResult): string => {
  const lines: string[] = [];
  for (const { name, planted, result, closure } of report.layers) {
    lines.push("", `${name}: closure error ${closure.mean.toFixed(3)}`);
    for (const { index, planted: partner, correct, agreement: share, relativeEntropy, distance } of result.elements) {
      const label = partner === undefined ? "nothing planted" : (planted?.labels[partner] ?? `element ${partner}`);
      lines.push(
        `  ${index === 0 ? "identity" : `matrix ${index}`.padEnd(8)} ~ ${label.padEnd(12)} ${correct ? "found " : "      "} agreement ${percent(share).padStart(7)}  entropy ${relativeEntropy.toFixed(3)}  distance ${distance.toFixed(2)}`,
      );
    }
  }
  lines.push("", `${"network".padEnd(26)} ${"parameters".padStart(10)} ${"held-out".padStart(9)} ${"equivariance error".padStart(19)}`);
  for (const { name, parameters, heldOutAccuracy, equivarianceError } of report.comparison) {
    lines.push(
      `${name.padEnd(26)} ${String(parameters).padStart(10)} ${percent(heldOutAccuracy).padStart(9)} ${(equivarianceError?.toExponential(1) ?? "–").padStart(19)}`,
    );
  }
  lines.push("", ...report.notes);
  if (agreement !== undefined) {
    lines.push(
      recovered
        ? "The planted symmetry was recovered exactly: every matrix's nearest permutation is the planted one."
        : `The planted symmetry was not recovered exactly; agreement ${percent(agreement)}.`,
    );
  }
  return `${lines.join("\n")}\n`;
};

const jsonLine = (device: Device, experiment: Experiment, result: DiscoverResult, path: string): string => {
  const { report, heldOutAccuracy, agreement, recovered, losses, interrupted } = result;
  return `${JSON.stringify({
    task: experiment.name,
    device: device.kind,
    steps: losses.length,
    heldOutAccuracy,
    agreement: agreement ?? null,
    recovered,
    interrupted,
    networks: report.comparison,
    layers: report.layers.map(({ name, result: { elements, meanAgreement, recovered: all }, closure }) => ({
      name,
      agreement: meanAgreement,
      recovered: all,
      closure: closure.mean,
      elements: elements.map(({ nearest: _, ...facts }) => facts),
    })),
    losses,
    report: path,
  })}\n`;
};

/** See FLAGS. Ends with exit code 0 also when it was interrupted: the report is written all the same. */
export const discoverCommand = async (args: readonly string[]): Promise<number> => {
  const flags = parseFlags("discover", FLAGS, args);
  if (flags.has("help")) {
    process.stdout.write(`birkhoff discover\n\n${describeFlags(FLAGS)}\n`);
    return 0;
  }
  const json = flags.has("json");
  const path = flags.text("report") ?? "report/index.html";
  await using device = await openDevice(openOptions(flags));
  const experiment = makeExperiment(device, flags);
  const settings = makeSettings(experiment, flags);
  const say = (text: string): void => void (json ? process.stderr : process.stdout).write(text);
  say(`${experiment.name} on ${device.kind}: ${device.info.description}\n${experiment.description}\n`);

  using interrupted = interruption();
  const display = progressDisplay();
  try {
    const result = await discover(experiment, settings, (progress) => display.update({ ...progress, facts: facts(progress) }), interrupted.signal);
    display.stop();
    say(summary(result));
    try {
      writeReport(path, {
        ...result.report,
        title: `What the network found: ${experiment.name}`,
        command: ["birkhoff discover", ...args].join(" "),
        device: `${device.kind}: ${device.info.description}`,
        date: new Date().toISOString().slice(0, 16).replace("T", " "),
        settings: { ...settings, seed: flags.number("seed") ?? 0, batchSize: batchSizeOf(flags) },
      });
      say(`Report: ${path}${result.interrupted ? " (interrupted)" : ""}\n`);
    } finally {
      // What was learned is told even when the page cannot be written.
      if (json && !process.stdout.write(jsonLine(device, experiment, result, path))) await once(process.stdout, "drain");
    }
    return 0;
  } finally {
    display.stop();
    experiment.dispose();
  }
};
