/** Checks the layout of native/ with the clang-format of the npm package, so that everybody has the same version; `--write` mends it. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { main, root } from "./run.mjs";

const sources = () =>
  readdirSync(join(root, "native"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cc|h)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

/** The package's binary, or undefined where it has none. */
const clangFormat = () => {
  try {
    return createRequire(import.meta.url)("clang-format").getNativeBinary();
  } catch {
    return undefined;
  }
};

await main(import.meta, () => {
  const files = sources();
  if (files.length === 0) throw new Error("native/ holds no C++ file");
  if (!existsSync(join(root, "native/.clang-format"))) throw new Error("native/.clang-format is missing");
  const binary = clangFormat();
  if (!binary) {
    console.log(`${files.length} files NOT CHECKED: the clang-format package has no binary for ${process.platform}-${process.arch}`);
    return 0;
  }
  const mode = process.argv.includes("--write") ? ["-i"] : ["--dry-run", "--Werror"];
  const { status, error } = spawnSync(binary, [...mode, "--style=file", ...files], { cwd: root, stdio: "inherit" });
  if (error) throw error;
  console.log(`${files.length} files`);
  return status;
});
