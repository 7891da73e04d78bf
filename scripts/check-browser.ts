/**
 * `npm run check:browser`: every room × case in Chromium, with WebGPU on SwiftShader. Takes as long as `npm test` does with them in Node.
 * Names of rooms run only these; `--slow` adds the cases that take many seconds to compile.
 */
import { openConformancePage } from "../test/browser/open.ts";
import { findChromium } from "./browser.mjs";

const wanted = process.argv.slice(2).filter((argument) => argument !== "--slow");
const slow = process.argv.includes("--slow");

const chromium = findChromium();
if (!chromium) throw new Error("check:browser: expected Chromium on the PATH, or its file in BIRKHOFF_CHROMIUM; Playwright can install one");
const start = performance.now();
const page = await openConformancePage(chromium);
let failed = 0;
let passed = 0;
try {
  console.log(`${page.browser}, ${page.device}`);
  const rooms = new Map<string, typeof page.cases>();
  for (const entry of page.cases) rooms.set(entry.room, [...(rooms.get(entry.room) ?? []), entry]);
  for (const name of wanted)
    if (!rooms.has(name)) throw new Error(`check:browser: expected rooms among ${[...rooms.keys()].join(", ")}, but received ${name}`);
  for (const [room, cases] of rooms) {
    if (wanted.length > 0 && !wanted.includes(room)) continue;
    const from = performance.now();
    const run = cases.filter((entry) => slow || !entry.slow);
    let wrong = 0;
    for (const entry of run) {
      const fault = await page.run(entry);
      if (fault === undefined) continue;
      wrong++;
      console.log(`FAIL ${room}: ${entry.name}: ${fault}`);
    }
    failed += wrong;
    passed += run.length - wrong;
    console.log(
      `${wrong > 0 ? "FAIL" : "ok  "} ${room.padEnd(20)} ${run.length - wrong} of ${run.length}, ${((performance.now() - from) / 1000).toFixed(0)} s`,
    );
  }
} finally {
  await page.close();
}
if (passed + failed === 0) failed++;
console.log(`${passed} passed, ${failed} failed in ${((performance.now() - start) / 60_000).toFixed(1)} min`);
if (failed > 0) process.exitCode = 1;
