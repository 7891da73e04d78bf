/** What readers of files and of folders have in common. */
import { readdirSync } from "node:fs";
import { expected, FileError } from "../errors.ts";

/** "where: expected what in path, but received received". */
export const fileError = (where: string, path: string, what: string, received: string, cause?: unknown): FileError =>
  new FileError(`${where}: expected ${what} in ${JSON.stringify(path)}, but received ${received}`, cause === undefined ? undefined : { cause });

export const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Throws for what names no place on the disk: numbers are open files to the runtime. */
export const checkPath = (where: string, path: unknown, argument = "path"): void => {
  if (typeof path !== "string" || path === "") throw expected(where, "a path", argument, path);
};

/** The names in a folder; throws ArgumentError for what is no path, FileError for what cannot be read, in the name of the caller. */
export const namesIn = (where: string, folder: string): string[] => {
  checkPath(where, folder, "folder");
  try {
    return readdirSync(folder);
  } catch (error) {
    throw fileError(where, folder, "a readable folder", reason(error), error);
  }
};

/** For errors: the first names of a folder that has none of those that were looked for. */
export const someOf = (names: readonly string[]): string => (names.length === 0 ? "an empty folder" : names.slice(0, 5).join(", "));

/** Labelled images, as loaders of folders give them. */
export interface LabelledImages {
  /** [count, channels, height, width], scaled from bytes to [0, 1]. */
  readonly images: Float32Array;
  /** [count], from 0. */
  readonly labels: Int32Array;
  readonly count: number;
  /** 1 for grey images, 3 for red, green and blue. */
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly classes: number;
  /** How many of the images, the first ones, come from files of training images; the others are there to test with. */
  readonly training: number;
}
