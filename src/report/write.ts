/** Pages on disk. */
import { writeAside } from "../data/writeAside.ts";

/**
 * Writes a page into a file, folders made as needed. Written aside and renamed, so a reader never sees half of it.
 *
 * @throws FileError when the file cannot be written
 */
export const writePage = (path: string, text: string): void => writeAside("writeReport", path, text);
