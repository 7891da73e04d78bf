/** The device behind the service: runs batches, and opens another device when the one at hand is lost. */
import { type Device, DeviceError, OutOfMemoryError, StateError, scope } from "birkhoff";
import { FEATURES, load, type Model } from "./model.ts";

const ATTEMPTS = 3;

/** The device is gone: lost, destroyed or closed. Being out of memory is no loss. */
const isLoss = (error: unknown): boolean => (error instanceof DeviceError && !(error instanceof OutOfMemoryError)) || error instanceof StateError;

export class Engine {
  readonly #open: () => Promise<Device>;
  readonly #checkpoint: Uint8Array;
  #model: Promise<Model>;
  #recoveries = 0;
  #closed = false;

  constructor(open: () => Promise<Device>, checkpoint: Uint8Array) {
    this.#open = open;
    this.#checkpoint = checkpoint;
    this.#model = this.#load();
    // Whoever runs something, or asks for `device`, is told.
    this.#model.catch(() => {});
  }

  /** How often another device was opened. */
  get recoveries(): number {
    return this.#recoveries;
  }

  /** The device that is in use; rejects when there is none. */
  async device(): Promise<Device> {
    return (await this.#model).device;
  }

  /** Runs one of the model's functions on some embeddings; one array per embedding. Answers come from one device alone, whatever happens meanwhile. */
  async run(kind: "project" | "classify", rows: readonly ArrayLike<number>[]): Promise<number[][]> {
    for (let attempt = 1; ; attempt++) {
      const pending = this.#model;
      try {
        return await compute(await pending, kind, rows);
      } catch (error) {
        if (this.#closed || attempt === ATTEMPTS || !isLoss(error)) throw error;
        this.#replace(pending);
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const model = await this.#model.catch(() => undefined);
    await model?.device.close();
  }

  /** Once per loss, however many batches notice it. */
  #replace(lost: Promise<Model>): void {
    if (this.#model !== lost) return;
    this.#recoveries++;
    this.#model = lost
      .then(({ device }) => device.close())
      .catch(() => {})
      .then(() => this.#load());
    this.#model.catch(() => {});
  }

  async #load(): Promise<Model> {
    const device = await this.#open();
    try {
      return load(device, this.#checkpoint);
    } catch (error) {
      await device.close();
      throw error;
    }
  }
}

/** Batches are filled up to a power of two, so that a device prepares few shapes; what is filled in is a copy of the first row. */
const compute = async (model: Model, kind: "project" | "classify", rows: readonly ArrayLike<number>[]): Promise<number[][]> => {
  const count = 2 ** Math.ceil(Math.log2(rows.length));
  const data = new Float32Array(count * FEATURES);
  for (let i = 0; i < count; i++) data.set(rows[i < rows.length ? i : 0], i * FEATURES);
  const y = scope(() => model[kind](model.device.tensor(data, [count, FEATURES])));
  try {
    const values = await y.read();
    const width = y.shape[1];
    return rows.map((_, i) => Array.from(values.subarray(i * width, (i + 1) * width)));
  } finally {
    y.dispose();
  }
};
