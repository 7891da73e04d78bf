/** The built package as a user gets it: its entries exist and load, and it imports nothing that it does not declare. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { init, parse } from "es-module-lexer";
import { main, root, tsc } from "./run.mjs";

const json = (file) => JSON.parse(readFileSync(join(root, file), "utf8"));

const targets = (entry) => (typeof entry === "string" ? [entry] : Object.values(entry).flatMap(targets));

/** Entries of `exports`; one with a `*` once for every file that it stands for. */
const entriesOf = (exports) =>
  Object.entries(exports)
    .filter(([, entry]) => entry !== null)
    .flatMap(([name, entry]) => {
      if (!name.includes("*")) return [[name, entry]];
      const [before, after] = targets(entry)
        .at(-1)
        .split("*")
        .map((part) => part.replace(/^\.\//, ""));
      return readdirSync(join(root, before), { recursive: true, encoding: "utf8" })
        .map((file) => `${before}${file.replaceAll("\\", "/")}`)
        .filter((file) => file.endsWith(after) && exports[name.replace("*", file.slice(before.length, -after.length))] !== null)
        .map((file) => JSON.parse(JSON.stringify([name, entry]).replaceAll("*", file.slice(before.length, -after.length))));
    });

const packageName = (specifier) => specifier.match(/^(@[^/]+\/)?[^/]+/)[0];

/** What is wrong with a module's imports. Dynamic imports of computed names are the module's own business. */
const importProblems = (file, declared) => {
  const problems = [];
  const [imports] = parse(readFileSync(file, "utf8"));
  for (const { n: specifier } of imports) {
    if (specifier === undefined || isBuiltin(specifier)) continue;
    const from = relative(root, file);
    if (specifier.startsWith(".")) {
      if (!existsSync(join(dirname(file), specifier))) problems.push(`${from} imports ${specifier}, which is not there`);
    } else if (!declared.has(packageName(specifier))) {
      problems.push(`${from} imports ${specifier}, which is no run-time dependency`);
    }
  }
  return problems;
};

/** A user's program must compile with strict settings, the compiler's default libraries and the declarations looked at. */
const consumerProblems = (names) => {
  const folder = join(root, "build", "consumer");
  mkdirSync(folder, { recursive: true });
  const imports = names.map((name, i) => `import * as entry${i} from ${JSON.stringify(name)};\n`);
  writeFileSync(join(folder, "index.mts"), `${imports.join("")}export const entries: unknown[] = [${names.map((_, i) => `entry${i}`)}];\n`);
  const compilerOptions = { module: "nodenext", target: "es2022", strict: true, skipLibCheck: false, noEmit: true, types: ["node"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["index.mts"] }));
  const [node, ...args] = tsc("-p", folder, "--listFiles");
  const { status, stdout } = spawnSync(node, args, { cwd: root, encoding: "utf8" });
  if (!stdout.includes("dist/index.d.ts")) return ["the declarations in dist were not looked at"];
  const errors = stdout.split("\n").filter((line) => line.includes("error TS"));
  return status === 0 ? [] : [`a program that imports the package has ${errors.length} type errors`, ...errors.slice(0, 8)];
};

/** Where Node would find `name` from the package at `path`. */
const lookUp = (packages, path, name) => {
  for (let from = path; ; from = from.slice(0, Math.max(0, from.lastIndexOf("/node_modules/")))) {
    if (packages[`${from ? `${from}/` : ""}node_modules/${name}`]) return true;
    if (from === "") return false;
  }
};

/** A lock file that names a host cannot be installed elsewhere; one that leaves out another platform's package fails there. */
const lockProblems = (packages) => {
  const problems = [];
  const entries = Object.entries(packages);
  for (const [path, { resolved, dependencies, optionalDependencies, devDependencies }] of entries) {
    if (resolved) problems.push(`package-lock.json holds a resolved address for ${path}`);
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...devDependencies })) {
      if (!lookUp(packages, path, name)) problems.push(`package-lock.json does not lock ${name}, which ${path || "the package"} asks for`);
    }
  }
  if (entries.length < 2) problems.push("package-lock.json locks nothing");
  return problems;
};

await main(import.meta, async () => {
  await init;
  const manifest = json("package.json");
  const problems = [];
  const exported = entriesOf(manifest.exports);
  const entries = [...exported.flatMap(([, entry]) => targets(entry)), ...targets(manifest.bin)];
  for (const entry of entries) if (!existsSync(join(root, entry))) problems.push(`package.json names ${entry}, which the build did not make`);
  for (const path of manifest.files)
    if (!path.startsWith("!") && !existsSync(join(root, path))) problems.push(`package.json packs ${path}, which is not there`);

  const modules = readdirSync(join(root, "dist"), { recursive: true })
    .filter((name) => name.endsWith(".js"))
    .map((name) => join(root, "dist", name));
  const declared = new Set(Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }));
  problems.push(...modules.flatMap((file) => importProblems(file, declared)));

  for (const [name, entry] of exported) {
    if (typeof entry === "string") continue;
    const module = await import(pathToFileURL(join(root, entry.default)).href);
    if (Object.keys(module).length === 0) problems.push(`${name} exports nothing`);
    if ("default" in module) problems.push(`${name} has a default export`);
  }
  if (process.platform !== "win32" && (statSync(join(root, manifest.bin.birkhoff)).mode & 0o111) === 0)
    problems.push("the command line tool is not executable");
  const names = exported.flatMap(([name, entry]) => (typeof entry === "string" ? [] : [name]));
  problems.push(...consumerProblems(names.map((name) => join(manifest.name, name))));
  problems.push(...lockProblems(json("package-lock.json").packages));

  for (const problem of problems) console.error(problem);
  console.log(`${modules.length} modules, ${entries.length} entries`);
  return problems.length > 0 ? 1 : 0;
});
