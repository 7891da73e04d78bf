import { configDefaults, defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Begins with what takes longest, every room on a software GPU: whatever comes last has one core to itself and leaves the others idle. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean => moduleId.includes("conformance.webgpu");
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

/** `npm run test:full` adds what takes too long for every change. */
const full = process.env.BIRKHOFF_TEST_FULL === "1";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/folder.ts"],
    setupFiles: ["test/support/setup.ts"],
    exclude: full ? configDefaults.exclude : [...configDefaults.exclude, "test/full/**"],
    // A process per file: an addon or a GPU device that misbehaves takes no other file with it.
    pool: "forks",
    sequence: { sequencer: LongestFirst },
    maxWorkers: "100%",
    // Software GPUs on two cores are slow, and slowness is no failure.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
  },
});
