/**
 * Compiles the native code outside of node-gyp, for the sanitizers and for other processors: same sources, same flags,
 * same link order as binding.gyp. Only what changed is compiled again.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { common, kernels, levels } from "../native/flags.mjs";
import { root, run, tsx } from "./run.mjs";

/** Whether a program can be started. */
export const works = (program) => spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;

const finished = ([program, ...args]) =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: root, stdio: "inherit" });
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`${program} ${args.join(" ")}: exit code ${code}`))));
  });

/** Whether `output` was made by this very command from files that did not change since. */
const fresh = (output, command) => {
  if (!existsSync(output) || !existsSync(`${output}.cmd`) || readFileSync(`${output}.cmd`, "utf8") !== command.join(" ")) return false;
  const made = statSync(output).mtimeMs;
  const dependencies = readFileSync(`${output}.d`, "utf8")
    .replace(/\\\n/g, " ")
    .replace(/^[^:]*:/, "")
    .trim()
    .split(/\s+/);
  return (
    dependencies.every((file) => existsSync(join(root, file)) || existsSync(file)) &&
    dependencies.every((file) => statSync(file.startsWith("/") ? file : join(root, file)).mtimeMs <= made)
  );
};

/**
 * Compiles `sources` once and the kernels once per level of `arch`, and links everything with `link` into build/<name>/<output>.
 * Resolves to the path of what was linked.
 */
export const compileNative = async ({ name, compiler, arch, sources, flags, link, output }) => {
  const folder = `build/${name}`;
  const units = [
    ...sources.map((file) => ({ file, object: `${folder}/${file}.o`, extra: [] })),
    ...Object.entries(levels[arch]).flatMap(([level, extra]) =>
      kernels.map((file) => ({ file, object: `${folder}/${level}/${file}.o`, extra: [`-DBIRKHOFF_ISA=${level}`, ...extra] })),
    ),
  ];
  const queue = [...units];
  const work = async () => {
    for (let unit = queue.shift(); unit; unit = queue.shift()) {
      const { file, object, extra } = unit;
      const command = [compiler, ...common, ...flags, ...extra, "-DBIRKHOFF_TEST", "-pthread", "-Inative", "-c", file, "-o", object];
      if (fresh(join(root, object), command)) continue;
      mkdirSync(dirname(join(root, object)), { recursive: true });
      await finished([...command, "-MMD", "-MF", `${object}.d`]);
      writeFileSync(join(root, `${object}.cmd`), command.join(" "));
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  await finished([compiler, ...flags, "-pthread", ...units.map(({ object }) => object), ...link, "-o", `${folder}/${output}`]);
  return join(root, folder, output);
};

/** Records the rooms' cases for the driver, and resolves to the file. */
export const recordCases = () => {
  const file = join(root, "build/recorded");
  run(tsx("scripts/shaders.ts"), { stdio: ["ignore", "ignore", "inherit"] });
  run(tsx("scripts/record-native.ts", file));
  return file;
};
