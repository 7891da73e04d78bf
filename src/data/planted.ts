/** Generated tasks in which a symmetry is planted: a teacher whose kernels are prototypes that elements of a group have moved. */
import { expected } from "../errors.ts";
import { diskRotations, type MatrixSet } from "./interpolated.ts";
import {
  compose,
  cubeGroup,
  cyclicGroup,
  dihedralGroup,
  equalPermutations,
  firstElements,
  type PermutationSet,
  permutationMatrices,
  rotationGroup,
} from "./permutations.ts";
import { createRandom } from "./random.ts";

/** What each name plants. */
const SYMMETRIES = {
  /** Shifts of n positions. */
  cyclic: (n: number) => whole(cyclicGroup(n), [1, n]),
  /** C4 and D4 on k × k. */
  rot90: (k: number) => whole(rotationGroup(k), [k, k]),
  dihedral: (k: number) => whole(dihedralGroup(k), [k, k]),
  /** Rotations by 45° of the disk in k × k, interpolated. */
  rot45: (k: number): Planted => ({ base: diskRotations(8, k), taking: undefined }),
  /** The 24 rotations of k × k × k voxels. */
  cube: (k: number) => whole(cubeGroup(k), [k * k, k]),
  /** Shifts, of which only the first half take part. */
  half: (n: number) => part(cyclicGroup(n), [1, n], (group) => firstElements(group).elements.map((_, i) => i)),
  /** Of the 24 rotations only a quarter turn about x or none, or two, or three, after such about y: 16 of them. */
  "two-axes": (k: number) => part(cubeGroup(k), [k * k, k], twoAxes),
} as const satisfies Record<string, (size: number) => Planted>;

export type PlantedName = keyof typeof SYMMETRIES;
export const PLANTED_NAMES = Object.keys(SYMMETRIES) as readonly PlantedName[];

interface Planted {
  readonly base: MatrixSet;
  readonly group?: PermutationSet;
  readonly layout?: readonly [number, number];
  /** Of the base, those that take part; undefined: all. */
  readonly taking: readonly number[] | undefined;
}

const asMatrices = ({ name, labels, elements }: PermutationSet): MatrixSet => ({
  name,
  labels,
  d: elements[0].length,
  matrices: permutationMatrices(elements),
});

const whole = (group: PermutationSet, layout: readonly [number, number]): Planted => ({ base: asMatrices(group), group, layout, taking: undefined });

const part = (group: PermutationSet, layout: readonly [number, number], taking: (group: PermutationSet) => readonly number[]): Planted => ({
  base: asMatrices(group),
  layout,
  taking: taking(group),
});

const twoAxes = ({ elements, labels }: PermutationSet): number[] => {
  const powers = (label: string): PermutationSet["elements"] => {
    const turn = elements[labels.indexOf(label)];
    const half = compose(turn, turn);
    return [elements[0], turn, half, compose(half, turn)];
  };
  const products = powers("90° about [1, 0, 0]").flatMap((a) => powers("90° about [0, 1, 0]").map((b) => compose(a, b)));
  return products.map((product) => elements.findIndex((element) => equalPermutations(element, product)));
};

export interface PlantedOptions {
  /** n of shifts (default 8), side k of images (default 5) and cubes (default 3). */
  readonly size?: number;
  /**
   * Number C of prototypes, default 2·d. With fewer than d the data do not determine the matrices: a matrix only has to
   * map the prototypes' span rightly.
   */
  readonly prototypes?: number;
  /** Standard deviation of the noise on held-out signals, default 0. */
  readonly noise?: number;
  /** In [0, 2³²), default 0. */
  readonly seed?: number;
}

export interface ClassificationBatch {
  readonly count: number;
  /** [count, d] */
  readonly x: Float32Array;
  /** Class c·g + i, [count]: prototype and matrix. */
  readonly labels: Int32Array;
}

/** Signals to answer, and which of its two elements each of the g matrices stands for in each. */
export interface Signals {
  /** N(0, 1), [count, d]. */
  readonly x: Float32Array;
  /** 0 or 1, evenly; [count, g]. */
  readonly choices: Float32Array;
}

export interface PlantedTask {
  readonly name: PlantedName;
  /** All elements that matrices could stand for. */
  readonly base: MatrixSet;
  /** The permutations that the g matrices should become, the identity first: where each is one. */
  readonly group: PermutationSet | undefined;
  /** g: as many matrices as the base has elements. */
  readonly elements: number;
  /** For each matrix the two elements of the base that it stands for by turns; the same one twice where all take part. */
  readonly pairs: readonly (readonly [number, number])[];
  /** What each matrix should become, as weights on the base, [g, G]: what is halfway between its pair. */
  readonly weights: Float32Array;
  /** Length of a signal. */
  readonly d: number;
  /** How a signal is laid out for people, where it fills a rectangle. */
  readonly layout: readonly [height: number, width: number] | undefined;
  readonly prototypeCount: number;
  /** K*, [C, d]. */
  readonly prototypes: Float32Array;
  /** Kernels of the teacher, ρ_a K*_c and ρ_b K*_c for the pairs (a, b): [C, g, d] each. */
  readonly kernels: readonly [Float32Array, Float32Array];
  /** The same index, an integer in [0, 2³¹), gives the same signals. `into` is filled and returned when given. */
  signals(count: number, index: number, into?: Signals): Signals;
  /** x = ρ K*_c + noise with label (c, i), both uniform, ρ one of matrix i's pair. A sequence of its own, so held-out data stay the same. */
  classification(count: number): ClassificationBatch;
}

/** Signals of index i come from the sequence `signals` + i. */
const STREAMS = { prototypes: 1, classification: 3, signals: 2 ** 31 } as const;

const checkCount = (where: string, argument: string, value: number): void => {
  if (!Number.isInteger(value) || value < 1 || value > 2 ** 24) throw expected(where, "a positive integer", argument, value);
};

const defaultSize = (name: PlantedName): number => (name === "cyclic" || name === "half" ? 8 : name === "cube" || name === "two-axes" ? 3 : 5);

/**
 * A task with prototypes K* ~ N(0, 1) of shape [C, d] and planted matrices. A student has as many matrices as the base has elements, and answers signals x as the teacher
 * does, with ⟨ρ K*_c, x⟩ for every prototype and matrix. Where all elements take part, matrix i is element i. Where only some do, matrix i stands for two of these by
 * turns, and the best that it can become is their mean.
 *
 * @throws ArgumentError for an unknown name and for options that are not positive integers (noise: not negative)
 * @example
 * ```ts
 * const task = plantedTask("rot90", { size: 5, seed: 1 });
 * const { x } = task.signals(64, 0); // [64, 25]
 * [x.length, task.kernels[0].length]; // => [1600, 5000]
 * ```
 */
export const plantedTask = (name: PlantedName, options: PlantedOptions = {}): PlantedTask => {
  if (!Object.hasOwn(SYMMETRIES, name)) throw expected("plantedTask", `one of ${PLANTED_NAMES.join(", ")}`, "name", name);
  const { size = defaultSize(name), noise = 0, seed = 0 } = options;
  checkCount("plantedTask", "size", size);
  if (!(noise >= 0 && Number.isFinite(noise))) throw expected("plantedTask", "a number that is not negative", "noise", noise);
  const { base, group, layout, taking }: Planted = SYMMETRIES[name](size);
  const { d } = base;
  const g = base.labels.length;
  const C = options.prototypes ?? 2 * d;
  checkCount("plantedTask", "prototypes", C);
  const pairs = Array.from({ length: g }, (_, i): [number, number] => {
    if (!taking || i === 0) return [i, i];
    return [taking[i % taking.length], taking[(i + 1) % taking.length]];
  });
  const weights = new Float32Array(g * g);
  for (const [i, pair] of pairs.entries()) for (const element of pair) weights[i * g + element] += 0.5;

  const random = createRandom(seed, STREAMS.prototypes);
  const prototypes = Float32Array.from({ length: C * d }, () => random.normal());
  const moved = (which: 0 | 1): Float32Array => {
    const kernels = new Float32Array(C * g * d);
    for (let c = 0, at = 0; c < C; c++) {
      for (const pair of pairs) {
        for (let n = 0; n < d; n++, at++) {
          const row = (pair[which] * d + n) * d;
          for (let m = 0; m < d; m++) kernels[at] += base.matrices[row + m] * prototypes[c * d + m];
        }
      }
    }
    return kernels;
  };
  const first = moved(0);
  const kernels = [first, taking ? moved(1) : first] as const;
  const held = random.stream(STREAMS.classification);

  return {
    name,
    base,
    group,
    elements: g,
    pairs,
    weights,
    d,
    layout,
    prototypeCount: C,
    prototypes,
    kernels,
    signals: (count, index, into) => {
      checkCount("signals", "count", count);
      if (!Number.isInteger(index) || index < 0 || index >= 2 ** 31) throw expected("signals", "an integer in [0, 2^31)", "index", index);
      const result = into ?? { x: new Float32Array(count * d), choices: new Float32Array(count * g) };
      const { x, choices } = result;
      if (x.length !== count * d || choices.length !== count * g)
        throw expected("signals", `arrays of ${count * d} and ${count * g} values`, "into", [x.length, choices.length]);
      const drawn = random.stream(STREAMS.signals + index);
      for (let i = 0; i < x.length; i++) x[i] = drawn.normal();
      if (taking) for (let i = 0; i < choices.length; i++) choices[i] = drawn.integer(2);
      return result;
    },
    classification: (count) => {
      checkCount("classification", "count", count);
      const x = new Float32Array(count * d);
      const labels = new Int32Array(count);
      for (let b = 0; b < count; b++) {
        labels[b] = held.integer(C * g);
        const own = kernels[taking ? held.integer(2) : 0];
        for (let n = 0; n < d; n++) x[b * d + n] = own[labels[b] * d + n] + noise * held.normal();
      }
      return { count, x, labels };
    },
  };
};
