import { restBetweenLooks } from "../backends/webgpu/rest.ts";
import { openDevice } from "../open.ts";
import { rooms } from "../ops/index.ts";
import { checkCases } from "../testing/check.ts";
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
  await using device = await openDevice(openOptions(flags));
  if (device.info.software) restBetweenLooks();
  const json = flags.has("json");
  if (!json) process.stdout.write(`${device.kind}: ${device.info.description}\nworst error in units of what is allowed (below 1 passes)\n\n`);
  let failures = 0;
  let total = 0;
  for (const { name, cases } of rooms) {
    if (flags.text("op") !== undefined && flags.text("op") !== name) continue;
    let worst = 0;
    let failed = 0;
    let count = 0;
    const started = performance.now();
    for await (const { entry, worst: ratio, problem } of checkCases(device, cases)) {
      count++;
      worst = Math.max(worst, ratio);
      if (problem !== undefined) failed++;
      if (json)
        process.stdout.write(
          `${JSON.stringify({ room: name, case: entry.name, device: device.kind, error: Number.isFinite(ratio) ? ratio : null, passed: problem === undefined, problem })}\n`,
        );
      else if (problem !== undefined) process.stdout.write(`  FAILED ${name}: ${entry.name}: ${problem}\n`);
    }
    total += count;
    failures += failed;
    if (!json) {
      const counts = `${count - failed} of ${count} cases`;
      process.stdout.write(
        `${failed === 0 ? "ok    " : "FAILED"} ${name.padEnd(14)} ${counts.padStart(18)}   worst ${format(worst).padStart(6)}   ${((performance.now() - started) / 1000).toFixed(1)} s\n`,
      );
    }
  }
  if (!json) process.stdout.write(`\n${total - failures} passed, ${failures} failed\n`);
  return failures === 0 && total > 0 ? 0 : 1;
};
