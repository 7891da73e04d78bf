import type { DeviceKind } from "../backend.ts";
import { BirkhoffError } from "../errors.ts";
import { openDevice } from "../open.ts";
import { describeFlags, type Flag, parseFlags } from "./args.ts";

const FLAGS: readonly Flag[] = [
  { name: "json", type: "switch", help: "one JSON object instead of text" },
  { name: "help", type: "switch", help: "this text" },
];

const RULE = "Without a name the rule is: a hardware GPU, else native, else reference. A software GPU is used only when webgpu is asked for.";

/** What opening one kind of device gives: its facts, or the reason why it does not open. */
const probe = async (kind: DeviceKind): Promise<Record<string, unknown>> => {
  try {
    await using device = await openDevice({ device: kind });
    const { description, software, details } = device.info;
    return { kind, available: true, description, software, ...details, limits: device.limits };
  } catch (error) {
    if (!(error instanceof BirkhoffError)) throw error;
    return { kind, available: false, reason: error.message };
  }
};

/** Opens every kind of device in turn and prints what it is, or why it does not open. */
export const info = async (args: readonly string[]): Promise<number> => {
  const flags = parseFlags("info", FLAGS, args);
  if (flags.has("help")) {
    process.stdout.write(`birkhoff info\n\n${describeFlags(FLAGS)}\n`);
    return 0;
  }
  const devices: Record<string, unknown>[] = [];
  for (const kind of ["webgpu", "native", "reference"] satisfies DeviceKind[]) devices.push(await probe(kind));
  await using picked = await openDevice();
  if (flags.has("json")) {
    process.stdout.write(
      `${JSON.stringify({ node: process.version, platform: `${process.platform}-${process.arch}`, picked: picked.kind, rejected: picked.rejected, devices })}\n`,
    );
    return 0;
  }
  const lines = [`node ${process.version}, ${process.platform}-${process.arch}`, "", RULE, `picked: ${picked.kind} (${picked.info.description})`];
  for (const reason of picked.rejected) lines.push(`  not ${reason}`);
  for (const { kind, available, description, reason, limits, ...facts } of devices) {
    lines.push("", `${kind}: ${available ? description : "not available"}`);
    if (!available) lines.push(`  ${reason}`);
    for (const [name, value] of Object.entries({ ...facts, ...(limits as object | undefined) })) lines.push(`  ${name}: ${value}`);
  }
  process.stdout.write(`${lines.join("\n")}\n`);
  return 0;
};
