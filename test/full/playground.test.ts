/** examples/playground in a real browser, with WebGPU: a software GPU compiles its kernels for a minute. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findChromium } from "../../scripts/browser.mjs";
import { openPage, type ServedPage } from "../browser/serve.ts";

const chromium = findChromium();

describe.skipIf(!chromium)("the playground in Chromium (BIRKHOFF_CHROMIUM names its file where it is not found)", () => {
  let served: ServedPage;
  beforeAll(async () => {
    served = await openPage(chromium as string, "examples/playground/index.html");
  });
  afterAll(() => served?.close());

  test("learns every shift by WebGPU", { timeout: 600_000 }, async () => {
    const { page } = served;
    const shown = (id: string): Promise<number> =>
      page
        .locator(`#${id}`)
        .textContent()
        .then((text) => Number.parseFloat(text ?? ""));
    await expect.poll(() => shown("step"), { timeout: 400_000 }).toBeGreaterThan(0);
    const before = await shown("loss");
    await expect.poll(() => shown("agreement"), { timeout: 180_000 }).toBe(100);
    expect(await shown("loss")).toBeLessThan(before);
    expect(await page.locator("#device").textContent()).toMatch(/^webgpu: /);
  });
});
