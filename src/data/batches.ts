/** From a pile of labelled examples to batches: split, shuffle, fill. */
import { expected } from "../errors.ts";
import { type Random, range, shuffle } from "./random.ts";

export interface Split {
  /** Indices of examples, in random order. */
  readonly train: Int32Array;
  readonly heldOut: Int32Array;
}

/**
 * Divides 0 … count − 1 at random; the parts do not overlap. `train` defaults to all that is not held out.
 *
 * @throws ArgumentError when the parts are empty, fractional, or together exceed `count`
 */
export const splitIndices = (count: number, heldOut: number, random: Random, train: number = count - heldOut): Split => {
  if (!Number.isInteger(heldOut) || heldOut < 1 || heldOut >= count)
    throw expected("splitIndices", `an integer in [1, ${count - 1}]`, "heldOut", heldOut);
  if (!Number.isInteger(train) || train < 1 || train > count - heldOut)
    throw expected("splitIndices", `an integer in [1, ${count - heldOut}]`, "train", train);
  const order = shuffle(range(count), random);
  return { heldOut: order.slice(0, heldOut), train: order.slice(heldOut, heldOut + train) };
};

export interface Examples {
  /** [n, size] */
  readonly inputs: Float32Array;
  /** [n] */
  readonly labels: Int32Array;
  /** Values per example. */
  readonly size: number;
}

/** The same arrays come back with every batch: use or copy them before asking for the next one. */
export interface Batch {
  /** [batchSize, size] */
  readonly inputs: Float32Array;
  /** [batchSize] */
  readonly labels: Int32Array;
  /** How many rows are real; fewer than batchSize only in a padded last batch. */
  readonly count: number;
}

export interface BatchOptions {
  readonly batchSize: number;
  /** Which examples, in this order unless `random` is given; default all. */
  readonly indices?: Int32Array;
  /** Reshuffles the order for this pass. */
  readonly random?: Random;
  /**
   * What happens to a last batch that is not full: "drop" (default; for training, so that every batch weighs the same),
   * or "pad" (for evaluation: filled up with the pass's first examples again, `count` says how many rows are real).
   */
  readonly last?: "drop" | "pad";
}

/**
 * One pass over the examples in batches of constant size, so that a device sees one shape only. With "drop", fewer
 * examples than `batchSize` give no batch at all.
 *
 * @throws ArgumentError for sizes that do not match and indices out of range, when the first batch is asked for
 * @example
 * ```ts
 * const examples = { inputs: Float32Array.of(1, 2, 3, 4, 5, 6), labels: Int32Array.of(0, 1, 2), size: 2 };
 * const seen = [];
 * for (const { inputs, labels } of batches(examples, { batchSize: 2 })) seen.push([...labels, inputs.length]);
 * seen; // => [[0, 1, 4]]
 * ```
 */
export function* batches(examples: Examples, options: BatchOptions): Generator<Batch> {
  const { inputs, labels, size } = examples;
  const { batchSize, random, last = "drop" } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1) throw expected("batches", "a positive integer", "batchSize", batchSize);
  if (inputs.length !== labels.length * size) throw expected("batches", `${labels.length}·${size} values`, "inputs", inputs);
  if (last !== "drop" && last !== "pad") throw expected("batches", '"drop" or "pad"', "last", last);
  const order = options.indices?.slice() ?? range(labels.length);
  const wrong = order.find((index) => index < 0 || index >= labels.length);
  if (wrong !== undefined) throw expected("batches", `indices in 0 … ${labels.length - 1}`, "indices", wrong);
  if (random !== undefined) shuffle(order, random);
  const batch = { inputs: new Float32Array(batchSize * size), labels: new Int32Array(batchSize) };
  for (let start = 0; start < order.length; start += batchSize) {
    const count = Math.min(batchSize, order.length - start);
    if (count < batchSize && last === "drop") return;
    for (let row = 0; row < batchSize; row++) {
      const index = order[(start + row) % order.length];
      batch.inputs.set(inputs.subarray(index * size, (index + 1) * size), row * size);
      batch.labels[row] = labels[index];
    }
    yield { ...batch, count };
  }
}
