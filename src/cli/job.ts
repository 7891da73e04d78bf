/** What commands that train have in common. */
import { once } from "node:events";
import type { Device } from "../device.ts";
import { openDevice } from "../open.ts";
import type { Flags } from "./args.ts";
import { interruption } from "./interrupt.ts";
import { openOptions } from "./options.ts";
import { type Progress, progressDisplay } from "./progress.ts";

/** While a job runs. */
export interface Frame {
  readonly device: Device;
  /** Device and its description in one line. */
  readonly machine: string;
  /** For people: on standard output, or, with `--json`, on standard error. */
  say(text: string): void;
  progress(progress: Progress): void;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

export interface Job<Result> {
  /** Where the page is written. */
  readonly path: string;
  run(frame: Frame): Promise<Result>;
  /** What a person reads at the end. */
  summary(result: Result): string;
  writePage(result: Result, frame: Frame & { readonly date: string }): void;
  /** What `--json` ends with. */
  json(result: Result, frame: Frame): unknown;
}

/**
 * Opens the device, runs, and tells: a summary, a page, and with `--json` one line of JSON, alone on standard output. Ctrl-C ends the work with what was found so far, which is
 * told all the same.
 *
 * @returns the exit code: 0 also when it was interrupted
 */
export const runJob = async <Result extends { readonly interrupted: boolean }>(flags: Flags, job: Job<Result>): Promise<number> => {
  const json = flags.has("json");
  await using device = await openDevice(openOptions(flags));
  using interrupted = interruption();
  const display = progressDisplay();
  const frame: Frame = {
    device,
    machine: `${device.kind}: ${device.info.description}`,
    say: (text) => void (json ? process.stderr : process.stdout).write(text),
    progress: display.update,
    signal: interrupted.signal,
  };
  try {
    const result = await job.run(frame);
    display.stop();
    frame.say(job.summary(result));
    try {
      job.writePage(result, { ...frame, date: new Date().toISOString().slice(0, 16).replace("T", " ") });
      frame.say(`Report: ${job.path}${result.interrupted ? " (interrupted)" : ""}\n`);
    } finally {
      // What was found is told even when the page cannot be written.
      if (json && !process.stdout.write(`${JSON.stringify(job.json(result, frame))}\n`)) await once(process.stdout, "drain");
    }
    return 0;
  } finally {
    display.stop();
  }
};
