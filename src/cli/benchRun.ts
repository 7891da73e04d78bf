/** What `birkhoff bench` measures: devices, rivals, and the cases that suit them, one after the other. */
import { availableParallelism, loadavg } from "node:os";
import { type BenchCase, passesOf } from "../../bench/harness/bench.ts";
import { recording } from "../../bench/harness/ours.ts";
import { higher, measurePeaks, type Peaks } from "../../bench/harness/probe.ts";
import { codeState, machineName, thisMachine } from "../../bench/harness/provenance.ts";
import { type Opened, race } from "../../bench/harness/race.ts";
import { lineOf } from "../../bench/harness/report.ts";
import { alreadyThere, type Kept, type Run } from "../../bench/harness/results.ts";
import { RIVALS, Rival, type RivalProgram } from "../../bench/harness/rival.ts";
import { openReference } from "../backends/reference/index.ts";
import type { Device } from "../device.ts";
import { DeviceError } from "../errors.ts";
import { deviceOf, type OpenDeviceOptions, openDevice } from "../open.ts";
import type { Flags } from "./args.ts";
import { openOptions } from "./options.ts";

export const ROUNDS = 9;
/** A sample lasts this long at the least; on a software GPU it is a single step. */
const SAMPLE_MS = 25;
/** Between two turns: pools of threads that spin have gone to sleep by then. onnxruntime's spin for 35 ms on one of our cores. */
const PAUSE_MS = 50;
/** Work of a step that a software GPU gets through in a second or so. */
const SOFTWARE_OPERATIONS = 4e7;

/** A case and the bench it belongs to. */
export interface Entry {
  readonly bench: string;
  readonly entry: BenchCase;
}

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

/** The hardware GPU's name, which belongs to the machine's also where another device is benched. */
const gpuName = async (devices: readonly Device[], chosen: boolean): Promise<string | undefined> => {
  await using other = chosen ? await openDevice() : undefined;
  const gpu = [...devices, other].find((device) => device?.kind === "webgpu" && !device.info.software);
  return gpu && String(gpu.info.details.device || gpu.info.description);
};

interface Rivals {
  readonly running: readonly Rival[];
  readonly absent: Readonly<Record<string, string>>;
}

/** Who races this device: those that use what it is; beside a software GPU, those whose work on it can be counted. */
const opposes = ({ on }: RivalProgram, { kind, info: { software } }: Device): boolean =>
  kind === "webgpu" ? on === "gpu" || (on === "any" && !software) : on !== "gpu";

const startRivals = async (chosen: readonly RivalProgram[], threads: number, devices: readonly Device[]): Promise<Rivals> => {
  const running: Rival[] = [];
  const absent: Record<string, string> = {};
  for (const program of chosen) {
    if (!devices.some((device) => opposes(program, device))) continue;
    try {
      running.push(await Rival.start(program, threads));
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

/** What runs on one device. */
export interface Task {
  readonly device: Device;
  readonly entries: readonly Entry[];
  readonly run: Run;
}

export interface Session extends AsyncDisposable {
  readonly machine: string;
  readonly rivals: Rivals;
  readonly rejected: readonly string[];
  readonly tasks: readonly Task[];
  /** Measures all entries of a task in order. `starts` is told the limits that were found first, `tell` what came out of each entry. It ends early when `signal` is aborted: the entry at hand is dropped. */
  perform(
    task: Task,
    tell: (lines: readonly Kept[]) => void,
    more?: { readonly starts?: (peaks: Peaks | undefined) => void; readonly begins?: (entry: Entry) => void; readonly signal?: AbortSignal },
  ): Promise<void>;
}

/** @param command what the user typed */
export const openSession = async (command: string, flags: Flags, entries: readonly Entry[], chosen: readonly RivalProgram[]): Promise<Session> => {
  const threads = flags.number("threads") ?? availableParallelism();
  const rounds = flags.number("rounds") ?? ROUNDS;
  const { devices, rejected } = await openDevices(flags);
  const machine = machineName(thisMachine(await gpuName(devices, flags.text("device") !== undefined)));
  const rivals = await startRivals(chosen, threads, devices);
  const opponents = (device: Device): ((name: string) => boolean) => {
    const names = RIVALS.filter((program) => opposes(program, device)).map(({ name }) => name);
    return (name) => names.includes(name);
  };
  const origin = { machine, command, commit: codeState(), date: new Date().toISOString(), node: process.version, load: loadavg()[0], rounds };
  const tasks = devices.map((device): Task => {
    const versions = rivals.running.filter(({ name }) => opponents(device)(name)).map(({ name, description }) => [name, description]);
    return { device, entries: entries.filter(({ entry }) => suits(entry, device)), run: { ...origin, versions: Object.fromEntries(versions) } };
  });

  const perform: Session["perform"] = async ({ device, entries: own, run }, tell, { starts, begins, signal } = {}) => {
    const openWith = async (options: OpenDeviceOptions): Promise<Opened> => {
      const backend = recording((await openDevice({ ...openOptions(flags), ...options, device: device.kind })).backend);
      return { device: deviceOf(backend), backend };
    };
    await using reference = deviceOf(openReference());
    const software = device.info.software && device.kind === "webgpu";
    // A software GPU has no limits of its own.
    const measure = (): Promise<Peaks | undefined> => (software ? Promise.resolve(undefined) : measurePeaks(device));
    let peaks = await measure();
    starts?.(peaks);
    const raced = opponents(device);
    const context = {
      kind: device.kind,
      open: () => openWith({}),
      rivals: rivals.running.filter(({ name }) => raced(name)),
      absent: Object.fromEntries(Object.entries(rivals.absent).filter(([name]) => raced(name))),
      ...(device.kind === "native" && threads > 1 && { openAlone: () => openWith({ threads: 1 }) }),
      ...(device.kind !== "reference" && { reference }),
    };
    const options = { rounds, sampleMs: software ? 0 : SAMPLE_MS, pauseMs: software ? 0 : PAUSE_MS, timeRivals: !software };
    for (const one of own) {
      if (signal?.aborted) return;
      begins?.(one);
      const outcomes = await race(one.entry, context, options);
      // Ctrl-C reaches the rivals as well: what went wrong since may be its doing.
      if (signal?.aborted) return;
      peaks = higher(peaks, await measure());
      tell(outcomes.map((outcome) => ({ bench: one.bench, ...lineOf(outcome, device, peaks), ...run })));
    }
  };

  return {
    machine,
    rivals,
    rejected,
    tasks,
    perform,
    async [Symbol.asyncDispose]() {
      for (const rival of rivals.running) await rival.close();
      for (const device of devices) await device.close();
    },
  };
};

/** A task without the cases that `lines` hold from the same code under the same conditions. */
export const remaining = (task: Task, lines: readonly Kept[]): Task => {
  const { device, entries, run } = task;
  const { description, software } = device.info;
  const steps = entries.map(({ entry }) => ({ name: entry.name, passes: passesOf(entry) }));
  const there = alreadyThere(lines, { machine: run.machine, device: device.kind, description, software }, run, steps);
  return { ...task, entries: entries.filter(({ entry }) => !there.has(entry.name)) };
};
