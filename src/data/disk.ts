/** Files of the formats that are read and written whole. */
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { expected, FileError } from "../errors.ts";
import { checkPath, reason } from "./folder.ts";
import { decodeNpy, type EncodeNpyOptions, encodeNpy, type NpyArray } from "./npy.ts";
import { decodeSafetensors, encodeSafetensors, type HostTensor, type Safetensors } from "./safetensors.ts";

const fileError = (where: string, path: string, what: string, error: unknown): FileError =>
  new FileError(`${where}: expected ${what} for \`path\`, but received ${JSON.stringify(path)} (${reason(error)})`, { cause: error });

/** The bytes of a file; throws ArgumentError for what is no path, FileError for what cannot be read, in the name of the caller. */
export const readWhole = (where: string, path: string, kind: string): Uint8Array => {
  checkPath(where, path);
  try {
    return readFileSync(path);
  } catch (error) {
    throw fileError(where, path, `a readable ${kind} file`, error);
  }
};

/** Makes the folder that a file is to lie in; throws FileError in the name of the caller. */
export const makeFolderOf = (where: string, path: string): void => {
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    throw fileError(where, path, "a place that can be written", error);
  }
};

/** Where a link leads; the path itself when nothing is there yet. */
const target = (path: string): string => {
  try {
    return realpathSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return path;
    throw error;
  }
};

/** A rename lasts once its folder is on the disk. Windows cannot open folders, and has no need to. */
const syncFolder = (folder: string): void => {
  if (process.platform === "win32") return;
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
};

/**
 * Writes a file so that whoever opens the path, even after a crash, finds the old content or the new, never a part: the bytes go into another file of the same folder, to the
 * disk, and then take the name. A link stays, and what it leads to is replaced. What a crash leaves behind is called `.<name>.<random>.tmp`.
 *
 * @throws ArgumentError for what is no path or no Uint8Array; FileError for a place that cannot be written, and then the old file is as it was.
 * @example
 * ```ts
 * const { mkdtemp, readFile, rm } = await import("node:fs/promises");
 * const { tmpdir } = await import("node:os");
 * const folder = await mkdtemp(`${tmpdir()}/replace-`);
 * replaceFile(`${folder}/notes.txt`, new TextEncoder().encode("whole"));
 * const text = await readFile(`${folder}/notes.txt`, "utf8");
 * await rm(folder, { recursive: true });
 * text; // => "whole"
 * ```
 */
export const replaceFile = (path: string, bytes: Uint8Array): void => replaceAs("replaceFile", path, bytes);

/** `replaceFile` in the name of another function. */
export const replaceAs = (where: string, path: string, bytes: Uint8Array): void => {
  checkPath(where, path);
  if (!(bytes instanceof Uint8Array)) throw expected(where, "a Uint8Array", "bytes", bytes);
  let aside: string | undefined;
  try {
    const final = target(path);
    const name = join(dirname(final), `.${basename(final)}.${randomBytes(6).toString("hex")}.tmp`);
    const handle = openSync(name, "wx");
    aside = name;
    try {
      writeFileSync(handle, bytes);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(name, final);
    aside = undefined;
    syncFolder(dirname(final));
  } catch (error) {
    if (aside !== undefined) rmSync(aside, { force: true });
    throw fileError(where, path, "a place that can be written", error);
  }
};

/** `decodeNpy` of a file. Throws FileError as it does, and for what cannot be read; ArgumentError for what is no path. */
export const readNpy = (path: string): NpyArray => decodeNpy(readWhole("readNpy", path, "NPY"), path);

/** `encodeNpy` into a file, as `replaceFile`. Throws ArgumentError as it does, and FileError for a place that cannot be written. */
export const writeNpy = (path: string, array: NpyArray, options?: EncodeNpyOptions): void => replaceAs("writeNpy", path, encodeNpy(array, options));

/**
 * `decodeSafetensors` of a file.
 *
 * @throws FileError as it does, and for what cannot be read; ArgumentError for what is no path.
 * @example readSafetensors("no/such/file.safetensors"); // throws FileError
 */
export const readSafetensors = (path: string): Safetensors => decodeSafetensors(readWhole("readSafetensors", path, "safetensors"), path);

/**
 * `encodeSafetensors` into a file, as `replaceFile`: a checkpoint is there whole or not at all.
 *
 * @throws ArgumentError as `encodeSafetensors`; FileError for a place that cannot be written.
 * @example
 * ```ts
 * const { mkdtemp, rm } = await import("node:fs/promises");
 * const { tmpdir } = await import("node:os");
 * const folder = await mkdtemp(`${tmpdir()}/checkpoint-`);
 * const network = new Linear(initializer(device, 1), 3, 2);
 * writeSafetensors(`${folder}/network.safetensors`, await network.stateDict(), { epoch: "3" });
 * const { tensors, metadata } = readSafetensors(`${folder}/network.safetensors`);
 * await rm(folder, { recursive: true });
 * network.loadStateDict(tensors);
 * [...tensors.keys(), metadata.epoch]; // => ["bias", "weight", "3"]
 * ```
 */
export const writeSafetensors = (path: string, tensors: ReadonlyMap<string, HostTensor>, metadata?: Readonly<Record<string, string>>): void =>
  replaceAs("writeSafetensors", path, encodeSafetensors(tensors, metadata));
