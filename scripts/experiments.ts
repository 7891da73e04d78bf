/**
 * Writes the tables of docs/experiments.md and of README.md from experiments/results: `npx tsx scripts/experiments.ts`. A table stands between `<!-- toys: names -->`, `<!-- networks: names -->`,
 * `<!-- accuracies: names -->`, `<!-- differences: network, names -->`, `<!-- costs: names -->` or `<!-- outcomes: names -->` and `<!-- end -->`; names are those of experiments. With `--pictures` it makes the pictures of docs/images/experiments too,
 * with names behind it only these.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { networkRows, percent } from "../src/cli/discoverTable.ts";
import { IMAGE_FORMATS } from "../src/data/generatedImages.ts";
import { type Configuration, checkConfiguration, readConfiguration, runsOf } from "../src/discover/configuration.ts";
import { type RunRecord, readResults, recordsOf, summarise } from "../src/discover/results.ts";
import { openDevice } from "../src/open.ts";
import { points, probability } from "../src/report/stitch.ts";
import { writePictures } from "./experiment-pictures.ts";

const ROOT = join(fileURLToPath(import.meta.url), "../..");
export const PAGE = join(ROOT, "docs/experiments.md");
export const PAGES: readonly string[] = [PAGE, join(ROOT, "README.md")];

interface Done {
  readonly configuration: Configuration;
  readonly records: readonly RunRecord[];
}

/** The runs of an experiment with the settings that its file has now. */
const load = (name: string): Done => {
  const path = join(ROOT, "experiments", `${name}.json`);
  const configuration = checkConfiguration(readConfiguration(path), path);
  const records = recordsOf(runsOf(configuration), readResults(join(ROOT, "experiments/results", `${name}.jsonl`)));
  return { configuration, records: records.filter((record) => record !== undefined) };
};

const table = ([heads, ...rows]: readonly (readonly string[])[]): string =>
  [heads, heads.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

const namesOf = ({ networks }: Configuration): string[] => networks.map(({ name, kind }) => name ?? kind);

/** "C8 × 30", the most frequent first. */
const counted = (names: readonly string[]): string => {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} × ${count}`)
    .join(", ");
};

/** When, where and by which commands. */
const provenance = (records: readonly RunRecord[]): string => {
  const commands = new Map<string, Set<string>>();
  for (const { date, device, machine, command } of records) {
    const place = `${date.slice(0, 10)}, ${device} on ${machine}`;
    commands.set(place, (commands.get(place) ?? new Set()).add(`\`${command}\``));
  }
  return [...commands].map(([place, list]) => `${place}: ${[...list].join(", ")}.`).join("\n");
};

/** One row per experiment with one learned network. */
const toys = (names: readonly string[]): string => {
  const rows = names.map((name) => {
    const { configuration, records } = load(name);
    const [{ measures, seeds, recovered }] = summarise(records);
    const [first] = records.map(({ layers }) => layers?.[0]);
    const least = (measure: "own" | "taking"): string =>
      percent(Math.min(...records.map(({ layers }) => layers?.[0]?.coefficients?.[measure] ?? Number.NaN)));
    const whole = recovered !== undefined;
    return [
      `\`${name}\``,
      configuration.about ?? "",
      `${seeds}`,
      whole ? `${recovered}` : "–",
      whole ? counted(records.map(({ layers }) => layers?.[0]?.group?.name ?? "unnamed")) : "–",
      counted(records.map(({ layers }) => layers?.[0]?.products ?? "no group")),
      first?.coefficients ? least("own") : "–",
      first?.coefficients ? least("taking") : "–",
      percent(measures.heldOutAccuracy?.mean ?? Number.NaN),
      measures.seconds?.mean.toFixed(1) ?? "–",
    ];
  });
  const heads = ["experiment", "", "seeds", "recovered", "group", "products", "own ≥ %", "taking part ≥ %", "held-out %", "seconds"];
  return `${table([heads, ...rows])}\n\n${provenance(names.flatMap((name) => load(name).records))}`;
};

/** One table per experiment, one row per network, dashes where nothing was run. */
const networks = (names: readonly string[]): string =>
  names
    .map((name) => {
      const { configuration, records } = load(name);
      const [heads, ...rows] = networkRows(summarise(records));
      const rest = namesOf(configuration).filter((network) => records.every((record) => record.network !== network));
      const all = [heads, ...rows, ...rest.map((network) => [network, ...heads.slice(1).map(() => "–")])];
      return `**\`${name}\`**: ${configuration.about ?? ""}\n\n${table(all)}\n\n${provenance(records)}`;
    })
    .join("\n\n");

/** Networks by experiments, in the form of the paper's tables: held-out accuracy, the difference to the first network behind it; a dash where nothing was run. */
const accuracies = (names: readonly string[]): string => {
  const done = names.map(load);
  const summaries = done.map(({ records }) => summarise(records));
  const rows = namesOf(done[0].configuration).map((name) => [
    name,
    ...summaries.map((summary) => {
      const own = summary.find(({ network }) => network === name);
      if (!own?.measures.heldOutAccuracy) return "–";
      const { mean, deviation } = own.measures.heldOutAccuracy;
      const spread = own.seeds > 1 ? ` ± ${percent(deviation)}` : "";
      const against = own.differences.heldOutAccuracy;
      const difference = against ? `; ${points(against.mean)}, detectable ${percent(against.detectable)}` : "";
      return `${percent(mean)}${spread} (${own.seeds}${difference})`;
    }),
  ]);
  const longest = done.map(({ records }) => Math.max(0, ...records.map(({ steps, step }) => (steps * (step?.processor ?? 0)) / 1e3)));
  rows.push(["longest run, processor s", ...longest.map((seconds) => (seconds > 0 ? seconds.toFixed(0) : "–"))]);
  const commands = provenance(done.flatMap(({ records }) => records));
  return `${table([["network", ...names.map((name) => `\`${name}\``)], ...rows])}${commands === "" ? "" : `\n\n${commands}`}`;
};

/** The same networks beside one of them: mean difference in points, its interval, p and what the seeds could have shown. */
const differences = ([base, ...names]: readonly string[]): string => {
  const done = names.map(load);
  const summaries = done.map(({ records }) => summarise(records, base));
  const rows = namesOf(done[0].configuration)
    .filter((name) => name !== base)
    .map((name) => [
      name,
      ...summaries.map((summary) => {
        const against = summary.find(({ network }) => network === name)?.differences.heldOutAccuracy;
        if (!against) return "–";
        const [low, high] = against.interval.map(points);
        return `${points(against.mean)} (${low} to ${high}; p ${probability(against.p)}; detectable ${percent(against.detectable)}; ${against.count})`;
      }),
    ]);
  return table([[`minus ${base}`, ...names.map((name) => `\`${name}\``)], ...rows]);
};

/** Of the machine that the steps were run on. */
const CORES = 2;

/** A data-centre GPU to reckon with, NVIDIA's H100 and H200 (SXM): float32 outside of tensor cores, and the memory of the H200. */
const GPU = { operations: 67e12, bytes: 4.8e12 } as const;

/** One row per network: what the steps that were run took, and the whole training at that rate. Of several such runs the one of most steps, and of these the one that took the processor least. */
const costs = (names: readonly string[]): string => {
  const found = names.map((name) => ({ ...load(name), runs: readResults(join(ROOT, "experiments/results", `${name}.jsonl`)) }));
  const rows = found.flatMap(({ configuration: { name, data, networks, training = {} }, runs }) =>
    networks.map(({ name: network = "" }) => {
      const measured = runs.filter((run) => run.network === network && run.step);
      const [best] = measured.sort((a, b) => b.steps - a.steps || (a.step?.processor ?? 0) - (b.step?.processor ?? 0));
      if (!best?.step || data.kind !== "images") return [`\`${name}\``, network, ...Array.from({ length: 11 }, () => "–")];
      const { operations, bytes, memory, milliseconds, processor } = best.step;
      const images = IMAGE_FORMATS[data.format ?? "idx"].training;
      const steps = (training.epochs ?? 1) * Math.floor(images / (training.batchSize ?? 1));
      const hours = (seconds: number): string => ((steps * seconds) / 3600).toPrecision(2);
      return [
        `\`${name}\``,
        network,
        `${best.parameters}`,
        (operations / 1e9).toFixed(0),
        (bytes / 1e9).toFixed(1),
        (memory / 1e9).toFixed(2),
        `${best.steps}`,
        (milliseconds / 1e3).toPrecision(3),
        (processor / 1e3).toPrecision(3),
        `${steps}`,
        ((steps * operations) / 1e15).toPrecision(3),
        hours(processor / 1e3 / CORES),
        hours(Math.max(operations / GPU.operations, bytes / GPU.bytes)),
      ];
    }),
  );
  const heads = [
    "",
    "network",
    "parameters",
    "GFLOP a step",
    "GB moved",
    "GB held",
    "steps run",
    "s a step",
    "processor s",
    "steps in all",
    "PFLOP",
    "h here",
    "h at a GPU's peak",
  ];
  return `${table([heads, ...rows])}\n\n${provenance(found.flatMap(({ runs }) => runs.filter(({ step }) => step)))}`;
};

/** One row per experiment, for who wants to know what came of it and no more. */
const outcomes = (names: readonly string[]): string => {
  const done = names.map(load);
  const rows = done.map(({ configuration, records }, i) => {
    const summaries = summarise(records);
    const whole = summaries.filter(({ recovered }) => recovered !== undefined);
    const seconds = Math.max(0, ...summaries.map(({ measures }) => measures.seconds?.mean ?? 0));
    return [
      `\`${names[i]}\``,
      configuration.about ?? "",
      `${Math.max(0, ...summaries.map(({ seeds }) => seeds))}`,
      whole.map(({ recovered, seeds }) => `${recovered} of ${seeds}`).join(", ") || "–",
      summaries.map(({ network, measures }) => `${network} ${percent(measures.heldOutAccuracy?.mean ?? Number.NaN)}`).join(", "),
      seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0),
    ];
  });
  const heads = ["experiment", "", "seeds", "recovered and named", "held-out %, means", "s a run"];
  const records = done.flatMap((one) => one.records);
  const days = records.map(({ date }) => date.slice(0, 10)).sort();
  const places = [...new Set(records.map(({ device, machine }) => `${device} on ${machine}`))];
  return `${table([heads, ...rows])}\n\n${places.join("; ")}, ${[...new Set([days[0], days[days.length - 1]])].join(" to ")}, by \`birkhoff discover --config experiments/<experiment>.json\`.`;
};

const KINDS: Readonly<Record<string, (names: readonly string[]) => string>> = { toys, networks, accuracies, differences, costs, outcomes };

/** A page with its tables as the results have them. */
export const withTables = (page: string): string =>
  page.replace(/(<!-- (\w+): ([^>]*?) -->)\n.*?(<!-- end -->)/gs, (_, head: string, kind: string, names: string, end: string) => {
    if (!KINDS[kind]) throw new Error(`experiments: expected one of ${Object.keys(KINDS).join(", ")} for a table, but received ${kind}`);
    return `${head}\n\n${KINDS[kind](names.split(/,\s*/))}\n\n${end}`;
  });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const page of PAGES) writeFileSync(page, withTables(readFileSync(page, "utf8")));
  const [flag, ...names] = process.argv.slice(2);
  if (flag === "--pictures") {
    await using device = await openDevice({ device: "native" });
    await writePictures(device, names);
  } else if (flag !== undefined) throw new Error(`experiments: expected --pictures, but received ${flag}`);
}
