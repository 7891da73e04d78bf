/** Files of JSON objects, a line each, that grow while a program runs that may be stopped at any time. */
import { appendFileSync, existsSync, readFileSync, truncateSync } from "node:fs";
import { FileError } from "../errors.ts";
import { makeFolderOf } from "./disk.ts";

/** The whole lines of a file: what follows the last one was being written when its writer was stopped. */
const wholeLines = (path: string): { readonly text: string; readonly torn: boolean } => {
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const end = text.lastIndexOf("\n") + 1;
  return { text: text.slice(0, end), torn: end < text.length };
};

/**
 * All objects of a file, none where there is no file.
 *
 * @param what one of them, in words
 * @param fits whether a line holds such an object
 * @throws FileError for a line that does not, and for what cannot be read.
 */
export const readJsonLines = <T>(where: string, path: string, what: string, fits: (value: Partial<T>) => boolean): T[] => {
  let text: string;
  try {
    ({ text } = wholeLines(path));
  } catch (error) {
    throw new FileError(`${where}: expected a file that can be read, but received ${JSON.stringify(path)} (${(error as Error).message})`, {
      cause: error,
    });
  }
  return text
    .split("\n")
    .slice(0, -1)
    .map((line, i) => {
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch {
        // Said below.
      }
      if (typeof value !== "object" || value === null || !fits(value as Partial<T>))
        throw new FileError(
          `${where}: expected ${what} as JSON in line ${i + 1} of ${JSON.stringify(path)}, but received ${JSON.stringify(line.slice(0, 60))}`,
        );
      return value as T;
    });
};

/**
 * Adds objects to a file in one write; folders are made as needed, and a line that was never finished goes.
 *
 * @throws FileError when it cannot be written
 */
export const appendJsonLines = (where: string, path: string, values: readonly unknown[]): void => {
  makeFolderOf(where, path);
  try {
    const { text, torn } = wholeLines(path);
    if (torn) truncateSync(path, Buffer.byteLength(text));
    appendFileSync(path, values.map((value) => `${JSON.stringify(value)}\n`).join(""));
  } catch (error) {
    throw new FileError(
      `${where}: expected a place that can be written for \`path\`, but received ${JSON.stringify(path)} (${(error as Error).message})`,
      { cause: error },
    );
  }
};
