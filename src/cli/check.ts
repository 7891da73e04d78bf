import { openReference } from "../backends/reference/index.ts";
import { restBetweenLooks } from "../backends/webgpu/rest.ts";
import { deviceOf, openDevice } from "../open.ts";
import { rooms } from "../ops/index.ts";
import { compareCase, runCase } from "../testing/conformance.ts";
import { guarded } from "../testing/guarded.ts";
import { DEVICE_FLAGS, describeFlags, type Flag, parseFlags } from "./args.ts";
import { openOptions } from "./options.ts";

const FLAGS: readonly Flag[] = [
  ...DEVICE_FLAGS,
  { name: "op", type: "text", value: "room", choices: rooms.map(({ name }) => name), help: "only this room. One of" },
  { name: "json", type: "switch", help: "one JSON line per case instead of a table" },
  { name: "help", type: "switch", help: "this text" },
];

const format = (ratio: number): string => (Number.isFinite(ratio) ? ratio.toFixed(2) : "wrong");

/** Runs the case table of every room on the user's device, under guard words and poisoned outputs. */
export const check = async (args: readonly string[]): Promise<number> => {
  const flags = parseFlags("check", FLAGS, args);
  if (flags.has("help")) {
    process.stdout.write(`birkhoff check\n\n${describeFlags(FLAGS)}\n`);
    return 0;
  }
  await using opened = await openDevice(openOptions(flags));
  if (opened.info.software) restBetweenLooks();
  await using reference = deviceOf(openReference());
  const backend = guarded(opened.backend);
  const device = deviceOf(backend);
  const json = flags.has("json");
  if (!json) process.stdout.write(`${opened.kind}: ${opened.info.description}\nworst error in units of what is allowed (below 1 passes)\n\n`);
  let failures = 0;
  let total = 0;
  for (const { name, cases } of rooms) {
    if (flags.text("op") !== undefined && flags.text("op") !== name) continue;
    const chosen = cases.filter(({ large }) => !large || !opened.info.software || opened.kind !== "webgpu");
    let worst = 0;
    let failed = 0;
    const started = performance.now();
    for (const entry of chosen) {
      let ratio = Number.POSITIVE_INFINITY;
      let problem: string | undefined;
      try {
        const { errors } = compareCase(entry, await runCase(device, entry), await runCase(reference, entry), device);
        await backend.check();
        ratio = Math.max(0, ...Object.values(errors));
        if (!(ratio <= 1)) problem = JSON.stringify(errors);
      } catch (error) {
        problem = (error as Error).message;
      }
      worst = Math.max(worst, ratio);
      if (problem !== undefined) failed++;
      if (json)
        process.stdout.write(
          `${JSON.stringify({ room: name, case: entry.name, device: opened.kind, error: Number.isFinite(ratio) ? ratio : null, passed: problem === undefined, problem })}\n`,
        );
      else if (problem !== undefined) process.stdout.write(`  FAILED ${name}: ${entry.name}: ${problem}\n`);
    }
    total += chosen.length;
    failures += failed;
    if (!json) {
      const counts = `${chosen.length - failed} of ${chosen.length} cases`;
      process.stdout.write(
        `${failed === 0 ? "ok    " : "FAILED"} ${name.padEnd(14)} ${counts.padStart(18)}   worst ${format(worst).padStart(6)}   ${((performance.now() - started) / 1000).toFixed(1)} s\n`,
      );
    }
  }
  if (!json) process.stdout.write(`\n${total - failures} passed, ${failures} failed\n`);
  return failures === 0 && total > 0 ? 0 : 1;
};
