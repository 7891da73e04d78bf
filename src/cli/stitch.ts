import { loadLabels } from "../data/embeddings.ts";
import { expected } from "../errors.ts";
import { summarize } from "../relative/statistics.ts";
import { points, probability, renderStitchReport, shown } from "../report/stitch.ts";
import { writePage } from "../report/write.ts";
import { embeddingData, generatedData, imageData, type StitchData } from "../stitch/data.ts";
import { chosenRungs, MEASURES, meanOf, type StitchProgress, type StitchResult, type StitchSettings, stitch } from "../stitch/index.ts";
import { ladder } from "../stitch/ladder.ts";
import { DEVICE_FLAGS, describeFlags, type Flag, type Flags, parseFlags } from "./args.ts";
import { runJob } from "./job.ts";

const RUNGS = ladder({ shrinkage: 0.1, detachAnchors: false }).map(({ name }) => name);

const FLAGS: readonly Flag[] = [
  { name: "data", type: "text", value: "folder", help: "images: a folder of IDX files (gzip or plain); default generated classes" },
  {
    name: "embeddings",
    type: "text",
    value: "files",
    help: "embeddings of the same things by several encoders, row by row: .npy or .npz files, separated by commas",
  },
  { name: "labels", type: "text", value: "file", help: "their labels: a .npy file of integers; default those of an archive" },
  { name: "rows", type: "integer", least: 1, help: "generated points; default 4000" },
  { name: "train", type: "integer", least: 1, help: "rows to train on; default all that are not held out" },
  { name: "held-out", type: "integer", least: 1, help: "rows held out; default a quarter of them, at most 2000" },
  { name: "ladder", type: "text", value: "names", help: `rungs, separated by commas; default all: ${RUNGS.join(", ")}` },
  { name: "anchors", type: "integer", least: 2, help: "anchors, as many of each class; default 256, of images 512" },
  {
    name: "anchor-rows",
    type: "text",
    value: "file",
    help: "which rows are anchors, the same in all files: a .npy file of integers; they are never held out",
  },
  { name: "latent", type: "integer", least: 1, help: "latents of encoders; default 32, of images 64" },
  { name: "decoder-width", type: "integer", least: 1, help: "hidden units of decoders; default 64" },
  { name: "steps", type: "integer", least: 1, help: "training steps per pair; default 300, of images 400" },
  { name: "samples", type: "integer", least: 1, help: "examples of each class in a batch; default 8" },
  { name: "lr", type: "number", least: 0, help: "learning rate; default 0.003" },
  { name: "shrinkage", type: "number", least: 0, help: "share of the identity in the covariance of whitening; default 0.1" },
  { name: "detach-anchors", type: "switch", help: "anchors are constants to the gradient, as in the papers" },
  { name: "lambda", type: "number", least: 0, help: "weight of the densification loss at the top of its cycles; default 0.02" },
  { name: "pre-beta", type: "number", least: 0, help: "death time that it draws to before the projection; default the mean one of the robust pair" },
  { name: "beta", type: "number", least: 0, help: "and after it" },
  { name: "seeds", type: "integer", least: 1, help: "how many seeds; default 5" },
  { name: "seed", type: "integer", least: 0, help: "the first one; default 0" },
  ...DEVICE_FLAGS,
  { name: "report", type: "text", value: "file", help: "where the page is written; default report/stitch.html" },
  { name: "json", type: "switch", help: "end with one line of JSON on standard output, and nothing else there" },
  { name: "help", type: "switch", help: "this text" },
];

const WHERE = "birkhoff stitch";

const makeData = (flags: Flags): StitchData => {
  const [folder, embeddings, rows] = [flags.text("data"), flags.text("embeddings"), flags.number("rows")];
  if (folder !== undefined && embeddings !== undefined) throw expected(WHERE, "either --data or --embeddings", "--embeddings", embeddings);
  if (embeddings === undefined && flags.text("labels") !== undefined) throw expected(WHERE, "--embeddings beside --labels", "--labels", "alone");
  if (rows !== undefined && (folder ?? embeddings) !== undefined) throw expected(WHERE, "--rows for generated data alone", "--rows", rows);
  if (folder !== undefined) return imageData(folder);
  if (embeddings !== undefined)
    return embeddingData(
      embeddings.split(",").filter((path) => path !== ""),
      flags.text("labels"),
    );
  return generatedData({ seed: flags.number("seed") ?? 0, count: rows ?? 4000 });
};

/** Rows of a file as anchors. */
const anchorRowsOf = (flags: Flags, count: number): Int32Array | undefined => {
  const path = flags.text("anchor-rows");
  if (path === undefined) return undefined;
  if (flags.number("anchors") !== undefined) throw expected(WHERE, "either --anchors or --anchor-rows", "--anchors", flags.number("anchors"));
  const rows = loadLabels(path);
  const wrong = rows.find((row) => row >= count);
  if (wrong !== undefined) throw expected(WHERE, `rows below ${count}`, "--anchor-rows", wrong);
  if (rows.length < 2 || new Set(rows).size < rows.length) throw expected(WHERE, "at least two rows, each once", "--anchor-rows", path);
  return rows;
};

const makeSettings = (data: StitchData, flags: Flags): StitchSettings => {
  const images = flags.text("data") !== undefined;
  const count = data.labels.length;
  const heldOut = flags.number("held-out") ?? Math.max(1, Math.min(2000, Math.floor(count / 4)));
  if (heldOut >= count) throw expected(WHERE, `fewer than the ${count} rows`, "--held-out", heldOut);
  const train = flags.number("train");
  if (train !== undefined && train > count - heldOut) throw expected(WHERE, `at most ${count - heldOut} rows`, "--train", train);
  const anchorRows = anchorRowsOf(flags, count);
  if (anchorRows && heldOut + anchorRows.length >= count) throw expected(WHERE, "more rows than anchors and those held out", "--held-out", heldOut);
  const anchors = anchorRows?.length ?? flags.number("anchors") ?? Math.min(images ? 512 : 256, train ?? count - heldOut);
  if (anchors > (train ?? count - heldOut)) throw expected(WHERE, `at most the ${train ?? count - heldOut} rows to train on`, "--anchors", anchors);
  const [preBeta, beta, shrinkage] = [flags.number("pre-beta"), flags.number("beta"), flags.number("shrinkage") ?? 0.1];
  if (shrinkage > 1) throw expected(WHERE, "at most 1", "--shrinkage", shrinkage);
  return {
    seed: flags.number("seed") ?? 0,
    seeds: flags.number("seeds") ?? 5,
    steps: flags.number("steps") ?? (images ? 400 : 300),
    samples: flags.number("samples") ?? 8,
    learningRate: flags.number("lr") ?? 0.003,
    anchors,
    ...(anchorRows && { anchorRows }),
    latent: flags.number("latent") ?? (images ? 64 : 32),
    decoderWidth: flags.number("decoder-width") ?? 64,
    heldOut,
    ...(train !== undefined && { train }),
    shrinkage,
    detachAnchors: flags.has("detach-anchors"),
    densification: { weight: flags.number("lambda") ?? 0.02, ...(preBeta !== undefined && { preBeta }), ...(beta !== undefined && { beta }) },
    ...(flags.text("ladder") !== undefined && { rungs: (flags.text("ladder") as string).split(",").filter((name) => name !== "") }),
  };
};

const percent = (share: number): string => (100 * share).toFixed(1);

/** What a person reads at the end. */
export const summary = ({ rungs, encoders, seeds }: StitchResult): string => {
  if (seeds === 0) return "Interrupted before the first seed was done.\n";
  const letters = encoders.map((_, i) => String.fromCharCode(97 + (i % 26)));
  const width = Math.max(...encoders.map(({ length }) => length)) + 2;
  const lines = ["", "Encoders in rows, decoders in columns, held-out rows, mean over seeds; on the diagonal they were trained together."];
  for (const result of rungs) {
    lines.push("", `${result.rung.name}: ${result.rung.help}`);
    const heads = MEASURES.map((measure) => measure.padEnd(6 * encoders.length + 2)).join("");
    lines.push(
      `${"".padEnd(width)}   ${heads}`.trimEnd(),
      `${"".padEnd(width)} ${MEASURES.map(() => letters.map((letter) => letter.padStart(6)).join("")).join("  ")}`,
    );
    for (const [e, name] of encoders.entries()) {
      const blocks = MEASURES.map((measure) => encoders.map((_, d) => shown(measure, meanOf(result, e, d, measure)).padStart(6)).join(""));
      lines.push(`${`${letters[e]} ${name}`.padEnd(width)} ${blocks.join("  ")}`);
    }
  }
  lines.push(
    "",
    `${"over seeds".padEnd(11)} ${"own".padStart(11)} ${"stitched".padStart(12)} ${"F1".padStart(6)} ${"MAE".padStart(6)} ${"ratio".padStart(6)}  difference`,
  );
  for (const { rung, own, stitched, ratio, against } of rungs) {
    const spread = ({ mean, deviation, count }: { mean: number; deviation: number; count: number }): string =>
      count > 1 ? `${percent(mean)} ± ${percent(deviation)}` : percent(mean);
    const compared = against
      ? `${points(against.test.mean)} beside ${against.base}, p ${probability(against.test.p)}, detectable ${percent(against.detectable)}`
      : "";
    lines.push(
      `${rung.name.padEnd(11)} ${spread(own.accuracy).padStart(11)} ${spread(stitched.accuracy).padStart(12)} ${percent(stitched.f1.mean).padStart(6)} ${stitched.mae.mean.toFixed(2).padStart(6)} ${ratio.mean.toFixed(3).padStart(6)}  ${compared}`.trimEnd(),
    );
  }
  lines.push("", "Accuracy and F1 in per cent. Differences are of stitched accuracy, in points, paired by seed.");
  return `${lines.join("\n")}\n`;
};

const jsonOf = (data: StitchData, device: string, settings: StitchSettings, result: StitchResult, path: string): unknown => ({
  data: data.name,
  device,
  settings,
  encoders: result.encoders,
  seeds: result.seeds,
  interrupted: result.interrupted,
  ladder: result.rungs.map(({ rung, tables, own, stitched, ratio, against, deaths }) => ({
    name: rung.name,
    own,
    stitched,
    ratio,
    against: against ?? null,
    tables,
    meanDeaths: deaths.pre.length === 0 ? null : { pre: summarize(deaths.pre).mean, post: summarize(deaths.post).mean },
  })),
  report: path,
});

/** See FLAGS. Ends with exit code 0 also when it was interrupted: the report is written all the same. */
export const stitchCommand = async (args: readonly string[]): Promise<number> => {
  const flags = parseFlags("stitch", FLAGS, args);
  if (flags.has("help")) {
    process.stdout.write(`${WHERE}\n\n${describeFlags(FLAGS)}\n`);
    return 0;
  }
  const path = flags.text("report") ?? "report/stitch.html";
  const data = makeData(flags);
  const settings = makeSettings(data, flags);
  // Said before anything is opened.
  chosenRungs(settings, data.frozen);
  return runJob(flags, {
    path,
    run: ({ device, machine, say, progress, signal }) => {
      say(`${data.name} on ${machine}\n${data.description}\n`);
      const onProgress = ({ done, total, what, loss }: StitchProgress): void =>
        progress({ done, total, facts: `${what} · loss ${loss.toPrecision(3)}` });
      return stitch(device, data, settings, onProgress, signal);
    },
    summary,
    json: (result, { device }) => jsonOf(data, device.kind, settings, result, path),
    writePage: (result, { machine, date }) => {
      const { densification, rungs, anchorRows, ...rest } = settings;
      const text = renderStitchReport({
        title: `Encoders and decoders joined: ${data.name}`,
        description: data.description,
        command: [WHERE, ...args].join(" "),
        device: machine,
        date,
        settings: {
          ...rest,
          ...densification,
          ...(anchorRows && { anchorRows: flags.text("anchor-rows") as string }),
          ...(rungs && { ladder: rungs.join(", ") }),
        },
        result,
        classes: data.classes,
      });
      writePage(path, text);
    },
  });
};
