/** Products of matrices, and linear layers with bias and activation in one kernel, beside a plain kernel and operations of their own for the rest. */
import { add, gelu } from "../src/ops/elementwise/index.ts";
import { linear, matmul } from "../src/ops/matmul/index.ts";
import { transpose } from "../src/ops/shape/index.ts";
import type { Bench, BenchCase, Costs } from "./harness/bench.ts";
import { plainMatmul } from "./plain-matmul.ts";

const tolerance = {
  relative: 1e-5,
  reason: "float32 sums of up to 4096 products in different orders",
};

/** Operations and bytes of a product, m·n·k a batch; backward two more, reading the operands and the cotangent, writing the gradients. */
const costOf = (batch: number, m: number, k: number, n: number, more = 0): Costs => {
  const product = 2 * batch * m * n * k;
  const [operands, result] = [batch * (m * k + k * n) + more, batch * m * n];
  return {
    forward: { operations: product, bytes: 4 * (operands + result) },
    "forward+backward": { operations: 3 * product, bytes: 4 * (2 * operands + 2 * result) },
  };
};

const product = (m: number, k: number, n: number, more: Partial<BenchCase> = {}): BenchCase => ({
  name: `matmul ${m}x${k}x${n}`,
  inputs: [{ shape: [m, k] }, { shape: [k, n], batched: false }],
  output: [m, n],
  fused: (a, b) => matmul(a, b),
  naive: (a, b) => plainMatmul(a, b),
  rival: { operation: "matmul", transposeB: 0, activation: "none" },
  cost: costOf(1, m, k, n),
  tolerance,
  ...more,
});

const batched = (batch: number, m: number, k: number, n: number, more: Partial<BenchCase> = {}): BenchCase => ({
  ...product(m, k, n),
  name: `matmul ${batch} of ${m}x${k}x${n}`,
  inputs: [{ shape: [batch, m, k] }, { shape: [batch, k, n] }],
  output: [batch, m, n],
  cost: costOf(batch, m, k, n),
  ...more,
});

/** Rows of queries with rows of keys: both sides run along k. */
const rows = (batch: number, m: number, k: number, n: number, more: Partial<BenchCase> = {}): BenchCase => ({
  ...batched(batch, m, k, n),
  name: `matmul ${batch} of ${m}x${k}x${n} transposed`,
  inputs: [{ shape: [batch, m, k] }, { shape: [batch, n, k] }],
  fused: (a, b) => matmul(a, b, { transposeB: true }),
  naive: (a, b) => plainMatmul(a, transpose(b, -1, -2)),
  rival: { operation: "matmul", transposeB: 1, activation: "none" },
  ...more,
});

const layer = (m: number, k: number, n: number, more: Partial<BenchCase> = {}): BenchCase => ({
  ...product(m, k, n),
  name: `linear ${m}x${k}x${n} bias gelu`,
  inputs: [{ shape: [m, k] }, { shape: [n, k], batched: false }, { shape: [n], batched: false }],
  fused: (x, weight, bias) => linear(x, weight, bias, { activation: "gelu" }),
  naive: (x, weight, bias) => gelu(add(plainMatmul(x, transpose(weight, -1, -2)), bias)),
  rival: { operation: "matmul", transposeB: 1, activation: "gelu" },
  cost: costOf(1, m, k, n, n),
  ...more,
});

const forwardOnly = (entry: BenchCase): BenchCase => ({ ...entry, cost: { forward: entry.cost.forward } as BenchCase["cost"] });

export const bench: Bench = {
  name: "matmul",
  about: "products of matrices and linear layers, beside a plain kernel",
  cases: [
    product(512, 512, 512, { scaling: true }),
    product(1024, 1024, 1024, { scaling: true }),
    forwardOnly(product(2048, 2048, 2048, { scaling: true })),
    layer(1024, 768, 512, { scaling: true }),
    rows(16, 256, 64, 256),
    batched(64, 64, 64, 64),
    batched(1024, 16, 16, 16),
    product(64, 64, 64),
    product(16, 16, 16),
    product(1, 1024, 1024),
    product(8, 1024, 1024),
    product(1024, 1024, 8),
    product(4096, 32, 32),
    product(32, 4096, 32),
    product(96, 96, 96, { only: "software GPU" }),
    layer(128, 64, 96, { only: "software GPU" }),
    forwardOnly(product(4096, 4096, 4096, { only: "hardware GPU" })),
    layer(8192, 1024, 1024, { only: "hardware GPU" }),
    rows(192, 1024, 64, 1024, { only: "hardware GPU" }),
  ],
};
