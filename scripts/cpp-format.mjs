/** Checks the layout of native/ with the clang-format of the npm package, so that everybody has the same version; `--write` mends it. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { local, main, root } from "./run.mjs";

const sources = () =>
  readdirSync(join(root, "native"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cc|h)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

await main(import.meta, () => {
  const files = sources();
  if (files.length === 0) throw new Error("native/ holds no C++ file");
  if (!existsSync(join(root, "native/.clang-format"))) throw new Error("native/.clang-format is missing");
  const mode = process.argv.includes("--write") ? ["-i"] : ["--dry-run", "--Werror"];
  const [node, ...program] = local("clang-format/index.js");
  const { status, error, stdout, stderr } = spawnSync(node, [...program, ...mode, "--style=file", ...files], { encoding: "utf8" });
  if (error) throw error;
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  console.log(`${files.length} files`);
  return status;
});
