/** A selection of cases in a real browser; `npm run check:browser` runs all. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findChromium } from "../scripts/browser.mjs";
import { type ConformancePage, openConformancePage } from "./browser/open.ts";

/** A scan, integers, half words, strides, a formula, a small product: little to compile, much that differs between implementations of WebGPU. */
const CASES = [
  ["cumsum", "rows, 5x7 along 1"],
  ["random", "bits 2"],
  ["cast", "a vector, to float16, 3"],
  ["shape", "permute 3x5 by 1,0"],
  ["elementwise", "exp 255"],
  ["matmul", "tiny 2x3 · 3x4"],
] as const;

const chromium = findChromium();

describe.skipIf(!chromium)("in Chromium (BIRKHOFF_CHROMIUM names its file where it is not found)", () => {
  let page: ConformancePage;
  beforeAll(async () => {
    page = await openConformancePage(chromium as string);
  });
  afterAll(() => page?.close());
  for (const [room, name] of CASES) test(`${room}: ${name}`, async () => expect(await page.run({ room, name, slow: false })).toBeUndefined());
});
