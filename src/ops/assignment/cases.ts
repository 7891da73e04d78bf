import { elements, type Shape } from "../../op.ts";
import {
  type Case,
  constant,
  defineCase,
  EXACT,
  type Fill,
  integers,
  minimalBytes,
  normal,
  type Room,
  uniform,
  values,
} from "../../testing/cases.ts";
import { greedy, matrix, ops } from "./op.ts";
import { SMALL_COLUMNS, SMALL_ROWS } from "./plan.ts";
import { split } from "./reference.ts";

/** Whether an entry comes before another one: it is larger, or equal and earlier. */
const precedes = (scores: ArrayLike<number>, i: number, j: number): boolean => scores[i] > scores[j] || (scores[i] === scores[j] && i < j);

/**
 * What makes an assignment the greedy one, however it was found: it is one-to-one and complete, and no entry precedes both the entry
 * that its row got and the one that its column got.
 */
export const checkGreedy = (scores: ArrayLike<number>, result: ArrayLike<number>, rows: number, columns: number): void => {
  const rowOf = new Int32Array(columns).fill(-1);
  let assigned = 0;
  for (let row = 0; row < rows; row++) {
    if (result[row] === -1) continue;
    if (!(result[row] >= 0 && result[row] < columns) || rowOf[result[row]] >= 0) throw new Error(`row ${row} got column ${result[row]}`);
    rowOf[result[row]] = row;
    assigned++;
  }
  if (assigned !== Math.min(rows, columns)) throw new Error(`${assigned} rows of ${rows}×${columns} have a column`);
  for (let i = 0; i < rows * columns; i++) {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const ofRow = result[row] < 0 || precedes(scores, i, row * columns + result[row]);
    const ofColumn = rowOf[column] < 0 || precedes(scores, i, rowOf[column] * columns + column);
    if (ofRow && ofColumn) throw new Error(`entry (${row}, ${column}) precedes what its row and its column got`);
  }
};

const greedyCase = (name: string, shape: Shape, fill: Fill = normal(), more: Partial<Case> = {}): Case =>
  defineCase({
    name: `${name}, ${shape.join("x")}`,
    op: greedy,
    inputs: [{ shape, fill }],
    attrs: {},
    forward: EXACT,
    invariants: ({ inputs: [scores], outputs: [result] }) => {
      const { batch, rows, columns } = split(shape);
      for (let b = 0; b < batch; b++) {
        const [first, size] = [b * rows * columns, rows * columns];
        checkGreedy(
          Array.from({ length: size }, (_, i) => scores[first + i]),
          Array.from({ length: rows }, (_, i) => result[b * rows + i]),
          rows,
          columns,
        );
      }
    },
    ...more,
  });

const around = (n: number): number[] => [n - 1, n, n + 1];
const layouts = (
  [
    ["one entry", [1, 1]],
    ["a row", [1, 5]],
    ["a column", [5, 1]],
    ["more rows", [7, 3]],
    ["more columns", [3, 7]],
    ["no matrices", [0, 3, 4]],
    ["batch of one", [1, 4, 4]],
    ["batch of two axes", [2, 3, 5, 4]],
  ] as const
).map(([name, shape]) => greedyCase(name, shape));

/** Vectors, words of column marks, threads of a matrix, rows of a thread, segments, and the sizes of both shaders. */
const sides = [...new Set([2, 4, 8, 16, 32, SMALL_COLUMNS, 128, SMALL_ROWS].flatMap(around))];
const squares = sides.map((side) => greedyCase("square", side < 40 ? [3, side, side] : [side, side]));
const narrow = [SMALL_ROWS, 2 * SMALL_ROWS]
  .flatMap(around)
  .flatMap((rows) => [greedyCase("tall", [rows, 5]), greedyCase("tall", [rows, SMALL_COLUMNS + 1])]);
const wide = [SMALL_COLUMNS, 256, 1024, 4096 - 1]
  .flatMap(around)
  .flatMap((columns) => [greedyCase("wide", [2, columns]), ...(columns < 1030 ? [greedyCase("wide", [2, 9, columns])] : [])]);
const largestSides = [greedyCase("as tall as can be", [4096, 3]), greedyCase("as wide as can be", [3, 3, 4096])];
/** One more or less than fills a workgroup with matrices of each width, and than one line of workgroups. */
const batches = [1, 2, 4, 8, 16, 32].flatMap((rows) => around(256 / rows).map((batch) => greedyCase("batch", [batch, rows, rows])));
const manyMatrices = [
  greedyCase("many matrices", [70000, 1, 2], normal(), { large: true }),
  greedyCase("many matrices", [300, 3, 65]),
  greedyCase("many matrices", [40, 1, 1500]),
];
const large = [greedyCase("large", [1000, 1000], uniform(0, 1), { large: true }), greedyCase("large", [600, 1300], normal(), { large: true })];

const inf = Number.POSITIVE_INFINITY;
const sizes: readonly Shape[] = [
  [2, 6, 6],
  [40, 30],
  [70, 90],
  [300, 20],
];
/** Ties: all entries equal, signed zeros, few values, rows all alike, columns all alike; and values at the ends of float32. */
const special = sizes.flatMap((shape) => {
  const { columns } = split(shape);
  return [
    greedyCase("all equal", shape, constant(0.25)),
    greedyCase("zeros of both signs", shape, values([0, -0, -0])),
    greedyCase("few values", shape, integers(3)),
    greedyCase("equal rows", shape, (_, i) => ((i % columns) * 7) % columns),
    greedyCase("equal columns", shape, (_, i) => (Math.floor(i / columns) * 5) % 13),
    greedyCase("infinities", shape, values([1, inf, -inf, 2, inf, -1, -inf])),
    greedyCase("the ends of float32", shape, values([3.4e38, -3.4e38, 1.4e-45, -1.4e-45, 1e-39, 0, 1.17549435e-38])),
  ];
});

/** A permutation under noise: nothing else may come out. */
const noisy = [5, 64, 65, 200].map((side) => {
  const column = (row: number): number => (row * 3 + 1) % side;
  return greedyCase(
    "a permutation under noise",
    [side, side],
    (random, i) => Number(i % side === column(Math.floor(i / side))) + 0.4 * random.uniform(),
    {
      invariants: ({ outputs: [result] }) => {
        for (let row = 0; row < side; row++) if (result[row] !== column(row)) throw new Error(`row ${row} got column ${result[row]}`);
      },
    },
  );
});

const matrixCase = (name: string, shape: Shape, columns: number, fill: Fill): Case =>
  defineCase({
    name: `matrix ${name}, ${shape.join("x")} of ${columns}`,
    op: matrix,
    inputs: [{ shape, dtype: "int32" as const, fill }],
    attrs: { columns },
    forward: EXACT,
    invariants: ({ inputs: [assignment], outputs: [y] }) => {
      const ones = Array.from(y).filter((entry) => entry === 1).length;
      if (ones !== Array.from(assignment).filter((column) => column >= 0).length) throw new Error(`${ones} entries are 1`);
    },
  });
const matrices = [
  matrixCase("of nothing", [0], 3, integers(3)),
  matrixCase("of one", [1], 1, constant(0)),
  matrixCase("of rows without a column", [4], 3, constant(-1)),
  matrixCase("of a vector", [7], 5, (random) => Math.floor(6 * random.uniform()) - 1),
  matrixCase("of two batch axes", [2, 3, 4], 4, integers(4)),
  ...around(256).map((rows) => matrixCase("of as many entries as threads", [rows], 1, integers(1))),
  ...around(16).map((columns) => matrixCase("of a vector register", [33], columns, integers(columns))),
  matrixCase("of many entries", [300], 300, integers(300)),
];

export const cases: readonly Case[] = [
  ...layouts,
  ...squares,
  ...narrow,
  ...wide,
  ...largestSides,
  ...batches,
  ...manyMatrices,
  ...large,
  ...special,
  ...noisy,
  ...matrices,
];

export const room: Room = {
  name: "assignment",
  ops,
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: elements(call.inputs[0].shape) }),
};
