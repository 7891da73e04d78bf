/** Densification of many small clouds: distances, trees, loss and gradient on the device, beside Prim's algorithm out of elementary operations. */
import { noGrad } from "../src/gradMode.ts";
import { abs, add, maximum, mul, relu, sqrt, square, sub } from "../src/ops/elementwise/index.ts";
import { matmul } from "../src/ops/matmul/index.ts";
import { min, sum } from "../src/ops/reduce/index.ts";
import { stack, unsqueeze } from "../src/ops/shape/index.ts";
import { densificationLoss } from "../src/ops/zeroPersistence/index.ts";
import type { Tensor } from "../src/tensor.ts";
import type { Bench, BenchCase } from "./harness/bench.ts";

/** Larger than any square of a distance here, smaller than what would round it away. */
const BLOCKED = 1e9;

/**
 * The edges of each cloud's tree as rows of +1 and −1, [G, n − 1, n]. One edge a step: of the squares of distances from visited points (rows) to
 * others (columns) the least, as a matrix with one 1. Ties would give several; random points have none.
 */
const edgesOf = (points: Tensor): Tensor =>
  noGrad(() => {
    const [clouds, size] = points.shape;
    const squares = sum(square(sub(unsqueeze(points, 2), unsqueeze(points, 1))), 3);
    const first = Array.from({ length: clouds * size }, (_, i) => (i % size === 0 ? 1 : 0));
    let visited = points.device.tensor(first, [clouds, size]);
    const steps: Tensor[] = [];
    for (let step = 1; step < size; step++) {
      const open = mul(unsqueeze(visited, 2), unsqueeze(sub(1, visited), 1));
      const candidates = maximum(squares, mul(sub(1, open), BLOCKED));
      const least = sub(candidates, min(candidates, [1, 2], { keepDims: true }));
      const chosen = relu(sub(1, mul(least, 1e30)));
      const joined = sum(chosen, 1);
      steps.push(sub(joined, sum(chosen, 2)));
      visited = add(visited, joined);
    }
    return stack(steps, 1);
  });

const composed = (points: Tensor, beta: number): Tensor => {
  const lengths = sqrt(sum(square(matmul(edgesOf(points), points)), 2));
  return sum(abs(sub(lengths, beta)));
};

const clouds = (count: number, size: number, width: number, more: Partial<BenchCase> = {}): BenchCase => {
  // About the middle of the lengths of such edges, so that both signs come up.
  const beta = Math.round(100 * Math.sqrt(2 * width) * 0.95) / 100;
  const numbers = count * size * width;
  // A difference and a multiply-add per pair and coordinate.
  const pairs = (3 * numbers * (size - 1)) / 2;
  return {
    name: `persistence ${count} of ${size}x${width}`,
    inputs: [{ shape: [count, size, width], batched: false }],
    output: [],
    fused: (points) => densificationLoss(points, undefined, { beta }),
    naive: (points) => composed(points, beta),
    rival: { operation: "densification", beta },
    cost: {
      forward: { operations: pairs, bytes: 4 * numbers },
      // A difference, a product and two sums per edge and coordinate; points read again, the gradient written.
      "forward+backward": { operations: pairs + 4 * numbers, bytes: 12 * numbers },
    },
    tolerance: { relative: 1e-5, reason: `float32 sums of ${width} squares in different orders; a gradient adds up a few unit vectors` },
    ...more,
  };
};

export const bench: Bench = {
  name: "persistence",
  about: "degree-0 death times and densification of many small clouds, beside cdist and SciPy's trees",
  cases: [
    clouds(64, 16, 768, { scaling: true }),
    clouds(10, 16, 128),
    clouds(256, 8, 64),
    clouds(16, 64, 256),
    clouds(4, 128, 128, { scaling: true }),
    clouds(1024, 32, 768, { only: "hardware GPU" }),
  ],
};
