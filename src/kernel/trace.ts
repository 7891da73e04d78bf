/** A device that computes nothing and notes what a function asks of it: the calls, and the memory that they read and write. */
import type { Backend, BackendInfo, Buffer, Counters, HostArray } from "../backend.ts";
import { ArgumentError, StateError } from "../errors.ts";
import { type Call, type DType, elements, type Limits, type Scalars, type Spec } from "../op.ts";

/** Memory that a function names: an input, numbers that it brings along, or what a call computes. */
export class Value implements Buffer {
  readonly dtype: DType;
  readonly length: number;
  /** Which of the function's inputs. */
  readonly input: number | undefined;
  /** Numbers that were written before anything read them. */
  data: HostArray | undefined;
  used = false;

  constructor(dtype: DType, length: number, input?: number) {
    this.dtype = dtype;
    this.length = length;
    this.input = input;
  }
}

export interface Step {
  readonly call: Call;
  readonly scalars: Scalars;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

const NOTHING: Counters = { dispatches: 0, submits: 0, allocations: 0, liveBuffers: 0, liveBytes: 0, pooledBytes: 0 };
const reads = (): StateError =>
  new StateError("prepareKernel: expected a function that only enqueues, but it reads: values are there when the caller has submitted");

export class Tracer implements Backend {
  readonly info: BackendInfo = { kind: "webgpu", description: "notes calls for a kernel", software: false, details: {} };
  readonly limits: Limits;
  readonly counters = NOTHING;
  readonly steps: Step[] = [];
  readonly #refusal: (call: Call) => string | undefined;

  constructor(limits: Limits, refusal: (call: Call) => string | undefined) {
    this.limits = limits;
    this.#refusal = refusal;
  }

  input({ shape, dtype }: Spec, index: number): Value {
    return new Value(dtype, elements(shape), index);
  }

  alloc(dtype: DType, length: number): Buffer {
    return new Value(dtype, length);
  }

  free(): void {}

  write(buffer: Buffer, values: HostArray): void {
    const value = buffer as Value;
    if (value.input !== undefined || value.used)
      throw new StateError(
        "prepareKernel: expected numbers to be written before anything reads the tensor, but received a write to an input or later",
      );
    value.data = values.slice();
  }

  async read(): Promise<HostArray> {
    throw reads();
  }

  async synchronize(): Promise<void> {
    throw reads();
  }

  unsupported(call: Call): string | undefined {
    return this.#refusal(call);
  }

  run(call: Call, scalars: Scalars, inputs: readonly Value[], outputs: readonly Value[]): void {
    for (const i of call.op.mutates ?? []) {
      if (inputs[i].data)
        throw new ArgumentError(
          `prepareKernel: expected an input or a result for what ${call.op.name} changes in place, but received constant numbers`,
        );
    }
    for (const value of [...inputs, ...outputs]) value.used = true;
    this.steps.push({ call, scalars: { ...scalars }, inputs, outputs });
  }

  async close(): Promise<void> {}
}

/** The steps that results depend on, or that change an input in place. */
export const needed = (steps: readonly Step[], results: readonly Value[]): Step[] => {
  const live = new Set(results);
  return steps
    .toReversed()
    .filter(({ call, inputs, outputs }) => {
      const changed = (call.op.mutates ?? []).map((i) => inputs[i]);
      const wanted = outputs.some((value) => live.has(value)) || changed.some((value) => value.input !== undefined || live.has(value));
      if (wanted) for (const value of inputs) live.add(value);
      return wanted;
    })
    .reverse();
};
