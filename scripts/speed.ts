/**
 * The README's table of speeds, out of what `birkhoff bench --json` kept in bench/results: no figure in it is typed. Checks that it is what the file says;
 * `npm run speed` writes it anew.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Line, Refusal } from "../bench/harness/report.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const RESULTS = "bench/results/native-2026-11-27.jsonl";
/** The rival that everybody knows. */
const RIVAL = "torch";
const [BEGIN, END] = ["<!-- speed: written by npm run speed -->", "<!-- end of speed -->"];

type Kept = Line & { readonly commit: string; readonly date: string; readonly node: string };

const digits = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(2));

const rowOf = ({ case: name, medianMs, rivals, ratioToNaive, share, shareOf }: Kept): string => {
  const limit = share === null ? "" : `${(100 * share).toFixed(0)} % of ${shareOf === "fma" ? "multiply-adds" : "copying"}`;
  return `| ${name} | ${digits(medianMs)} | ${digits(rivals[RIVAL])} | ${digits(ratioToNaive)} | ${limit} |`;
};

const lines = readFileSync(join(ROOT, RESULTS), "utf8")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => JSON.parse(line) as Kept | Refusal);
const shown = lines.filter((line): line is Kept => "medianMs" in line && line.pass === "forward+backward" && line.rivals[RIVAL] !== undefined);
if (shown.length === 0) throw new Error(`${RESULTS} holds no pass with gradients beside ${RIVAL}`);
const [{ description, date, node, commit }] = shown;
const table = [
  BEGIN,
  `Forward and backward on \`native\` (${description}; Node ${node.slice(1)}, commit ${commit}, ${date.slice(0, 10)}); times as fast as PyTorch eager and as the same out of elementary ops, above 1 ours is faster; and what of the limit that was measured beside it the case uses, by the operations of its definition (above 100 %: Winograd's method does with fewer). Out of [${RESULTS}](${RESULTS}).`,
  "",
  "| case | ms | PyTorch | naive | of the limit |",
  "|---|--:|--:|--:|---|",
  ...shown.map(rowOf),
  END,
].join("\n");

const file = join(ROOT, "README.md");
const text = readFileSync(file, "utf8");
const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
if (from < 0 || to < from) throw new Error(`README.md: expected the lines ${BEGIN} and ${END}`);
const wanted = text.slice(0, from) + table + text.slice(to + END.length);
if (process.argv.includes("--write")) writeFileSync(file, wanted);
else if (wanted !== text) {
  console.error(`README.md: its table of speeds is not what ${RESULTS} says: npm run speed`);
  process.exitCode = 1;
}
console.log(`${shown.length} rows of speeds`);
