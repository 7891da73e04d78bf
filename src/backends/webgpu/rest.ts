/** Time between two looks, in milliseconds: the least that timers know. */
const PAUSE_MS = 1;
/** Looks without a pause in each window: what is soon done is soon known. */
const EAGER_LOOKS = 20;
const WINDOW_MS = 50;

const NATIVE = /\{\s*\[native code\]\s*\}$/;

/**
 * Lets the event loop rest while a GPU that is this very CPU works. Dawn in Node asks at every turn of the loop, by `setImmediate`, whether a pending promise is fulfilled: a whole
 * core spins, which a software GPU wants for itself. Changes the global `setImmediate` for callbacks of native code, so it is for programs alone (tests, the command line), never
 * for the library. A call costs up to a millisecond more, so it is not for hardware either.
 */
export const restBetweenLooks = (): void => {
  const immediate = globalThis.setImmediate;
  let windowStart = 0;
  let looks = 0;
  const patient = (callback: (...args: unknown[]) => void, ...args: unknown[]): NodeJS.Immediate | NodeJS.Timeout => {
    if (!NATIVE.test(Function.prototype.toString.call(callback))) return immediate(callback, ...args);
    const now = performance.now();
    if (now - windowStart > WINDOW_MS) [windowStart, looks] = [now, 0];
    return ++looks <= EAGER_LOOKS ? immediate(callback, ...args) : setTimeout(callback, PAUSE_MS, ...args);
  };
  globalThis.setImmediate = Object.assign(patient, immediate) as typeof setImmediate;
};
