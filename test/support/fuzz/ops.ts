/** The public functions of every room, each with its random arguments. */
import fc from "fast-check";
import { type Arguments, among, device, filled, garbage, options, real, Sketch, size, sized, tensor, whole } from "./arguments.ts";

const shape = fc.array(size, { maxLength: 4 });
const axes = fc.oneof(whole(-3, 3), fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 3 }), fc.constant(undefined));
const unary: Arguments = shape.chain((s) => fc.tuple(tensor(s)));
const binary: Arguments = shape.chain((s) =>
  fc.tuple(tensor(s), fc.oneof(tensor(s), tensor(s.slice(1)), tensor(s.map((n, i) => (i % 2 ? n : 1))), real(-3, 3))),
);
/** A positive definite matrix. */
const definite = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.nat(1e6)).map(
  ([n, seed]) =>
    new Sketch(`definite(${n}, ${seed})`, ({ device, grad }) => {
      const l = filled(n * n, "normal", seed);
      const product = (i: number, j: number): number => l.slice(i * n, i * n + n).reduce((sum, entry, k) => sum + entry * l[j * n + k], 0);
      const values = Array.from({ length: n * n }, (_, at) => product(Math.floor(at / n), at % n) + Number(at % (n + 1) === 0));
      const made = device.tensor(values, [n, n]);
      made.requiresGrad = grad;
      return made;
    }),
);
const reduction: Arguments = shape.chain((s) => fc.tuple(tensor(s), axes, options({ keepDims: among(true, false) })));
const perAxis = fc.oneof(whole(1, 3), fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }));
const convolution = (rank: number, transposed: boolean): Arguments =>
  sized(5, (batch, cin, cout, side, kernel) => {
    // Of three axes 40 would be much work for the reference.
    const image = Math.min(side, [40, 16, 6][rank - 1]);
    const [inner, outer] = transposed ? [cin, cout] : [cout, cin];
    return [
      tensor([batch, cin, ...Array(rank).fill(image)]),
      tensor([inner, outer, ...Array(rank).fill(Math.min(kernel, 3))]),
      options({
        bias: tensor([cout]),
        stride: perAxis,
        padding: among(
          0,
          1,
          "same",
          "valid",
          [1, 1],
          [
            [0, 1],
            [1, 0],
          ],
        ),
        dilation: perAxis,
        groups: whole(1, 2),
        ...(transposed && { outputPadding: whole(0, 1) }),
      }),
    ];
  });
const sinkhornOptions = (batch: number, n: number, m: number): fc.Arbitrary<unknown> =>
  options({
    iterations: among(1, 2, 5, 20, 0),
    temperature: fc.oneof(real(0.01, 10), tensor([batch])),
    order: among("row", "column"),
    a: tensor([n]),
    b: tensor([m]),
    marginals: among("doublyStochastic", "uniform"),
    mask: tensor([n, m], "uint32"),
    sizes: tensor([batch, 2], "int32"),
    start: tensor([m]),
    tolerance: real(0, 1),
    checkEvery: whole(1, 4),
    rho: fc.oneof(real(0.1, 10), among([1, 2], [Number.POSITIVE_INFINITY, 1])),
    annealing: options({ from: real(1, 10), factor: real(0.25, 0.9) }),
    slack: real(-2, 2),
    noise: options({ seed: whole(0, 9), stream: whole(0, 3), scale: real(0, 2) }),
    eps: real(1e-6, 1e-2),
    backward: among("exact", "implicit", "none"),
    V: tensor([batch, m, 2]),
    C: tensor([n, m]),
    outputs: fc.array(among("P", "logP", "f", "g", "error", "iterations", "cost", "PV", "PTV"), { maxLength: 3 }),
  });
const projectionOptions = options({
  similarity: among("cosine", "angular", "inner", "scaledInner", "l1", "l2", "linf", "lp"),
  p: real(1, 4),
  normalise: among("none", "centre", "standardise", "whiten"),
  statistics: among("anchors", "batch"),
  shrinkage: real(0, 1),
  detachAnchors: among(true, false),
  detachStatistics: among(true, false),
});
const pooling = options({ stride: fc.oneof(whole(1, 3), among([1, 2])), padding: fc.oneof(whole(0, 2), among([0, 1])) });
const labels = (count: number): fc.Arbitrary<unknown> =>
  fc.oneof(fc.array(fc.integer({ min: -1, max: 4 }), { minLength: count, maxLength: count }), tensor([count], "int32"));
const drawn = (entries: Record<string, fc.Arbitrary<unknown>> = {}): Arguments =>
  fc.tuple(device, fc.oneof(shape, garbage), options({ seed: whole(0, 9), stream: whole(0, 3), ...entries }, ["seed"]));

export const OPS: Readonly<Record<string, Arguments>> = {
  ...Object.fromEntries(["neg", "exp", "log", "sqrt", "abs", "square", "reciprocal"].map((name) => [name, unary])),
  ...Object.fromEntries(["relu", "gelu", "sigmoid", "tanh", "silu", "softplus", "globalAvgPool2d"].map((name) => [name, unary])),
  ...Object.fromEntries(["add", "sub", "mul", "div", "pow", "maximum", "minimum"].map((name) => [name, binary])),
  ...Object.fromEntries(["sum", "mean", "max", "min", "logsumexp", "argmax"].map((name) => [name, reduction])),
  cast: shape.chain((s) => fc.tuple(tensor(s), among("float32", "float16", "int32"))),
  inverseCholesky: fc.oneof(fc.tuple(definite), unary),
  cumsum: shape.chain((s) => fc.tuple(tensor(s), whole(-2, 3))),
  greedyAssignment: sized(3, (batch, n, m) => [tensor([batch, n, m])]),
  assignmentMatrix: sized(2, (n, m) => [tensor([n], "int32"), whole(m, m + 1)]),
  conv1d: convolution(1, false),
  conv2d: convolution(2, false),
  conv3d: convolution(3, false),
  convTranspose1d: convolution(1, true),
  convTranspose2d: convolution(2, true),
  convTranspose3d: convolution(3, true),
  softmaxCrossEntropy: sized(2, (rows, classes) => [
    tensor([rows, classes]),
    labels(rows),
    options({ reduction: among("none", "mean", "sum"), labelSmoothing: real(0, 1) }),
  ]),
  expandKernel: sized(5, (g, gin, k, cout, cin) => [
    fc.oneof(tensor([g, gin * k, gin * k]), options({ group: tensor([g, gin, gin]), space: tensor([g, k, k]) }, ["group", "space"])),
    tensor([cout, cin, gin * k]),
    options({ identity: among(true, false) }),
  ]),
  hyperConnection: sized(3, (batch, n, features) => [
    tensor([batch, n, n]),
    options({
      iterations: among(1, 5, 20),
      eps: real(1e-8, 1e-3),
      scale: tensor([]),
      bias: tensor([n, n]),
      streams: tensor([batch, n, features]),
      temperature: real(0.1, 5),
    }),
  ]),
  matmul: sized(4, (batch, m, k, n) => [
    tensor([batch, m, k]),
    fc.oneof(tensor([k, n]), tensor([batch, k, n])),
    options({
      transposeA: among(false, false, true),
      transposeB: among(false, false, true),
      bias: tensor([n]),
      activation: among("none", "relu", "gelu", "sigmoid", "tanh", "silu", "softplus"),
    }),
  ]),
  linear: sized(3, (rows, k, n) => [
    tensor([rows, k]),
    tensor([n, k]),
    fc.oneof(tensor([n]), fc.constant(undefined)),
    options({ activation: among("relu", "gelu") }),
  ]),
  layerNorm: sized(3, (rows, a, b) => [
    tensor([rows, a, b]),
    fc.oneof(fc.constant(b), among([a, b], b)),
    options({ weight: tensor([b]), bias: tensor([b]), eps: real(0, 1) }),
  ]),
  instanceNorm: sized(3, (batch, c, n) => [tensor([batch, c, n, n]), options({ weight: tensor([c]), bias: tensor([c]), eps: real(0, 1) })]),
  batchNorm: sized(3, (batch, c, n) => [
    tensor([batch, c, n]),
    options(
      {
        runningMean: tensor([c]),
        runningVar: tensor([c]),
        weight: tensor([c]),
        bias: tensor([c]),
        training: among(true, false),
        momentum: real(0, 1),
        eps: real(0, 1),
      },
      ["runningMean", "runningVar"],
    ),
  ]),
  maxPool2d: sized(3, (batch, c, n) => [tensor([batch, c, n, n]), fc.oneof(whole(1, 3), among([1, 2])), pooling]),
  avgPool2d: sized(3, (batch, c, n) => [tensor([batch, c, n, n]), fc.oneof(whole(1, 3), among([1, 2])), pooling]),
  optimalAssignment: sized(3, (batch, n, m) => [tensor([batch, n, m])]),
  featureStatistics: sized(2, (rows, d) => [
    tensor([rows, d]),
    options({ normalise: among("centre", "standardise", "whiten"), shrinkage: real(0, 1) }),
  ]),
  uniform: drawn({ low: real(-2, 0), high: real(0, 2) }),
  normal: drawn({ mean: real(-2, 2), std: real(0, 2) }),
  gumbel: drawn(),
  randomBits: drawn(),
  relativeProjection: sized(3, (rows, anchors, d) => [tensor([rows, d]), tensor([anchors, d]), projectionOptions]),
  relativeRange: sized(3, (rows, anchors, d) => [tensor([rows, d]), tensor([anchors, d]), real(-3, 3), projectionOptions]),
  relativeTopK: sized(3, (rows, anchors, d) => [tensor([rows, d]), tensor([anchors, d]), whole(1, 3), projectionOptions]),
  reshape: shape.chain((s) => fc.tuple(tensor(s), fc.oneof(fc.constant([-1]), fc.constant([...s].reverse()), shape, garbage))),
  flatten: shape.chain((s) => fc.tuple(tensor(s), whole(-3, 3), whole(-3, 3))),
  squeeze: shape.chain((s) => fc.tuple(tensor(s), axes)),
  unsqueeze: shape.chain((s) => fc.tuple(tensor(s), whole(-3, 4))),
  permute: shape.chain((s) => fc.tuple(tensor(s), fc.oneof(fc.shuffledSubarray([...s.keys()], { minLength: s.length }), axes))),
  transpose: shape.chain((s) => fc.tuple(tensor(s), whole(-3, 3), whole(-3, 3))),
  expand: shape.chain((s) => fc.tuple(tensor(s.map((n, i) => (i % 2 ? n : 1))), fc.oneof(fc.constant(s), shape, garbage))),
  concat: shape.chain((s) => fc.tuple(fc.array(tensor(s), { maxLength: 4 }), whole(-2, 2))),
  stack: shape.chain((s) => fc.tuple(fc.array(tensor(s), { maxLength: 4 }), whole(-2, 2))),
  slice: shape.chain((s) => fc.tuple(tensor(s), options({ axis: whole(-2, 3), start: whole(-6, 6), end: whole(-6, 6), step: whole(1, 3) }))),
  gather: shape.chain((s) => fc.tuple(tensor(s), tensor(s, "int32"), whole(-2, 2))),
  take: shape.chain((s) =>
    fc.tuple(tensor(s), fc.oneof(fc.array(fc.integer({ min: -1, max: 5 }), { maxLength: 4 }), tensor([3], "int32")), whole(-2, 2)),
  ),
  sinkhorn: fc
    .tuple(size, size, size)
    .chain(([batch, n, m]) => fc.tuple(fc.oneof(tensor([batch, n, m]), tensor([batch, n, m], "float16")), sinkhornOptions(batch, n, m))),
  applyPlan: sized(4, (batch, n, m, d) => [
    tensor([batch, n, m]),
    tensor([batch, n]),
    tensor([batch, m]),
    tensor([batch, m, d]),
    options({ transpose: among(false, true), temperature: real(0.1, 5), mask: tensor([n, m], "uint32") }),
  ]),
  zeroPersistence: sized(2, (points, d) => [
    tensor([points, d]),
    fc.oneof(labels(points), fc.constant(undefined)),
    options({ metric: among("l1", "l2", "linf"), classes: whole(1, 6) }),
  ]),
  prePostDensificationLoss: sized(2, (points, d) => [
    tensor([points, d]),
    tensor([points, d]),
    labels(points),
    options(
      {
        weights: among([0.1, 0.9], [1, 0], [0, 0]),
        preBeta: real(0, 2),
        beta: real(0, 2),
        form: among("absolute", "squared", "hinge"),
        classes: whole(1, 6),
      },
      ["beta"],
    ),
  ]),
  densificationLoss: sized(2, (points, d) => [
    tensor([points, d]),
    labels(points),
    options(
      {
        beta: real(0, 2),
        form: among("absolute", "squared", "hinge"),
        reduction: among("sum", "mean"),
        metric: among("l1", "l2", "linf"),
        classes: whole(1, 6),
      },
      ["beta"],
    ),
  ]),
};
