/** Builds everything: shaders -> src/generated, src -> dist, the command line tool -> dist/cli.js, native -> build. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { ensureInstall } from "./ensure-install.mjs";
import { main, root, run, tsc, tsx } from "./run.mjs";

const files = (folder) =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
    : [];

/** tsc never removes what it wrote for a source that is gone. */
const prune = () => {
  const dist = join(root, "dist");
  for (const file of files(dist)) {
    const source = join(root, "src", relative(dist, file).replace(/(\.d\.ts|\.js)(\.map)?$/, ".ts"));
    if (/\.(js|d\.ts)(\.map)?$/.test(file) && relative(dist, file) !== "cli.js" && !existsSync(source)) rmSync(file);
  }
};

/** One file that needs the run-time packages and nothing else of node_modules. */
const bundle = async () => {
  const { build } = await import("esbuild");
  const entry = join(root, "src/cli/main.ts");
  const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const hashbang = readFileSync(entry, "utf8").startsWith("#!") ? "" : "#!/usr/bin/env node\n";
  const result = await build({
    entryPoints: [entry],
    absWorkingDir: root,
    bundle: true,
    write: false,
    platform: "node",
    target: "node20",
    format: "esm",
    external: [...Object.keys(dependencies), "*.node"],
    // Bundled CommonJS packages ask for Node's own modules with require.
    banner: {
      js: `${hashbang}import { createRequire as createRequireForBundle } from "node:module";\nconst require = createRequireForBundle(import.meta.url);`,
    },
    logLevel: "warning",
  });
  const out = join(root, "dist/cli.js");
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, result.outputFiles[0].contents);
  chmodSync(out, 0o755);
};

/** Quick when nothing changed: every step compares before it works. */
export const build = async () => {
  ensureInstall();
  run(tsx("scripts/shaders.ts"));
  prune();
  run(tsc("-p", "tsconfig.build.json"));
  await bundle();
  run([process.execPath, "scripts/build-native.mjs"]);
};

await main(import.meta, async () => {
  await build();
  return 0;
});
