/** Whether the caller's buffers are what a kernel can be given: everything that can be seen of a GPUBuffer without waiting. */
import { type BufferRange, INDIRECT, type Resolved, resolveRange, STORAGE } from "../backends/webgpu/ranges.ts";
import { ArgumentError, checkNames, expected } from "../errors.ts";
import type { Layout, Slot } from "./layout.ts";

/** The caller's buffers, each in the order of the kernel's own lists. */
export interface KernelBuffers {
  readonly inputs?: readonly BufferRange[];
  readonly outputs?: readonly BufferRange[];
  readonly scratch?: readonly BufferRange[];
  /** Two words that receive faults, for `kernel.fault`. Default: words of the kernel's own, which nobody reads. */
  readonly status?: BufferRange;
}

/** The usage flags that a slot's buffer needs. */
export const usageOf = ({ indirect }: Slot): number => (indirect ? STORAGE | INDIRECT : STORAGE);

/** The caller's buffer of every slot. Throws ArgumentError, also where two of them share memory that one of them writes. */
export const resolveBuffers = (
  where: string,
  layout: Layout,
  buffers: KernelBuffers,
  own: GPUBuffer | undefined,
  alignment: number,
): Map<Slot, Resolved> => {
  checkNames(where, buffers, ["inputs", "outputs", "scratch", "status"], "buffers");
  const resolved = new Map<Slot, Resolved>();
  for (const kind of ["inputs", "outputs", "scratch"] as const) {
    const given = buffers[kind] ?? [];
    if (!Array.isArray(given) || given.length !== layout[kind].length)
      throw expected(where, `${layout[kind].length} buffers`, kind, Array.isArray(given) ? `${given.length} buffers` : given);
    for (const slot of layout[kind]) {
      if (slot.bytes > 0) resolved.set(slot, resolveRange(where, `${kind}[${slot.index}]`, given[slot.index], slot.bytes, usageOf(slot), alignment));
    }
  }
  const status = buffers.status ?? own;
  if (layout.status && status) resolved.set(layout.status, resolveRange(where, "status", status, layout.status.bytes, STORAGE, alignment));
  refuseOverlap(where, [...resolved]);
  refuseMixing(where, layout, resolved);
  return resolved;
};

const nameOf = ({ kind, index }: Slot): string => (kind === "status" ? "status" : `${kind}[${index}]`);

const refuseOverlap = (where: string, all: readonly (readonly [Slot, Resolved])[]): void => {
  for (const [i, [slot, { buffer, offset }]] of all.entries()) {
    for (const [other, { buffer: otherBuffer, offset: otherOffset }] of all.slice(0, i)) {
      const apart = buffer !== otherBuffer || offset >= otherOffset + other.bytes || otherOffset >= offset + slot.bytes;
      if (!apart && (slot.written || other.written))
        throw new ArgumentError(`${where}: expected memory of its own for \`${nameOf(slot)}\`, but received bytes of \`${nameOf(other)}\``);
    }
  }
};

/** WebGPU lets a dispatch read and write different buffers only, even where the ranges are apart. */
const refuseMixing = (where: string, { launches }: Layout, resolved: ReadonlyMap<Slot, Resolved>): void => {
  for (const { storage } of launches) {
    const bound = storage.flatMap(({ memory, writes }) => {
      const buffer = resolved.get(memory)?.buffer;
      return buffer ? [{ memory, writes, buffer }] : [];
    });
    for (const { memory, buffer } of bound.filter(({ writes }) => writes)) {
      const read = bound.find((other) => !other.writes && other.buffer === buffer);
      if (read)
        throw new ArgumentError(
          `${where}: expected a GPUBuffer of its own for \`${nameOf(memory)}\`, but received that of \`${nameOf(read.memory)}\`, which the same dispatch reads`,
        );
    }
  }
};
