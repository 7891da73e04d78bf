/** Command-line options as data: one table gives parsing, checking and the help text. */
import { parseArgs } from "node:util";
import { ArgumentError, expected } from "../errors.ts";

export interface Flag {
  /** Without the dashes. */
  readonly name: string;
  readonly type: "text" | "integer" | "number" | "switch";
  /** For the help: what the value is called, and what the option does. */
  readonly value?: string;
  readonly help: string;
  /** A text that may be given several times. */
  readonly repeated?: true;
  /** Allowed texts, or the least number allowed. */
  readonly choices?: readonly string[];
  readonly least?: number;
}

export interface Flags {
  text(name: string): string | undefined;
  /** Of an option that may be repeated: all its values, none where it is not given. */
  list(name: string): readonly string[];
  number(name: string): number | undefined;
  has(name: string): boolean;
  /** The options as they were given, as one would type them again, without those named. */
  given(without?: readonly string[]): string;
}

/**
 * @throws ArgumentError for an unknown option, a missing or surplus value, text that is no number, a number too small
 */
export const parseFlags = (command: string, flags: readonly Flag[], args: readonly string[]): Flags => {
  const where = `birkhoff ${command}`;
  const known = Object.fromEntries(
    flags.map(({ name, type, repeated = false }) => [
      name,
      { type: type === "switch" ? ("boolean" as const) : ("string" as const), multiple: repeated },
    ]),
  );
  let values: Record<string, unknown>;
  let options: readonly { readonly name: string; readonly value?: string | undefined }[];
  try {
    const parsed = parseArgs({ args: [...args], options: known, strict: true, allowPositionals: false, tokens: true });
    values = parsed.values;
    options = parsed.tokens.filter((token) => token.kind === "option");
  } catch (error) {
    throw new ArgumentError(`${where}: ${(error as Error).message.split("\n")[0]}; see \`birkhoff ${command} --help\``, { cause: error });
  }
  for (const { name, type, choices, least } of flags) {
    const value = values[name];
    if (typeof value !== "string") continue;
    if (type === "text" && choices && !choices.includes(value)) throw expected(where, `one of ${choices.join(", ")}`, `--${name}`, value);
    if (type === "integer" || type === "number") {
      const number = Number(value);
      const fits =
        value.trim() !== "" &&
        (type === "integer" ? Number.isSafeInteger(number) : Number.isFinite(number)) &&
        number >= (least ?? Number.NEGATIVE_INFINITY);
      if (!fits)
        throw expected(
          where,
          `${type === "integer" ? "an integer" : "a number"}${least === undefined ? "" : ` of at least ${least}`}`,
          `--${name}`,
          value,
        );
    }
  }
  return {
    text: (name) => values[name] as string | undefined,
    list: (name) => (values[name] as string[] | undefined) ?? [],
    number: (name) => (values[name] === undefined ? undefined : Number(values[name])),
    has: (name) => values[name] === true,
    given: (without = []) =>
      options
        .filter(({ name }) => !without.includes(name))
        .flatMap(({ name, value }) => [`--${name}`, ...(value === undefined ? [] : [/^[\w./:@%+=,-]+$/.test(value) ? value : JSON.stringify(value)])])
        .join(" "),
  };
};

/** The options as aligned lines. */
export const describeFlags = (flags: readonly Flag[]): string => {
  const left = flags.map(({ name, type, value }) => `  --${name}${type === "switch" ? "" : ` <${value ?? type}>`}`);
  const width = Math.max(...left.map(({ length }) => length));
  return flags.map(({ help, choices }, i) => `${left[i].padEnd(width)}  ${help}${choices ? `: ${choices.join(", ")}` : ""}`).join("\n");
};

/** What every command that computes takes. */
export const DEVICE_FLAGS: readonly Flag[] = [
  {
    name: "device",
    type: "text",
    choices: ["webgpu", "native", "reference"],
    help: "device; default: a hardware GPU, else native, else reference. One of",
  },
  { name: "threads", type: "integer", least: 1, help: "threads of the native device; default all cores" },
];
