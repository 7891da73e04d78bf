/** Permutations, stacks of matrices, and what says which symmetry they have. */
import fc from "fast-check";
import * as birkhoff from "../../../src/index.ts";
import * as symmetry from "../../../src/symmetry/index.ts";
import type { Tensor } from "../../../src/tensor.ts";
import { type Arguments, among, garbage, hosted, options, rarely, real, Sketch, type Subject, tensor, whole } from "./arguments.ts";
import { learned } from "./learned.ts";

const few = fc.integer({ min: 1, max: 4 });

/** A permutation of d positions; now and then of others, or of the wrong kind. */
const permutation = (d: number): fc.Arbitrary<unknown> =>
  rarely(
    fc.shuffledSubarray([...Array(d).keys()], { minLength: d }).map((list) => Int32Array.from(list)),
    fc.oneof(
      garbage,
      fc.constantFrom<unknown>(
        Int32Array.of(1, 0),
        Int32Array.of(0, 0),
        Int32Array.of(0, 2),
        Int32Array.of(-1, 0),
        new Int32Array(0),
        [0],
        [1, 0],
        ["0"],
        Float32Array.of(0),
        BigInt64Array.of(0n),
        new DataView(new ArrayBuffer(4)),
      ),
    ),
  );
export const permutations = (d: number): fc.Arbitrary<unknown> => rarely(fc.array(permutation(d), { maxLength: 4 }), garbage);
const orNone = (given: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> => fc.oneof(given, fc.constant(undefined));

/** Shares, as of stochastic matrices, or any numbers; permutations now and then, and what holds no numbers. */
const values = (count: number): fc.Arbitrary<unknown> =>
  rarely(
    fc
      .tuple(
        fc.oneof(
          fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: count, maxLength: count }),
          fc.array(fc.constantFrom(0, 0, 1), { minLength: count, maxLength: count }),
          fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: count, maxLength: count }),
        ),
        fc.constantFrom<(values: number[]) => unknown>(
          (list) => Float32Array.from(list),
          (list) => Float64Array.from(list),
        ),
      )
      .map(([list, make]) => make(list)),
    fc.oneof(
      garbage,
      fc.constantFrom<unknown>(
        new Float32Array(count + 1),
        new Float32Array(count).fill(Number.NaN),
        new Float64Array(count).fill(1e300),
        new Float32Array(count).fill(3e38),
        new Int32Array(count),
        new BigInt64Array(count),
        Array(count).fill(1),
        Array(count).fill("1"),
      ),
    ),
  );
const sides = (make: (d: number, g: number) => readonly fc.Arbitrary<unknown>[]): Arguments =>
  fc.tuple(few, fc.integer({ min: 1, max: 3 })).chain(([d, g]) => fc.tuple(...make(d, g)));
const stack = (d: number, g: number): readonly [fc.Arbitrary<unknown>, fc.Arbitrary<unknown>] => [values(g * d * d), whole(d, d)];

const comparing = { indexed: among(false, true), fixedIdentity: among(true, false) };
const angle = fc.oneof(among(90, 180, -90, 0), real(-400, 400));

/** Functions of images, those that turn with them and those that do not, and what is none. */
const forward = rarely(
  fc.constantFrom<unknown>(
    (x: Tensor) => x,
    (x: Tensor) => birkhoff.square(x),
    (x: Tensor) => birkhoff.mean(x, [-2, -1]),
    (x: Tensor) => birkhoff.cumsum(x, -1),
  ),
  fc.oneof(
    garbage,
    fc.constantFrom<unknown>(
      async (x: Tensor) => x,
      (x: Tensor) => [x],
      () => undefined,
    ),
  ),
);

const quarters = birkhoff.rotationGroup(3).elements;
const network = rarely(
  fc
    .constantFrom<birkhoff.Symmetry>(
      { kind: "none" },
      { kind: "learned", elements: 2 },
      { kind: "learned", elements: 2, factorised: true },
      { kind: "fixed", group: quarters },
    )
    .map(
      (given) =>
        new Sketch(`DigitNetwork(${fc.stringify(given)})`, ({ device, own }) =>
          own(new birkhoff.DigitNetwork(birkhoff.initializer(device, 1), given, { width: 1, kernelSize: 3, layers: 1, classes: 2 })),
        ),
    ),
  fc.oneof(garbage, learned),
);

const of = (args: Arguments): Subject => ({ args });

/** By their names in `birkhoff/symmetry`. */
export const SYMMETRY: Readonly<Record<string, Subject>> = {
  ...hosted({
    identityPermutation: of(fc.tuple(whole(1, 5))),
    isPermutation: of(few.chain((d) => fc.tuple(permutation(d)))),
    inverse: of(few.chain((d) => fc.tuple(permutation(d)))),
    compose: of(few.chain((d) => fc.tuple(permutation(d), permutation(d)))),
    cayleyTable: of(few.chain((d) => fc.tuple(permutations(d)))),
    identifyGroup: of(fc.integer({ min: 1, max: 5 }).chain((d) => fc.tuple(permutations(d)))),
    matchGroup: of(few.chain((d) => fc.tuple(permutations(d), permutations(d), orNone(permutations(d))))),
    ...Object.fromEntries(
      ["nearestPermutation", "rowArgmax", "rowEntropy", "relativeRowEntropy"].map((name) => [name, of(sides((d) => stack(d, 1)))]),
    ),
    ...Object.fromEntries(
      ["rowAgreement", "permutationMass", "permutationDistance"].map((name) => [name, of(sides((d) => [values(d * d), permutation(d)]))]),
    ),
    closure: of(sides(stack)),
    fitCoefficients: of(sides((d, g) => [...stack(d, g), fc.oneof(permutations(d), values(2 * d * d))])),
    compareElements: of(sides((d, g) => [...stack(d, g), orNone(permutations(d)), options(comparing)])),
    analyzeStack: of(sides((d, g) => [...stack(d, g), options({ ...comparing, candidate: permutations(d), symmetries: permutations(d) })])),
    layerConsistency: of(
      sides((s, g) => [...stack(s, g), rarely(fc.array(values(g * (g * s) ** 2), { maxLength: 2 }), fc.oneof(garbage, fc.array(garbage)))]),
    ),
  }),
  equivarianceError: of(
    fc
      .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 2, max: 4 }), fc.boolean())
      .chain(([g, side, grouped]) =>
        fc.tuple(
          forward,
          tensor([2, 1, ...(grouped ? [g] : []), side, side]),
          options({ degrees: angle, group: permutation(g) }, grouped ? ["degrees", "group"] : ["degrees"]),
        ),
      ),
  ),
  networkEquivariance: of(
    fc.tuple(
      network,
      tensor([1, 1, 5, 5]),
      options(
        {
          degrees: rarely(fc.array(angle, { minLength: 1, maxLength: 2 }), garbage),
          group: rarely(fc.constantFrom<unknown>(quarters, quarters.slice(0, 2)), fc.oneof(garbage, permutations(4))),
        },
        ["degrees"],
      ),
    ),
  ),
  roundNetwork: {
    args: fc.tuple(network),
    run: async ({ own }, given) => {
      const rounded = await symmetry.roundNetwork(given as birkhoff.Module);
      own(rounded.network);
      // Which of two permutations that are equally near is a matter of rounding.
      return [rounded.sets.map((set) => set.length), rounded.distances];
    },
  },
};
