/** Sinkhorn's iteration in one kernel each way, beside the log-domain iteration out of subtractions and log-sum-exps. */
import { exp, sub } from "../src/ops/elementwise/index.ts";
import { logsumexp } from "../src/ops/reduce/index.ts";
import { sinkhorn } from "../src/ops/sinkhorn/index.ts";
import type { Tensor } from "../src/tensor.ts";
import type { Bench, BenchCase } from "./harness/bench.ts";

const ITERATIONS = 20;
/** A side up to which a matrix stays in the registers or the caches of one core. */
const HELD = 512;

const naive = (logits: Tensor): Tensor => {
  let z = logits;
  for (let i = 0; i < ITERATIONS; i++) for (const axis of [-1, -2]) z = sub(z, logsumexp(z, axis, { keepDims: true }));
  return exp(z);
};

const square = (batch: number, n: number, more: Partial<BenchCase> = {}): BenchCase => {
  const count = batch * n * n;
  const shape = [batch, n, n];
  // A matrix that no core holds is read once an iteration.
  const streamed = n > HELD ? 4 * (ITERATIONS - 1) * count : 0;
  return {
    name: `sinkhorn ${batch}x${n}x${n} T${ITERATIONS}`,
    inputs: [{ shape }],
    output: shape,
    fused: (logits) => sinkhorn(logits, { iterations: ITERATIONS }),
    naive,
    rival: { operation: "sinkhorn", iterations: ITERATIONS },
    cost: {
      // Two matrix-vector products an iteration; logits read, P written.
      forward: { operations: 4 * ITERATIONS * count, bytes: 8 * count + streamed },
      // Backward, from the scalings that the forward kept: two products and the assembly; P and the cotangent read, the gradient written.
      "forward+backward": { operations: 12 * ITERATIONS * count, bytes: 20 * count + 2 * streamed },
    },
    tolerance: {
      relative: 2e-5,
      reason: "float32 sides in the log domain round a potential in every half-step: 1e-6 of P, ten times that of gradients",
    },
    ...more,
  };
};

export const bench: Bench = {
  name: "sinkhorn",
  about: "doubly stochastic matrices, 20 iterations, beside the log-domain iteration",
  cases: [
    square(64, 64),
    square(1024, 25),
    square(3, 100),
    square(3, 196),
    square(8192, 4),
    square(8, 32, { only: "software GPU" }),
    square(16, 16, { only: "software GPU" }),
    square(32768, 4, { only: "hardware GPU" }),
    square(1048576, 4, { only: "hardware GPU" }),
    square(262144, 8, { only: "hardware GPU" }),
    square(16384, 32, { only: "hardware GPU" }),
    square(4096, 64, { only: "hardware GPU" }),
    square(1024, 128, { only: "hardware GPU" }),
    square(16, 1024, { only: "hardware GPU" }),
    square(4, 4096, { only: "hardware GPU" }),
  ],
};
