import { elements, type Op, type Shape } from "../../op.ts";
import {
  type Case,
  type CaseInput,
  constant,
  defineCase,
  EXACT,
  integers,
  minimalBytes,
  type Room,
  summed,
  uniform,
  values,
} from "../../testing/cases.ts";
import { expand, factorised, gather, ops } from "./op.ts";
import { type ExpandAttrs, factorSizesOf, sizesOf } from "./sizes.ts";

interface Settings {
  readonly identity?: boolean;
  readonly large?: boolean;
}

const shares = (shape: Shape): CaseInput => ({ shape, fill: uniform(0, 1) });

const expandCase = (op: Op<ExpandAttrs>, form: string, r: readonly CaseInput[], w: Shape, { identity = true, large }: Settings = {}): Case => {
  const d = elements(w.slice(2));
  const [matrices] = r[0].shape;
  const copied = op === gather;
  return defineCase({
    name: `${form}${identity ? " and the identity" : ""}, w ${w.join("x")}`,
    op,
    inputs: [...r, { shape: w }],
    attrs: { identity },
    forward: copied ? EXACT : summed(d),
    backward: summed(Math.max(d * (matrices + 1), w[0] * w[1] * (op === factorised ? d : 1))),
    finiteDifferences: d > 30 ? { off: "the map is linear in each operand, and smaller d are checked" } : {},
    invariants: ({ inputs, outputs: [out] }) => {
      if (!identity) return;
      const canonical = inputs[r.length];
      const [cout, cin] = w;
      for (let o = 0; o < cout; o++) {
        for (let e = 0; e < cin * d; e++) {
          if (out[o * (matrices + 1) * cin * d + e] !== canonical[o * cin * d + e]) throw new Error(`the identity changed kernel ${o}`);
        }
      }
    },
    ...(large ? { large } : {}),
  });
};

const dense = (matrices: number, w: Shape, settings?: Settings): Case => {
  const d = elements(w.slice(2));
  return expandCase(expand, `${matrices} matrices`, [shares([matrices, d, d])], w, settings);
};

/** `p` positions on the group axis; default: the axis that `w` has. */
const factors = (matrices: number, w: Shape, settings: Settings & { readonly p?: number } = {}): Case => {
  const p = settings.p ?? w[2];
  const s = elements(w.slice(2)) / p;
  return expandCase(factorised, `${matrices} matrices ${p} ⊗ ${s}`, [shares([matrices, p, p]), shares([matrices, s, s])], w, settings);
};

/** Permutations of a kind: n ↦ 3 n + g mod d where 3 and d have no common divisor. */
const permutations = (matrices: number, d: number): CaseInput => ({
  shape: [matrices, d],
  dtype: "int32",
  fill: values(Array.from({ length: Math.max(1, matrices * d) }, (_, at) => ((d % 3 === 0 ? 1 : 3) * (at % d) + Math.floor(at / d)) % d)),
});
const positions = (matrices: number, w: Shape, settings?: Settings): Case =>
  expandCase(gather, `${matrices} permutations`, [permutations(matrices, elements(w.slice(2)))], w, settings);

/** Kernel sizes around the widths of vectors and tiles; all ranks of w, even and odd kernels, kernels of one number. */
const sizes = [1, 3, 4, 7, 8, 9, 15, 16, 17, 25, 31, 32, 33, 49, 63, 64, 65, 100].map((d) => dense(3, [3, 2, d]));
const ranks = [
  [4, 2, 3, 3],
  [2, 1, 5, 5],
  [2, 3, 4, 4],
  [3, 5, 1, 2],
  [2, 3, 4, 3, 3],
  [1, 2, 2, 5, 5],
  [2, 2, 1, 1, 1],
  [3, 2, 3, 2, 2],
].flatMap((w) => [dense(3, w), dense(2, w, { identity: false })]);
const groups = [0, 1, 2, 4, 7].map((matrices) => dense(matrices, [5, 3, 9]));
const withoutIdentity = [1, 2, 8].map((matrices) => dense(matrices, [3, 3, 3, 3], { identity: false }));
const channels = [
  [1, 1],
  [1, 3],
  [7, 1],
  [5, 3],
  [4, 4],
  [31, 1],
  [8, 4],
  [11, 3],
  [16, 4],
  [13, 5],
  [1, 65],
].map(([cout, cin]) => dense(2, [cout, cin, 4]));
/** Depths around a block of steps, columns around a block of them, numbers around those that a workgroup copies. */
const blocks = [
  dense(1, [2, 1, 127]),
  dense(1, [2, 1, 129]),
  dense(5, [1, 13, 103]),
  dense(1, [1, 127, 5]),
  dense(1, [129, 1, 5]),
  dense(1, [4, 16, 16]),
  dense(1, [5, 13, 16]),
];
const empty = [dense(3, [0, 2, 4]), dense(3, [2, 0, 4]), dense(0, [2, 2, 4], { identity: false })];
const large = [dense(3, [32, 32, 4, 5, 5], { large: true }), dense(3, [32, 16, 7, 7], { large: true }), dense(7, [16, 16, 8, 5, 5], { large: true })];

const factored = [
  factors(3, [2, 3, 4, 3, 3]),
  factors(3, [2, 3, 4, 2, 2], { identity: false }),
  factors(1, [1, 1, 1, 1, 1]),
  factors(2, [3, 2, 1, 3, 3]),
  factors(2, [3, 2, 5, 1, 1]),
  factors(7, [2, 2, 8, 1, 3]),
  factors(3, [5, 7, 4, 4, 4]),
  factors(2, [1, 3, 3, 5, 5]),
  factors(2, [3, 1, 2, 7, 7]),
  factors(1, [1, 2, 31, 2, 1]),
  factors(2, [1, 1, 32, 1, 2]),
  factors(1, [1, 2, 33, 2, 2]),
  factors(2, [1, 1, 33, 1, 2]),
  factors(1, [65, 1, 2, 2, 2]),
  factors(1, [2, 1, 2, 3, 43]),
  factors(3, [4, 2, 12], { p: 3 }),
  factors(3, [4, 2, 3, 3], { p: 3 }),
  factors(3, [2, 2, 7], { p: 7 }),
  factors(0, [2, 2, 2, 2, 2]),
  factors(3, [0, 2, 2, 2, 2]),
  factors(3, [2, 0, 2, 2, 2]),
  factors(0, [2, 2, 2, 2, 2], { identity: false }),
  factors(3, [32, 32, 4, 5, 5], { large: true }),
  factors(7, [16, 16, 8, 3, 3], { large: true }),
];

const gathered = [
  positions(3, [2, 3, 4, 3, 3]),
  positions(3, [2, 3, 5, 5], { identity: false }),
  positions(2, [3, 2, 2, 2]),
  positions(1, [1, 1, 1]),
  positions(7, [1, 2, 31]),
  positions(3, [5, 7, 16]),
  positions(1, [3, 1, 257]),
  positions(0, [2, 3, 4]),
  positions(3, [0, 2, 4]),
  positions(3, [2, 0, 4]),
  positions(0, [2, 2, 4], { identity: false }),
  positions(3, [32, 32, 4, 5, 5], { large: true }),
  // Whatever rows point at: some positions are taken twice, some never.
  expandCase(gather, "3 lists of positions", [{ shape: [3, 9], dtype: "uint32", fill: integers(9) }], [4, 3, 3, 3]),
  expandCase(gather, "2 lists of one position", [{ shape: [2, 8], dtype: "int32", fill: constant(5) }], [2, 3, 8], { identity: false }),
];

/** A copy through identity matrices that were multiplied is a copy, too. */
const copies = defineCase({
  name: "a matrix of one number 1",
  op: expand,
  inputs: [{ shape: [2, 1, 1], fill: constant(1) }, { shape: [6, 3, 1] }],
  attrs: { identity: false },
  forward: EXACT,
  backward: summed(18),
});

export const cases: readonly Case[] = [
  ...sizes,
  ...ranks,
  ...groups,
  ...withoutIdentity,
  ...channels,
  ...blocks,
  ...empty,
  ...large,
  ...factored,
  ...gathered,
  copies,
];

/** Multiply-adds count as two. */
const operations = ({ name }: Op, inputs: readonly { readonly shape: Shape }[], identity: boolean): number => {
  if (name === gather.name) return 0;
  if (name !== factorised.name) {
    const { matrices, kernels, d } = sizesOf(inputs[0].shape, inputs[1].shape, identity);
    return 2 * matrices * kernels * d * d;
  }
  const { matrices, kernels, d, p, s } = factorSizesOf(inputs[0].shape, inputs[1].shape, inputs[2].shape, identity);
  return 2 * matrices * kernels * d * (p + s);
};

export const room: Room = {
  name: "expandKernel",
  ops,
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: operations(call.op, call.inputs, Boolean(call.attrs.identity)) }),
};
