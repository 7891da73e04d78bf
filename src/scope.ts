/** Who frees a tensor: the innermost `scope` it was made in, unless it is returned or kept. */
import { ArgumentError, expected } from "./errors.ts";
import type { Tensor } from "./tensor.ts";

let current: Set<Tensor> | undefined;
/** What a constructor has made so far. */
let unfinished: Set<Tensor> | undefined;

/** Without the class, which needs this file. */
const isTensor = (value: object | null | undefined): value is Tensor =>
  typeof value === "object" && value !== null && "storage" in value && "dispose" in value;

/** Called by every new tensor. */
export const enroll = (tensor: Tensor): void => {
  current?.add(tensor);
};

/**
 * Takes a tensor out of the current scope: whoever calls this owns it and must dispose of it. Returns the tensor.
 *
 * @throws ArgumentError for what is no tensor.
 * @example
 * ```ts
 * let cached: Tensor | undefined;
 * scope(() => {
 *   cached = keep(device.ones([2]));
 * });
 * cached?.disposed; // => false
 * ```
 */
export const keep = (tensor: Tensor): Tensor => {
  if (!isTensor(tensor)) throw expected("keep", "a tensor", "tensor", tensor);
  current?.delete(tensor);
  unfinished?.add(tensor);
  return tensor;
};

/** For constructors: when `fn` throws, what was kept in it is freed, so that an object of several tensors is made whole or not at all. */
export const allOrNone = <T>(fn: () => T): T => {
  const outer = unfinished;
  const mine = new Set<Tensor>();
  unfinished = mine;
  try {
    const made = fn();
    for (const tensor of mine) outer?.add(tensor);
    return made;
  } catch (error) {
    for (const tensor of mine) tensor.dispose();
    throw error;
  } finally {
    unfinished = outer;
  }
};

/** Throws unless it can be called. */
export const checkFunction = (where: string, fn: unknown, argument = "fn"): void => {
  if (typeof fn !== "function") throw expected(where, "a function", argument, fn);
};

/** Refuses what an asynchronous callback returns: two requests must not be mixed up in one scope. */
export const refusePromise = (where: string, result: unknown): void => {
  if (typeof (result as { then?: unknown } | null | undefined)?.then === "function") {
    throw new ArgumentError(`${where}: expected a synchronous function for \`fn\`, but it returned a promise; await outside of it`);
  }
};

/**
 * Runs `fn` and disposes of every tensor made in it, except those found in what it returns
 * (a tensor, or arrays and plain objects that hold tensors). Those move to the enclosing scope.
 *
 * @throws ArgumentError when `fn` returns a promise.
 * @example
 * ```ts
 * const x = device.tensor([1, 2, 3]);
 * const kept = scope(() => {
 *   const squares = mul(x, x); // freed
 *   return add(squares, 1); // survives
 * });
 * await kept.read(); // => [2, 5, 10]
 * device.counters.liveBuffers; // => 2
 * ```
 */
export const scope = <T>(fn: () => T): T => {
  checkFunction("scope", fn);
  const outer = current;
  const mine = new Set<Tensor>();
  current = mine;
  let returned: T | undefined;
  try {
    returned = fn();
    refusePromise("scope", returned);
    for (const tensor of tensorsIn(returned)) {
      if (mine.delete(tensor)) outer?.add(tensor);
    }
    return returned;
  } finally {
    current = outer;
    for (const tensor of mine) tensor.dispose();
  }
};

function* tensorsIn(value: unknown): Iterable<Tensor> {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) yield* tensorsIn(item);
  } else if (isTensor(value)) {
    yield value;
  } else if (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null) {
    for (const item of Object.values(value)) yield* tensorsIn(item);
  }
}
