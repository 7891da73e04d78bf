/** The mixing of hyper-connections in one kernel each way, beside the same steps out of sums, divisions and a product of matrices. */
import { composed } from "../src/ops/hyperConnection/composed.ts";
import { type HyperConnectionOptions, hyperConnection } from "../src/ops/hyperConnection/index.ts";
import type { Tensor } from "../src/tensor.ts";
import type { Bench, BenchCase } from "./harness/bench.ts";

const ITERATIONS = 20;
const SIDE = 4;

const square = (batch: number, more: Partial<BenchCase> = {}): BenchCase => {
  const shape = [batch, SIDE, SIDE];
  const count = batch * SIDE * SIDE;
  return {
    name: `hyperConnection ${batch}x${SIDE}x${SIDE} T${ITERATIONS}`,
    inputs: [{ shape }],
    output: shape,
    fused: (logits) => hyperConnection(logits, { iterations: ITERATIONS }),
    naive: (logits) => composed(logits, { iterations: ITERATIONS }),
    rival: { operation: "hyperConnection", iterations: ITERATIONS },
    cost: {
      // A half-step adds up and divides every entry; logits read, P written.
      forward: { operations: 4 * ITERATIONS * count, bytes: 8 * count },
      // Backward: the iterations again, and back through them; logits and the cotangent read, the gradient written.
      "forward+backward": { operations: 18 * ITERATIONS * count, bytes: 20 * count },
    },
    tolerance: { relative: 1e-5, reason: "the sides divide by the same sums in float32; 40 divisions round a gradient to some 1e-6" },
    ...more,
  };
};

/** With a scale and a bias for all matrices, and streams of `d` features. */
const mixing = (batch: number, d: number, more: Partial<BenchCase> = {}): BenchCase => {
  const plain = square(batch);
  const mixed = [batch, SIDE, d];
  const numbers = batch * SIDE * d;
  const matrices = 4 * batch * SIDE * SIDE;
  const options = ([scale, bias, streams]: readonly Tensor[]): HyperConnectionOptions => ({ iterations: ITERATIONS, scale, bias, streams });
  const { forward, "forward+backward": both } = plain.cost;
  const product = 2 * SIDE * numbers;
  return {
    ...plain,
    name: `hyperConnection ${batch}x${SIDE}x${SIDE} T${ITERATIONS} streams ${d}`,
    inputs: [...plain.inputs, { shape: [], batched: false }, { shape: [SIDE, SIDE], batched: false }, { shape: mixed }],
    output: mixed,
    fused: (logits, ...rest) => hyperConnection(logits, options(rest)),
    naive: (logits, ...rest) => composed(logits, options(rest)),
    cost: {
      forward: { operations: (forward?.operations ?? 0) + product, bytes: matrices + 8 * numbers },
      // Streams and their cotangent read, their gradient written.
      "forward+backward": { operations: (both?.operations ?? 0) + 3 * product, bytes: 3 * matrices + 20 * numbers },
    },
    tolerance: { relative: 2e-5, reason: "sums over the features, and over the batch for scale and bias, in float32 and in different orders" },
    ...more,
  };
};

export const bench: Bench = {
  name: "hyperConnection",
  about: "mixing of hyper-connections, 20 iterations, beside elementary operations",
  cases: [
    square(8192),
    mixing(1024, 1280),
    square(32768, { only: "hardware GPU" }),
    square(1048576, { only: "hardware GPU" }),
    mixing(8192, 1280, { only: "hardware GPU" }),
  ],
};
