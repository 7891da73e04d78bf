/**
 * The README's tables of speeds, out of what `birkhoff bench --all` kept in bench/results: no figure in them is typed. Checks that they are what the files say;
 * `npm run speed` writes them anew.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { limitOf } from "../bench/harness/report.ts";
import { isMeasured, type Kept, readResults, sourcesOf } from "../bench/harness/results.ts";
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

const digits = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(2));
const distinct = (items: readonly string[]): string[] => [...new Set(items)];

const rowOf = (line: Kept): string => {
  if (!isMeasured(line)) return `| ${line.case} | refused | | | | |`;
  const { medianMs, rivals, ratioToNaive, dispatches } = line;
  const rival = rivals[RIVAL] === undefined ? "" : digits(rivals[RIVAL]);
  return `| ${line.case} | ${digits(medianMs)} | ${rival} | ${digits(ratioToNaive)} | ${limitOf(line)} | ${dispatches} |`;
};

const CASES = benches.flatMap(({ cases }) => cases.map(({ name }) => name));

const tableOf = ({ file, device, variant }: (typeof SHOWN)[number]): { readonly text: string; readonly rows: number } => {
  const sources = sourcesOf(new Map([[file, readResults(join(ROOT, file))]]), CASES);
  const source = sources.find((one) => one.device === device && one.variant.startsWith(variant));
  // What is no case any more is left out.
  const lines = source?.lines.filter((line) => line.pass !== "forward" && CASES.includes(line.case)) ?? [];
  if (!source || lines.length === 0) throw new Error(`${file} holds no pass with gradients on ${device}`);
  const facts = distinct([
    ...(source.variant === "" ? [] : [source.variant]),
    ...lines.map(({ node }) => `Node ${node.slice(1)}`),
    ...lines.flatMap(({ versions }) => versions?.[RIVAL] ?? []),
    ...lines.map(({ commit, date }) => `commit ${commit} on ${date.slice(0, 10)}`),
  ]);
  const text = [
    `\`${device}\` on ${source.machine} (${facts.join("; ")}); out of [${file}](${file}).`,
    "",
    "| case | ms | PyTorch | naive | of the limit | dispatches |",
    "|---|--:|--:|--:|---|--:|",
    ...lines.map(rowOf),
  ];
  return { text: text.join("\n"), rows: lines.length };
};

const tables = SHOWN.map(tableOf);
const block = [
  BEGIN,
  "Forward and backward (of training the loss and AdamW too), from `birkhoff bench --all` ([bench/README.md](bench/README.md)): times as fast as PyTorch eager on the same device and as the same out of elementary ops, above 1 ours is faster; what of the limit that was measured beside it the case uses, by the operations of its definition (above 100 %: Winograd's method does with fewer); and dispatches of a step, on `native` kernel calls.",
  ...tables.map(({ text }) => `\n${text}`),
  END,
].join("\n");

const file = join(ROOT, "README.md");
const text = readFileSync(file, "utf8");
const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
if (from < 0 || to < from) throw new Error(`README.md: expected the lines ${BEGIN} and ${END}`);
const wanted = text.slice(0, from) + block + text.slice(to + END.length);
if (process.argv.includes("--write")) writeFileSync(file, wanted);
else if (wanted !== text) {
  console.error("README.md: its tables of speeds are not what bench/results says: npm run speed");
  process.exitCode = 1;
}
console.log(`${tables.reduce((sum, { rows }) => sum + rows, 0)} rows of speeds`);
