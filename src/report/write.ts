/** Pages on disk. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { replaceAs } from "../data/disk.ts";
import { FileError } from "../errors.ts";

/**
 * Writes a page into a file, folders made as needed; a reader never sees half of it.
 *
 * @throws FileError when the file cannot be written
 */
export const writePage = (path: string, text: string): void => {
  makeFolderOf("writeReport", path);
  replaceAs("writeReport", path, new TextEncoder().encode(text));
};

/** The folder that a file is to lie in. */
export const makeFolderOf = (where: string, path: string): void => {
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new FileError(`${where}: expected a place that can be written for \`path\`, but received ${JSON.stringify(path)} (${reason})`, {
      cause: error,
    });
  }
};
