/**
 * Every error birkhoff throws on purpose. One sentence form serves the whole library:
 * `<where>: expected <what> for <argument>, but received <what came>`.
 */

/** Base class: catch this to catch everything the library throws on purpose. `code` is stable across versions. */
export class BirkhoffError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** An argument is wrong: shape, dtype, rank, device, value or option. Nothing was enqueued. */
export class ArgumentError extends BirkhoffError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_ARGUMENT", message, options);
  }
}

/** A device cannot be opened, cannot run a call, was lost, or ran out of memory. */
export class DeviceError extends BirkhoffError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_DEVICE", message, options);
  }
}

/** The object is not in a state that allows the call: disposed tensor, closed device, second `backward()`. */
export class StateError extends BirkhoffError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_STATE", message, options);
  }
}

/** Data on the device broke a kernel's precondition (a label out of range, NaN logits). Thrown by the next `read()`. */
export class DataError extends BirkhoffError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_DATA", message, options);
  }
}

/** A file is missing, truncated or not what its name says. */
export class FileError extends BirkhoffError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_FILE", message, options);
  }
}

/** Builds the `ArgumentError` in the library's one sentence form. */
export const expected = (where: string, what: string, argument: string, received: unknown): ArgumentError =>
  new ArgumentError(`${where}: expected ${what} for \`${argument}\`, but received ${describe(received)}`);

/** What a value looks like in an error message: short, and never the whole of a large array. */
export const describe = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) {
    const shown = value.slice(0, 8).map(describe).join(", ");
    return `[${shown}${value.length > 8 ? `, … ${value.length} entries` : ""}]`;
  }
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name} of ${value.byteLength} bytes`;
  if (typeof value === "object" && value !== null) return `a ${value.constructor?.name ?? "null-prototype"} object`;
  return String(value);
};
