/** What is computed from parameters and asked for again before they change. */
import { isGradEnabled } from "../gradMode.ts";
import type { Shape } from "../op.ts";
import { keep } from "../scope.ts";
import type { Storage, Tensor } from "../tensor.ts";

interface Source {
  readonly storage: Storage;
  readonly version: number;
  readonly shape: Shape;
}

interface Known {
  readonly sources: readonly Source[];
  readonly settings: string;
  readonly faults: number;
  readonly value: Tensor;
}

/**
 * A tensor computed from others and kept as long as they stay as they are: the same memory in the same shape, not changed in place since (every way to do that counts
 * up the memory's version when it is enqueued: `device.write`, optimisers), under the same settings, and no broken data told in between, which would have to be
 * told again. Where a gradient is wanted nothing is kept or taken from before, since a graph serves one backward pass.
 */
export class DerivedTensor implements Disposable {
  #known: Known | undefined;

  /** @returns a tensor of the caller's own, which shares its memory with the one that is kept */
  get(where: string, sources: readonly Tensor[], settings: string, make: () => Tensor): Tensor {
    for (const source of sources) source.assertLive(where);
    if (isGradEnabled() && sources.some(({ requiresGrad }) => requiresGrad)) {
      this.dispose();
      return make();
    }
    if (!this.#fits(sources, settings)) {
      this.dispose();
      const value = keep(make());
      const seen = sources.map(({ storage, shape }) => ({ storage, version: storage.version, shape }));
      this.#known = { sources: seen, settings, faults: value.device.faults, value };
    }
    return (this.#known as Known).value.detach();
  }

  /** Lets go of what is kept; the next `get` computes anew. Safe to call twice. */
  dispose(): void {
    this.#known?.value.dispose();
    this.#known = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #fits(sources: readonly Tensor[], settings: string): boolean {
    const known = this.#known;
    return (
      known !== undefined &&
      !known.value.disposed &&
      known.settings === settings &&
      known.faults === known.value.device.faults &&
      known.sources.length === sources.length &&
      known.sources.every(({ storage, version, shape }, i) => {
        const now = sources[i];
        return now.storage === storage && storage.version === version && now.shape.join() === shape.join();
      })
    );
  }
}
