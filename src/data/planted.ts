/** Generated tasks in which a symmetry is planted: a teacher whose kernels are permuted copies of prototypes. */
import { expected } from "../errors.ts";
import { cyclicGroup, dihedralGroup, firstElements, type PermutationSet, permute, rotationGroup } from "./permutations.ts";
import { createRandom } from "./random.ts";

/** cyclic: shifts of n positions; rot90: C4 on k × k; dihedral: D4 on k × k; half: the first half of the cyclic shifts. */
export type PlantedName = "cyclic" | "rot90" | "dihedral" | "half";
export const PLANTED_NAMES: readonly PlantedName[] = ["cyclic", "rot90", "dihedral", "half"];

export interface PlantedOptions {
  /** n of the cyclic tasks (default 8), side k of the image tasks (default 5). */
  readonly size?: number;
  /**
   * Number C of prototypes, default 2·d. With fewer than d the data do not determine the matrices: a matrix only has to
   * map the prototypes' span rightly.
   */
  readonly prototypes?: number;
  /** Standard deviation of the noise on y (regression) or x (classification), default 0. */
  readonly noise?: number;
  /** How many elements of the group take part, in the group's order; default all of the task's. */
  readonly elements?: number;
  /** In [0, 2³²), default 0. */
  readonly seed?: number;
}

export interface RegressionBatch {
  readonly count: number;
  /** [count, d] */
  readonly x: Float32Array;
  /** [count, C, g] */
  readonly y: Float32Array;
}

export interface ClassificationBatch {
  readonly count: number;
  /** [count, d] */
  readonly x: Float32Array;
  /** Class c·g + element, [count]. */
  readonly labels: Int32Array;
}

export interface PlantedTask {
  readonly name: PlantedName;
  /** Which element turned which prototype is part of y, so learned element i is planted element i. */
  readonly indexed: true;
  readonly group: PermutationSet;
  /** Length of a signal. */
  readonly d: number;
  /** How a signal is laid out for people: [1, n] or [k, k]. */
  readonly layout: readonly [height: number, width: number];
  readonly prototypeCount: number;
  readonly noise: number;
  /** K*, [C, d]. */
  readonly prototypes: Float32Array;
  /** ρ_g K*_c, [C, g, d]. */
  readonly kernels: Float32Array;
  /**
   * x ~ N(0, I), y[c, g] = ⟨ρ_g K*_c, x⟩ + noise. The same `index`, an integer in [0, 2³¹), gives the same data; default: one more than the last, from 0 on.
   * `into` is filled and returned when given.
   */
  batch(count: number, into?: RegressionBatch, index?: number): RegressionBatch;
  /** x = ρ_g K*_c + noise with label (c, g), both uniform. A sequence of its own, so held-out data stay the same. */
  classification(count: number): ClassificationBatch;
}

/** Batch i comes from the sequence `regression` + i. */
const STREAMS = { prototypes: 1, classification: 3, regression: 2 ** 31 } as const;

const groupOf = (name: PlantedName, size: number): PermutationSet => {
  switch (name) {
    case "cyclic":
      return cyclicGroup(size);
    case "half":
      return firstElements(cyclicGroup(size));
    case "rot90":
      return rotationGroup(size);
    case "dihedral":
      return dihedralGroup(size);
    default:
      throw expected("plantedTask", `one of ${PLANTED_NAMES.join(", ")}`, "name", name);
  }
};

const checkCount = (where: string, argument: string, value: number): void => {
  if (!Number.isInteger(value) || value < 1 || value > 2 ** 24) throw expected(where, "a positive integer", argument, value);
};

/**
 * A task with prototypes K* ~ N(0, 1) of shape [C, d] and a planted set of permutations.
 *
 * @throws ArgumentError for an unknown name and for options that are not positive integers (noise: not negative)
 * @example
 * ```ts
 * const task = plantedTask("rot90", { size: 5, seed: 1 });
 * const { x, y } = task.batch(64); // [64, 25] and [64, 50, 4]
 * [x.length, y.length]; // => [1600, 12800]
 * ```
 */
export const plantedTask = (name: PlantedName, options: PlantedOptions = {}): PlantedTask => {
  const image = name === "rot90" || name === "dihedral";
  const { size = image ? 5 : 8, noise = 0, seed = 0 } = options;
  checkCount("plantedTask", "size", size);
  if (!(noise >= 0 && Number.isFinite(noise))) throw expected("plantedTask", "a number that is not negative", "noise", noise);
  const whole = groupOf(name, size);
  const group = firstElements(whole, options.elements ?? whole.elements.length);
  const d = group.elements[0].length;
  const C = options.prototypes ?? 2 * d;
  checkCount("plantedTask", "prototypes", C);
  const g = group.elements.length;
  const random = createRandom(seed, STREAMS.prototypes);
  const prototypes = Float32Array.from({ length: C * d }, () => random.normal());
  const kernels = new Float32Array(C * g * d);
  for (let c = 0; c < C; c++) {
    const prototype = prototypes.subarray(c * d, (c + 1) * d);
    for (const [i, element] of group.elements.entries()) permute(prototype, element, kernels.subarray((c * g + i) * d, (c * g + i + 1) * d));
  }
  let next = 0;
  const classification = random.stream(STREAMS.classification);

  return {
    name,
    indexed: true,
    group,
    d,
    layout: image ? [size, size] : [1, size],
    prototypeCount: C,
    noise,
    prototypes,
    kernels,
    batch: (count, into, index = next) => {
      checkCount("batch", "count", count);
      if (!Number.isInteger(index) || index < 0 || index >= 2 ** 31) throw expected("batch", "an integer in [0, 2^31)", "index", index);
      next = index + 1;
      const regression = random.stream(STREAMS.regression + index);
      const result = into ?? { count, x: new Float32Array(count * d), y: new Float32Array(count * C * g) };
      const { x, y } = result;
      if (x.length !== count * d || y.length !== count * C * g)
        throw expected("batch", `arrays of ${count * d} and ${count * C * g} values`, "into", [x.length, y.length]);
      for (let i = 0; i < x.length; i++) x[i] = regression.normal();
      for (let b = 0, at = 0; b < count; b++) {
        for (let k = 0; k < C * g; k++, at++) {
          let sum = 0;
          for (let n = 0; n < d; n++) sum += kernels[k * d + n] * x[b * d + n];
          y[at] = noise > 0 ? sum + noise * regression.normal() : sum;
        }
      }
      return result;
    },
    classification: (count) => {
      checkCount("classification", "count", count);
      const x = new Float32Array(count * d);
      const labels = new Int32Array(count);
      for (let b = 0; b < count; b++) {
        labels[b] = classification.integer(C * g);
        for (let n = 0; n < d; n++) x[b * d + n] = kernels[labels[b] * d + n] + noise * classification.normal();
      }
      return { count, x, labels };
    },
  };
};
