/** Pages on disk. */
import { makeFolderOf, replaceAs } from "../data/disk.ts";

/**
 * Writes a page into a file, folders made as needed; a reader never sees half of it.
 *
 * @throws FileError when the file cannot be written
 */
export const writePage = (path: string, text: string): void => {
  makeFolderOf("writeReport", path);
  replaceAs("writeReport", path, new TextEncoder().encode(text));
};
