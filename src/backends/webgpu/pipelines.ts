/** Shader modules and compute pipelines: compiled once, off the main thread where possible, with readable errors. */
import { DeviceError } from "../../errors.ts";
import type { Shader, ShaderBinding } from "../../op.ts";

/** A compute pipeline that is compiled, being compiled, or failed. */
export interface Pipeline {
  readonly id: number;
  /** "<room>/<file> (<entry>)". */
  readonly label: string;
  readonly layout: GPUBindGroupLayout;
  /** Settles when compilation ended either way; never rejects. */
  readonly settled: Promise<void>;
  /** The pipeline once compiled. */
  readonly compiled: GPUComputePipeline | undefined;
  readonly failure: DeviceError | undefined;
  /** Compiles on the spot, for a batch that cannot wait. What fails is invalid and gets its `failure` when settled. */
  compileNow(): GPUComputePipeline;
}

const COMPUTE_STAGE = 4; // GPUShaderStage.COMPUTE, which Node has no global for.
const LAYOUT_TYPES = { read: "read-only-storage", read_write: "storage", uniform: "uniform" } as const;
const SHOWN_MESSAGES = 5;

const caches = new WeakMap<GPUDevice, PipelineCache>();

export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #modules = new WeakMap<Shader, GPUShaderModule>();
  readonly #pipelines = new WeakMap<Shader, Map<string, Pipeline>>();
  /** What Dawn has not answered yet. */
  readonly #pending = new Set<Promise<unknown>>();
  #created = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** The one that all of the program shares for a device. */
  static of(device: GPUDevice): PipelineCache {
    const cache = caches.get(device) ?? new PipelineCache(device);
    caches.set(device, cache);
    return cache;
  }

  /** Starts compiling at the first call for a variant. */
  get(shader: Shader, entry: string, constants: Readonly<Record<string, number>>): Pipeline {
    let variants = this.#pipelines.get(shader);
    if (!variants) {
      variants = new Map();
      this.#pipelines.set(shader, variants);
    }
    const key = `${entry} ${JSON.stringify(Object.entries(constants).sort())}`;
    let pipeline = variants.get(key);
    if (!pipeline) {
      pipeline = this.#start(shader, entry, constants);
      variants.set(key, pipeline);
    }
    return pipeline;
  }

  /** Resolves when nothing is being compiled. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }

  #start(shader: Shader, entry: string, constants: Readonly<Record<string, number>>): Pipeline {
    const device = this.#device;
    const label = `${shader.name} (${entry})`;
    const { module, layout, descriptor } = this.#quietly(() => {
      const module = this.#module(shader);
      const layout = device.createBindGroupLayout({ label, entries: shader.entries[entry].bindings.map(layoutEntry) });
      const pipelineLayout = device.createPipelineLayout({ label, bindGroupLayouts: [layout] });
      return { module, layout, descriptor: { label, layout: pipelineLayout, compute: { module, entryPoint: entry, constants: { ...constants } } } };
    });
    let compiled: GPUComputePipeline | undefined;
    let failure: DeviceError | undefined;
    const settled = device.createComputePipelineAsync(descriptor).then(
      (pipeline) => {
        compiled ??= pipeline;
      },
      async (error: Error) => {
        failure = await compileError(label, shader, module, error.message);
      },
    );
    this.#keep(settled);
    return {
      id: this.#created++,
      label,
      layout,
      settled,
      get compiled() {
        return compiled;
      },
      get failure() {
        return failure;
      },
      compileNow: () => {
        compiled ??= this.#quietly(() => device.createComputePipeline(descriptor));
        return compiled;
      },
    };
  }

  /** Keeps validation errors from the console: each of them comes back as the pipeline's `failure`. */
  #quietly<T>(create: () => T): T {
    this.#device.pushErrorScope("validation");
    try {
      return create();
    } finally {
      this.#keep(this.#device.popErrorScope().catch(() => null));
    }
  }

  #keep(answer: Promise<unknown>): void {
    this.#pending.add(answer);
    void answer.finally(() => this.#pending.delete(answer));
  }

  #module(shader: Shader): GPUShaderModule {
    let module = this.#modules.get(shader);
    if (!module) {
      module = this.#device.createShaderModule({ label: shader.name, code: shader.source });
      this.#modules.set(shader, module);
    }
    return module;
  }
}

const layoutEntry = ({ binding, kind }: ShaderBinding): GPUBindGroupLayoutEntry => ({
  binding,
  visibility: COMPUTE_STAGE,
  buffer: { type: LAYOUT_TYPES[kind], hasDynamicOffset: kind === "uniform" },
});

/** Dawn's rejection only says that something before it failed: what and where stands in the module's messages. */
const compileError = async (label: string, shader: Shader, module: GPUShaderModule, reason: string): Promise<DeviceError> => {
  const info = await module.getCompilationInfo().catch(() => undefined);
  const errors = info?.messages.filter(({ type }) => type === "error") ?? [];
  const lines = shader.source.split("\n");
  const shown = errors.slice(0, SHOWN_MESSAGES).map(({ lineNum, linePos, message }) => {
    const place = lineNum > 0 ? `line ${lineNum}:${linePos}: ` : "";
    return `  ${place}${message}${lineNum > 0 ? `\n    ${lines[lineNum - 1]?.trim()}` : ""}`;
  });
  return new DeviceError(`${label}: expected a shader that compiles, but received\n${shown.length > 0 ? shown.join("\n") : `  ${reason}`}`);
};
