/** How the scripts start other programs. Needs nothing but Node. */
import { spawn, spawnSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** The command line of a program in node_modules, given by its file, so that no shell and no PATH is involved. */
export const local = (file, ...args) => [process.execPath, join(root, "node_modules", file), ...args];
export const tsx = (...args) => local("tsx/dist/cli.mjs", ...args);
export const tsc = (...args) => local("typescript/bin/tsc", ...args);

/** Runs a command in the repository's root; throws when it fails. */
export const run = ([program, ...args], options = {}) => {
  const { status, signal, error } = spawnSync(program, args, { cwd: root, stdio: "inherit", ...options });
  if (error) throw error;
  if (status !== 0) throw new Error(`${args.join(" ").replaceAll(root, "")}: ${signal ? `ended by ${signal}` : `exit code ${status}`}`);
};

/**
 * Runs a command and resolves to its exit code. Ctrl-C reaches the command through the terminal's process group,
 * and this process stays to wait for what it does then.
 */
export const attend = ([program, ...args], options = {}) =>
  new Promise((resolve, reject) => {
    const ignore = () => {};
    process.on("SIGINT", ignore);
    const child = spawn(program, args, { cwd: root, stdio: "inherit", ...options });
    const terminate = () => child.kill("SIGTERM");
    process.on("SIGTERM", terminate);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      process.off("SIGINT", ignore);
      process.off("SIGTERM", terminate);
      resolve(code ?? (signal === "SIGINT" ? 130 : 1));
    });
  });

/** Runs a script's main function, which gives the exit code, when `meta` is of the file that Node was started with. */
export const main = async (meta, body) => {
  if (realpathSync(process.argv[1]) !== meta.filename) return;
  try {
    process.exitCode = await body();
  } catch (error) {
    console.error(`error: ${error.message}`);
    process.exitCode = 1;
  }
};
