/** Expansion through learned matrices, alone, behind Sinkhorn, and in whole layers and networks, beside the same steps out of products, permutations and convolutions. */
import { groupPool } from "../src/nn/networks.ts";
import { weightSharingConv } from "../src/nn/weightSharingConv.ts";
import { elements, type Shape } from "../src/op.ts";
import { conv2d } from "../src/ops/conv/index.ts";
import { softmaxCrossEntropy } from "../src/ops/crossEntropy/index.ts";
import { add, exp, mul, relu, sub } from "../src/ops/elementwise/index.ts";
import { expandKernel } from "../src/ops/expandKernel/index.ts";
import { linear, matmul } from "../src/ops/matmul/index.ts";
import { layerNorm } from "../src/ops/norm/index.ts";
import { logsumexp } from "../src/ops/reduce/index.ts";
import { concat, expand, permute, reshape } from "../src/ops/shape/index.ts";
import { sinkhorn } from "../src/ops/sinkhorn/index.ts";
import type { Tensor } from "../src/tensor.ts";
import { uniform } from "../src/testing/cases.ts";
import type { Bench, BenchCase, BenchInput, Cost, Costs, Form } from "./harness/bench.ts";

const ITERATIONS = 20;

/** A product costs as much again for the gradient of each of its two operands. */
const product = (operations: number, read: number, written: number): Costs => ({
  forward: { operations, bytes: 4 * (read + written) },
  "forward+backward": { operations: 3 * operations, bytes: 4 * (3 * read + 2 * written) },
});
const together = (...all: readonly Costs[]): Costs => {
  const total = (pass: keyof Costs): Cost => ({
    operations: all.reduce((sum, cost) => sum + cost[pass].operations, 0),
    bytes: all.reduce((sum, cost) => sum + cost[pass].bytes, 0),
  });
  return { forward: total("forward"), "forward+backward": total("forward+backward") };
};
const TOLERANCE = { relative: 5e-5, reason: "float32 sums of thousands of products in different orders, behind 40 normalisations in the log domain" };

const normalised = (logits: Tensor): Tensor => {
  let z = logits;
  for (let i = 0; i < ITERATIONS; i++) for (const axis of [-1, -2]) z = sub(z, logsumexp(z, axis, { keepDims: true }));
  return exp(z);
};
/** One product with all matrices, the identity among them as copies, then the order of a convolution. */
const expanded = (R: Tensor, w: Tensor): Tensor => {
  const [matrices, d] = R.shape;
  const [cout, cin, ...rest] = w.shape;
  const rows = reshape(w, [cout * cin, d]);
  const learned = reshape(matmul(rows, reshape(R, [matrices * d, d]), { transposeB: true }), [cout, cin, matrices, d]);
  const all = permute(concat([reshape(w, [cout, cin, 1, d]), learned], 2), [0, 2, 1, 3]);
  const channels = rest.length === 3 ? cin * rest[0] : cin;
  return reshape(all, [cout * (matrices + 1), channels, ...rest.slice(-2)]);
};
const kronecker = (group: Tensor, space: Tensor): Tensor => {
  const [matrices, p] = group.shape;
  const [, s] = space.shape;
  return reshape(mul(reshape(group, [matrices, p, 1, p, 1]), reshape(space, [matrices, 1, s, 1, s])), [matrices, p * s, p * s]);
};
const naiveLayer = (x: Tensor, logits: Tensor, w: Tensor, bias: Tensor): Tensor => {
  const [batch] = x.shape;
  const [cout, , ...rest] = w.shape;
  const kernel = expanded(normalised(logits), w);
  const group = kernel.shape[0] / cout;
  const every = reshape(expand(reshape(bias, [cout, 1]), [cout, group]), [cout * group]);
  const y = conv2d(reshape(x, [batch, kernel.shape[1], ...x.shape.slice(-2)]), kernel, { bias: every, padding: (rest[rest.length - 1] - 1) / 2 });
  return reshape(y, [batch, cout, group, ...y.shape.slice(-2)]);
};

const weights = (shape: Shape): BenchInput => ({ shape, batched: false });
const shares = (shape: Shape): BenchInput => ({ shape, batched: false, fill: uniform(0, 0.1) });
const expandedShape = ([cout, cin, ...rest]: Shape, matrices: number): Shape => [
  cout * (matrices + 1),
  rest.length === 3 ? cin * rest[0] : cin,
  ...rest.slice(-2),
];

const sinkhornCost = (matrices: number, d: number): Costs => {
  const count = matrices * d * d;
  return {
    forward: { operations: 4 * ITERATIONS * count, bytes: 8 * count },
    "forward+backward": { operations: 12 * ITERATIONS * count, bytes: 20 * count },
  };
};
const expansionCost = (w: Shape, matrices: number): Costs => {
  const d = elements(w.slice(2));
  return product(2 * matrices * d * elements(w), matrices * d * d + elements(w), (matrices + 1) * elements(w));
};

const expansion = (matrices: number, w: Shape, more: Partial<BenchCase> = {}): BenchCase => {
  const d = elements(w.slice(2));
  return {
    name: `expand ${matrices}x${d}x${d} w ${w.join("x")}`,
    inputs: [shares([matrices, d, d]), weights(w)],
    output: expandedShape(w, matrices),
    fused: (R, w) => expandKernel(R, w),
    naive: expanded,
    rival: { operation: "expandKernel" },
    cost: expansionCost(w, matrices),
    tolerance: TOLERANCE,
    ...more,
  };
};
const behindSinkhorn = (matrices: number, w: Shape): BenchCase => {
  const plain = expansion(matrices, w);
  const d = elements(w.slice(2));
  return {
    ...plain,
    name: `${plain.name} behind sinkhorn T${ITERATIONS}`,
    inputs: [weights([matrices, d, d]), weights(w)],
    fused: (logits, w) => expandKernel(sinkhorn(logits, { iterations: ITERATIONS }), w),
    naive: (logits, w) => expanded(normalised(logits), w),
    rival: { operation: "expandKernel", iterations: ITERATIONS },
    cost: together(sinkhornCost(matrices, d), expansionCost(w, matrices)),
  };
};
const factorised = (matrices: number, w: Shape): BenchCase => {
  const [, , p, ...pixels] = w;
  const s = elements(pixels);
  const operations = 2 * matrices * elements(w) * (p + s);
  return {
    ...expansion(matrices, w),
    name: `expand ${matrices}x(${p} ⊗ ${s}) w ${w.join("x")}`,
    inputs: [shares([matrices, p, p]), shares([matrices, s, s]), weights(w)],
    fused: (group, space, w) => expandKernel({ group, space }, w),
    naive: (group, space, w) => expanded(kronecker(group, space), w),
    rival: { operation: "expandFactorised" },
    cost: product(operations, matrices * (p * p + s * s) + elements(w), (matrices + 1) * elements(w)),
  };
};

/** Multiply-adds count as two; taps in the zeros around the image do not count. */
const convolutionCost = (batch: number, kernel: Shape, side: number, padding: number): Costs => {
  const [features, channels, k] = kernel;
  const out = side + 2 * padding - k + 1;
  let taps = 0;
  for (let i = 0; i < out; i++) for (let u = 0; u < k; u++) taps += i + u >= padding && i + u < side + padding ? 1 : 0;
  const read = batch * channels * side * side + elements(kernel);
  return product(2 * batch * features * channels * taps * taps, read, batch * features * out * out);
};

const layer = (batch: number, side: number, w: Shape, g: number, more: Partial<BenchCase> = {}): BenchCase => {
  const [cout, cin, ...rest] = w;
  const d = elements(rest);
  const group = rest.length === 3 ? [rest[0]] : [];
  const padding = (rest[rest.length - 1] - 1) / 2;
  return {
    name: `layer ${batch}x${[cin, ...group, side, side].join("x")} w ${w.join("x")} g${g} T${ITERATIONS}`,
    inputs: [{ shape: [batch, cin, ...group, side, side] }, weights([g - 1, d, d]), weights(w), weights([cout])],
    output: [batch, cout, g, side, side],
    fused: (x, logits, w, bias) => weightSharingConv(x, logits, w, { bias, padding, iterations: ITERATIONS }),
    naive: naiveLayer,
    rival: { operation: "weightSharing", iterations: ITERATIONS },
    cost: together(sinkhornCost(g - 1, d), expansionCost(w, g - 1), convolutionCost(batch, expandedShape(w, g - 1), side, padding)),
    tolerance: TOLERANCE,
    ...more,
  };
};

/** The paper's network for digits: five layers without padding, each with a layer norm and a ReLU, then pooling and a linear map. */
const network = (batch: number, width: number, k: number, side: number, layers: number): BenchCase => {
  const g = 4;
  const kernels = Array.from({ length: layers }, (_, i) => (i === 0 ? [width, 1, k, k] : [width, width, g, k, k]));
  const run =
    (share: (x: Tensor, logits: Tensor, w: Tensor, bias: Tensor) => Tensor): Form =>
    (x, ...parameters) => {
      let h = x;
      for (let i = 0; i < layers; i++) {
        const [logits, w, bias] = parameters.slice(3 * i, 3 * i + 3);
        const y = share(h, logits, w, bias);
        h = relu(layerNorm(y, y.shape.slice(1)));
      }
      const [weight, bias] = parameters.slice(3 * layers);
      return linear(groupPool(h), weight, bias);
    };
  const valid = (x: Tensor, logits: Tensor, w: Tensor, bias: Tensor): Tensor => {
    const kernel = expanded(normalised(logits), w);
    const [cout] = w.shape;
    const y = conv2d(reshape(x, [x.shape[0], kernel.shape[1], ...x.shape.slice(-2)]), kernel);
    return add(reshape(y, [x.shape[0], cout, g, ...y.shape.slice(-2)]), reshape(bias, [cout, 1, 1, 1]));
  };
  const scaled = (shape: Shape): BenchInput => ({ shape, batched: false, fill: (random) => random.normal() / Math.sqrt(elements(shape.slice(1))) });
  return {
    name: `network ${batch}x1x${side}x${side} width ${width} k${k} g${g} layers ${layers}`,
    inputs: [
      { shape: [batch, 1, side, side], gradient: false },
      ...kernels.flatMap((w) => [weights([g - 1, elements(w.slice(2)), elements(w.slice(2))]), scaled(w), weights([width])]),
      scaled([10, width]),
      weights([10]),
    ],
    output: [batch, 10],
    fused: run((x, logits, w, bias) => weightSharingConv(x, logits, w, { bias, iterations: ITERATIONS })),
    naive: run(valid),
    rival: { operation: "digitNetwork", iterations: ITERATIONS, layers },
    cost: together(
      ...kernels.flatMap((w, i) => [
        sinkhornCost(g - 1, elements(w.slice(2))),
        expansionCost(w, g - 1),
        convolutionCost(batch, expandedShape(w, g - 1), side - i * (k - 1), 0),
      ]),
    ),
    tolerance: { relative: 1e-3, reason: "five layers of such sums, each divided by a deviation, and gradients that pass through kinks of ReLU" },
  };
};

/** A step of training it, with the loss of every digit and AdamW. */
const training = (...sizes: Parameters<typeof network>): BenchCase => {
  const plain = network(...sizes);
  const [images, ...parameters] = plain.inputs;
  const labels: BenchInput = {
    shape: plain.output.slice(0, 1),
    dtype: "int32",
    gradient: false,
    fill: (random) => Math.floor(10 * random.uniform()),
  };
  const loss =
    (logits: Form): Form =>
    (x, y, ...rest) =>
      softmaxCrossEntropy(logits(x, ...rest), y, { reduction: "none" });
  const count = parameters.reduce((sum, { shape }) => sum + elements(shape), 0);
  const step = plain.cost["forward+backward"] as Cost;
  return {
    ...plain,
    name: `training of ${plain.name}`,
    inputs: [images, labels, ...parameters],
    output: labels.shape,
    fused: loss(plain.fused),
    naive: loss(plain.naive),
    rival: { ...plain.rival, operation: "digitTraining" },
    // AdamW reads a parameter, its gradient and two moments, and writes all but the gradient.
    cost: { "training step": { operations: step.operations + 16 * count, bytes: step.bytes + 28 * count } },
  };
};

export const bench: Bench = {
  name: "expand",
  about: "kernel expansion, alone, in weight-sharing layers and in the paper's network for digits",
  cases: [
    expansion(3, [32, 32, 4, 5, 5], { scaling: true }),
    expansion(3, [32, 1, 5, 5]),
    expansion(3, [16, 32, 4, 7, 7]),
    factorised(3, [32, 32, 4, 5, 5]),
    factorised(7, [16, 16, 8, 5, 5]),
    behindSinkhorn(3, [32, 32, 4, 5, 5]),
    layer(64, 16, [32, 32, 4, 5, 5], 4, { scaling: true }),
    layer(64, 28, [32, 1, 5, 5], 4),
    network(64, 32, 5, 28, 5),
    training(64, 32, 5, 28, 5),
    expansion(3, [8, 8, 4, 3, 3], { only: "software GPU" }),
    factorised(3, [8, 8, 4, 3, 3]),
    layer(2, 6, [4, 4, 4, 3, 3], 4, { only: "software GPU" }),
  ],
};
