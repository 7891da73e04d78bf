import * as shaders from "../../generated/expandKernel.ts";
import { type BufferRef, type Call, elements, grid, input, type Limits, output, type Plan } from "../../op.ts";
import { type ExpandAttrs, type Sizes, sizesOf } from "./reference.ts";

/** Side of the square of results that one workgroup computes. */
export const TILE = 32;

interface Product {
  readonly kind: "FORWARD" | "TO_WEIGHT" | "TO_MATRICES";
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly a: BufferRef;
  readonly b: BufferRef;
}

const product = ({ matrices, elements: group, cin, d }: Sizes, { kind, rows, columns, depth, a, b }: Product, limits: Limits): Plan => ({
  passes: [
    {
      shader: shaders.expand,
      entry: "main",
      constants: { KIND: shaders.expand.consts[kind] },
      params: { rows, columns, depth, d, cin, group, identity: group - matrices },
      bind: { a, b, y: output(0) },
      workgroups: grid(Math.ceil(rows / TILE) * Math.ceil(columns / TILE), limits),
    },
  ],
});

export const forward = ({ attrs, inputs: [r, w] }: Call<ExpandAttrs>, limits: Limits): Plan => {
  const sizes = sizesOf(r.shape, w.shape, attrs.identity);
  const { elements: group, cout, cin, d } = sizes;
  return product(sizes, { kind: "FORWARD", rows: cout * cin, columns: group * d, depth: d, a: input(1), b: input(0) }, limits);
};

export const backwardWeight = ({ attrs, inputs: [r], outputs: [dw] }: Call<ExpandAttrs>, limits: Limits): Plan => {
  const sizes = sizesOf(r.shape, dw.shape, attrs.identity);
  const { elements: group, cout, cin, d } = sizes;
  return product(sizes, { kind: "TO_WEIGHT", rows: cout * cin, columns: d, depth: group * d, a: input(1), b: input(0) }, limits);
};

export const backwardMatrices = ({ attrs, inputs: [w], outputs: [dr] }: Call<ExpandAttrs>, limits: Limits): Plan => {
  const sizes = sizesOf(dr.shape, w.shape, attrs.identity);
  const { matrices, cout, cin, d } = sizes;
  const depth = elements(w.shape) === 0 ? 0 : cout * cin;
  return product(sizes, { kind: "TO_MATRICES", rows: matrices * d, columns: d, depth, a: input(1), b: input(0) }, limits);
};
