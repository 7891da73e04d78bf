/** `npm run demo`: installs and builds when needed, then watches a network learn a symmetry. Arguments go to `birkhoff discover`. */
import { build } from "./build.mjs";
import { attend, main } from "./run.mjs";

await main(import.meta, async () => {
  await build();
  return attend([process.execPath, "dist/cli.js", "discover", ...process.argv.slice(2)]);
});
