import { type Case, defineCase, type Fill, minimalBytes, type Room, type Tolerance } from "../../testing/cases.ts";
import { inverse, lower, ops } from "./op.ts";
import { BLOCK } from "./plan.ts";

/** Symmetric parts are not needed: the diagonal outweighs every row and column. */
const dominant: Fill = (random, i, count) => {
  const n = Math.round(Math.sqrt(count));
  const value = random.uniform() - 0.5;
  return i % (n + 1) === 0 ? n * (0.6 + 0.2 * random.uniform()) : value;
};
const tolerance = (n: number): Tolerance => ({
  relative: 4e-7 + 6e-8 * Math.sqrt(n),
  absolute: 1e-7,
  reason: "sums of up to n products, twice, of a matrix whose condition number is below 10",
});

const inverseCase = (name: string, n: number, more: Partial<Case> = {}): Case =>
  defineCase({
    name: `${name} ${n}x${n}`,
    op: inverse,
    inputs: [{ shape: [n, n], fill: dominant }],
    attrs: {},
    forward: tolerance(n),
    backward: { ...tolerance(n), relative: 2 * tolerance(n).relative },
    finiteDifferences: { tolerance: 1e-5 },
    invariants: ({ inputs: [a], outputs: [w] }) => {
      // Of the whole result this would take n³ steps: the first, middle and last rows stand for it.
      for (const i of [0, n >> 1, n - 1]) {
        if (i < 0) continue;
        for (let j = i + 1; j < n; j++) if (w[i * n + j] !== 0) throw new Error(`W[${i}, ${j}] is ${w[i * n + j]}, above the diagonal`);
        let norm = 0;
        for (let k = 0; k <= i; k++) for (let m = 0; m <= i; m++) norm += w[i * n + k] * w[i * n + m] * a[Math.max(k, m) * n + Math.min(k, m)];
        if (Math.abs(norm - 1) > 1e-3) throw new Error(`row ${i} of W has norm² ${norm} in a, not 1`);
      }
    },
    ...more,
  });

const sizes = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 2 * BLOCK + 1, 100];
const lowerCase = (n: number, fold: boolean): Case =>
  defineCase({
    name: `lower triangle ${n}x${n}${fold ? ", folded" : ""}`,
    op: lower,
    inputs: [{ shape: [n, n] }],
    attrs: { fold },
    forward: { relative: 1e-7, absolute: 0, reason: "one addition" },
  });

export const cases: readonly Case[] = [
  inverseCase("nothing", 0),
  ...[...new Set(sizes)].map((n) => inverseCase("dominant", n)),
  inverseCase("several blocks", 257, { large: true, finiteDifferences: { off: "the gradient of a large matrix is that of a small one" } }),
  inverseCase("many blocks", 520, { large: true, finiteDifferences: { off: "the gradient of a large matrix is that of a small one" } }),
  ...[0, 1, 2, 17, 40].flatMap((n) => [lowerCase(n, false), lowerCase(n, true)]),
];

export const room: Room = {
  name: "cholesky",
  ops,
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: (2 / 3) * call.inputs[0].shape[0] ** 3 }),
};
