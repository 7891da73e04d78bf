/** No circular imports at run time: a cycle makes what a module sees depend on who was imported first. Types may go round. */
import { parseCircular, parseDependencyTree } from "dpdm";
import { main, root } from "./run.mjs";

const ENTRIES = ["src/index.ts", "src/files.ts", "src/symmetry/index.ts", "src/testing/index.ts", "src/cli/main.ts", "src/ops/index.ts"];

await main(import.meta, async () => {
  const tree = await parseDependencyTree(ENTRIES, { context: root, transform: true, tsconfig: "tsconfig.json", exclude: /node_modules/ });
  const missing = ENTRIES.filter((entry) => !tree[entry]);
  for (const entry of missing) console.error(`${entry} is missing`);
  const circles = parseCircular(tree, true);
  for (const circle of circles) console.error(`circular: ${[...circle, circle[0]].join(" -> ")}`);
  console.log(`${Object.values(tree).filter(Boolean).length} modules`);
  return missing.length + circles.length > 0 ? 1 : 0;
});
