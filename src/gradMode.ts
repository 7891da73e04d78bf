/** Whether the tape records now. */
import { checkFunction, refusePromise } from "./scope.ts";

let enabled = true;

/**
 * Whether operations are recorded now: true outside of `noGrad` and backward passes.
 *
 * @example isGradEnabled(); // => true
 */
export const isGradEnabled = (): boolean => enabled;

/**
 * Runs `fn` without recording: nothing in it can be differentiated and nothing is kept for a backward pass.
 *
 * @throws ArgumentError when `fn` returns a promise.
 * @example
 * ```ts
 * const w = device.tensor([1, 2]);
 * w.requiresGrad = true;
 * noGrad(() => mul(w, 2)).requiresGrad; // => false
 * ```
 */
export const noGrad = <T>(fn: () => T): T => {
  checkFunction("noGrad", fn);
  const before = enabled;
  enabled = false;
  try {
    const result = fn();
    refusePromise("noGrad", result);
    return result;
  } finally {
    enabled = before;
  }
};
