/** `npm test`: installs and builds when needed, runs the tests with a software GPU, and ends with one line of counts. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "./build.mjs";
import { attend, local, main } from "./run.mjs";

const runTests = async (args, full) => {
  // Not before the build: it needs installed packages.
  const { softwareGpuEnvironment } = await import("./software-gpu.mjs");
  const folder = mkdtempSync(join(tmpdir(), "birkhoff-test-"));
  try {
    const file = join(folder, "counts.json");
    const env = { ...process.env, ...softwareGpuEnvironment(), BIRKHOFF_TEST_COUNTS: file, ...(full ? { BIRKHOFF_TEST_FULL: "1" } : {}) };
    const code = await attend(local("vitest/vitest.mjs", "run", "--reporter=default", "--reporter=./scripts/counts.mjs", ...args), { env });
    const counts = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : { passed: 0, failed: 0, skipped: 0 };
    if (code !== 0 && counts.failed === 0) counts.failed = 1;
    if (counts.passed + counts.failed === 0) {
      console.error("no test ran");
      counts.failed = 1;
    }
    return counts;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

await main(import.meta, async () => {
  const full = process.argv.includes("--full");
  let counts = { passed: 0, failed: 1, skipped: 0 };
  try {
    await build();
    counts = await runTests(
      process.argv.slice(2).filter((argument) => argument !== "--full"),
      full,
    );
  } catch (error) {
    console.error(`error: ${error.message}`);
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  return counts.failed > 0 ? 1 : 0;
});
