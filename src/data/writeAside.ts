/** Files that are whole or not there. */
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
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
 * Writes a file, folders made as needed: aside, onto the disk, and renamed, so that neither a reader nor a machine that stops sees half of it.
 *
 * @param where the caller, in errors
 * @throws FileError when the file cannot be written
 */
export const writeAside = (where: string, path: string, content: string | Uint8Array): void => {
  const aside = `${path}.${process.pid}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    const file = openSync(aside, "w");
    try {
      writeFileSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(aside, path);
  } catch (error) {
    removeQuietly(aside);
    const reason = error instanceof Error ? error.message : String(error);
    throw new FileError(`${where}: expected a path that can be written for \`path\`, but received ${JSON.stringify(path)} (${reason})`, {
      cause: error,
    });
  }
};
