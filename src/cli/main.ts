/** The command `birkhoff`. */
import { BirkhoffError } from "../errors.ts";
import { benchCommand } from "./bench.ts";
import { check } from "./check.ts";
import { discoverCommand } from "./discover.ts";
import { info } from "./info.ts";
import { stitchCommand } from "./stitch.ts";

const COMMANDS: Readonly<Record<string, { readonly run: (args: readonly string[]) => Promise<number>; readonly help: string }>> = {
  info: { run: info, help: "the devices of this machine, which one is picked, and why" },
  check: { run: check, help: "every kernel against the float64 reference on your device, as a table" },
  bench: { run: benchCommand, help: "fused kernels beside naive compositions and other libraries, with the share of the hardware's limit" },
  discover: { run: discoverCommand, help: "train a network on data with an unknown symmetry and report what it found" },
  stitch: { run: stitchCommand, help: "join encoders with decoders that were trained apart, by relative representations, and compare" },
};

const usage = (): string =>
  `birkhoff <command> [options]\n\n${Object.entries(COMMANDS)
    .map(([name, { help }]) => `  ${name.padEnd(10)} ${help}`)
    .join("\n")}\n\nbirkhoff <command> --help lists a command's options.\n`;

const main = async ([name, ...args]: readonly string[]): Promise<number> => {
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    process.stdout.write(usage());
    return name === undefined ? 2 : 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) {
    process.stderr.write(`birkhoff: expected one of ${Object.keys(COMMANDS).join(", ")} for the command, but received "${name}"\n`);
    return 2;
  }
  try {
    return await command.run(args);
  } catch (error) {
    // What the library throws on purpose is a message for the person at the terminal; anything else is a bug and keeps its stack.
    if (!(error instanceof BirkhoffError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return error.code === "ERR_ARGUMENT" ? 2 : 1;
  }
};

// Whoever reads the output has seen enough (`birkhoff bench | head`): no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await main(process.argv.slice(2));
