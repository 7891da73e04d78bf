/** The same seeded values for every side. */
import { elements, type Shape } from "../../src/op.ts";
import { type Fill, normal } from "../../src/testing/cases.ts";
import { testRandom } from "../../src/testing/random.ts";
import type { BenchCase } from "./bench.ts";

export interface Data {
  readonly inputs: readonly Float32Array[];
  readonly cotangent: Float32Array;
}

const filled = (shape: Shape, fill: Fill, seed: number): Float32Array => {
  const random = testRandom(seed);
  const count = elements(shape);
  return Float32Array.from({ length: count }, (_, i) => fill(random, i, count));
};

/** Cotangents are random: with a constant one, many gradients vanish identically. */
export const dataOf = ({ inputs, output }: BenchCase): Data => ({
  inputs: inputs.map(({ shape, fill = normal() }, i) => filled(shape, fill, 1 + i)),
  cotangent: filled(output, normal(), 1000),
});

/** Work of the float64 reference that a check may cost: a second or so. */
const REFERENCE_OPERATIONS = 2e7;

export interface Slice {
  readonly entry: BenchCase;
  readonly data: Data;
  /** Elements of the output in front of which the slice ends. */
  readonly outputs: number;
}

/** The first items of the batch, as many as the float64 reference can compute; everything when nothing is batched. */
export const sliceOf = (entry: BenchCase, data: Data): Slice => {
  const batched = entry.inputs.some(({ batched = true }) => batched);
  const batch = batched ? entry.output[0] : 1;
  const operations = Math.max(1, ...Object.values(entry.cost).map((cost) => cost.operations));
  const rows = Math.max(1, Math.min(batch, Math.floor((batch * REFERENCE_OPERATIONS) / operations)));
  if (!batched || rows === batch) return { entry, data, outputs: elements(entry.output) };
  const cut = (shape: Shape): Shape => [rows, ...shape.slice(1)];
  const inputs = entry.inputs.map((input) => ((input.batched ?? true) ? { ...input, shape: cut(input.shape) } : input));
  const output = cut(entry.output);
  const outputs = elements(output);
  return {
    entry: { ...entry, inputs, output },
    data: { inputs: data.inputs.map((values, i) => values.subarray(0, elements(inputs[i].shape))), cotangent: data.cotangent.subarray(0, outputs) },
    outputs,
  };
};
