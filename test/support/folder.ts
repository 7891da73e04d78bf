/** Folders for files that tests write: all in one, which goes when the run ends. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder of its own, empty. */
export const temporaryFolder = (): string => mkdtempSync(join(tmpdir(), "birkhoff-"));

let all: string | undefined;

/** Vitest's global set-up: the processes of the test files, and what they start, take their temporary folder from here. */
export const setup = (): void => {
  all = temporaryFolder();
  process.env.TMPDIR = all;
};

/** Vitest's global tear-down. */
export const teardown = (): void => {
  if (all !== undefined) rmSync(all, { recursive: true, force: true });
};
