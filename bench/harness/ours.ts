/** Our own side of a race: a form of a case on a device. */
import type { Backend, Buffer, Counters } from "../../src/backend.ts";
import type { Device } from "../../src/device.ts";
import { noGrad } from "../../src/gradMode.ts";
import { type Call, elements, type Limits } from "../../src/op.ts";
import { AdamW } from "../../src/optim/adamw.ts";
import { scope } from "../../src/scope.ts";
import { differentiate } from "../../src/tape.ts";
import type { Tensor } from "../../src/tensor.ts";
import type { BenchCase, Contestant, Form, Pass, StepCounts } from "./bench.ts";
import type { Data } from "./data.ts";

/** A device that notes the calls that reach it while `calls` is an array. */
export interface RecordingBackend extends Backend {
  calls: Call[] | undefined;
}

export const recording = (backend: Backend): RecordingBackend => ({
  calls: undefined,
  info: backend.info,
  limits: backend.limits,
  get counters(): Counters {
    return backend.counters;
  },
  alloc: (dtype, length) => backend.alloc(dtype, length),
  free: (buffer) => backend.free(buffer),
  write: (buffer, values) => backend.write(buffer, values),
  read: (buffer) => backend.read(buffer),
  unsupported: (call) => backend.unsupported(call),
  run(call, scalars, inputs: readonly Buffer[], outputs: readonly Buffer[]) {
    this.calls?.push(call);
    backend.run(call, scalars, inputs, outputs);
  },
  synchronize: () => backend.synchronize(),
  close: () => backend.close(),
});

/** Bytes of what a call's kernels are given to read and write: every buffer once per dispatch on a GPU, once per call elsewhere. */
export const bytesOf = (call: Call, kind: Device["kind"], limits: Limits): number => {
  const size = (specs: Call["inputs"], i: number): number => elements(specs[i].shape);
  if (kind !== "webgpu") return 4 * [...call.inputs, ...call.outputs].reduce((sum, { shape }) => sum + elements(shape), 0);
  const { passes, scratch = [] } = call.op.plan(call, limits);
  let words = 0;
  for (const { bind } of passes) {
    // A buffer may be bound twice, as single numbers and as vectors.
    const refs = new Map(Object.values(bind).map((ref) => [JSON.stringify(ref), ref]));
    for (const ref of refs.values()) {
      if (ref.window) words += ref.window.length;
      else words += "input" in ref ? size(call.inputs, ref.input) : "output" in ref ? size(call.outputs, ref.output) : scratch[ref.scratch];
    }
  }
  return 4 * words;
};

export interface Ours extends Contestant, Disposable {
  /** What one step in steady state does; readbacks are left out. */
  counts(pass: Pass): Promise<StepCounts>;
  /** `results` with a cotangent that is zero from element `end` on. */
  resultsUpTo(pass: Pass, end: number): Promise<readonly ArrayLike<number>[]>;
}

/** @param backend what `device` was made of, when counts are wanted */
export const ours = (name: string, form: Form, entry: BenchCase, data: Data, device: Device, backend?: RecordingBackend): Ours => {
  const inputs = entry.inputs.map(({ shape, dtype }, i) => device.tensor(data.inputs[i], shape, dtype));
  const cotangent = device.tensor(data.cotangent, entry.output);
  const leaves = inputs.filter((_, i) => entry.inputs[i].gradient ?? true);
  for (const leaf of leaves) leaf.requiresGrad = true;

  const forward = (): Tensor[] => [noGrad(() => form(...inputs))];
  const both = (gradient: Tensor): Tensor[] => {
    const output = form(...inputs);
    const gradients = differentiate([{ output, cotangent: gradient }], name);
    return [output, ...leaves.map((leaf) => gradients.get(leaf) ?? device.zeros(leaf.shape))];
  };
  const compute = (pass: Pass): Tensor[] => (pass === "forward" ? forward() : both(cotangent));
  let optimizer: AdamW | undefined;
  const train = (): void => {
    optimizer ??= new AdamW(leaves);
    form(...inputs).backward(cotangent);
    optimizer.step();
    optimizer.zeroGrad();
  };
  // Nothing of a step outlives it, as in a training loop.
  const step = (pass: Pass): void => scope(() => void (pass === "training step" ? train() : compute(pass)));
  const values = (tensor: Tensor): Promise<ArrayLike<number>> => (device.kind === "reference" ? tensor.readFloat64() : tensor.read());
  const read = async (make: () => Tensor[]): Promise<ArrayLike<number>[]> => {
    const tensors = scope(make);
    try {
      return await Promise.all(tensors.map(values));
    } finally {
      for (const tensor of tensors) tensor.dispose();
    }
  };

  return {
    name,
    async run(pass, steps) {
      const start = performance.now();
      for (let i = 0; i < steps; i++) step(pass);
      await device.synchronize();
      return performance.now() - start;
    },
    results: (pass) => read(() => compute(pass)),
    async resultsUpTo(pass, end) {
      const kept = data.cotangent.map((value, i) => (i < end ? value : 0));
      using masked = device.tensor(kept, entry.output);
      return await read(() => (pass === "forward" ? forward() : both(masked)));
    },
    async counts(pass) {
      // Twice: the pool has then seen what a step takes while the one before is under way.
      for (let i = 0; i < 2; i++) step(pass);
      await device.synchronize();
      const before = device.counters;
      if (backend) backend.calls = [];
      step(pass);
      await device.synchronize();
      const calls = backend?.calls ?? [];
      if (backend) backend.calls = undefined;
      const after = device.counters;
      return {
        dispatches: after.dispatches - before.dispatches,
        submits: after.submits - before.submits,
        newBuffers: after.allocations - before.allocations,
        bytes: calls.reduce((sum, call) => sum + bytesOf(call, device.kind, device.limits), 0),
      };
    },
    [Symbol.dispose]() {
      optimizer?.dispose();
      for (const tensor of [...inputs, cotangent]) tensor.dispose();
    },
  };
};
