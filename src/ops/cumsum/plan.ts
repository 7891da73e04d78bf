import { scan } from "../../generated/cumsum.ts";
import { type Call, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import { type CumsumAttrs, split } from "./reference.ts";

const THREADS = 256;
/** Terms that one thread sums in sequence; a workgroup of one row scans THREADS times as many at a time. */
export const TERMS_PER_THREAD = 8;
/** Elements that a workgroup scans before another workgroup takes a part of the row, and a second dispatch with it. */
export const PART_ELEMENTS = 8192;
/** Workgroups that keep a large GPU busy: rows are not cut into parts beyond it. */
export const ENOUGH_WORKGROUPS = 1024;
/** Neighbouring rows that one workgroup takes side by side, where their elements interleave: a cache line of them. */
export const SIDE_BY_SIDE = 32;

const powerOfTwo = (least: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, least)));

export const cumsum = ({ attrs: { axis, reverse }, outputs: [{ shape }] }: Call<CumsumAttrs>, limits: Limits): Plan => {
  const { outer, length, inner } = split(shape, axis);
  const rows = outer * inner;
  if (rows * length === 0) return { passes: [] };
  const items = Math.min(TERMS_PER_THREAD, powerOfTwo(length));
  const widest = THREADS / Math.min(SIDE_BY_SIDE, powerOfTwo(inner));
  const lanes = Math.min(widest, powerOfTwo(length / items));
  const slots = THREADS / lanes;
  const tile = lanes * items;

  const wanted = Math.min(Math.ceil((length * slots) / PART_ELEMENTS), Math.floor(ENOUGH_WORKGROUPS / Math.ceil(rows / slots)));
  // Whole tiles, so that only the last part of a row leaves threads without work.
  const partTerms = wanted > 1 ? tile * Math.ceil(length / wanted / tile) : length;
  const parts = Math.ceil(length / partTerms);
  const params = {
    rows,
    length,
    inner,
    parts,
    part_terms: partTerms,
    first: reverse ? (length - 1) * inner : 0,
    step: reverse ? -inner : inner,
    interleaved: inner > 1 ? 1 : 0,
  };

  const pass = (entry: string, bind: Pass["bind"], shares: number): Pass => ({
    shader: scan,
    entry,
    constants: { LANES: lanes, ITEMS: items },
    params,
    bind,
    workgroups: grid(Math.ceil(shares / slots), limits),
  });
  const [x, y, partTotals] = [input(0), output(0), scratch(0)];
  if (parts === 1) return { passes: [pass("scan", { x, y }, rows)] };
  return {
    scratch: [rows * (parts - 1)],
    passes: [pass("totals", { x, part_totals: partTotals }, rows * (parts - 1)), pass("resume", { x, y, part_totals: partTotals }, rows * parts)],
  };
};
