/** A vitest reporter that names every skipped test and writes the counts to the file in BIRKHOFF_TEST_COUNTS. */
import { writeFileSync } from "node:fs";

/** A test that never reported (its process died) has failed; so has a file or suite with an error of its own. */
const count = (modules, unhandledErrors) => {
  const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
  const skipped = [];
  for (const module of modules) {
    let broken = module.errors().length;
    for (const suite of module.children.allSuites()) broken += suite.errors().length;
    counts.failed += broken;
    for (const test of module.children.allTests()) {
      const { state, note } = test.result();
      if (state === "passed") counts.passed++;
      else if (state !== "skipped") counts.failed++;
      // Tests that a broken suite never reached are reported as skipped; the suite has been counted.
      else {
        counts.skipped++;
        skipped.push(`${module.relativeModuleId} > ${test.fullName}${note ? ` (${note})` : ""}`);
      }
    }
    if (module.state() === "failed" && broken === 0 && [...module.children.allTests("failed")].length === 0) counts.failed++;
  }
  return { counts, skipped };
};

// biome-ignore lint/style/noDefaultExport: vitest takes a reporter file's default export
export default class Counts {
  onTestRunEnd(modules, unhandledErrors, reason) {
    const { counts, skipped } = count(modules, unhandledErrors);
    if (reason !== "passed" && counts.failed === 0) counts.failed = 1;
    if (skipped.length > 0) console.log(`\nSkipped:\n${skipped.map((name) => `  ${name}`).join("\n")}`);
    if (process.env.BIRKHOFF_TEST_COUNTS) writeFileSync(process.env.BIRKHOFF_TEST_COUNTS, JSON.stringify(counts));
  }
}
