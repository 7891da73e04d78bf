/**
 * The tables of speeds in the README and in the rooms' READMEs, out of what `birkhoff bench --all` kept in bench/results: no figure in them is typed. Checks that they are what the files say;
 * `npm run speed` writes them anew.
 *
 * In a room's README a table stands between `<!-- speed: <bench>, <how the variant begins> -->` and `<!-- end of speed -->`.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { limitOf } from "../bench/harness/report.ts";
import { isMeasured, type Kept, readResults, type Source, sourcesOf } from "../bench/harness/results.ts";
import { RIVALS } from "../bench/harness/rival.ts";
import { benches } from "../bench/index.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** What the README shows: devices in files of machines, by how their variants begin. */
const SHOWN = [
  { file: "bench/results/amd-epyc-2-cores-linux-x64.jsonl", device: "native", variant: "AVX-512" },
  { file: "bench/results/nvidia-h200.jsonl", device: "webgpu", variant: "" },
] as const;
/** The rival that everybody knows. */
const RIVAL = "torch";
const [BEGIN, END] = ["<!-- speed: written by npm run speed -->", "<!-- end of speed -->"];
const ROOMS = "src/ops";
const ROOM_TABLE = /<!-- speed: (\w+), ([^>]+) -->\n[\s\S]*?<!-- end of speed -->/g;

const digits = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(2));
const distinct = (items: readonly string[]): string[] => [...new Set(items)];

const rowOf = (line: Kept): string => {
  if (!isMeasured(line)) return `| ${line.case} | refused | | | | |`;
  const { medianMs, rivals, ratioToNaive, dispatches } = line;
  const rival = rivals[RIVAL] === undefined ? "" : digits(rivals[RIVAL]);
  return `| ${line.case} | ${digits(medianMs)} | ${rival} | ${digits(ratioToNaive)} | ${limitOf(line)} | ${dispatches} |`;
};

const CASES = benches.flatMap(({ cases }) => cases.map(({ name }) => name));

interface Table {
  readonly text: string;
  readonly rows: number;
}

/** Newest lines of what is still a case, on a device whose variant begins so. */
const linesOf = (file: string, device: string, variant: string): { readonly source: Source; readonly lines: readonly Kept[] } => {
  const sources = sourcesOf(new Map([[file, readResults(join(ROOT, file))]]), CASES);
  const source = sources.find((one) => one.device === device && one.variant.startsWith(variant));
  if (!source) throw new Error(`${file} holds nothing of ${device} ${variant}`);
  return { source, lines: source.lines.filter((line) => CASES.includes(line.case)) };
};

const captionOf = ({ device, machine, variant }: Source, lines: readonly Kept[], rivals: readonly string[], link: string): string => {
  const facts = distinct([
    ...(variant === "" ? [] : [variant]),
    ...lines.map(({ node }) => `Node ${node.slice(1)}`),
    ...lines.flatMap(({ versions }) => rivals.flatMap((name) => versions?.[name] ?? [])),
    ...lines.map(({ commit, date }) => `commit ${commit} on ${date.slice(0, 10)}`),
  ]);
  return `\`${device}\` on ${machine} (${facts.join("; ")}); out of ${link}.`;
};

const tableOf = ({ file, device, variant }: (typeof SHOWN)[number]): Table => {
  const { source, lines: all } = linesOf(file, device, variant);
  const lines = all.filter((line) => line.pass !== "forward");
  if (lines.length === 0) throw new Error(`${file} holds no pass with gradients on ${device}`);
  const text = [
    captionOf(source, lines, [RIVAL], `[${file}](${file})`),
    "",
    "| case | ms | PyTorch | naive | of the limit | dispatches |",
    "|---|--:|--:|--:|---|--:|",
    ...lines.map(rowOf),
  ];
  return { text: text.join("\n"), rows: lines.length };
};

/** A case's cells of one pass: blank where it has none. */
const cellsOf = (line: Kept | undefined, rivals: readonly string[], threads: boolean): string[] => {
  if (!line || !isMeasured(line)) return [line ? "refused" : "", ...new Array<string>(2 + rivals.length + Number(threads)).fill("")];
  const ratios = rivals.map((name) => (line.rivals[name] === undefined ? "" : digits(line.rivals[name])));
  return [
    digits(line.medianMs),
    limitOf(line),
    ...(threads ? [line.scaling === null ? "" : digits(line.scaling)] : []),
    digits(line.ratioToNaive),
    ...ratios,
  ];
};

/** All cases of a bench, both passes in a row. */
const roomTable = (bench: string, variant: string, depth: string): Table => {
  const [{ file, device }] = SHOWN;
  const { source, lines: all } = linesOf(file, device, variant);
  const lines = all.filter((line) => line.bench === bench);
  if (lines.length === 0) throw new Error(`${file} holds nothing of the bench ${bench} on ${variant}`);
  const measured = lines.filter(isMeasured);
  const rivalsOf = (some: typeof measured): string[] =>
    RIVALS.map(({ name }) => name).filter((name) => some.some(({ rivals }) => rivals[name] !== undefined));
  const halves = [measured.filter(({ pass }) => pass === "forward"), measured.filter(({ pass }) => pass !== "forward")].map((some) => ({
    rivals: rivalsOf(some),
    threads: some.some(({ scaling }) => scaling !== null),
  }));
  const names = ["forward, ms", "with gradients, ms"];
  const columns = halves.flatMap(({ rivals, threads }, i) => [names[i], "of the limit", ...(threads ? ["of one thread"] : []), "naive", ...rivals]);
  const rows = distinct(lines.map((line) => line.case)).map((name) => {
    const [forward, backward] = [(pass: string) => pass === "forward", (pass: string) => pass !== "forward"].map((wanted) =>
      lines.find((line) => line.case === name && wanted(line.pass)),
    );
    const cells = [forward, backward].flatMap((line, i) => cellsOf(line, halves[i].rivals, halves[i].threads));
    return `| ${[name, ...cells].join(" | ")} |`;
  });
  const text = [
    captionOf(source, lines, distinct(halves.flatMap(({ rivals }) => rivals)), `[bench/results](${depth}${file})`),
    "",
    `| ${["case", ...columns].join(" | ")} |`,
    `|---|${columns.map((name) => (name === "of the limit" ? "---|" : "--:|")).join("")}`,
    ...rows,
  ];
  return { text: text.join("\n"), rows: rows.length };
};

let shown = 0;
/** What a file should say, written or held against what it says. */
const settle = (path: string, wanted: string): void => {
  const file = join(ROOT, path);
  if (wanted === readFileSync(file, "utf8")) return;
  if (process.argv.includes("--write")) writeFileSync(file, wanted);
  else {
    console.error(`${path}: its tables of speeds are not what bench/results says: npm run speed`);
    process.exitCode = 1;
  }
};

const tables = SHOWN.map(tableOf);
const block = [
  BEGIN,
  "Forward and backward (of training the loss and AdamW too), from `birkhoff bench --all` ([bench/README.md](bench/README.md)): times as fast as PyTorch eager on the same device and as the same out of elementary ops, above 1 ours is faster; what of the limit that was measured beside it the case uses, by the operations of its definition (above 100 %: Winograd's method does with fewer); and dispatches of a step, on `native` kernel calls.",
  ...tables.map(({ text }) => `\n${text}`),
  END,
].join("\n");
shown += tables.reduce((sum, { rows }) => sum + rows, 0);

const readme = readFileSync(join(ROOT, "README.md"), "utf8");
const [from, to] = [readme.indexOf(BEGIN), readme.indexOf(END)];
if (from < 0 || to < from) throw new Error(`README.md: expected the lines ${BEGIN} and ${END}`);
settle("README.md", readme.slice(0, from) + block + readme.slice(to + END.length));

for (const path of readdirSync(join(ROOT, ROOMS))
  .map((room) => `${ROOMS}/${room}/README.md`)
  .filter((path) => existsSync(join(ROOT, path)))) {
  const wanted = readFileSync(join(ROOT, path), "utf8").replace(ROOM_TABLE, (_, bench: string, variant: string) => {
    const { text, rows } = roomTable(bench, variant, "../../../");
    shown += rows;
    return `<!-- speed: ${bench}, ${variant} -->\n${text}\n${END}`;
  });
  settle(path, wanted);
}
console.log(`${shown} rows of speeds`);
