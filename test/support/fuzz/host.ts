/** What needs no device: matrices on the host, labels, permutations, statistics. */
import fc from "fast-check";
import * as birkhoff from "../../../src/index.ts";
import { among, garbage, hosted, options, rarely, real, type Subject, size, sized, whole } from "./arguments.ts";
import { permutations } from "./symmetry.ts";

const FEW = { min: 1, max: 6 };

/** Normal numbers, some of them equal or out of the ordinary. */
const number = fc.oneof(
  { weight: 12, arbitrary: fc.double({ min: -3, max: 3, noNaN: true }) },
  { weight: 4, arbitrary: fc.integer({ min: -2, max: 2 }) },
);
const matrix = (rows: number, columns: number): fc.Arbitrary<unknown> =>
  rarely(
    fc
      .tuple(fc.array(number, { minLength: rows * columns, maxLength: rows * columns }), fc.boolean())
      .map(([values, double]) => ({ shape: [rows, columns], data: (double ? Float64Array : Float32Array).from(values) })),
    fc.oneof(
      garbage,
      fc.record({ shape: fc.oneof(garbage, fc.constant([rows, columns])), data: garbage }, { requiredKeys: [] }),
      fc.constantFrom<unknown>(
        { shape: [1, 1], data: Float32Array.of(Number.NaN) },
        { shape: [0, 2], data: new Float32Array(0) },
        { shape: [2, 1], data: Float64Array.of(1e308, -1e308) },
      ),
    ),
  );
const pair = (make: (x: fc.Arbitrary<unknown>, y: fc.Arbitrary<unknown>, rows: number) => fc.Arbitrary<unknown>[]): Subject["args"] =>
  fc.tuple(fc.integer(FEW), fc.integer(FEW), fc.integer(FEW)).chain(([rows, d, e]) => fc.tuple(...make(matrix(rows, d), matrix(rows, e), rows)));
const labels = rarely(fc.array(fc.nat(3), { maxLength: 8 }), fc.oneof(garbage, fc.array(garbage, { maxLength: 3 })));
const indices = rarely(fc.array(fc.nat(4), { maxLength: 4 }), fc.oneof(garbage, fc.array(garbage, { maxLength: 2 })));
const sample = rarely(fc.array(number, { maxLength: 6 }), fc.oneof(garbage, fc.array(garbage, { maxLength: 3 })));
const metric = among("cosine", "euclidean");
const seed = whole(0, 9);

const of = (args: Subject["args"]): Subject => ({ args });

const power = among(1, 2, 3.5, "inf");
const step = fc.oneof(
  options({ kind: among("centre", "scale", "standardise") }, ["kind"]),
  options({ kind: among("whiten"), shrinkage: real(0, 1) }, ["kind"]),
  options({ kind: among("unitNorm", "meanNorm"), p: power }, ["kind"]),
  options({ kind: among("isotropic"), factor: real(-3, 3) }, ["kind", "factor"]),
  options({ kind: among("isometry", "permutation"), seed }, ["kind"]),
  options({ kind: among("padding"), dimension: whole(1, 9) }, ["kind", "dimension"]),
);
const list = (length: number): fc.Arbitrary<unknown> => rarely(fc.array(rarely(number, garbage), { minLength: length, maxLength: length }), garbage);
const fittedStep = (d: number): fc.Arbitrary<unknown> =>
  fc.oneof(
    options({ kind: among("scaling"), shift: list(d), scale: list(d) }, ["kind", "shift", "scale"]),
    options({ kind: among("linear"), shift: list(d), weight: list(d * d), inverse: list(d * d) }, ["kind", "shift", "weight", "inverse"]),
    options({ kind: among("permutation"), order: rarely(fc.shuffledSubarray([...Array(d).keys()], { minLength: d }), list(d)) }, ["kind", "order"]),
    options({ kind: among("padding"), from: whole(d, d), to: whole(d, d + 2) }, ["kind", "from", "to"]),
    options({ kind: among("isotropic"), factor: real(-3, 3) }, ["kind", "factor"]),
    options({ kind: among("unitNorm"), p: power }, ["kind", "p"]),
  );
const transformed = of(
  fc
    .tuple(fc.integer(FEW), fc.integer(FEW))
    .chain(([rows, d]) => fc.tuple(rarely(fc.array(fittedStep(d), { maxLength: 3 }), garbage), matrix(rows, d))),
);

export const HOST: Readonly<Record<string, Subject>> = hosted({
  fitAlignment: of(
    pair((x, y) => [
      x,
      y,
      options({
        method: among("procrustes", "linear", "linearOrthogonal", "affine"),
        normalise: among("none", "centre", "standardise"),
        ridge: real(0, 1),
        shrinkage: real(0, 1),
      }),
    ]),
  ),
  applyAlignment: of(
    sized(3, (rows, d, e) => [
      options({ weight: matrix(d, e), bias: rarely(fc.constant(new Float64Array(e)), garbage) }, ["weight", "bias"]),
      matrix(rows, d),
    ]),
  ),
  fitInverseProjection: of(pair((x) => [x, options({ similarity: among("cosine", "inner"), ridge: real(0, 1) })])),
  applyInverseProjection: of(sized(3, (rows, k, d) => [options({ weight: matrix(k, d) }, ["weight"]), matrix(rows, k)])),
  fitTransform: of(pair((x) => [x, rarely(fc.array(step, { maxLength: 3 }), garbage)])),
  applyTransform: transformed,
  invertTransform: transformed,
  takeRows: of(pair((x) => [x, indices])),
  uniformAnchors: of(fc.tuple(whole(1, 9), whole(1, 4), options({ seed }))),
  stratifiedAnchors: of(fc.tuple(labels, whole(1, 4), options({ seed, allocation: among("proportional", "equal") }))),
  parallelAnchors: of(pair((x, y) => [x, y, indices])),
  farthestPointAnchors: of(pair((x, _, rows) => [x, whole(1, rows), options({ seed, metric, first: whole(0, rows) })])),
  kMeansAnchors: of(pair((x, _, rows) => [x, whole(1, rows), options({ seed, metric, iterations: whole(1, 5) })])),
  coverageAnchors: of(pair((x, _, rows) => [x, whole(1, rows), options({ metric })])),
  neighbourhoodJaccard: of(pair((x, y, rows) => [x, y, options({ metric, k: whole(1, rows) })])),
  meanReciprocalRank: of(pair((x, _, rows) => [x, fc.integer(FEW).chain((d) => matrix(rows, d)), options({ metric })])),
  linearHsic: of(pair((x, y) => [x, y, options({ unbiased: among(true, false) })])),
  rbfCka: of(pair((x, y) => [x, y, options({ unbiased: among(true, false), bandwidth: real(0.1, 3) })])),
  linearCka: of(pair((x, y) => [x, y, options({ unbiased: among(true, false) })])),
  svcca: of(pair((x, y) => [x, y, options({ variance: real(0.1, 1) })])),
  classificationScores: of(fc.tuple(labels, labels, options({ classes: whole(1, 5) }))),
  summarize: of(fc.tuple(sample)),
  pairedTTest: of(fc.tuple(sample, sample, options({ confidence: real(0.1, 0.99) }))),
  minimumDetectableEffect: of(fc.tuple(real(0, 3), whole(2, 9), options({ alpha: real(0.01, 0.5), power: real(0.5, 0.99) }))),
  studentCdf: of(fc.tuple(real(-9, 9), whole(1, 9))),
  studentQuantile: of(fc.tuple(real(0, 1), whole(1, 9))),
  classBalancedBatches: {
    args: fc.tuple(labels, options({ samples: whole(1, 2), classes: whole(1, 3), seed }, ["samples"])),
    run: (_, given, settings) => birkhoff.classBalancedBatches(given as never, settings as never).next().value,
  },
  generateGroup: of(fc.integer({ min: 1, max: 4 }).chain((d) => fc.tuple(permutations(d), fc.oneof(fc.constant(undefined), whole(1, 24))))),
  permutationMatrices: of(fc.integer({ min: 1, max: 4 }).chain((d) => fc.tuple(permutations(d)))),
  cyclicGroup: of(fc.tuple(whole(1, 6))),
  rotationGroup: of(fc.tuple(whole(1, 4))),
  flipGroup: of(fc.tuple(whole(1, 4))),
  dihedralGroup: of(fc.tuple(whole(1, 4))),
  cubeGroup: of(fc.tuple(whole(1, 3))),
  elements: of(fc.tuple(fc.array(size, { maxLength: 3 }))),
});
