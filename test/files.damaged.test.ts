/** Files cut off at every byte, and with every bit changed: refused with a typed error, or read; nothing hangs, crashes or takes memory that the file does not hold. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { decodeNpz } from "../src/data/npz.ts";
import { checkpointFile } from "../src/discover/checkpoint.ts";
import type { Contender } from "../src/discover/experiment.ts";
import type { Seen } from "../src/discover/seen.ts";
import { FileError } from "../src/errors.ts";
import { decodeNpy, decodeSafetensors, initializer, Linear, openDevice, SGD } from "../src/index.ts";
import { decodeIdx, WHOLE } from "./support/files.ts";
import { temporaryFolder } from "./support/folder.ts";

/** Far more than any of the files here holds. */
const MEMORY = 1 << 20;

/** Every prefix, the whole left out. */
const prefixes = (whole: Uint8Array): Uint8Array[] => Array.from({ length: whole.length }, (_, length) => whole.subarray(0, length));
const flipped = (whole: Uint8Array): Uint8Array[] =>
  Array.from({ length: 8 * whole.length }, (_, bit) => whole.with(bit >> 3, whole[bit >> 3] ^ (1 << (bit & 7))));

/** Whether it was read; throws for errors of another kind, and for memory that was taken. */
const reads = (read: (bytes: Uint8Array) => unknown, bytes: Uint8Array): boolean => {
  const before = process.memoryUsage().arrayBuffers;
  try {
    read(bytes);
    return true;
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    return false;
  } finally {
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MEMORY);
  }
};

test.each<[string, Uint8Array, (bytes: Uint8Array) => unknown]>([
  ["safetensors", WHOLE.safetensors, (bytes) => decodeSafetensors(bytes)],
  ["npy", WHOLE.npy, (bytes) => decodeNpy(bytes)],
  ["npz", WHOLE.npz, (bytes) => decodeNpz(bytes)],
  ["IDX", WHOLE.idx, decodeIdx],
  ["IDX in gzip", gzipSync(WHOLE.idx), decodeIdx],
])("%s", (_, whole, read) => {
  expect(reads(read, whole)).toBe(true);
  expect(prefixes(whole).filter((bytes) => reads(read, bytes)).length, "prefixes that were read").toBe(0);
  // A changed value is another file; a changed size is none.
  expect(flipped(whole).filter((bytes) => reads(read, bytes)).length).toBeLessThan(8 * whole.length);
});

test("a checkpoint that is cut off is refused, and nothing is loaded of it", async () => {
  const folder = temporaryFolder();
  await using device = await openDevice({ device: "reference" });
  const network = new Linear(initializer(device, 1), 1, 1);
  const optimizer = new SGD(network.parameters());
  const contender = { network, layers: [] } as unknown as Contender;
  const path = join(folder, "run.safetensors");
  const file = checkpointFile(path, "run");
  const seen: Seen = { losses: [1], steps: [1], accuracy: [0.5], agreement: [], snapshots: [], seconds: 1 };
  await file.save(contender, optimizer, seen);
  expect(file.load(contender, optimizer)).toMatchObject({ losses: [1] });
  const whole = Uint8Array.from(readFileSync(path));
  const state = await network.stateDict();
  device.write(network.weight, [7]);
  for (const bytes of prefixes(whole)) {
    writeFileSync(path, bytes);
    expect(() => file.load(contender, optimizer)).toThrow(FileError);
  }
  expect(await network.weight.item()).toBe(7);
  writeFileSync(path, whole);
  file.load(contender, optimizer);
  expect(await network.stateDict()).toEqual(state);
});
