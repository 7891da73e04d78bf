/** The JSON of a safetensors header, and no other: a general parser keeps the last of two equal keys, and nests as deep as it is told to. */
import type { FileError } from "../errors.ts";

export interface HeaderEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly offsets: readonly [number, number];
}

export interface Header {
  readonly entries: HeaderEntry[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** Makes the error from what was expected and what came. */
export type Refuse = (what: string, received: string) => FileError;

const SPACE = " \t\n\r";

class Reader {
  readonly #text: string;
  readonly #refuse: Refuse;
  #at = 0;

  constructor(text: string, refuse: Refuse) {
    this.#text = text;
    this.#refuse = refuse;
  }

  wrong(what: string): FileError {
    const rest = this.#text.slice(this.#at, this.#at + 40);
    return this.#refuse(`${what} at position ${this.#at} of the header`, rest === "" ? "its end" : JSON.stringify(rest));
  }

  #skip(): void {
    while (this.#at < this.#text.length && SPACE.includes(this.#text[this.#at])) this.#at++;
  }

  /** Whether the next character is this one, which is passed then. */
  take(mark: string): boolean {
    this.#skip();
    if (this.#text[this.#at] !== mark) return false;
    this.#at++;
    return true;
  }

  expect(mark: string): void {
    if (!this.take(mark)) throw this.wrong(mark);
  }

  end(): void {
    this.#skip();
    if (this.#at < this.#text.length) throw this.wrong("nothing but white space behind the last }");
  }

  string(): string {
    this.#skip();
    const start = this.#at;
    if (this.#text[start] !== '"') throw this.wrong("a string");
    let end = start + 1;
    while (end < this.#text.length && this.#text[end] !== '"') end += this.#text[end] === "\\" ? 2 : 1;
    let value: unknown;
    try {
      value = JSON.parse(this.#text.slice(start, end + 1));
    } catch {
      // No string: told below.
    }
    if (typeof value !== "string" || /\p{Surrogate}/u.test(value)) throw this.wrong("a string");
    this.#at = end + 1;
    return value;
  }

  /** A number without sign, point and exponent that a double holds exactly. */
  count(): number {
    this.#skip();
    const start = this.#at;
    let end = start;
    while (this.#text[end] >= "0" && this.#text[end] <= "9") end++;
    const value = Number(this.#text.slice(start, end));
    if (end === start || (end > start + 1 && this.#text[start] === "0") || !Number.isSafeInteger(value))
      throw this.wrong("a whole number below 2^53");
    this.#at = end;
    return value;
  }

  counts(): number[] {
    const values: number[] = [];
    this.expect("[");
    if (this.take("]")) return values;
    do values.push(this.count());
    while (this.take(","));
    this.expect("]");
    return values;
  }

  /** Calls `visit` behind the colon of every key of an object, none of which may come twice. */
  object(visit: (key: string) => void): void {
    const seen = new Set<string>();
    this.expect("{");
    if (this.take("}")) return;
    do {
      const key = this.string();
      if (seen.has(key)) throw this.#refuse("every key of the header once", `${JSON.stringify(key)} twice`);
      seen.add(key);
      this.expect(":");
      visit(key);
    } while (this.take(","));
    this.expect("}");
  }
}

const readEntry = (reader: Reader, name: string, refuse: Refuse): HeaderEntry => {
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  reader.object((key) => {
    if (key === "dtype") dtype = reader.string();
    else if (key === "shape") shape = reader.counts();
    else if (key === "data_offsets") offsets = reader.counts();
    else throw refuse(`dtype, shape and data_offsets of ${JSON.stringify(name)}`, `the key ${JSON.stringify(key)}`);
  });
  if (dtype === undefined || shape === undefined || offsets?.length !== 2) {
    const missing = Object.entries({ dtype, shape, "two data_offsets": offsets?.length === 2 || undefined }).filter(
      ([, value]) => value === undefined,
    );
    throw refuse(`dtype, shape and two data_offsets of ${JSON.stringify(name)}`, `an entry without ${missing.map(([key]) => key).join(", ")}`);
  }
  return { name, dtype, shape, offsets: [offsets[0], offsets[1]] };
};

/** Entries in the order of the text. `metadataKey` is the name under which texts stand. */
export const parseHeader = (text: string, metadataKey: string, refuse: Refuse): Header => {
  const reader = new Reader(text, refuse);
  const entries: HeaderEntry[] = [];
  const metadata: Record<string, string> = Object.create(null);
  reader.object((name) => {
    if (name !== metadataKey) entries.push(readEntry(reader, name, refuse));
    else
      reader.object((key) => {
        metadata[key] = reader.string();
      });
  });
  reader.end();
  return { entries, metadata };
};
