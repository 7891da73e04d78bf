import { type DType, elements, type Op, type Shape } from "../../op.ts";
import { type Case, defineCase, minimalBytes, normal, type Room, summed, type Tolerance, values } from "../../testing/cases.ts";
import { ACTIVATIONS } from "../elementwise/reference.ts";
import { biasBackward, matmul, matmulWith, ops, PLAIN } from "./op.ts";
import { BIAS_CHUNKS, BIAS_ROWS, K_STEP, SMALL_TILE, SPLIT_STEPS, STRIP, TILE, TILE_LEAST } from "./plan.ts";
import { type MatmulAttrs, matmulSizes } from "./reference.ts";

interface Variant {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly bias?: boolean;
  readonly activation?: MatmulAttrs["activation"];
  /** Batch axes of the result; default: all that the operands have. */
  readonly batch?: Shape;
  /** Which of a and b are float16. */
  readonly halves?: readonly ("a" | "b")[];
  readonly large?: boolean;
}

/** A sum, and what an activation, or its derivative, makes of it. */
const activatedSum = (terms: number, activation: MatmulAttrs["activation"]): Tolerance => {
  const { relative, absolute, reason } = summed(terms);
  if (activation === "none") return { relative, absolute, reason };
  return { relative: relative + 2e-6, absolute, reason: `${reason}; WGSL's exp has (3 + 2|x|) ulp` };
};

const broadcast = (a: Shape, b: Shape): Shape => {
  const rank = Math.max(a.length, b.length);
  return Array.from(
    { length: rank },
    (_, i) => (a[i - rank + a.length] ?? 1) * (a[i - rank + a.length] === b[i - rank + b.length] ? 1 : (b[i - rank + b.length] ?? 1)),
  );
};

/** Multiplications of a case of which finite differences are taken at the most: they run the float64 loops hundreds of times. */
const MOST_DIFFERENCED = 300_000;

/** Shapes as stored. Sums in the gradients run over the other sizes and the batches that are repeated. */
const product = (name: string, a: Shape, b: Shape, variant: Variant = {}): Case => {
  const { transposeA = false, transposeB = false, bias = false, activation = "none", halves = [], large } = variant;
  const dtype = (operand: "a" | "b"): DType => (halves.includes(operand) ? "float16" : "float32");
  const { op, attrs: kind } = matmulWith(activation, true);
  const attrs = { transposeA, transposeB, batch: variant.batch ?? broadcast(a.slice(0, -2), b.slice(0, -2)), ...kind };
  const { m, n, k, batch } = matmulSizes(a, b, attrs);
  const sums = elements(batch) / Math.max(1, elements(attrs.batch));
  return defineCase({
    name: `${name} ${a.join("x")}${transposeA ? "ᵀ" : ""} · ${b.join("x")}${transposeB ? "ᵀ" : ""}${bias ? " + bias" : ""}${activation === "none" ? "" : ` ${activation}`}`,
    op,
    inputs: [{ shape: a, dtype: dtype("a") }, { shape: b, dtype: dtype("b") }, ...(bias ? [{ shape: [n] }] : [])],
    attrs,
    forward: activatedSum(k * sums + 1, activation),
    backward: activatedSum(Math.max(m, n) * elements(batch), activation),
    finiteDifferences:
      halves.length > 0
        ? { off: "steps are smaller than float16 can take" }
        : m * n * k * sums * elements(attrs.batch) > MOST_DIFFERENCED
          ? { off: "the same loops as the small cases, and too many of them" }
          : { tolerance: 1e-5 },
    ...(large ? { large } : {}),
  });
};

const transposes: readonly Variant[] = [{}, { transposeA: true }, { transposeB: true }, { transposeA: true, transposeB: true }];
/** [m, k] and [k, n] as they are stored. */
const square = (name: string, m: number, k: number, n: number, variant: Variant = {}): Case =>
  product(name, variant.transposeA ? [k, m] : [m, k], variant.transposeB ? [n, k] : [k, n], variant);

const small = [
  ...transposes.flatMap((variant) => [
    square("tiny", 2, 3, 4, variant),
    square("odd", 5, 7, 11, variant),
    square("one tile and a bit", 33, 19, 18, variant),
  ]),
  square("fewer columns than a strip", 6, 5, STRIP - 1),
  square("a strip", 6, 5, STRIP),
  square("more than a strip", 6, 5, STRIP + 1),
  square("one element", 1, 1, 1),
  square("dot product", 1, 67, 1),
  square("dot product", 1, 67, 1, { transposeB: true }),
  square("outer product", 9, 1, 13),
  square("no inner axis", 3, 0, 4, { bias: true }),
  square("no rows", 0, 3, 4, { bias: true }),
  square("no columns", 3, 4, 0),
  ...transposes.map((variant) => square("one row", 1, 37, 50, variant)),
  ...transposes.map((variant) => square("one column", 50, 37, 1, variant)),
  ...transposes.map((variant) => square("three rows", 3, 40, 29, variant)),
  ...transposes.map((variant) => square("three columns", 29, 40, 3, variant)),
];

/** Around the tile, the step of k, and every width of a vector of the CPU. */
const edges = [
  ...[TILE_LEAST - 1, TILE_LEAST, TILE_LEAST + 1].flatMap((size) => [
    square("edge", size, 20, 40),
    square("edge", 40, 20, size, { transposeB: true }),
  ]),
  ...[TILE_LEAST - 1, TILE_LEAST, TILE_LEAST + 1].map((size) => square("edge", size, 19, size, { transposeA: true })),
  ...[SMALL_TILE - 1, SMALL_TILE, SMALL_TILE + 1].flatMap((size) => [
    square("edge", size, 33, size),
    ...transposes.map((variant) => square("edge", size, 18, 70, variant)),
    ...transposes.map((variant) => square("edge", 70, 21, size, { bias: true, ...variant })),
  ]),
  ...[TILE - 1, TILE, TILE + 1, TILE + SMALL_TILE, TILE + SMALL_TILE + 1].map((size) => square("edge", size, 17, size)),
  square("edge", 2 * TILE, 17, TILE + SMALL_TILE, { transposeA: true }),
  ...[K_STEP - 1, K_STEP, K_STEP + 1, 2 * K_STEP].map((k) => square("edge", 20, k, 21)),
  ...[1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 31, 32, 33, 47, 49, 65].map((n) => square("columns", 6, 5, n, { bias: true })),
  ...[1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 23, 25].map((m) => square("rows", m, 6, 19, { transposeB: true })),
];

const batches = [
  product("batch", [3, 4, 5], [3, 5, 6]),
  product("batch", [3, 5, 4], [3, 6, 5], { transposeA: true, transposeB: true }),
  product("batch of one", [1, 4, 5], [1, 5, 6]),
  product("empty batch", [0, 4, 5], [5, 6]),
  product("empty batch", [4, 5], [0, 5, 6], { transposeB: false }),
  product("linear", [2, 3, 5], [7, 5], { transposeB: true, bias: true }),
  product("batch of a", [3, 4, 5], [5, 6]),
  product("transposed batch of a", [3, 5, 4], [5, 6], { transposeA: true }),
  product("batch of b", [4, 5], [3, 5, 6]),
  product("batch of b", [4, 5], [3, 6, 5], { transposeB: true }),
  product("outer batches", [2, 1, 3, 4], [1, 5, 4, 2]),
  product("batches inside each other", [2, 1, 2, 3, 4], [3, 1, 4, 2]),
  product("batches inside each other", [2, 1, 2, 20, 18], [3, 1, 18, 17]),
  product("many small", [70, 4, 4], [70, 4, 4], { transposeB: true }),
  product("batch with tiles", [3, 20, 33], [3, 33, 18]),
];

/** Half precision in both operands, in one, from odd addresses on, transposed, in tiles of both sides, one element a thread, split. */
const halves = [
  ...transposes.map((variant) => square("float16", 5, 7, 11, { ...variant, halves: ["a", "b"] })),
  ...transposes.slice(0, 3).map((variant) => square("float16", SMALL_TILE + 1, 19, TILE_LEAST + 2, { ...variant, halves: ["a", "b"] })),
  ...(["a", "b"] as const).map((operand) => square(`float16 ${operand}`, TILE_LEAST + 1, 19, TILE_LEAST + 2, { bias: true, halves: [operand] })),
  ...(["a", "b"] as const).map((operand) => square(`float16 ${operand}`, 6, 9, 5, { bias: true, activation: "gelu", halves: [operand] })),
  square("float16, split", 17, 3 * SPLIT_STEPS * K_STEP + 5, 18, { bias: true, halves: ["a", "b"] }),
  square("float16, native parts", 7, 2049, 33, { halves: ["a", "b"] }),
  square("float16, packed on the CPU", 97, 130, 101, { halves: ["a", "b"], transposeB: true }),
  product("float16, batches", [2, 1, 3, 5], [3, 5, 3], { halves: ["a", "b"] }),
  product("float16, no rows", [0, 5], [5, 3], { halves: ["a", "b"] }),
];

/** Long sums are split when the result alone does not keep a GPU busy. */
const STEPS = SPLIT_STEPS * K_STEP;
const splits = [
  square("below a split", 2, 2 * STEPS - K_STEP, 3),
  square("two splits", 2, 2 * STEPS, 3, { bias: true }),
  square("splits and a bit", 17, 3 * STEPS + 5, 18, { bias: true }),
  square("splits", 18, 5 * STEPS + 1, 17, { transposeA: true }),
  product("weight gradient over a batch", [9, 100, 3], [9, 100, 20], { transposeA: true }),
];

/** Panels and blocks of the CPU: k beyond one block, more tiles than threads. */
const blocked = [
  square("blocks", 130, 300, 150, { bias: true, large: true }),
  ...transposes.map((variant) => square("panels", 64, 64, 65, variant)),
  square("long inner axis", 64, 520, 64, { transposeA: true, large: true }),
  ...[255, 256, 257, 511, 512, 513].map((k) => square("a block of k", 97, k, 97, { large: true })),
  square("slim and long", 7, 700, 300, { transposeB: true, large: true }),
  square("more rows than are packed at once", 970, 24, 70),
  square("more columns than are packed at once", 30, 10, 3080, { transposeB: true, bias: true }),
  square("chunks of slim rows", 520, 5, 3, { bias: true }),
  product("batches of panels, one a thread", [3, 80, 70], [3, 70, 75], { large: true }),
  product("batches of blocks, one a thread where threads come out even", [2, 100, 110], [2, 110, 100], { large: true }),
  product("batches of blocks, all threads on one", [3, 100, 110], [3, 110, 100], { large: true }),
];

/** Parts of k on the CPU, at least 512 steps each: one and two, with every kind of product under them. */
const PART_STEPS = 512;
const parts = [
  ...[-1, 0, 1].flatMap((more) => [
    square("parts", 30, 2 * PART_STEPS + more, 31, { transposeB: more === 0, bias: true }),
    square("parts of a strip", 5, 2 * PART_STEPS + more, 37, { transposeA: true }),
    square("parts of dot products", 3, 2 * PART_STEPS + more, 2, { transposeB: true, bias: true }),
  ]),
  square("parts", 26, 4 * PART_STEPS + 77, 33, { transposeA: true, bias: true, activation: "gelu" }),
  square("many parts", 1, 20 * PART_STEPS + 3, 1, { transposeB: true }),
  product("parts of sums over the batch", [2, 26, 1100], [2, 1100, 20], { batch: [], bias: true, activation: "silu" }),
  product("parts of a batch", [3, 9, 1030], [3, 1030, 4]),
];

const sums = [
  product("sum over the batch", [3, 4, 5], [3, 5, 6], { batch: [] }),
  product("sum over an empty batch", [0, 4, 5], [0, 5, 6], { batch: [], bias: true }),
  product("sum over a batch between kept ones", [2, 3, 2, 20, 17], [2, 3, 2, 17, 18], { batch: [2, 1, 2] }),
  product("sum over the batch", [3, 4, 5], [3, 5, 6], { batch: [], bias: true, activation: "gelu" }),
  product("sum over a batch between kept ones", [2, 3, 2, 20, 17], [2, 3, 2, 17, 18], { batch: [2, 1, 2], activation: "tanh" }),
];

/** Every way in which a result is written, on every device. */
const activations = [
  ...ACTIVATIONS.flatMap((activation) => [
    square("activation", 5, 7, 11, { bias: true, activation }),
    square("activation without bias", 6, 5, 19, { activation }),
  ]),
  ...(["relu", "silu"] as const).flatMap((activation) => [
    square("activation", 0, 3, 4, { bias: true, activation }),
    square("activation of the bias alone", 3, 0, 20, { bias: true, activation }),
    square("activation of a row", 1, 37, 50, { transposeB: true, bias: true, activation }),
    square("activation of a column", 50, 37, 1, { transposeA: true, activation }),
    square("activation of columns", 50, 37, 3, { transposeB: true, bias: true, activation }),
    square("activation after splits", 17, 3 * STEPS + 5, 18, { bias: true, activation }),
    square("activation of tiles", 65, 20, 70, { transposeB: true, bias: true, activation }),
    square("activation of blocks", 130, 300, 150, { bias: true, activation, large: true }),
    square("activation of slim rows", 520, 5, 3, { bias: true, activation }),
    product("activation of batches", [3, 20, 33], [3, 33, 18], { bias: true, activation }),
    product("activation of many small", [70, 4, 4], [70, 4, 4], { transposeB: true, activation }),
    product("activation of a linear layer", [6, 40, 9], [33, 9], { transposeB: true, bias: true, activation }),
    product("activation of panels, one a thread", [3, 80, 70], [3, 70, 75], { bias: true, activation, large: true }),
  ]),
];

const identity = defineCase({
  name: "identity",
  op: matmul,
  inputs: [{ shape: [3, 3], fill: values([1, 0, 0, 0, 1, 0, 0, 0, 1]) }, { shape: [3, 40] }],
  attrs: { transposeA: false, transposeB: false, batch: [], ...PLAIN },
  forward: summed(3),
  backward: summed(40),
  invariants: ({ inputs, outputs }) => {
    for (let i = 0; i < outputs[0].length; i++)
      if (outputs[0][i] !== inputs[1][i]) throw new Error(`element ${i} is ${outputs[0][i]}, not ${inputs[1][i]}`);
  },
});

/** The inner axis has no padding that could meet them, and rows and columns beyond the tile are never stored. */
const infinite = defineCase({
  name: "infinities stay in their row",
  op: matmul,
  inputs: [
    { shape: [18, 5], fill: (random, i) => (i === 7 ? Number.POSITIVE_INFINITY : Math.abs(normal()(random, i, 90)) + 0.1) },
    { shape: [5, 19], fill: (random) => random.uniform() + 0.1 },
  ],
  attrs: { transposeA: false, transposeB: false, batch: [], ...PLAIN },
  forward: summed(5),
  backward: summed(19),
  finiteDifferences: { off: "differences of infinities" },
});

const biasGradient = (shape: Shape, activation: MatmulAttrs["activation"] = "none"): Case =>
  defineCase({
    name: `bias gradient ${shape.join("x")}${activation === "none" ? "" : ` ${activation}`}`,
    op: biasBackward,
    inputs: [{ shape }, ...(activation === "none" ? [] : [{ shape }])],
    attrs: { activation },
    forward: activatedSum(elements(shape), activation),
  });

/** Around the rows of one workgroup, and the most chunks of them; then those of the CPU. */
const biasGradients = [
  ...[BIAS_ROWS - 1, BIAS_ROWS, BIAS_ROWS + 1, 3 * BIAS_ROWS + 7, BIAS_ROWS * BIAS_CHUNKS + 1].map((rows) => biasGradient([rows, 5])),
  ...[
    [0, 3],
    [1, 1],
    [2, 3, 31],
    [7, 33],
    [40, 70],
    [5, 0],
    [1100, 64],
  ].map((shape) => biasGradient(shape)),
  ...ACTIVATIONS.map((activation) => biasGradient([9, 33], activation)),
  ...[
    [0, 3],
    [BIAS_ROWS + 1, 5],
    [700, 70],
  ].map((shape) => biasGradient(shape, "silu")),
];

export const cases: readonly Case[] = [
  ...small,
  ...edges,
  ...batches,
  ...halves,
  ...splits,
  ...blocked,
  ...parts,
  ...sums,
  ...activations,
  identity,
  infinite,
  ...biasGradients,
];

export const room: Room = {
  name: "matmul",
  ops: ops as readonly Op[],
  cases,
  cost: (call) => {
    if (call.op === biasBackward) return { bytes: minimalBytes(call), operations: elements(call.inputs[0].shape) };
    const { m, n, k, batch } = matmulSizes(call.inputs[0].shape, call.inputs[1].shape, call.attrs as never);
    return { bytes: minimalBytes(call), operations: 2 * m * n * k * elements(batch) };
  },
};
