import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { IMAGE_FORMATS } from "../data/generatedImages.ts";
import { PLANTED_NAMES, plantedTask } from "../data/planted.ts";
import { plantedSet, TRANSFORM_KINDS } from "../data/transforms.ts";
import type { Device } from "../device.ts";
import { type Configuration, checkConfiguration, type DataSettings, type NetworkKind, readConfiguration, runsOf } from "../discover/configuration.ts";
import { type DiscoverResult, discover, type Progress } from "../discover/index.ts";
import type { RunResult } from "../discover/run.ts";
import { ArgumentError, describe, expected } from "../errors.ts";
import { groupFacts, groupText, relationText } from "../report/analysis.ts";
import { writeReport } from "../report/page.ts";
import { writePictures } from "../report/svg.ts";
import type { LayerReport } from "../report/types.ts";
import { DEVICE_FLAGS, describeFlags, type Flag, type Flags, parseFlags } from "./args.ts";
import { comparisonTable, networkTable } from "./discoverTable.ts";
import { runJob } from "./job.ts";

const WHERE = "birkhoff discover";

const FLAGS: readonly Flag[] = [
  {
    name: "config",
    type: "text",
    value: "file",
    help: "an experiment (docs/experiments.md); the options below replace what it says. Runs that its results hold are not done again",
  },
  {
    name: "results",
    type: "text",
    value: "file",
    help: "its results, one line of JSON a run; default results/<name>.jsonl beside the configuration",
  },
  {
    name: "networks",
    type: "text",
    value: "name",
    repeated: true,
    help: "one of its networks, to train it alone; again for another one; default all",
  },
  { name: "checkpoint-steps", type: "integer", least: 1, help: "steps between checkpoints; default every minute, and on Ctrl-C" },
  { name: "task", type: "text", choices: PLANTED_NAMES, help: "generated task (default cyclic): a teacher with this planted symmetry. One of" },
  {
    name: "size",
    type: "integer",
    least: 2,
    help: "length of signals (cyclic, half; default 8), side of images (rot90, rot45, dihedral; 5) or cubes (cube, two-axes; 3)",
  },
  { name: "prototypes", type: "integer", least: 1, help: "kernels of the teacher; default twice the length of a signal" },
  { name: "noise", type: "number", least: 0, help: "standard deviation of the noise on the teacher's answers; default 0.1" },
  { name: "data", type: "text", value: "folder", help: "real images instead: a folder of IDX files (gzip or plain), or of CIFAR-10's binary files" },
  { name: "generated", type: "switch", help: "random images in their place, in the sizes of MNIST's or CIFAR-10's: to see what a step takes" },
  { name: "format", type: "text", choices: Object.keys(IMAGE_FORMATS), help: "of images; default what the folder holds, of random ones idx. One of" },
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
  { name: "head-lr", type: "number", least: 0, help: "learning rate of the linear map behind the pooling of images; default as kernels" },
  { name: "norm", type: "number", least: 0, help: "weight of the norm regulariser" },
  { name: "entropy", type: "number", least: 0, help: "weight of the entropy regulariser; default 0" },
  { name: "seed", type: "integer", least: 0, help: "of data, initial values and order; default 0" },
  { name: "seeds", type: "integer", least: 1, help: "how many, from --seed on; default 1" },
  { name: "no-compare", type: "switch", help: "train the learned network only" },
  ...DEVICE_FLAGS,
  { name: "report", type: "text", value: "file", help: "where the page is written; default report/index.html" },
  { name: "svg", type: "text", value: "folder", help: "where its pictures are written as SVG files too; default nowhere" },
  { name: "json", type: "switch", help: "end with one line of JSON on standard output, and nothing else there" },
  { name: "help", type: "switch", help: "this text" },
];

/** Where an option stands in a configuration. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  task: ["data", "symmetry"],
  size: ["data", "size"],
  prototypes: ["data", "prototypes"],
  noise: ["data", "noise"],
  data: ["data", "folder"],
  format: ["data", "format"],
  transform: ["data", "transform"],
  train: ["data", "train"],
  "held-out": ["data", "heldOut"],
  width: ["network", "width"],
  "kernel-size": ["network", "kernelSize"],
  layers: ["network", "layers"],
  pool: ["network", "pool"],
  elements: ["network", "elements"],
  iterations: ["network", "iterations"],
  epochs: ["training", "epochs"],
  steps: ["training", "steps"],
  warmup: ["training", "warmup"],
  "batch-size": ["training", "batchSize"],
  lr: ["training", "learningRate"],
  "matrix-lr": ["training", "matrixLearningRate"],
  "head-lr": ["training", "headLearningRate"],
  norm: ["training", "norm"],
  entropy: ["training", "entropy"],
};

/** Options that mean something for one kind of data only. */
const ONLY: Readonly<Record<DataSettings["kind"], readonly string[]>> = {
  generated: ["task", "size", "prototypes", "noise"],
  images: ["generated", "format", "transform", "train", "held-out", "width", "kernel-size", "layers", "pool", "head-lr"],
};

/** What is run without a configuration file. */
const standard = (images: boolean): unknown => ({
  name: images ? "images" : "planted",
  data: images ? { kind: "images", folder: "." } : { kind: "generated" },
  networks: [
    { kind: "learned", name: "weight sharing, learned" },
    { kind: "plain", name: images ? "plain CNN" : "no sharing" },
    { kind: "fixed", name: "group given" },
  ],
  seeds: [0],
});

type Fields = { [name: string]: unknown };

/** The configuration of a file, or the standard one, with what the options say in place of what it says. */
const makeConfiguration = (flags: Flags): Configuration => {
  const path = flags.text("config");
  const value = structuredClone(path === undefined ? standard(flags.text("data") !== undefined || flags.has("generated")) : readConfiguration(path));
  const where = path ?? WHERE;
  // What options change must be there to be changed.
  const { data } = path === undefined ? (value as Configuration) : checkConfiguration(value, where);
  const fields = value as Fields;
  const other = data.kind === "images" ? "generated" : "images";
  for (const name of path !== undefined && other === "images" ? [...ONLY.images, "data"] : ONLY[other]) {
    if (flags.text(name) === undefined) continue;
    const alone = other === "images" ? "together with" : "without";
    throw new ArgumentError(`${WHERE}: expected --${name} ${alone} \`--data\`, but received it ${other === "images" ? "alone" : "with it"}`);
  }
  for (const [name, [section, field]] of Object.entries(FIELDS)) {
    if (flags.text(name) === undefined) continue;
    const text = ["task", "data", "format", "transform"].includes(name);
    fields[section] = { ...(fields[section] as Fields | undefined), [field]: text ? flags.text(name) : flags.number(name) };
    // Passes and steps exclude each other: the option counts.
    if (name === "epochs") delete (fields.training as Fields).steps;
  }
  if (flags.has("generated")) fields.data = { ...(fields.data as Fields), generated: true };
  const [seed, seeds] = [flags.number("seed"), flags.number("seeds")];
  if (seed !== undefined || seeds !== undefined) fields.seeds = { from: seed ?? 0, count: seeds ?? 1 };
  const list = fields.networks as readonly { readonly kind: NetworkKind; readonly name?: string }[];
  const wanted = flags.list("networks");
  const unknown = wanted.find((name) => !list.some((network) => (network.name ?? network.kind) === name));
  if (unknown !== undefined)
    throw expected(WHERE, `one of ${list.map(({ name, kind }) => describe(name ?? kind)).join(", ")}`, "--networks", unknown);
  const alone = (name: string): boolean => wanted.length === 0 || wanted.includes(name);
  fields.networks = list.filter(({ kind, name }) => (kind === "learned" || !flags.has("no-compare")) && alone(name ?? kind));
  return withoutUnplanted(checkConfiguration(fields, where), path === undefined);
};

/** Whether the data plant a group that a fixed network can be given. */
const plantsGroup = ({ data, network }: Configuration): boolean => {
  if (data.kind === "generated")
    return plantedTask(data.symmetry, { prototypes: 1, ...(data.size !== undefined && { size: data.size }) }).group !== undefined;
  const set = plantedSet(data.transform, network?.kernelSize ?? 5);
  return set !== undefined && (network?.elements ?? set.elements.length) === set.elements.length;
};

/** The standard job has a fixed network where there is a group for it. */
const withoutUnplanted = (configuration: Configuration, standardJob: boolean): Configuration =>
  !standardJob || plantsGroup(configuration)
    ? configuration
    : { ...configuration, networks: configuration.networks.filter(({ kind }) => kind !== "fixed") };

const percent = (share: number | undefined): string => (share === undefined ? "–" : `${(100 * share).toFixed(1)} %`);

const facts = ({ network, seed, loss, accuracy, agreement }: Progress, several: boolean): string =>
  `${several ? `seed ${seed} · ` : ""}${network} · loss ${loss.toPrecision(3)} · accuracy ${percent(accuracy)}${agreement === undefined ? "" : ` · agreement ${percent(agreement)}`}`;

/** What became of each matrix of the learned network that the report shows. */
const matrices = ({ layers, equivariance }: RunResult): string[] => [
  ...layers.flatMap((layer) => {
    const { name, planted, result, closure, group, match, consistency } = layer;
    const known = (group ? groupFacts(group) : []).map(([fact, value]) => `${fact}: ${value}`);
    return [
      "",
      `${name}: closure error ${closure.mean.toFixed(3)}; nearest permutations ${groupText(layer)}`,
      ...known.map((line) => `  ${line}`),
      ...(match ? [`  ${relationText(match)}`] : []),
      ...(consistency ? [`  ${consistency.consistent ? "" : "not "}consistent with the lifting layer`] : []),
      ...result.elements.map(({ index, planted: partner, correct, agreement: share, relativeEntropy, distance }) => {
        const label = partner === undefined ? "nothing planted" : (planted?.labels[partner] ?? `element ${partner}`);
        return `  ${index === 0 ? "identity" : `matrix ${index}`.padEnd(8)} ~ ${label.padEnd(12)} ${correct ? "found " : "      "} agreement ${percent(share).padStart(7)}  entropy ${Number.isNaN(relativeEntropy) ? "    –" : relativeEntropy.toFixed(3)}  distance ${distance.toFixed(2)}`;
      }),
    ];
  }),
  ...(equivariance?.length ? ["", "Equivariance errors behind each layer, and of the answers:"] : []),
  ...(equivariance ?? []).map(
    (row) => `  ${`${row.degrees}°`.padStart(4)}  ${[...row.layers, row.network].map((error) => error.toExponential(1).padStart(8)).join("")}`,
  ),
];

/** What a person reads at the end. */
const summary = ({ report, shown, records, runs, summary: networks }: DiscoverResult): string => {
  const lines = shown ? matrices(shown) : [];
  lines.push("", ...(networks.length > 0 ? networkTable(networks) : comparisonTable(report.comparison)), "", ...report.notes);
  if (runs > records.length && runs > 1) lines.push(`${records.length} of ${runs} runs are finished.`);
  const { agreement, recovered } = shown?.finding ?? {};
  if (agreement !== undefined && networks.every(({ seeds }) => seeds === 1)) {
    lines.push(
      recovered
        ? "The planted symmetry was recovered exactly: every matrix's nearest permutation is the planted one."
        : `The planted symmetry was not recovered exactly; agreement ${percent(agreement)}.`,
    );
  }
  return `${lines.join("\n")}\n`;
};

/** Beside known groups and other layers, in plain lists. */
const knownJson = ({ match, coefficients, consistency }: Pick<LayerReport, "match" | "coefficients" | "consistency">): object => ({
  ...(match && {
    match: {
      group: match.group.name,
      relation: match.relation,
      labels: match.labels.map((label) => (label === undefined ? null : match.group.labels[label])),
      missing: match.missing.map((label) => match.group.labels[label]),
      seenFrom: match.symmetries?.labels[match.symmetry],
    },
  }),
  ...(coefficients && {
    coefficients: {
      of: coefficients.name,
      labels: coefficients.labels,
      // [g, labels]
      values: Array.from(coefficients.fit.coefficients, (value) => Number(value.toPrecision(6))),
      distances: Array.from(coefficients.fit.distances),
      unique: coefficients.fit.unique,
    },
  }),
  ...(consistency && { consistency }),
});

const jsonOf = (
  device: Device,
  configuration: Configuration,
  { report, shown, records, summary: networks, interrupted }: DiscoverResult,
  path: string,
): unknown => ({
  experiment: configuration.name,
  task: report.task.name,
  device: device.kind,
  ...shown?.finding,
  interrupted,
  networks: report.comparison,
  ...(shown && {
    layers: shown.layers.map(({ name, result: { elements, meanAgreement, recovered: all }, closure, group, ...known }) => ({
      name,
      agreement: meanAgreement,
      recovered: all,
      closure: closure.mean,
      // Whether the nearest permutations are themselves the group that they generate.
      closed: closure.table !== undefined,
      // Orders may be beyond what a JSON number holds.
      group: group && {
        name: group.name ?? null,
        description: group.description,
        evidence: group.evidence,
        // Row n of an element has its 1 in column p[n].
        witnesses: group.witnesses.map((p) => Array.from(p)),
        order: `${group.order}`,
        exact: group.exact,
        abelian: group.abelian,
        elementOrders: group.elementOrders,
        invariantFactors: group.invariantFactors,
        orbits: group.orbits,
      },
      elements: elements.map(({ nearest: _, ...facts }) => facts),
      ...knownJson(known),
    })),
    equivariance: shown.equivariance,
  }),
  losses: shown?.losses ?? [],
  summary: networks,
  runs: records,
  report: path,
});

/** For people and for results that are compared later: no names of hosts. */
const processor = (): string => `${cpus().length} cores of ${cpus()[0]?.model.trim() ?? "an unknown processor"}, Node ${process.versions.node}`;

/** Where finished runs are kept: beside the configuration, in `results`. */
const resultsPath = (flags: Flags, configuration: Configuration): string | undefined => {
  const [config, results] = [flags.text("config"), flags.text("results")];
  return results ?? (config === undefined ? undefined : join(dirname(config), "results", `${configuration.name}.jsonl`));
};

/** What the page lists: the standard job's one training, or the experiment's. */
const shownSettings = (configuration: Configuration): Record<string, string | number | boolean> => {
  const [{ training }] = runsOf(configuration);
  const shown = Object.fromEntries(
    Object.entries(training).map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : value]),
  );
  const { seeds } = configuration;
  return {
    experiment: configuration.name,
    ...shown,
    seeds: Array.isArray(seeds) ? seeds.join(", ") : `${seeds.from} to ${seeds.from + seeds.count - 1}`,
  };
};

/** See FLAGS. Ends with exit code 0 also when it was interrupted: the report is written all the same. */
export const discoverCommand = async (args: readonly string[]): Promise<number> => {
  const flags = parseFlags("discover", FLAGS, args);
  if (flags.has("help")) {
    process.stdout.write(`birkhoff discover\n\n${describeFlags(FLAGS)}\n`);
    return 0;
  }
  const path = flags.text("report") ?? "report/index.html";
  const pictures = flags.text("svg");
  const configuration = makeConfiguration(flags);
  const results = resultsPath(flags, configuration);
  const command = `${WHERE} ${flags.given()}`.trimEnd();
  // What results say of a run is what decides about it, not where somebody's output went.
  const decisive = `${WHERE} ${flags.given(["json", "report", "svg", "results"])}`.trimEnd();
  const steps = flags.number("checkpoint-steps");
  const several = new Set(runsOf(configuration).map(({ seed }) => seed)).size > 1;
  return runJob(flags, {
    path,
    run: ({ device, machine, say, progress, signal }) =>
      discover(device, configuration, {
        ...(results !== undefined && { results }),
        ...(steps !== undefined && { every: { steps } }),
        provenance: { machine: processor(), command: decisive, device: device.kind },
        onStart: ({ name, description }) => say(`${name} on ${machine}\n${description}\n`),
        onProgress: (now) => progress({ ...now, facts: facts(now, several) }),
        signal,
      }),
    summary,
    json: (result, { device }) => jsonOf(device, configuration, result, path),
    writePage: ({ report }, { machine, date, say }) => {
      const page = {
        ...report,
        title: `What the network found: ${report.task.name}`,
        command,
        device: machine,
        date,
        settings: shownSettings(configuration),
      };
      writeReport(path, page);
      if (pictures !== undefined) say(`Pictures: ${writePictures(pictures, page).length} in ${pictures}\n`);
    },
  });
};
