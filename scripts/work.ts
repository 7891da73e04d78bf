/**
 * The work that one step of every bench asks of a GPU: dispatches, submits, new buffers and bytes, counted by the webgpu device itself on Dawn's null
 * device, which computes nothing, under the least limits that a GPU may have. Unlike milliseconds it is the same on every machine, so it must be exactly
 * that of bench/work.json, for better and for worse. `npm run work` writes that file, for a change that means to do so.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type BenchCase, passesOf, type StepCounts } from "../bench/harness/bench.ts";
import { ours, recording } from "../bench/harness/ours.ts";
import { benches } from "../bench/index.ts";
import { openDawn } from "../src/backends/webgpu/dawn.ts";
import { openWebGPU } from "../src/backends/webgpu/index.ts";
import { DataError } from "../src/errors.ts";
import { elements, FLOOR_LIMITS, type Shape } from "../src/op.ts";
import { deviceOf } from "../src/open.ts";

const EXPECTED = fileURLToPath(new URL("../bench/work.json", import.meta.url));

/** By case and pass. */
type Work = Readonly<Record<string, StepCounts>>;

const bytesOf = (shape: Shape): number => 4 * elements(shape);
/** Whether its tensors fit a binding of the least GPU, and so the null device. */
const fits = ({ inputs, output }: BenchCase): boolean =>
  [output, ...inputs.map(({ shape }) => shape)].every((shape) => bytesOf(shape) <= FLOOR_LIMITS.bindingBytes);

/** Values do not matter where nothing computes. */
const zeros = ({ inputs, output }: BenchCase) => ({
  inputs: inputs.map(({ shape }) => new Float32Array(elements(shape))),
  cotangent: new Float32Array(elements(output)),
});

const workOf = async (entry: BenchCase, adapter: GPUAdapter): Promise<Work> => {
  const gpuDevice = await adapter.requestDevice();
  const errors: string[] = [];
  gpuDevice.addEventListener("uncapturederror", ({ error }) => errors.push(error.message));
  const backend = recording(await openWebGPU({ gpuDevice }));
  const { synchronize } = backend;
  // The memory of the null device holds anything, also where kernels would report faults.
  backend.synchronize = () =>
    synchronize().catch((error: unknown) => {
      if (!(error instanceof DataError)) throw error;
    });
  const work: Record<string, StepCounts> = {};
  {
    await using device = deviceOf(backend);
    using fused = ours("fused", entry.fused, entry, zeros(entry), device, backend);
    for (const pass of passesOf(entry)) work[`${entry.name}, ${pass}`] = await fused.counts(pass);
  }
  gpuDevice.destroy();
  if (errors.length > 0) throw new Error(`${entry.name}: ${errors[0]}`);
  return work;
};

const measured = async (): Promise<Work> => {
  // Dawn takes another adapter for every device.
  const gpu = await openDawn(["backend=null"]);
  const parts: Work[] = [];
  for (const entry of benches.flatMap(({ cases }) => cases).filter(fits)) {
    const adapter = await gpu.requestAdapter();
    if (!adapter) throw new Error("expected Dawn's null adapter, but received none");
    parts.push(await workOf(entry, adapter));
  }
  return Object.assign({}, ...parts);
};

const QUANTITIES = ["dispatches", "submits", "newBuffers", "bytes"] as const satisfies readonly (keyof StepCounts)[];

/** What differs, a line each. */
const differences = (want: Work, got: Work): string[] =>
  [...new Set([...Object.keys(want), ...Object.keys(got)])].flatMap((name) => {
    const [before, now] = [want[name], got[name]];
    if (!before) return [`${name}: not in bench/work.json`];
    if (!now) return [`${name}: in bench/work.json, but not a case`];
    return QUANTITIES.filter((key) => before[key] !== now[key]).map((key) => `${name}: ${key} ${before[key]}, now ${now[key]}`);
  });

/** A line per case and pass, so that a change shows which. */
const textOf = (work: Work): string =>
  `{\n${Object.entries(work)
    .map(
      ([name, counts]) =>
        `  ${JSON.stringify(name)}: ${JSON.stringify(counts)
          .replace(/([,:])/g, "$1 ")
          .replace(/^\{(.*)\}$/, "{ $1 }")}`,
    )
    .join(",\n")}\n}\n`;

const work = await measured();
const write = process.argv.includes("--write");
if (write) writeFileSync(EXPECTED, textOf(work));
const wrong = write ? [] : differences(JSON.parse(readFileSync(EXPECTED, "utf8")) as Work, work);
for (const line of wrong) console.error(line);
if (wrong.length > 0) console.error("If the change means to do so: npm run work, and commit bench/work.json");
console.log(`${Object.keys(work).length} steps of ${benches.length} benches`);
// Dawn keeps the process alive.
process.exit(wrong.length > 0 ? 1 : 0);
