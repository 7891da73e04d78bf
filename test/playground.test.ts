/** examples/playground in a real browser that has no WebGPU; with it, on a software GPU, in test/full. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findChromium } from "../scripts/browser.mjs";
import { openPage, type ServedPage } from "./browser/serve.ts";

const WITHOUT_WEBGPU = 'Object.defineProperty(Navigator.prototype, "gpu", { get() { return undefined; } });';

const chromium = findChromium();

describe.skipIf(!chromium)("the playground in Chromium (BIRKHOFF_CHROMIUM names its file where it is not found)", () => {
  let served: ServedPage;
  beforeAll(async () => {
    served = await openPage(chromium as string, "examples/playground/index.html", WITHOUT_WEBGPU);
  });
  afterAll(() => served?.close());

  test("says that there is no WebGPU, and learns without it when asked", async () => {
    const { page } = served;
    const message = page.locator("#message");
    await expect.poll(() => message.textContent(), { timeout: 20_000 }).toMatch(/WebGPU, which is not to be had here.*navigator\.gpu/);
    await page.locator("[name=size]").fill("4");
    await message.getByRole("button").click();
    const shown = (id: string): Promise<number> =>
      page
        .locator(`#${id}`)
        .textContent()
        .then((text) => Number.parseFloat(text ?? ""));
    await expect.poll(() => shown("step"), { timeout: 20_000 }).toBeGreaterThan(0);
    const before = await shown("loss");
    await expect.poll(() => shown("agreement"), { timeout: 30_000 }).toBe(100);
    expect(await shown("loss")).toBeLessThan(before);
    expect(await page.locator("#device").textContent()).toMatch(/^reference: /);
    expect(await message.isVisible()).toBe(false);
  });
});
