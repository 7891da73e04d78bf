import { elements, type Shape } from "../../op.ts";
import { type Case, defineCase, EXACT, type Fill, minimalBytes, normal, type Room, uniform, values } from "../../testing/cases.ts";
import { cast, ops } from "./op.ts";

const castCase = (name: string, dtype: "float16" | "float32", shape: Shape, more: Partial<Case> & { readonly fill?: Fill } = {}): Case => {
  const { fill = normal(), ...rest } = more;
  return defineCase({
    name: `${name}, to ${dtype}, ${shape.join("x")}`,
    op: cast,
    inputs: [{ shape, dtype: dtype === "float16" ? "float32" : "float16", fill }],
    attrs: { dtype },
    forward: { ...EXACT, reason: "conversions are exact or rounded to the nearest, the same everywhere" },
    finiteDifferences: { off: "rounding counts as the identity" },
    ...rest,
  });
};

/** Ties between neighbours with last bit 0 and 1, what is just beside them, both ends of the range, and what float16 has no number for. */
const unit = 2 ** -10;
const edges = [
  1 + unit / 2,
  1 + (3 * unit) / 2,
  1 + unit / 2 + 2 ** -23,
  1 + unit / 2 - 2 ** -23,
  1 - unit / 4,
  2 - unit / 2,
  65504,
  65519,
  65519.996,
  65520,
  1e5,
  3.4e38,
];
const small = [2 ** -14, 2 ** -14 - 2 ** -25, 2 ** -15, 3 * 2 ** -25, 5 * 2 ** -25, 2 ** -24, 2 ** -25, 2 ** -25 + 2 ** -48, 2 ** -26, 1e-20, 0];
const special = [Number.NaN, Number.POSITIVE_INFINITY];
const all = [...edges, ...small, ...special].flatMap((value) => [value, -value]);
const halves: Fill = (_, index) => {
  // Every pattern of bits but those of NaN and infinity.
  const [fraction, exponent] = [index & 1023, (index >> 10) % 31];
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
  return index < 31 * 1024 ? size : -size;
};

/** Elements on both sides of a word, a vector, a workgroup and a native piece of work. */
const counts = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 511, 512, 513, 514, (1 << 14) - 1, (1 << 14) + 1, (1 << 15) + 3];

const cases: readonly Case[] = [
  ...counts.flatMap((count) => [castCase("a vector", "float16", [count]), castCase("a vector", "float32", [count])]),
  castCase("nothing", "float16", [0, 3]),
  castCase("nothing", "float32", [3, 0]),
  castCase("a number", "float16", []),
  castCase("a number", "float32", []),
  castCase("ties, ends and no numbers", "float16", [all.length], { fill: values(all) }),
  castCase("ends and no numbers", "float32", [all.length], { fill: values(all) }),
  castCase("below the smallest normal number", "float16", [1000], { fill: uniform(-(2 ** -14), 2 ** -14) }),
  castCase("large numbers", "float16", [1000], { fill: uniform(-70000, 70000) }),
  castCase("every number of float16", "float32", [62 * 1024], { fill: halves }),
];

export const room: Room = {
  name: "cast",
  ops,
  cases,
  cost: (call) => ({ bytes: minimalBytes(call), operations: elements(call.outputs[0].shape) }),
};
