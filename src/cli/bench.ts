/** `birkhoff bench`: chooses cases, devices and rivals, and prints or keeps what the harness measured. */
import { loadavg } from "node:os";
import { join } from "node:path";
import type { Bench } from "../../bench/harness/bench.ts";
import { renderBenchPage } from "../../bench/harness/page.ts";
import { slugOf } from "../../bench/harness/provenance.ts";
import { headline, textOf } from "../../bench/harness/report.ts";
import { appendResults, isMeasured, type Kept, readResults, sourcesOf } from "../../bench/harness/results.ts";
import { RIVALS } from "../../bench/harness/rival.ts";
import { benches } from "../../bench/index.ts";
import { expected } from "../errors.ts";
import { writePage } from "../report/write.ts";
import { DEVICE_FLAGS, describeFlags, type Flag, type Flags, parseFlags } from "./args.ts";
import { openSession, ROUNDS, remaining, type Session } from "./benchRun.ts";
import { interruption } from "./interrupt.ts";
import { progressDisplay } from "./progress.ts";

const NONE = "none";
const PAGE = "report/bench.html";

const [DEVICE, THREADS] = DEVICE_FLAGS;
const FLAGS: readonly Flag[] = [
  { name: "all", type: "switch", help: "keep what is measured: a line each in --out, a page in --report. Goes on where it was interrupted" },
  { name: "out", type: "text", value: "file", help: "with --all: where results are added; default bench/results/<machine>.jsonl" },
  { name: "fresh", type: "switch", help: "with --all: also what --out holds already, of the same code under the same conditions" },
  { name: "from", type: "text", value: "files", help: "measure nothing: the page of these results, separated by commas, compared" },
  { name: "report", type: "text", value: "file", help: `with --all or --from: where the page is written; default ${PAGE}` },
  { name: "list", type: "switch", help: "the benches and their cases" },
  { name: "case", type: "text", value: "text", help: "only cases whose name holds this" },
  { ...DEVICE, help: "device; default: a hardware GPU where there is one, and native. One of" },
  { ...THREADS, help: "threads of the native device and of rivals; default all cores" },
  { name: "rounds", type: "integer", least: 1, help: `samples of every side, taken in turns; default ${ROUNDS}` },
  { name: "rivals", type: "text", value: "names", help: `comma-separated, or ${NONE}; default ${RIVALS.map(({ name }) => name).join(",")}` },
  { name: "json", type: "switch", help: "one JSON line per case and pass instead of text" },
  { name: "help", type: "switch", help: "this text" },
];

/** Load of the last minute above which something else is running. */
const BUSY = 0.7;

const where = "birkhoff bench";
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const note = (line: string): void => void process.stderr.write(`${line}\n`);

const chosenBenches = (name: string | undefined): readonly Bench[] => {
  if (name === undefined) return benches;
  const found = benches.filter((bench) => bench.name === name);
  if (found.length === 0) throw expected(where, `one of ${benches.map((bench) => bench.name).join(", ")}`, "name", name);
  return found;
};

const chosenRivals = (list: string | undefined): typeof RIVALS => {
  if (list === undefined) return RIVALS;
  const names = list === NONE ? [] : list.split(",");
  const known = RIVALS.map(({ name }) => name);
  for (const name of names) if (!known.includes(name)) throw expected(where, `${NONE}, or names among ${known.join(", ")},`, "--rivals", name);
  return RIVALS.filter(({ name }) => names.includes(name));
};

const list = (chosen: readonly Bench[], part: string): void => {
  for (const { name, about, cases } of chosen) {
    say(`${name}: ${about}`);
    for (const entry of cases) if (entry.name.includes(part)) say(`  ${entry.name}${entry.only ? `  (${entry.only} only)` : ""}`);
  }
};

/** Flags that say something only beside others. */
const checkFlags = (flags: Flags): void => {
  const [all, from] = [flags.has("all"), flags.text("from")];
  if (all && from !== undefined) throw expected(where, "either --all or --from", "--from", from);
  if (!all && flags.text("out") !== undefined) throw expected(where, "--all beside --out", "--out", flags.text("out"));
  if (!all && flags.has("fresh")) throw expected(where, "--all beside --fresh", "--fresh", "alone");
  if (!all && from === undefined && flags.text("report") !== undefined)
    throw expected(where, "--all or --from beside --report", "--report", flags.text("report"));
};

/** The page of some files; what it says of itself is which command made it. */
const report = (flags: Flags, command: string, files: readonly string[]): void => {
  const path = flags.text("report") ?? PAGE;
  const results = new Map(files.map((file) => [file, readResults(file)]));
  const empty = files.length === 0 ? "" : files.find((file) => results.get(file)?.length === 0);
  if (empty !== undefined) throw expected(where, "files with results", "--from", empty);
  const names = benches.flatMap(({ cases }) => cases.map((entry) => entry.name));
  const sources = sourcesOf(results, names);
  const about = Object.fromEntries(benches.map((bench) => [bench.name, bench.about]));
  writePage(path, renderBenchPage(sources, { about, command, rivals: RIVALS.map(({ name }) => name) }));
  note(`Report: ${path}`);
};

/** What a person should know before the first figure. */
const preface = ({ rivals, rejected }: Session, tell: (line: string) => void): void => {
  for (const reason of rejected) tell(`not ${reason}`);
  for (const { name, description } of rivals.running) tell(`${name}: ${description}`);
  for (const [name, reason] of Object.entries(rivals.absent)) tell(`${name} not raced: ${reason}`);
  const [load] = loadavg();
  if (load > BUSY) tell(`the machine is busy (load ${load.toFixed(1)}): neither times nor shares are to be kept`);
};

const NOTHING_SUITS = `${where}: none of these cases suits this device`;

const print = async (session: Session, json: boolean): Promise<number> => {
  if (!json) {
    preface(session, say);
    say("ratios are theirs over ours: above 1, ours is faster");
  }
  let [ran, refused] = [0, 0];
  const tell = (lines: readonly Kept[]): void => {
    for (const line of lines) say(json ? JSON.stringify(line) : textOf(line));
    ran += lines.length;
    refused += lines.filter((line) => !isMeasured(line)).length;
  };
  for (const task of session.tasks)
    await session.perform(task, tell, { ...(!json && { starts: (peaks) => say(`\n${headline(task.device, peaks)}\n`) }) });
  if (ran === 0) note(NOTHING_SUITS);
  return ran > 0 && refused === 0 ? 0 : 1;
};

const keep = async (session: Session, flags: Flags, command: string): Promise<number> => {
  const out = flags.text("out") ?? join("bench", "results", `${slugOf(session.machine)}.jsonl`);
  // Whether it can be read and written is known before anything is measured.
  const known = readResults(out);
  appendResults(out, []);
  if (session.tasks.every(({ entries }) => entries.length === 0)) {
    note(NOTHING_SUITS);
    return 1;
  }
  preface(session, note);
  const tasks = flags.has("fresh") ? session.tasks : session.tasks.map((task) => remaining(task, known));
  const count = (some: typeof tasks): number => some.reduce((sum, { entries }) => sum + entries.length, 0);
  const [total, spared] = [count(tasks), count(session.tasks) - count(tasks)];
  if (spared > 0) note(`${spared} of ${total + spared} cases are in ${out} already, of this code under these conditions; --fresh measures them too`);
  using interrupted = interruption();
  const display = progressDisplay();
  let [done, refused] = [0, 0];
  const tell = (lines: readonly Kept[]): void => {
    appendResults(out, lines);
    done++;
    for (const line of lines) {
      if (flags.has("json")) say(JSON.stringify(line));
      if (isMeasured(line)) continue;
      refused++;
      note(textOf(line));
    }
  };
  try {
    for (const task of tasks.filter(({ entries }) => entries.length > 0)) {
      const begins = ({ entry }: { readonly entry: { readonly name: string } }): void =>
        display.update({ done, total, facts: `${task.device.kind} · ${entry.name}` });
      await session.perform(task, tell, { begins, signal: interrupted.signal });
    }
  } finally {
    display.stop();
  }
  const ended = interrupted.signal.aborted ? ", then interrupted: the same command goes on from there" : "";
  note(`${done} of ${total} cases measured${refused > 0 ? `, ${refused} passes refused` : ""}${ended}\nResults: ${out}`);
  if (done + spared > 0) report(flags, command, [out]);
  return refused === 0 && done === total ? 0 : 1;
};

/** Exit code 1 when a case was refused, none ran, or a run to be kept was interrupted. */
export const benchCommand = async (args: readonly string[]): Promise<number> => {
  const [first] = args;
  const name = first === undefined || first.startsWith("-") ? undefined : first;
  const flags = parseFlags("bench", FLAGS, name === undefined ? args : args.slice(1));
  if (flags.has("help")) {
    say(`birkhoff bench [name]\n\n${describeFlags(FLAGS)}\n\nWithout a name all benches run. bench/README.md says what the columns mean.`);
    return 0;
  }
  checkFlags(flags);
  const command = [where, ...args].join(" ");
  const from = flags.text("from");
  if (from !== undefined) {
    report(
      flags,
      command,
      from.split(",").filter((path) => path !== ""),
    );
    return 0;
  }
  const chosen = chosenBenches(name);
  const part = flags.text("case") ?? "";
  const entries = chosen.flatMap(({ name: bench, cases }) => cases.filter((entry) => entry.name.includes(part)).map((entry) => ({ bench, entry })));
  if (entries.length === 0) throw expected(where, "part of the name of a case (see --list)", "--case", part);
  const rivals = chosenRivals(flags.text("rivals"));
  if (flags.has("list")) {
    list(chosen, part);
    return 0;
  }
  await using session = await openSession(command, flags, entries, rivals);
  return flags.has("all") ? await keep(session, flags, command) : await print(session, flags.has("json"));
};
