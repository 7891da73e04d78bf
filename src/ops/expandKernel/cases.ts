import { elements, type Shape } from "../../op.ts";
import { type Case, constant, defineCase, EXACT, minimalBytes, type Room, summed, uniform } from "../../testing/cases.ts";
import { expand, ops } from "./op.ts";
import { sizesOf } from "./reference.ts";

interface Settings {
  readonly identity?: boolean;
  readonly large?: boolean;
}

const expandCase = (matrices: number, w: Shape, { identity = true, large }: Settings = {}): Case => {
  const d = elements(w.slice(2));
  const terms = Math.max(d * (matrices + 1), w[0] * w[1]);
  return defineCase({
    name: `${matrices} matrices${identity ? " and the identity" : ""}, w ${w.join("x")}`,
    op: expand,
    inputs: [{ shape: [matrices, d, d], fill: uniform(0, 1) }, { shape: w }],
    attrs: { identity },
    forward: summed(d),
    backward: summed(terms),
    finiteDifferences: d > 30 ? { off: "the map is bilinear, and smaller d are checked" } : {},
    invariants: ({ inputs: [, canonical], outputs: [out] }) => {
      if (!identity) return;
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

/** Kernel sizes around the widths of vectors and tiles; all ranks of w. */
const sizes = [1, 4, 7, 8, 9, 15, 16, 17, 25, 31, 32, 33, 49, 63, 64, 65, 100].map((d) => expandCase(3, [3, 2, d]));
const ranks = [
  [4, 2, 3, 3],
  [2, 1, 5, 5],
  [3, 5, 1, 2],
  [2, 3, 4, 3, 3],
  [1, 2, 2, 5, 5],
  [2, 2, 1, 1, 1],
].flatMap((w) => [expandCase(3, w), expandCase(2, w, { identity: false })]);
const groups = [0, 1, 2, 4, 7].map((matrices) => expandCase(matrices, [5, 3, 9]));
const withoutIdentity = [1, 2, 8].map((matrices) => expandCase(matrices, [3, 3, 3, 3], { identity: false }));
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
].map(([cout, cin]) => expandCase(2, [cout, cin, 4]));
const empty = [expandCase(3, [0, 2, 4]), expandCase(3, [2, 0, 4]), expandCase(0, [2, 2, 4], { identity: false })];
const large = [expandCase(3, [32, 32, 4, 5, 5], { large: true }), expandCase(3, [32, 16, 7, 7], { large: true })];

/** A copy through identity matrices that were multiplied is a copy, too. */
const copies = defineCase({
  name: "a matrix of one number 1",
  op: expand,
  inputs: [{ shape: [2, 1, 1], fill: constant(1) }, { shape: [6, 3, 1] }],
  attrs: { identity: false },
  forward: EXACT,
  backward: summed(18),
});

export const cases: readonly Case[] = [...sizes, ...ranks, ...groups, ...withoutIdentity, ...channels, ...empty, ...large, copies];

export const room: Room = {
  name: "expandKernel",
  ops,
  cases,
  cost: (call) => {
    const { matrices, cout, cin, d } = sizesOf(call.inputs[0].shape, call.inputs[1].shape, Boolean(call.attrs.identity));
    return { bytes: minimalBytes(call), operations: 2 * matrices * cout * cin * d * d };
  },
};
