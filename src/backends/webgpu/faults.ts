/** The status words: how a kernel says, without anybody waiting, that device data broke a precondition. */
import { DataError } from "../../errors.ts";

/** Code word and value word. `shaders/lib/fault.wgsl` writes them; a zero code is "no fault". */
export const STATUS_BYTES = 8;

// The two top bits of the code say what the value word is; shaders/lib/fault.wgsl sets them.
const KIND_SHIFT = 30;
const CODE_MASK = 2 ** KIND_SHIFT - 1;

/** Codes for fault messages, allotted as they come up. */
export class FaultCodes {
  readonly #codes = new Map<string, number>();
  readonly #messages: string[] = [];

  code(message: string): number {
    let code = this.#codes.get(message);
    if (code === undefined) {
      code = this.#messages.push(message);
      this.#codes.set(message, code);
    }
    return code;
  }

  /** The error that status words stand for, or undefined when no kernel reported one. */
  error(words: ArrayBuffer): DataError | undefined {
    const view = new DataView(words);
    const word = view.getUint32(0, true);
    if (word === 0) return undefined;
    const kind = word >>> KIND_SHIFT;
    const value = kind === 1 ? view.getInt32(4, true) : kind === 2 ? view.getFloat32(4, true) : view.getUint32(4, true);
    const message = this.#messages[(word & CODE_MASK) - 1] ?? `a kernel reported the unknown fault ${word & CODE_MASK}`;
    return new DataError(`${message}, but received ${value}`);
  }
}
