/**
 * The package as npm delivers it: packed, and installed into an empty project without scripts and without network. There it is imported, type-checked
 * under both ways of resolving modules, run with the addon that was built beforehand and without any, and its types are looked at by arethetypeswrong.
 * With `--from-source` the addon is built there instead, as for a platform without one.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tuple } from "./prebuild.mjs";
import { local, main, root, run, tsc } from "./run.mjs";

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
/** Entries with types; of those with a `*`, the rooms' shaders, one. */
const entries = Object.entries(manifest.exports)
  .filter(([, target]) => target?.types)
  .map(([name]) => name.replace("*", "cumsum"));
const imports = entries.map((name, i) => `import * as entry${i} from ${JSON.stringify(join("birkhoff", name).replaceAll("\\", "/"))};\n`).join("");

/** Nothing runs and nothing is fetched; what lies in a folder is linked. */
const INSTALL = ["--ignore-scripts", "--offline", "--no-audit", "--no-fund", "--install-links=false"];

const npm = (folder, ...args) => {
  const path = process.env.npm_execpath;
  const [program, ...first] = path?.endsWith(".js") ? [process.execPath, path] : [process.platform === "win32" ? "npm.cmd" : "npm"];
  const options = { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], shell: program.endsWith(".cmd") };
  return execFileSync(program, [...first, ...args], options);
};

/** What the program prints. */
const node = (folder, source) => {
  writeFileSync(join(folder, "program.mjs"), source);
  return execFileSync(process.execPath, ["program.mjs"], { cwd: folder, encoding: "utf8" }).trim();
};

const SUM = "[...await entry0.add(device.tensor([1, 2]), device.tensor([3, 4])).read()].join()";

/** What an expression with a device comes to. */
const use = (folder, options, show) =>
  node(folder, `${imports}const device = await entry0.openDevice(${options});\nconsole.log(${show});\nawait device.close();\n`);

/** As a strict program sees it, with the declarations looked at. */
const typeProblems = (folder, name, compilerOptions) => {
  const options = { target: "es2022", strict: true, skipLibCheck: false, noEmit: true, types: [], ...compilerOptions };
  writeFileSync(join(folder, "index.mts"), `${imports}export const entries: unknown[] = [${entries.map((_, i) => `entry${i}`)}];\n`);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["index.mts"] }));
  const [program, ...args] = tsc("-p", folder, "--listFiles");
  const { stdout } = spawnSync(program, args, { cwd: folder, encoding: "utf8" });
  if (!stdout.includes("node_modules/birkhoff/dist/index.d.ts")) return [`${name}: the declarations were not looked at\n${stdout.slice(0, 500)}`];
  return stdout
    .split("\n")
    .filter((line) => line.includes("error TS"))
    .map((line) => `${name}: ${line}`);
};

/** What node-gyp and the addon's sources are built with, which a package for users need not bring along. */
const BUILD_PACKAGES = ["node-gyp", "node-addon-api"];

/** The package's addon built as the error for a missing one says, and loaded. */
const problemsFromSource = (folder) => {
  const installed = join(folder, "node_modules/birkhoff");
  rmSync(join(installed, "prebuilds"), { recursive: true });
  npm(folder, "install", ...INSTALL, ...BUILD_PACKAGES.map((name) => join(root, "node_modules", name)));
  const missing = node(folder, `${imports}await entry0.openDevice({ device: "native" }).catch(({ message }) => console.log(message));\n`);
  const [, script] = missing.match(/Build it with `node ([^`]+)`/) ?? [];
  if (!script) return [`without an addon: ${missing}`];
  run([process.execPath, script, "--required"], { cwd: folder });
  const addon = use(folder, '{ device: "native" }', `${SUM} + " " + device.info.details.addon.replaceAll("\\\\", "/").split("node_modules/")[1]`);
  return addon === "4,6 birkhoff/build/Release/birkhoff.node" ? [] : [`the addon that was built: ${addon}`];
};

const problemsIn = (folder) => {
  const problems = [];
  const expectEqual = (what, got, want) => {
    if (got !== want) problems.push(`${what}: expected ${want}, but received ${got}`);
  };
  expectEqual("native", use(folder, '{ device: "native" }', SUM), "4,6");
  const installed = join(folder, "node_modules/birkhoff");
  expectEqual(
    "the addon",
    use(folder, '{ device: "native" }', 'device.info.details.addon.replaceAll("\\\\", "/").split("node_modules/")[1]'),
    `birkhoff/prebuilds/${tuple()}/birkhoff.node`,
  );
  const info = JSON.parse(npm(folder, "exec", "--offline", "--", "birkhoff", "info", "--json"));
  expectEqual("birkhoff info", info.devices.map(({ kind }) => kind).join(), "webgpu,native,reference");
  // Dawn itself is loaded, whether or not it finds a GPU.
  const webgpu = info.devices[0];
  if (!webgpu.available && !/adapter/.test(webgpu.reason)) problems.push(`webgpu: ${webgpu.reason}`);

  renameSync(join(installed, "prebuilds"), join(installed, "elsewhere"));
  expectEqual("without an addon", use(folder, '{ device: "reference" }', SUM), "4,6");
  const reason = use(folder, "{}", 'device.kind === "webgpu" ? "" : device.rejected.find((line) => line.startsWith("native: "))');
  if (reason !== "" && !/^native: openDevice: the native addon could not be loaded; .*reference device$/.test(reason))
    problems.push(`without an addon: ${reason}`);
  renameSync(join(installed, "elsewhere"), join(installed, "prebuilds"));

  problems.push(
    ...typeProblems(folder, "node16", { module: "node16" }),
    ...typeProblems(folder, "bundler", { module: "esnext", moduleResolution: "bundler" }),
  );
  return problems;
};

await main(import.meta, () => {
  run([process.execPath, "scripts/prebuild.mjs"]);
  const folder = mkdtempSync(join(tmpdir(), "birkhoff-install-"));
  try {
    // A list, or an object by name, as npm's version has it.
    const [packed] = Object.values(JSON.parse(npm(root, "pack", "--ignore-scripts", "--json", "--pack-destination", folder)));
    const project = join(folder, "project");
    mkdirSync(project);
    writeFileSync(join(project, "package.json"), JSON.stringify({ name: "project", private: true, type: "module" }));
    // What it depends on comes from here, since npm's cache need not hold it.
    const dependencies = Object.keys(manifest.dependencies).map((name) => join(root, "node_modules", name));
    npm(project, "install", ...INSTALL, ...dependencies, join(folder, packed.filename));
    if (process.argv.includes("--from-source")) {
      const problems = problemsFromSource(project);
      for (const problem of problems) console.error(problem);
      return problems.length > 0 ? 1 : 0;
    }
    const problems = problemsIn(project);
    const [program, ...args] = local(
      "@arethetypeswrong/cli/dist/index.js",
      join(folder, packed.filename),
      "--profile",
      "esm-only",
      "--no-emoji",
      "--no-color",
    );
    const types = spawnSync(program, args, { encoding: "utf8" });
    if (types.status !== 0) problems.push(`arethetypeswrong:\n${types.stdout}${types.stderr}`);
    for (const path of ["dist/cli.js", "dist/index.d.ts", "shaders/cumsum", "native/addon.cc", "binding.gyp", `prebuilds/${tuple()}/birkhoff.node`])
      if (!existsSync(join(project, "node_modules/birkhoff", path))) problems.push(`the package is without ${path}`);
    for (const problem of problems) console.error(problem);
    console.log(
      `installed: ${packed.files.length} files, ${(packed.size / 1e6).toFixed(1)} MB packed, ${(packed.unpackedSize / 1e6).toFixed(1)} MB unpacked`,
    );
    return problems.length > 0 ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
