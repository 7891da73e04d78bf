/** The conformance page in a real browser. */
import type { CaseName, Conformance } from "./page.ts";
import { openPage } from "./serve.ts";

declare const conformance: Conformance;

export interface ConformancePage {
  readonly browser: string;
  readonly device: string;
  readonly cases: readonly CaseName[];
  run(entry: CaseName): Promise<string | undefined>;
  close(): Promise<void>;
}

export const openConformancePage = async (chromium: string): Promise<ConformancePage> => {
  const { page, browser, close } = await openPage(chromium, "test/browser/index.html");
  try {
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(error.message));
    await page
      .waitForFunction(() => "conformance" in globalThis, undefined, { timeout: 30_000 })
      .catch((error) => {
        throw new Error(`the page did not load: ${problems.join("; ") || error.message}`);
      });
    return {
      browser,
      device: await page.evaluate(() => conformance.describe()),
      cases: await page.evaluate(() => conformance.list()),
      run: ({ room, name }) => page.evaluate(([r, n]) => conformance.run(r, n), [room, name] as const),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
};
