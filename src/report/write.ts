/** Pages on disk. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { FileError } from "../errors.ts";

/** `force` forgives a missing file only, not a folder of its path that is none. */
const removeQuietly = (path: string): void => {
  try {
    rmSync(path, { force: true });
  } catch {
    // The first error is the one to report.
  }
};

/**
 * Writes a page into a file, folders made as needed. Written aside and renamed, so a reader never sees half of it.
 *
 * @throws FileError when the file cannot be written
 */
export const writePage = (path: string, text: string): void => {
  const aside = `${path}.${process.pid}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(aside, text);
    renameSync(aside, path);
  } catch (error) {
    removeQuietly(aside);
    const reason = error instanceof Error ? error.message : String(error);
    throw new FileError(`writeReport: expected a path that can be written for \`path\`, but received ${JSON.stringify(path)} (${reason})`, {
      cause: error,
    });
  }
};
