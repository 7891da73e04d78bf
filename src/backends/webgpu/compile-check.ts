/** Compiles shader variants on Dawn's null device: no GPU is needed, and nothing is run. */
import { DeviceError } from "../../errors.ts";
import type { Pass } from "../../op.ts";
import { openDawn } from "./dawn.ts";
import { requestDevice } from "./open.ts";
import { PipelineCache } from "./pipelines.ts";
import { passLabel } from "./prepare.ts";

export interface CompileFailure {
  /** "<room>/<file> (<entry>)". */
  readonly label: string;
  readonly constants: Readonly<Record<string, number>>;
  /** What the compiler said, with the line. */
  readonly message: string;
}

/**
 * Compiles every distinct variant among the passes and gives those that fail.
 *
 * @param passes what plans gave; variants differ by shader, entry point and constants
 * @throws DeviceError when Dawn cannot be loaded
 * @example
 * ```ts
 * const { compiled, failures } = await compileAll([]); // the passes of every plan
 * compiled + failures.length; // => 0
 * ```
 */
export const compileAll = async (passes: Iterable<Pass>): Promise<{ readonly compiled: number; readonly failures: readonly CompileFailure[] }> => {
  const gpu = await openDawn(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new DeviceError("webgpu: expected Dawn's null adapter, but received none");
  const device = await requestDevice(adapter, true);
  const cache = new PipelineCache(device);
  const variants = new Map([...passes].map((pass) => [cache.get(pass.shader, pass.entry, pass.constants ?? {}), pass]));
  const failures: CompileFailure[] = [];
  for (const [pipeline, pass] of variants) {
    await pipeline.settled;
    if (pipeline.failure) failures.push({ label: passLabel(pass), constants: pass.constants ?? {}, message: pipeline.failure.message });
  }
  device.destroy();
  return { compiled: variants.size - failures.length, failures };
};
