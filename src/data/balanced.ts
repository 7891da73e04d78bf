/** Batches with equally many examples of each class. */
import { checkNames, expected } from "../errors.ts";
import { createRandom, type Random, range, shuffle } from "./random.ts";

export interface ClassBalancedOptions {
  /** Examples of each class in a batch. */
  readonly samples: number;
  /** Classes in a batch. Default: all that occur. */
  readonly classes?: number;
  /** An integer in [0, 2³²): the same seed gives the same batches. Default 0. */
  readonly seed?: number;
}

/** Takes from a pile in random order; what is left of it when it does not suffice goes back, and the pile is shuffled. */
const deck = (cards: Int32Array, random: Random): ((count: number) => Int32Array) => {
  let next = cards.length;
  return (count) => {
    if (next + count > cards.length) {
      shuffle(cards, random);
      next = 0;
    }
    next += count;
    return cards.slice(next - count, next);
  };
};

/**
 * Batches of indices with `samples` examples of each of `classes` classes, class after class, without end: take as many as a training needs.
 *
 * Within a batch no example comes twice. Each class goes through its examples in random order and is shuffled anew, on its own, when fewer than
 * `samples` are left; so are the classes, where a batch has not all of them. The groups that meet in a batch are therefore new ones every time.
 *
 * @param labels each example's class, any integers
 * @throws ArgumentError, when the first batch is asked for, for sizes that are no positive integers, more classes than occur, and a class of fewer
 * examples than `samples`.
 * @example
 * ```ts
 * const labels = [0, 1, 0, 1, 0, 1, 2, 2];
 * const seen = [];
 * for (const indices of classBalancedBatches(labels, { samples: 2 })) {
 *   seen.push([...indices].map((index) => labels[index]).toSorted());
 *   if (seen.length === 2) break;
 * }
 * seen; // => [[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2]]
 * ```
 */
export function* classBalancedBatches(labels: ArrayLike<number>, options: ClassBalancedOptions): Generator<Int32Array, never> {
  const where = "classBalancedBatches";
  const { samples, seed = 0 } = checkNames(where, options, ["samples", "classes", "seed"]);
  if (typeof labels?.length !== "number") throw expected(where, "an array of integers", "labels", labels);
  if (!Number.isInteger(samples) || samples < 1) throw expected(where, "a positive integer", "samples", samples);
  const members = new Map<number, number[]>();
  for (let i = 0; i < labels.length; i++) {
    if (!Number.isInteger(labels[i])) throw expected(where, "an integer", `labels[${i}]`, labels[i]);
    const own = members.get(labels[i]);
    if (own) own.push(i);
    else members.set(labels[i], [i]);
  }
  const { classes = members.size } = options;
  if (!Number.isInteger(classes) || classes < 1 || classes > members.size)
    throw expected(where, `an integer in [1, ${members.size}], the classes that occur,`, "classes", classes);
  for (const [label, own] of members)
    if (own.length < samples) throw expected(where, `at least ${samples} examples of class ${label}`, "labels", own.length);
  // A sequence of its own for each class, so that none depends on how often others were drawn from.
  const random = createRandom(seed);
  const decks = [...members.keys()]
    .sort((a, b) => a - b)
    .map((label, stream) => deck(Int32Array.from(members.get(label) ?? []), random.stream(stream + 1)));
  const order = deck(range(decks.length), random);
  while (true) {
    const batch = new Int32Array(classes * samples);
    for (const [i, which] of order(classes).entries()) batch.set(decks[which](samples), i * samples);
    yield batch;
  }
}
