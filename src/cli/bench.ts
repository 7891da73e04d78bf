/** `birkhoff bench`: chooses cases, devices and rivals, and prints what the harness measured. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, loadavg } from "node:os";
import { join } from "node:path";
import type { Bench, BenchCase } from "../../bench/harness/bench.ts";
import { recording } from "../../bench/harness/ours.ts";
import { higher, measurePeaks, type Peaks } from "../../bench/harness/probe.ts";
import { type Opened, race } from "../../bench/harness/race.ts";
import { headline, lineOf, textOf } from "../../bench/harness/report.ts";
import { packageFolder, RIVALS, Rival, type RivalProgram } from "../../bench/harness/rival.ts";
import { benches } from "../../bench/index.ts";
import { openReference } from "../backends/reference/index.ts";
import type { Device } from "../device.ts";
import { DeviceError, expected } from "../errors.ts";
import { deviceOf, type OpenDeviceOptions, openDevice } from "../open.ts";
import { DEVICE_FLAGS, describeFlags, type Flag, type Flags, parseFlags } from "./args.ts";
import { openOptions } from "./options.ts";

const ROUNDS = 9;
const NONE = "none";

const [DEVICE, THREADS] = DEVICE_FLAGS;
const FLAGS: readonly Flag[] = [
  { name: "list", type: "switch", help: "the benches and their cases" },
  { name: "case", type: "text", value: "text", help: "only cases whose name holds this" },
  { ...DEVICE, help: "device; default: a hardware GPU where there is one, and native. One of" },
  { ...THREADS, help: "threads of the native device and of rivals; default all cores" },
  { name: "rounds", type: "integer", least: 1, help: `samples of every side, taken in turns; default ${ROUNDS}` },
  { name: "rivals", type: "text", value: "names", help: `comma-separated, or ${NONE}; default ${RIVALS.map(({ name }) => name).join(",")}` },
  { name: "json", type: "switch", help: "one JSON line per case and pass instead of text" },
  { name: "help", type: "switch", help: "this text" },
];

/** A sample lasts this long at the least; on a software GPU it is a single step. */
const SAMPLE_MS = 25;
/** Between two turns: pools of threads that spin have gone to sleep by then. */
const PAUSE_MS = 20;
/** Load of the last minute above which something else is running. */
const BUSY = 0.7;
/** Work of a step that a software GPU gets through in a second or so. */
const SOFTWARE_OPERATIONS = 4e7;

const where = "birkhoff bench";
const say = (line: string): void => void process.stdout.write(`${line}\n`);

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

/** The devices to bench, and why others are left out. Cases open their own; these are for what is the same for all cases. */
const openDevices = async (flags: Flags): Promise<{ readonly devices: readonly Device[]; readonly rejected: readonly string[] }> => {
  const options = openOptions(flags);
  const picked = await openDevice(options);
  if (options.device || picked.kind !== "webgpu") return { devices: [picked], rejected: picked.rejected };
  try {
    return { devices: [picked, await openDevice({ ...options, device: "native" })], rejected: [] };
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    return { devices: [picked], rejected: [`native: ${error.message}`] };
  }
};

/** What belongs to a number that is kept: when, of which state of the code, on which Node, and how busy the machine was before. */
const provenance = (): Record<string, string | number> => {
  const folder = packageFolder();
  let { version: commit } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string };
  try {
    const args = ["describe", "--always", "--dirty", "--abbrev=12"];
    commit = execFileSync("git", args, { cwd: folder, stdio: ["ignore", "pipe", "ignore"], encoding: "utf8" }).trim();
  } catch {
    // Installed as a package: its version says which code it is.
  }
  return { commit, date: new Date().toISOString(), node: process.version, load: loadavg()[0] };
};

interface Rivals {
  readonly running: readonly Rival[];
  readonly absent: Readonly<Record<string, string>>;
}

/** Who races this device: those that use what it is; beside a software GPU, those whose work on it can be counted. */
const opposes = ({ on }: RivalProgram, { kind, info: { software } }: Device): boolean =>
  kind === "webgpu" ? on === "gpu" || (on === "any" && !software) : on !== "gpu";

const startRivals = async (flags: Flags, devices: readonly Device[]): Promise<Rivals> => {
  const running: Rival[] = [];
  const absent: Record<string, string> = {};
  for (const program of chosenRivals(flags.text("rivals"))) {
    if (!devices.some((device) => opposes(program, device))) continue;
    try {
      running.push(await Rival.start(program, flags.number("threads") ?? availableParallelism()));
    } catch (error) {
      absent[program.name] = (error as Error).message;
    }
  }
  return { running, absent };
};

const suits = ({ cost, only }: BenchCase, { kind, info: { software } }: Device): boolean => {
  if (kind !== "webgpu") return only === undefined;
  if (!software) return only !== "software GPU";
  return only !== "hardware GPU" && Math.max(...Object.values(cost).map(({ operations }) => operations)) <= SOFTWARE_OPERATIONS;
};

interface Count {
  readonly ran: number;
  readonly refused: number;
}

const benchDevice = async (device: Device, cases: readonly BenchCase[], rivals: Rivals, flags: Flags): Promise<Count> => {
  const json = flags.has("json");
  const origin = provenance();
  const threads = flags.number("threads") ?? availableParallelism();
  const openWith = async (options: OpenDeviceOptions): Promise<Opened> => {
    const backend = recording((await openDevice({ ...openOptions(flags), ...options, device: device.kind })).backend);
    return { device: deviceOf(backend), backend };
  };
  const open = (): Promise<Opened> => openWith({});
  const openAlone = (): Promise<Opened> => openWith({ threads: 1 });
  await using reference = deviceOf(openReference());
  const software = device.info.software && device.kind === "webgpu";
  // A software GPU has no limits of its own.
  const measure = (): Promise<Peaks | undefined> => (software ? Promise.resolve(undefined) : measurePeaks(device));
  let peaks = await measure();
  if (!json) say(`\n${headline(device, peaks)}\n`);
  const raced = (name: string): boolean => RIVALS.some((program) => program.name === name && opposes(program, device));
  const context = {
    kind: device.kind,
    open,
    rivals: rivals.running.filter(({ name }) => raced(name)),
    absent: Object.fromEntries(Object.entries(rivals.absent).filter(([name]) => raced(name))),
    ...(device.kind === "native" && threads > 1 && { openAlone }),
    ...(device.kind !== "reference" && { reference }),
  };
  const options = {
    rounds: flags.number("rounds") ?? ROUNDS,
    sampleMs: software ? 0 : SAMPLE_MS,
    pauseMs: software ? 0 : PAUSE_MS,
    timeRivals: !software,
  };
  let [ran, refused] = [0, 0];
  for (const entry of cases.filter((one) => suits(one, device))) {
    const outcomes = await race(entry, context, options);
    peaks = higher(peaks, await measure());
    for (const outcome of outcomes) {
      const line = lineOf(outcome, device, peaks);
      ran++;
      if ("refused" in line) refused++;
      say(json ? JSON.stringify({ ...line, ...origin }) : textOf(line));
    }
  }
  return { ran, refused };
};

const list = (chosen: readonly Bench[], part: string): void => {
  for (const { name, about, cases } of chosen) {
    say(`${name}: ${about}`);
    for (const entry of cases) if (entry.name.includes(part)) say(`  ${entry.name}${entry.only ? `  (${entry.only} only)` : ""}`);
  }
};

/** Exit code 1 when a case was refused or none ran. */
export const benchCommand = async (args: readonly string[]): Promise<number> => {
  const [first] = args;
  const name = first === undefined || first.startsWith("-") ? undefined : first;
  const flags = parseFlags("bench", FLAGS, name === undefined ? args : args.slice(1));
  if (flags.has("help")) {
    say(`birkhoff bench [name]\n\n${describeFlags(FLAGS)}\n\nWithout a name all benches run. bench/README.md says what the columns mean.`);
    return 0;
  }
  const chosen = chosenBenches(name);
  const part = flags.text("case") ?? "";
  const cases = chosen.flatMap((bench) => bench.cases.filter((entry) => entry.name.includes(part)));
  if (cases.length === 0) throw expected(where, "part of the name of a case (see --list)", "--case", part);
  chosenRivals(flags.text("rivals"));
  if (flags.has("list")) {
    list(chosen, part);
    return 0;
  }
  const { devices, rejected } = await openDevices(flags);
  const rivals = await startRivals(flags, devices);
  try {
    if (!flags.has("json")) {
      for (const reason of rejected) say(`not ${reason}`);
      for (const { name: rival, description } of rivals.running) say(`${rival}: ${description}`);
      for (const [rival, reason] of Object.entries(rivals.absent)) say(`${rival} not raced: ${reason}`);
      say("ratios are theirs over ours: above 1, ours is faster");
      const [load] = loadavg();
      if (load > BUSY) say(`the machine is busy (load ${load.toFixed(1)}): neither times nor shares are to be kept`);
    }
    const counts: Count[] = [];
    for (const device of devices) counts.push(await benchDevice(device, cases, rivals, flags));
    const ran = counts.reduce((sum, count) => sum + count.ran, 0);
    if (ran === 0) process.stderr.write(`${where}: none of these cases suits this device\n`);
    return ran > 0 && counts.every(({ refused }) => refused === 0) ? 0 : 1;
  } finally {
    for (const rival of rivals.running) await rival.close();
    for (const device of devices) await device.close();
  }
};
