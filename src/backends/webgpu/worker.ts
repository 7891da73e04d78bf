/**
 * The end of a worker that has a device. Dawn's binding ends the whole process when a worker goes while a promise of the binding's is pending, so they are settled
 * before: when the worker returns, throws or calls `process.exit`. When it is terminated from outside no code of its own runs any more, and nothing can be done.
 */
import { isMainThread } from "node:worker_threads";

/** What closes the devices that are open. */
const closing = new Set<() => void>();

/** Dawn's looks at its promises that wait for their turn of the event loop. It takes one look after another, as long as a promise is pending. */
const looks = new Set<() => void>();

const NATIVE = /\{\s*\[native code\]\s*\}$/;

/** Whether a function comes from an addon: other native ones, of promises or bound, have no prototype. */
const isLook = (callback: () => void): boolean =>
  callback.name === "" && Object.hasOwn(callback, "prototype") && NATIVE.test(Function.prototype.toString.call(callback));

const PAUSE_MS = 1;

let watching = false;

/** Begins to keep the looks of this worker. Dawn asks for each by the global `setImmediate`. */
export const watchLooks = (): void => {
  if (isMainThread || watching) return;
  watching = true;
  const immediate = globalThis.setImmediate;
  const keeping = (callback: (...args: unknown[]) => void, ...args: unknown[]): NodeJS.Immediate => {
    if (args.length > 0 || !isLook(callback)) return immediate(callback, ...args);
    looks.add(callback);
    return immediate(() => {
      if (looks.delete(callback)) callback();
    });
  };
  globalThis.setImmediate = Object.assign(keeping, immediate) as typeof setImmediate;
  process.on("exit", settle);
};

/** Closes what is open and looks until nothing is pending. */
const settle = (): void => {
  for (const close of closing) close();
  const pause = new Int32Array(new SharedArrayBuffer(4));
  while (looks.size > 0) {
    for (const look of looks) {
      looks.delete(look);
      look();
    }
    if (looks.size > 0) Atomics.wait(pause, 0, 0, PAUSE_MS);
  }
};

/** Has `close` called at the end of this worker, before what it leaves pending is settled. Gives what takes that back. */
export const closeAtEnd = (close: () => void): (() => void) => {
  closing.add(close);
  return () => closing.delete(close);
};
