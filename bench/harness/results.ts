/** Results that are kept: lines in a file that grows, of which the newest of every case counts. */
import { appendJsonLines, readJsonLines } from "../../src/data/jsonLines.ts";
import type { Line, Refusal } from "./report.ts";

/** What identifies the run that a line comes from. */
export interface Run {
  /** See `machineName`. */
  readonly machine: string;
  readonly command: string;
  /** See `codeState`. */
  readonly commit: string;
  /** When it began, the same in all its lines. */
  readonly date: string;
  readonly node: string;
  /** Of the minute before it. */
  readonly load: number;
  readonly rounds: number;
  /** Rivals that were there, with their versions. */
  readonly versions: Readonly<Record<string, string>>;
}

/** A line of a file. What runs of November 2026 did not note yet is not there. */
export type Kept = (Line | Refusal) & Pick<Run, "machine" | "commit" | "date" | "node" | "load"> & Partial<Run> & { readonly bench: string };
export type Measurement = Extract<Kept, Line>;

export const isMeasured = (line: Kept): line is Measurement => "medianMs" in line;

const WHERE = "birkhoff bench";

/** @throws FileError for a line that is no result */
export const readResults = (path: string): Kept[] =>
  readJsonLines<Kept>(WHERE, path, "a result", (line) =>
    [line.case, line.pass, line.device, line.machine, line.bench, line.description, line.commit, line.date].every((text) => typeof text === "string"),
  );

export const appendResults = (path: string, lines: readonly Kept[]): void => appendJsonLines(WHERE, path, lines);

type Place = Pick<Kept, "machine" | "device" | "description" | "software">;

/** What was chosen of a device: on a CPU instruction set and threads, which its description begins with. A GPU's says which driver it had. */
const variantOf = ({ device, description, software }: Place): string =>
  device === "native" ? description.split(", ").slice(0, 2).join(", ") : device === "webgpu" && software ? description : "";

/** "native (AVX-512, 2 threads) on AMD EPYC, 2 cores, Linux x64". */
const placeOf = (place: Place): string => {
  const variant = variantOf(place);
  return `${place.device}${variant && ` (${variant})`} on ${place.machine}`;
};

/** The newest result of every case and pass on one device of one machine. */
export interface Source extends Pick<Run, "machine"> {
  /** Device, variant and machine, and the file where these are not enough. */
  readonly name: string;
  readonly device: string;
  /** Instruction set and threads of a CPU, the name of a software GPU, else nothing. */
  readonly variant: string;
  readonly lines: readonly Kept[];
}

const stepOf = (line: Pick<Kept, "case" | "pass">): string => JSON.stringify([line.case, line.pass]);

const newest = (lines: readonly Kept[]): Kept[] => {
  const found = new Map<string, Kept>();
  for (const line of lines) {
    const before = found.get(stepOf(line));
    if (!before || before.date <= line.date) found.set(stepOf(line), line);
  }
  return [...found.values()];
};

const grouped = <T>(items: readonly T[], keyOf: (item: T) => string): ReadonlyMap<string, readonly T[]> => {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
};

/**
 * What files hold, by file and device in the order in which they come up. Two files may be of one machine, before and after a change: then their names say which is which.
 *
 * @param cases names in the order that lines are to have; others stand behind them
 */
export const sourcesOf = (files: ReadonlyMap<string, readonly Kept[]>, cases: readonly string[]): Source[] => {
  const position = (line: Kept): number => (cases.includes(line.case) ? cases.indexOf(line.case) : cases.length);
  const all = [...files].flatMap(([path, lines]) => [...grouped(lines, placeOf)].map(([name, own]) => ({ path, name, own })));
  const alone = (name: string): boolean => all.filter((other) => other.name === name).length === 1;
  return all.map(({ path, name, own }) => {
    const [{ machine, device }] = own;
    return {
      name: alone(name) ? name : `${name}, ${path}`,
      machine,
      device,
      variant: variantOf(own[0]),
      lines: newest(own).sort((a, b) => position(a) - position(b)),
    };
  });
};

/** Of a run that goes on: the cases whose every pass a file has from the same code, under the same conditions. */
export const alreadyThere = (
  lines: readonly Kept[],
  place: Place,
  { commit, node, rounds, versions }: Run,
  cases: readonly { readonly name: string; readonly passes: readonly string[] }[],
): ReadonlySet<string> => {
  const conditions = (run: Partial<Run>): string => JSON.stringify([run.commit, run.node, run.rounds, run.versions]);
  const wanted = conditions({ commit, node, rounds, versions });
  const there = new Set(
    newest(lines.filter((line) => placeOf(line) === placeOf(place)))
      .filter((line) => isMeasured(line) && conditions(line) === wanted)
      .map(stepOf),
  );
  return new Set(cases.filter(({ name, passes }) => passes.every((pass) => there.has(stepOf({ case: name, pass } as Kept)))).map(({ name }) => name));
};
