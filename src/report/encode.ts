/** Matrices as compact text: a byte per entry, differences between snapshots, zlib, base64. `client.ts` undoes it. */
import { deflateSync } from "node:zlib";
import { holdsShares } from "../symmetry/matrices.ts";
import type { KernelImages, Snapshot } from "./types.ts";

const MAX_SNAPSHOTS = 25;

/** At most so many snapshots, evenly chosen, the first and the last among them. */
export const thin = (snapshots: readonly Snapshot[], most = MAX_SNAPSHOTS): readonly Snapshot[] => {
  if (snapshots.length <= most) return snapshots;
  return Array.from({ length: most }, (_, i) => snapshots[Math.round((i * (snapshots.length - 1)) / (most - 1))]);
};

const base64 = (bytes: Uint8Array): string => deflateSync(bytes, { level: 9 }).toString("base64");

/** Largest absolute value of matrices whose entries are no shares; undefined where all are. */
export const signedRange = (snapshots: readonly Snapshot[]): number | undefined => {
  if (snapshots.every(({ matrices }) => holdsShares(matrices))) return undefined;
  return snapshots.reduce((most, { matrices }) => matrices.reduce((so, value) => Math.max(so, Math.abs(value)), most), 0);
};

/**
 * Where a value is on the colour scale, 0 … 1: of shares their root, which keeps the small entries of early training apart; of values in [−range, range] as they are, 0 in the
 * middle.
 */
export const toScale = (value: number, range: number | undefined): number =>
  range === undefined ? Math.sqrt(Math.min(1, Math.max(0, value))) : 0.5 + value / range / 2;

/** A byte per entry, from one end of the scale to the other. */
export const encodeSnapshots = (snapshots: readonly Snapshot[], range?: number): string => {
  const size = snapshots[0].matrices.length;
  const bytes = new Uint8Array(snapshots.length * size);
  let before = new Uint8Array(size);
  for (const [s, { matrices }] of snapshots.entries()) {
    const now = Uint8Array.from(matrices, (value) => Math.round(255 * toScale(value, range)));
    for (let i = 0; i < size; i++) bytes[s * size + i] = now[i] - before[i];
    before = now;
  }
  return base64(bytes);
};

/** Byte b stands for (b − 128)/127 of the largest absolute value of its row of kernels, so that every row fills the colours. */
export const encodeKernels = ({ values, shape: [o, ...rest] }: KernelImages, rows: number): string => {
  const size = rest.reduce((product, length) => product * length, 1);
  const bytes = new Uint8Array(Math.min(o, rows) * size);
  for (let row = 0; row < Math.min(o, rows); row++) {
    const kernel = values.subarray(row * size, (row + 1) * size);
    const most = kernel.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) || 1;
    for (let i = 0; i < size; i++) bytes[row * size + i] = Math.round(128 + (127 * kernel[i]) / most);
  }
  return base64(bytes);
};
