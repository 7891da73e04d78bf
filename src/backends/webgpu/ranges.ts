/** Ranges of GPUBuffers that the program made: what can be seen of them without waiting. */
import { checkNames, expected } from "../../errors.ts";

// GPUBufferUsage, which Node has no global for.
export const COPY_SRC = 4;
export const COPY_DST = 8;
export const STORAGE = 128;
export const INDIRECT = 256;

/** A buffer, or a range of one as bind groups take it: its offset in bytes, and its size, by default up to the buffer's end. */
export type BufferRange = GPUBuffer | { readonly buffer: GPUBuffer; readonly offset?: number | undefined; readonly size?: number | undefined };

export interface Resolved {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  /** Bytes from there on. */
  readonly room: number;
}

const isBuffer = (value: unknown): value is GPUBuffer =>
  typeof value === "object" &&
  value !== null &&
  typeof (value as GPUBuffer).usage === "number" &&
  typeof (value as GPUBuffer).mapAsync === "function";

/** Checks a range against what is needed of it. Throws ArgumentError. */
export const resolveRange = (
  where: string,
  argument: string,
  given: BufferRange | undefined,
  bytes: number,
  usage: number,
  alignment: number,
): Resolved => {
  const range = isBuffer(given) ? { buffer: given } : (given ?? {});
  const {
    buffer,
    offset = 0,
    size,
  } = range as { readonly buffer?: unknown; readonly offset?: number | undefined; readonly size?: number | undefined };
  if (!isBuffer(buffer)) throw expected(where, "a GPUBuffer, or { buffer, offset, size },", argument, given);
  checkNames(where, range as Exclude<BufferRange, GPUBuffer>, ["buffer", "offset", "size"], argument);
  if ((buffer.usage & usage) !== usage)
    throw expected(
      where,
      usage & INDIRECT ? "a buffer with usage STORAGE | INDIRECT" : "a buffer with usage STORAGE",
      argument,
      `usage ${buffer.usage}`,
    );
  if (buffer.mapState !== "unmapped") throw expected(where, "a buffer that is not mapped", argument, `one that is ${buffer.mapState}`);
  if (!Number.isSafeInteger(offset) || offset < 0 || offset % alignment !== 0)
    throw expected(where, `a multiple of the device's ${alignment} bytes`, `${argument}.offset`, offset);
  const room = size ?? buffer.size - offset;
  if (!Number.isSafeInteger(room) || room < 0 || offset + room > buffer.size)
    throw expected(where, `bytes within the buffer's ${buffer.size}`, `${argument}.size`, size ?? `offset ${offset}`);
  if (room < bytes) throw expected(where, `at least ${bytes} bytes`, argument, `${room} bytes`);
  return { buffer, offset, room };
};
