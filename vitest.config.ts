import { configDefaults, defineConfig } from "vitest/config";

/** `npm run test:full` adds what takes too long for every change. */
const full = process.env.BIRKHOFF_TEST_FULL === "1";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: full ? configDefaults.exclude : [...configDefaults.exclude, "test/full/**"],
    // A process per file: an addon or a GPU device that misbehaves takes no other file with it.
    pool: "forks",
    maxWorkers: "100%",
    // Software GPUs on two cores are slow, and slowness is no failure.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
  },
});
