/**
 * Every error birkhoff throws on purpose. One sentence form serves the whole library:
 * `<where>: expected <what> for <argument>, but received <what came>`.
 */

/**
 * Base class: catch this to catch everything the library throws on purpose. `code` is stable across versions.
 *
 * @example
 * ```ts
 * try {
 *   device.tensor([1, 2, 3], [2, 2]);
 * } catch (error) {
 *   error instanceof BirkhoffError && error.code; // => "ERR_ARGUMENT"
 * }
 * ```
 */
export class BirkhoffError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/**
 * An argument is wrong: shape, dtype, rank, device, value or option. Nothing was enqueued.
 *
 * @example device.tensor([1, 2, 3], [2, 2]); // throws ArgumentError
 */
export class ArgumentError extends BirkhoffError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_ARGUMENT", message, options);
  }
}

/**
 * A device cannot be opened, cannot run a call, was lost, or ran out of memory (`OutOfMemoryError`).
 *
 * @example
 * ```ts
 * const wgsl = "@compute @workgroup_size(1) fn main() {}";
 * const onGpu = customOp({ name: "onGpu", wgsl, outputs: (inputs) => inputs, plan: () => ({ passes: [] }), gradient: { none: "an example" } });
 * onGpu([device.ones([2])], {}); // throws DeviceError
 * ```
 */
export class DeviceError extends BirkhoffError {
  constructor(message: string, options?: ErrorOptions, code = "ERR_DEVICE") {
    super(code, message, options);
  }
}

/**
 * The device has no memory left for a tensor or a temporary buffer, or was told to take no more (`memoryLimit` of `openDevice`).
 * Nothing is held for the call that failed, and the device stays usable. Where only the device itself notices, the next `read()` throws it.
 *
 * @example
 * ```ts
 * await using small = await openDevice({ device: "reference", memoryLimit: 1000 });
 * small.ones([1000]); // throws OutOfMemoryError
 * small.counters.liveBuffers; // => 0
 * await small.ones([2]).read(); // => [1, 1]
 * ```
 */
export class OutOfMemoryError extends DeviceError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options, "ERR_OUT_OF_MEMORY");
  }
}

/**
 * The object is not in a state that allows the call: disposed tensor, closed device, second `backward()`.
 *
 * @example
 * ```ts
 * const x = device.ones([2]);
 * x.dispose();
 * await x.read(); // throws StateError
 * ```
 */
export class StateError extends BirkhoffError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_STATE", message, options);
  }
}

/**
 * Data on the device broke a kernel's precondition (a label out of range, NaN logits). Thrown by the next `read()`.
 *
 * @example
 * ```ts
 * const P = sinkhorn(device.full([2, 2], NaN)); // nothing waits, so nothing is known yet
 * await P.read(); // throws DataError
 * ```
 */
export class DataError extends BirkhoffError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_DATA", message, options);
  }
}

/**
 * A file is missing, truncated or not what its name says.
 *
 * @example new FileError("readIdx: expected a readable IDX file").code; // => "ERR_FILE"
 */
export class FileError extends BirkhoffError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_FILE", message, options);
  }
}

/** Builds the `ArgumentError` in the library's one sentence form. */
export const expected = (where: string, what: string, argument: string, received: unknown): ArgumentError =>
  new ArgumentError(`${where}: expected ${what} for \`${argument}\`, but received ${describe(received)}`);

/** Options as they came, when they are an object: JavaScript may pass anything in their place. */
export const checkObject = <T extends object>(where: string, options: T, argument = "options"): T => {
  // Lists, dates, maps and promises have no names of their own, and would be taken for no options at all.
  const plain = typeof options === "object" && options !== null && Object.getPrototypeOf(options) === Object.prototype;
  if (plain || Object.prototype.toString.call(options) === "[object Object]") return options;
  throw expected(where, "an object", argument, options);
};

/** Options as they came, when they are an object with no other names than these: a misspelt one would be ignored. The compiler refuses a list that lacks a name of T. */
export const checkNames = <T extends object, const N extends readonly (keyof T & string)[]>(
  where: string,
  options: T,
  known: N & ([Exclude<keyof T, N[number]>] extends [never] ? unknown : { readonly missing: Exclude<keyof T, N[number]> }),
  argument = "options",
): T => {
  // Names of a prototype as well, since they are read as well.
  for (const name in checkObject(where, options, argument))
    if (!(known as readonly string[]).includes(name)) throw expected(where, `only ${known.join(", ")}`, argument, name);
  return options;
};

/** Gives back a number from `low` to `high`, both included; throws for others and for what JavaScript would turn into one. */
export const checkRange = (
  where: string,
  argument: string,
  value: unknown,
  low: number,
  high: number,
  what = `a number from ${low} to ${high}`,
): number => {
  if (!(typeof value === "number" && value >= low && value <= high)) throw expected(where, what, argument, value);
  return value;
};

/** Throws for NaN, infinities and what is no number. */
export const checkFinite = (where: string, argument: string, value: unknown): void => {
  if (!Number.isFinite(value)) throw expected(where, "a finite number", argument, value);
};

/** Throws unless `value` is a whole number in [low, high]. */
export const checkInteger = (where: string, argument: string, value: unknown, low: number, high: number): void => {
  if (!(Number.isInteger(value) && (value as number) >= low && (value as number) <= high))
    throw expected(where, `an integer in [${low}, ${high}]`, argument, value);
};

/** Nothing but true or false: what JavaScript takes for either is more often a mistake. */
export const checkFlags = (where: string, flags: Readonly<Record<string, unknown>>): void => {
  for (const [name, flag] of Object.entries(flags)) if (typeof flag !== "boolean") throw expected(where, "true or false", name, flag);
};

/** Builds the `OutOfMemoryError` of a device that holds some bytes and cannot get more. */
export const outOfMemory = (
  device: string,
  wanted: number,
  held: number,
  limit = Number.POSITIVE_INFINITY,
  options?: ErrorOptions,
): OutOfMemoryError =>
  new OutOfMemoryError(
    `alloc: out of memory: expected ${wanted} more bytes, but the ${device} device holds ${held}${limit < Number.POSITIVE_INFINITY ? ` of at most ${limit}` : ""}; ` +
      "dispose of tensors, or use `scope`",
    options,
  );

/** What a value looks like in an error message: short, and never the whole of a large array. */
export const describe = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (typeof value === "bigint") return `${value}n`;
  if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))) {
    const { length } = value as ArrayLike<unknown>;
    const shown = Array.from({ length: Math.min(8, length) }, (_, i) => describe((value as ArrayLike<unknown>)[i])).join(", ");
    return `${Array.isArray(value) ? "" : `${value.constructor.name} `}[${shown}${length > 8 ? `, … ${length} entries` : ""}]`;
  }
  if (typeof value === "object" && value !== null) return `a ${value.constructor?.name ?? "null-prototype"} object`;
  return String(value);
};
