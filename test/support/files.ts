/** A small file of every format, whole. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readIdx } from "../../src/data/idx.ts";
import { encodeNpz } from "../../src/data/npz.ts";
import { encodeNpy, encodeSafetensors } from "../../src/index.ts";
import { temporaryFolder } from "./folder.ts";

export const WHOLE: Readonly<Record<"safetensors" | "npy" | "npz" | "idx", Uint8Array>> = {
  safetensors: encodeSafetensors(
    new Map([
      ["weight", { dtype: "F32", shape: [2], data: Float32Array.of(1, 2) }],
      ["steps", { dtype: "I64", shape: [], data: BigInt64Array.of(7n) }],
    ]),
    { epoch: "3" },
  ),
  npy: encodeNpy({ shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }),
  npz: encodeNpz({ x: { shape: [3], data: Int32Array.of(4, 5, 6) }, y: { shape: [1, 2], data: Float64Array.of(0.5, -1) } }),
  idx: Uint8Array.of(0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6),
};

const folder = temporaryFolder();

/** `readIdx` of bytes. */
export const decodeIdx = (given: Uint8Array): ReturnType<typeof readIdx> => {
  const path = join(folder, "idx");
  writeFileSync(path, given);
  return readIdx(path);
};
