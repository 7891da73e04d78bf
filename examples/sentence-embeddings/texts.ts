/** Labelled texts from a file: label, tab, text, and another tab and text for the second model. */
import { readFileSync } from "node:fs";
import { FileError } from "birkhoff";

export interface Texts {
  /** Numbers of the labels, in the order of `names`: [n]. */
  readonly labels: Int32Array;
  /** The labels as they are written, sorted. */
  readonly names: readonly string[];
  /** Texts for the first and the second model, the same when there is one column: n each. */
  readonly columns: readonly [readonly string[], readonly string[]];
}

/** Throws FileError for what cannot be read, lines of other forms, and fewer than two texts. */
export const readTexts = (path: string): Texts => {
  const wrong = (what: string, received: string, cause?: unknown): FileError =>
    new FileError(`readTexts: expected ${what} in ${JSON.stringify(path)}, but received ${received}`, { cause });
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (error) {
    throw wrong("a readable text file", (error as Error).message, error);
  }
  const rows = content
    .replace(/^\ufeff/, "")
    .split(/\r?\n/)
    .map((line, i) => ({ line, number: i + 1 }))
    .filter(({ line }) => line.trim() !== "")
    .map(({ line, number }) => {
      const fields = line.split("\t").map((field) => field.trim());
      if (fields.length < 2 || fields.length > 3 || fields.includes(""))
        throw wrong("label, tab, text, and perhaps another tab and text", `${JSON.stringify(line.slice(0, 60))} on line ${number}`);
      return { label: fields[0], first: fields[1], second: fields[fields.length - 1] };
    });
  if (rows.length < 2) throw wrong("at least two texts", `${rows.length}`);
  const names = [...new Set(rows.map(({ label }) => label))].sort();
  return {
    labels: Int32Array.from(rows, ({ label }) => names.indexOf(label)),
    names,
    columns: [rows.map(({ first }) => first), rows.map(({ second }) => second)],
  };
};
