import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // A process per file: an addon or a GPU device that misbehaves takes no other file with it.
    pool: "forks",
    maxWorkers: 2,
    // Software GPUs on two cores are slow, and slowness is no failure.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
  },
});
