/**
 * Compiles every pass that the rooms' cases plan, forward and backward, on Dawn's null device: no GPU is needed.
 * Plans are made for the least GPU and for a large one, and every entry point of every shader must be reached by one.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compileAll } from "../src/backends/webgpu/compile-check.ts";
import { FLOOR_LIMITS, type Limits, type Pass, type Shader } from "../src/op.ts";
import { rooms } from "../src/ops/index.ts";
import { planCall, traceRoom } from "./trace.ts";

/** What current desktop GPUs offer. */
const LARGE_LIMITS: Limits = {
  workgroupBytes: 49152,
  workgroupThreads: 1024,
  workgroupsPerDimension: 65535,
  storageBuffers: 16,
  bindingBytes: 2147483644,
  f16: true,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  matrixUnits: true,
};

/** Dawn's null device has the least limits: a variant made for more memory or threads ends with one of these. */
const BEYOND_NULL_DEVICE = /exceeds the maximum allowed|is larger than the maximum allowed|exceeds the limit/;

const variantKey = (shader: string, entry: string, constants: Pass["constants"] = {}): string =>
  `${shader} (${entry}) ${JSON.stringify(Object.entries(constants).sort())}`;

/** The distinct passes of all rooms on a GPU with the given limits; problems are appended to `problems`. */
const collect = async (limits: Limits, problems: string[]): Promise<Map<string, Pass>> => {
  const variants = new Map<string, Pass>();
  for (const room of rooms) {
    const { calls } = await traceRoom(room, limits);
    for (const call of calls) {
      const planned = planCall(call, limits);
      problems.push(...planned.problems);
      for (const pass of planned.passes) variants.set(variantKey(pass.shader.name, pass.entry, pass.constants), pass);
    }
  }
  return variants;
};

const isShader = (value: unknown): value is Shader => typeof value === "object" && value !== null && "entries" in value && "source" in value;

/** Every shader that the build step wrote. */
const generatedShaders = async (): Promise<Shader[]> => {
  const folder = fileURLToPath(new URL("../src/generated", import.meta.url));
  const files = readdirSync(folder).filter((file) => file.endsWith(".ts"));
  const modules = await Promise.all(files.map((file) => import(pathToFileURL(join(folder, file)).href) as Promise<Record<string, unknown>>));
  return modules.flatMap((module) => Object.values(module).filter(isShader));
};

const problems: string[] = [];
const floor = await collect(FLOOR_LIMITS, problems);
const large = await collect(LARGE_LIMITS, problems);
const variants = new Map([...large, ...floor]);

const shaders = await generatedShaders();
if (shaders.length === 0) problems.push("src/generated holds no shader: the check looked at nothing");
const reached = new Set([...variants.values()].map(({ shader, entry }) => `${shader.name} (${entry})`));
for (const { name, entries } of shaders) {
  if (Object.keys(entries).length === 0) problems.push(`${name} has no entry point`);
  for (const entry of Object.keys(entries)) if (!reached.has(`${name} (${entry})`)) problems.push(`${name} (${entry}) is reached by no case`);
}

const { compiled, failures } = await compileAll(variants.values());
let beyond = 0;
for (const { label, constants, message } of failures) {
  const inFloor = [...floor.keys()].some((key) => key === `${label} ${JSON.stringify(Object.entries(constants).sort())}`);
  if (!inFloor && BEYOND_NULL_DEVICE.test(message)) beyond++;
  else problems.push(`${label} with ${JSON.stringify(constants)} does not compile: ${message}`);
}

for (const problem of new Set(problems)) console.error(problem);
const unseen = beyond > 0 ? `; ${beyond} need more than the null device has` : "";
console.log(`${compiled} pipelines of ${shaders.length} shaders from ${rooms.length} rooms${unseen}`);
// Dawn keeps the process alive.
process.exit(problems.length > 0 ? 1 : 0);
