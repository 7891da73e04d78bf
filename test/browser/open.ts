/** The conformance page in a real browser, served by Vite. */
import { createServer } from "vite";
import { openBrowser } from "../../scripts/browser.mjs";
import type { CaseName, Conformance } from "./page.ts";

declare const conformance: Conformance;

export interface ConformancePage {
  readonly browser: string;
  readonly device: string;
  readonly cases: readonly CaseName[];
  run(entry: CaseName): Promise<string | undefined>;
  close(): Promise<void>;
}

const root = new URL("../..", import.meta.url).pathname;

export const openConformancePage = async (chromium: string): Promise<ConformancePage> => {
  const server = await createServer({
    configFile: false,
    logLevel: "error",
    root,
    cacheDir: "node_modules/.vite/browser",
    optimizeDeps: { noDiscovery: true },
    server: { host: "127.0.0.1", port: 0, watch: null, hmr: false },
  });
  await server.listen();
  const browser = await openBrowser(chromium);
  try {
    const page = await browser.newPage();
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(error.message));
    await page.goto(`${server.resolvedUrls?.local[0]}test/browser/index.html`);
    await page
      .waitForFunction(() => "conformance" in globalThis, undefined, { timeout: 30_000 })
      .catch((error) => {
        throw new Error(`the page did not load: ${problems.join("; ") || error.message}`);
      });
    return {
      browser: `Chromium ${browser.version()}`,
      device: await page.evaluate(() => conformance.describe()),
      cases: await page.evaluate(() => conformance.list()),
      run: ({ room, name }) => page.evaluate(([r, n]) => conformance.run(r, n), [room, name] as const),
      async close() {
        await browser.close();
        await server.close();
      },
    };
  } catch (error) {
    await browser.close();
    await server.close();
    throw error;
  }
};
