/** `npm run check`: everything that can be said about the code without running its tests. One line per check, failures in full. */
import { spawn } from "node:child_process";
import { ensureInstall } from "./ensure-install.mjs";
import { local, main, root, tsc, tsx } from "./run.mjs";

const node = (...args) => [process.execPath, ...args];

/**
 * Name, command, and what the output must show, so that no check passes because it looked at nothing.
 * What it shows is printed behind the time. Compiler warnings in native/ are errors of the build itself.
 */
const CHECKS = [
  ["build", node("scripts/build.mjs"), /^native\b.*$/m],
  ["types", tsc("-p", "tsconfig.json", "--diagnostics"), /Files: +[1-9]\d*/],
  ["types of the page", tsc("-p", "examples/playground", "--diagnostics"), /Files: +[1-9]\d*/],
  ["lint and layout", local("@biomejs/biome/bin/biome", "check", "--error-on-warnings", "."), /[1-9]\d* files/],
  ["C++ layout", node("scripts/cpp-format.mjs"), /[1-9]\d* files.*/],
  ["shaders compile", tsx("scripts/compile-shaders.ts"), /[1-9]\d* pipelines.*/],
  ["work", tsx("scripts/work.ts"), /[1-9]\d* steps.*/],
  ["speeds", tsx("scripts/speed.ts"), /[1-9]\d* rows.*/],
  ["rooms", tsx("scripts/rooms.ts"), /[1-9]\d* rooms.*/],
  ["circular imports", node("scripts/check-cycles.mjs"), /[1-9]\d* modules/],
  // Before `package`, since it puts the addon where that looks for it.
  ["installs", node("scripts/check-install.mjs"), /(?<=installed: )[1-9].*/],
  ["package", node("scripts/check-package.mjs"), /[1-9]\d* modules.*/],
  ["documentation", node("scripts/docs.mjs"), /[1-9]\d* symbols/],
  // Its suggestion to say by conditions what the `browser` field says would take a second entry.
  ["publishing", local("publint/src/cli.js", "run", "--strict", "--level", "warning"), /All good!/],
];

const capture = ([program, ...args]) =>
  new Promise((resolve, reject) => {
    let output = "";
    const child = spawn(program, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" } });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        output += text;
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });

await main(import.meta, async () => {
  ensureInstall();
  const only = process.argv.slice(2);
  const unknown = only.filter((name) => !CHECKS.some(([known]) => known === name));
  if (unknown.length > 0) throw new Error(`expected names among ${CHECKS.map(([name]) => name).join(", ")}, but received ${unknown.join(", ")}`);
  const failed = [];
  for (const [name, command, shows] of CHECKS) {
    if (only.length > 0 && !only.includes(name)) continue;
    const start = performance.now();
    const { code, output } = await capture(command);
    const seconds = ((performance.now() - start) / 1000).toFixed(1).padStart(6);
    const shown = output.match(shows)?.[0].replace(/ +/g, " ");
    const ok = code === 0 && shown !== undefined;
    console.log(`${ok ? "ok  " : "FAIL"} ${name.padEnd(17)}${seconds} s  ${ok ? shown : ""}`.trimEnd());
    if (ok) continue;
    failed.push(name);
    console.log(output.trimEnd().replace(/^/gm, "    "));
    if (code === 0) console.log(`    it ended well, but its output does not show ${shows}: it looked at nothing`);
  }
  console.log(failed.length > 0 ? `failed: ${failed.join(", ")}` : "all checks passed");
  return failed.length > 0 ? 1 : 0;
});
