/** Installs the locked packages when node_modules does not hold them, so that every command works in a bare clone. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { main, root, run } from "./run.mjs";

const read = (file) => {
  try {
    return JSON.parse(readFileSync(join(root, file), "utf8")).packages ?? {};
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
};

/** Why an install is needed, or undefined. npm notes what it installed in node_modules/.package-lock.json, at the very end. */
const missing = () => {
  const wanted = read("package-lock.json");
  if (!wanted) throw new Error("package-lock.json is missing: the packages cannot be installed as they were tested");
  const installed = read("node_modules/.package-lock.json");
  if (!installed) return "node_modules is missing";
  for (const [path, { version, optional, link }] of Object.entries(wanted)) {
    if (path === "" || link) continue;
    const present = installed[path];
    if (!present && optional) continue;
    if (present?.version !== version) return `${path} is ${present ? `version ${present.version}, not` : "missing, wanted is"} ${version}`;
    if (!existsSync(join(root, path, "package.json"))) return `${path} is incomplete`;
  }
  return undefined;
};

/** Does nothing when everything is there. Install scripts are not run: no package needs its own. */
export const ensureInstall = () => {
  const reason = missing();
  if (!reason) return;
  console.log(`npm ci: ${reason}`);
  const npm = process.env.npm_execpath;
  const command = npm?.endsWith(".js") ? [process.execPath, npm] : [process.platform === "win32" ? "npm.cmd" : "npm"];
  // A production setting in the environment would leave out what the build needs.
  const flags = ["ci", "--ignore-scripts", "--include=dev", "--include=optional", "--no-audit", "--no-fund", "--loglevel=error"];
  run([...command, ...flags], { shell: command[0].endsWith(".cmd") });
};

await main(import.meta, () => {
  ensureInstall();
  return 0;
});
