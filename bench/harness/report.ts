/** What a run says: one JSON object per case and pass, or lines for people. */
import type { Device } from "../../src/device.ts";
import type { Pass, StepCounts } from "./bench.ts";
import type { Peaks } from "./probe.ts";
import { type Outcome, shareOf } from "./race.ts";

/** A line of `--json`. Ratios are theirs over ours: above 1, ours is faster. */
export interface Line {
  readonly case: string;
  readonly device: string;
  readonly pass: Pass;
  readonly medianMs: number;
  readonly ratioToNaive: number;
  readonly rivals: Readonly<Record<string, number>>;
  /** Of the peak that `shareOf` names; null on a software GPU and on the reference device. */
  readonly share: number | null;
  readonly shareOf: "fma" | "copy" | null;
  readonly dispatches: number;
  readonly submits: number;
  readonly newBuffers: number;
  readonly bytes: number;
  readonly minimumBytes: number;
  readonly operations: number;
  readonly naiveMs: number;
  readonly naiveDispatches: number;
  readonly naiveBytes: number;
  readonly rivalMs: Readonly<Record<string, number>>;
  /** Work that rivals on WebGPU ask of it in one step. */
  readonly rivalCounts: Readonly<Record<string, StepCounts>>;
  /** How many times as fast as on one thread; null where that was not measured. */
  readonly scaling: number | null;
  readonly absent: Readonly<Record<string, string>>;
  /** Largest relative differences found before timing. */
  readonly errors: Readonly<Record<string, number>>;
  /** Relative margin of error of our mean, in percent. */
  readonly spread: number;
  readonly software: boolean;
  readonly description: string;
  readonly fmaGflops: number | null;
  readonly copyGBs: number | null;
}

/** In place of a line, for a pass that was not measured. */
export interface Refusal {
  readonly case: string;
  readonly device: string;
  readonly pass: Pass;
  readonly refused: string;
  readonly errors: Readonly<Record<string, number>>;
  readonly software: boolean;
  readonly description: string;
}

export const lineOf = (
  { entry, pass, errors, absent, measured, refused }: Outcome,
  device: Pick<Device, "kind" | "info">,
  peaks: Peaks | undefined,
): Line | Refusal => {
  const { software, description } = device.info;
  const common = { case: entry.name, device: device.kind, pass };
  if (!measured) return { ...common, refused: refused ?? "nothing was measured", errors, software, description };
  const { fused, naive, oneThread, rivals, counts, naiveCounts, rivalCounts } = measured;
  const cost = entry.cost[pass] ?? { operations: 0, bytes: 0 };
  return {
    ...common,
    medianMs: fused.medianMs,
    ratioToNaive: naive.medianMs / fused.medianMs,
    rivals: Object.fromEntries(rivals.map(({ name, medianMs }) => [name, medianMs / fused.medianMs])),
    ...(peaks && !software ? shareOf(cost, fused.medianMs, peaks) : { share: null, shareOf: null }),
    ...counts,
    minimumBytes: cost.bytes,
    operations: cost.operations,
    naiveMs: naive.medianMs,
    naiveDispatches: naiveCounts.dispatches,
    naiveBytes: naiveCounts.bytes,
    rivalMs: Object.fromEntries(rivals.map(({ name, medianMs }) => [name, medianMs])),
    rivalCounts,
    scaling: oneThread ? oneThread.medianMs / fused.medianMs : null,
    absent,
    errors,
    spread: fused.spread,
    software,
    description,
    fmaGflops: peaks ? peaks.fma / 1e6 : null,
    copyGBs: peaks ? peaks.copy / 1e6 : null,
  };
};

const times = (ratio: number): string => `${ratio >= 100 ? ratio.toFixed(0) : ratio >= 10 ? ratio.toFixed(1) : ratio.toFixed(2)}x`;
const megabytes = (bytes: number): string => (bytes / 1e6).toPrecision(3);

/** "48 % of multiply-adds"; nothing where no limit was measured. */
export const limitOf = ({ share, shareOf }: Line): string =>
  share === null ? "" : `${wholePercent(share)} of ${shareOf === "fma" ? "multiply-adds" : "copying"}`;

export const wholePercent = (share: number): string => (share > 0 && share < 0.005 ? "< 1 %" : `${(100 * share).toFixed(0)} %`);

/** Milliseconds of a software GPU are not shown: they say nothing about any hardware. */
export const textOf = (line: Line | Refusal): string => {
  const head = `${line.case}, ${line.pass}`;
  if ("refused" in line) return `${head}\n    REFUSED: ${line.refused}`;
  const ratios = [["naive", line.ratioToNaive] as const, ...Object.entries(line.rivals)].map(([name, ratio]) => `${name} ${times(ratio)}`).join("  ");
  const absent = Object.entries(line.absent).map(([name, reason]) => `\n    ${name} not raced: ${reason}`);
  const speed = line.software ? "" : `${line.medianMs.toPrecision(3)} ms ±${line.spread.toFixed(0)} %  `;
  const share =
    line.share === null ? "" : `  ${(100 * line.share).toFixed(0)} % of ${line.shareOf === "fma" ? "multiply-add peak" : "copy bandwidth"}`;
  const scaling = line.scaling === null ? "" : `  ${times(line.scaling)} of one thread`;
  const work = [
    `${line.dispatches} dispatches (naive ${line.naiveDispatches})`,
    ...(line.device === "webgpu" ? [`${line.submits} submits`] : []),
    `${line.newBuffers} new buffers`,
    `${megabytes(line.bytes)} MB (minimum ${megabytes(line.minimumBytes)}, naive ${megabytes(line.naiveBytes)})`,
  ].join(", ");
  const theirs = Object.entries(line.rivalCounts).map(
    ([name, { dispatches, submits, newBuffers, bytes }]) =>
      `\n    ${name}: ${dispatches} dispatches, ${submits} submits, ${newBuffers} new buffers, ${megabytes(bytes)} MB`,
  );
  return `${head}\n    ${speed}${ratios}${share}${scaling}\n    ${work}${theirs.join("")}${absent.join("")}`;
};

export const headline = ({ kind, info: { description, software } }: Pick<Device, "kind" | "info">, peaks: Peaks | undefined): string => {
  const limits = peaks && !software ? `\n${(peaks.fma / 1e6).toFixed(0)} GFLOP/s, ${(peaks.copy / 1e6).toFixed(1)} GB/s: ${peaks.how}` : "";
  const warning =
    software && kind === "webgpu"
      ? "\na software GPU: only the ratio to our own naive form means something; milliseconds are left out, and rivals are counted, not timed"
      : "";
  return `${kind}: ${description}${limits}${warning}`;
};
