/** What a GPU does for each call, worked out once: its plan, whether that fits, its passes and their pipelines. */
import type { Call, Limits, Plan } from "../../op.ts";
import { FaultCodes } from "./faults.ts";
import { type Pipeline, PipelineCache } from "./pipelines.ts";
import { type Prepared, planFailure, prepare, refusal } from "./prepare.ts";

/** A call's passes and, in the same order, their pipelines, which may be compiling still. */
export interface Program extends Prepared {
  readonly pipelines: readonly Pipeline[];
}

export class Programs {
  readonly limits: Limits;
  readonly faults = new FaultCodes();
  readonly #pipelines: PipelineCache;
  readonly #plans = new WeakMap<Call, Plan>();
  readonly #refusals = new WeakMap<Call, { readonly reason: string | undefined }>();
  readonly #programs = new WeakMap<Call, Program>();

  constructor(device: GPUDevice, limits: Limits) {
    this.limits = limits;
    this.#pipelines = PipelineCache.of(device);
  }

  /** Why the device cannot run the call, or undefined. */
  refusal(call: Call): string | undefined {
    let refused = this.#refusals.get(call);
    if (!refused) {
      refused = { reason: refusal(call, this.#plan(call), this.limits) };
      this.#refusals.set(call, refused);
    }
    return refused.reason;
  }

  /** Starts the compilation of the call's pipelines when it is new. */
  get(call: Call): Program {
    let program = this.#programs.get(call);
    if (!program) {
      const prepared = prepare(call, this.#plan(call), (message) => this.faults.code(message));
      const pipelines = prepared.passes.map(({ pass }) => this.#pipelines.get(pass.shader, pass.entry, pass.constants ?? {}));
      program = { ...prepared, pipelines };
      this.#programs.set(call, program);
    }
    return program;
  }

  /** Resolves when nothing is being compiled. */
  settled(): Promise<void> {
    return this.#pipelines.settled();
  }

  #plan(call: Call): Plan {
    let plan = this.#plans.get(call);
    if (!plan) {
      try {
        plan = call.op.plan(call, this.limits);
      } catch (error) {
        throw planFailure(call, error);
      }
      this.#plans.set(call, plan);
    }
    return plan;
  }
}
