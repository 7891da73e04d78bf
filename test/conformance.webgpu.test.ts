import { openWebGPU } from "../src/backends/webgpu/index.ts";
import { conformance } from "./support/suite.ts";

/** A software GPU is thousands of times slower than a real one: large cases run on native and reference, slow ones in `npm run test:full`. */
const full = process.env.BIRKHOFF_TEST_FULL === "1";
conformance(
  () => openWebGPU({ allowSoftware: true }),
  (entry) => !entry.large && (full || !entry.slow),
);
