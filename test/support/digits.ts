/** Images that are quick to tell apart. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

/** 120 images of 6×6: class c is a bright row at height 2c. */
export const writeDigits = (path: string): void => {
  const count = 120;
  const header = (magic: number, ...sizes: number[]): Buffer => {
    const bytes = Buffer.alloc(4 + 4 * sizes.length);
    bytes.writeUInt32BE(magic);
    for (const [i, size] of sizes.entries()) bytes.writeUInt32BE(size, 4 + 4 * i);
    return bytes;
  };
  const pixels = Buffer.alloc(count * 36);
  for (let i = 0; i < count; i++) for (let c = 0; c < 6; c++) pixels[i * 36 + (i % 3) * 12 + c] = 150 + ((i * 37 + c * 11) % 100);
  writeFileSync(join(path, "train-images-idx3-ubyte.gz"), gzipSync(Buffer.concat([header(0x803, count, 6, 6), pixels])));
  writeFileSync(
    join(path, "train-labels-idx1-ubyte"),
    Buffer.concat([header(0x801, count), Buffer.from(Array.from({ length: count }, (_, i) => i % 3))]),
  );
};
