/** A page of this repository in a real browser, served by Vite. */
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { createServer } from "vite";
import { openBrowser } from "../../scripts/browser.mjs";

export interface ServedPage {
  readonly page: Page;
  /** Name and version. */
  readonly browser: string;
  close(): Promise<void>;
}

const root = fileURLToPath(new URL("../..", import.meta.url));

/** @param before JavaScript that runs before the page's own. */
export const openPage = async (chromium: string, path: string, before?: string): Promise<ServedPage> => {
  const server = await createServer({
    configFile: false,
    logLevel: "error",
    root,
    // The page's dependencies are modules already: nothing is to be bundled first.
    optimizeDeps: { noDiscovery: true },
    server: { host: "127.0.0.1", port: 0, watch: null, hmr: false },
  });
  await server.listen();
  const browser = await openBrowser(chromium).catch(async (error) => {
    await server.close();
    throw error;
  });
  const close = async (): Promise<void> => {
    await browser.close();
    await server.close();
  };
  try {
    const page = await browser.newPage();
    if (before) await page.addInitScript(before);
    await page.goto(`${server.resolvedUrls?.local[0]}${path}`);
    return { page, browser: `Chromium ${browser.version()}`, close };
  } catch (error) {
    await close();
    throw error;
  }
};
