/** Range search out of lists that have room for so many results of a row. */
import { DataError } from "../../errors.ts";

export interface RelativeRange {
  /** [B + 1]: what belongs to row b stands from offsets[b] up to offsets[b + 1]. */
  readonly offsets: Int32Array;
  /** The anchors' rows, those most alike first; of equal similarities the first anchor comes first. */
  readonly indices: Int32Array;
  /** Their similarities. */
  readonly values: Float32Array;
}

/** Of every row the first `most` results, in the order of the anchors, and how many there are in all. */
export interface Lists {
  readonly values: Float32Array;
  readonly indices: Int32Array;
  readonly counts: Int32Array;
}

/** Results that there is room for at a time, and of a row at first. */
const ROOM = 2 ** 21;
export const ROOM_OF_A_ROW = 64;

/** Calls `use` with the lists of so many of the rows as there is room for, until there are none left. */
const inBlocks = async (
  rows: Int32Array,
  roomOf: (row: number) => number,
  search: (rows: Int32Array, most: number) => Promise<Lists>,
  use: (lists: Lists, rows: Int32Array, most: number) => void,
): Promise<void> => {
  for (let from = 0; from < rows.length; ) {
    const most = roomOf(rows[from]);
    const some = rows.subarray(from, from + Math.max(1, Math.floor(ROOM / most)));
    use(await search(some, most), some, most);
    from += some.length;
  }
};

type Found = Pick<RelativeRange, "indices" | "values">;

/** A row's list goes to place `at`, the most alike first. */
const put = ({ values, indices }: Lists, from: number, count: number, to: Found, at: number): void => {
  const order = Int32Array.from({ length: count }, (_, i) => from + i).sort((i, j) => values[j] - values[i] || i - j);
  for (const [i, place] of order.entries()) {
    to.indices[at + i] = indices[place];
    to.values[at + i] = values[place];
  }
};

/** All results of B rows on K anchors. Rows of which there are more than the first lists hold are searched once more, those of about as many together. */
export const searchAll = async (
  where: string,
  B: number,
  K: number,
  search: (rows: Int32Array, most: number) => Promise<Lists>,
): Promise<RelativeRange> => {
  const room = Math.min(K, ROOM_OF_A_ROW);
  const counts = new Int32Array(B);
  const blocks: Found[] = [];
  const all = Int32Array.from({ length: B }, (_, b) => b);
  await inBlocks(
    all,
    () => room,
    search,
    (lists, rows, most) => {
      counts.set(lists.counts, rows[0]);
      const total = lists.counts.reduce((sum, count) => sum + (count <= room ? count : 0), 0);
      const block: Found = { indices: new Int32Array(total), values: new Float32Array(total) };
      let at = 0;
      for (const [i, count] of lists.counts.entries()) {
        if (count > room) continue;
        put(lists, i * most, count, block, at);
        at += count;
      }
      blocks.push(block);
    },
  );
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total >= 2 ** 31) throw new DataError(`${where}: expected fewer than 2^31 similarities of at least \`least\`, but there are ${total}`);
  const offsets = new Int32Array(B + 1);
  for (const [b, count] of counts.entries()) offsets[b + 1] = offsets[b] + count;
  const result: RelativeRange = { offsets, indices: new Int32Array(total), values: new Float32Array(total) };
  const rowsOfBlock = Math.floor(ROOM / room);
  for (const [i, { indices, values }] of blocks.entries()) {
    let at = 0;
    for (let b = i * rowsOfBlock; b < Math.min(B, (i + 1) * rowsOfBlock); b++) {
      if (counts[b] > room) continue;
      result.indices.set(indices.subarray(at, at + counts[b]), offsets[b]);
      result.values.set(values.subarray(at, at + counts[b]), offsets[b]);
      at += counts[b];
    }
  }
  await inBlocks(
    all.filter((b) => counts[b] > room).sort((a, b) => counts[b] - counts[a] || a - b),
    (row) => counts[row],
    search,
    (lists, rows, most) => {
      for (const [i, row] of rows.entries()) put(lists, i * most, counts[row], result, offsets[row]);
    },
  );
  return result;
};
