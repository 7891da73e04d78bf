/** W[o, g, i, n] = Σ_m R[g, n, m] w[o, i, m] and its two gradients, in plain float64 loops. */
import type { ReferenceRun, Shape } from "../../op.ts";

export type ExpandAttrs = {
  /** Whether group element 0 is the identity, which R leaves out. */
  readonly identity: boolean;
};

/** Sizes of a call: `matrices` in R, `elements` of the group, d = size of a flattened canonical kernel. */
export interface Sizes {
  readonly matrices: number;
  readonly elements: number;
  readonly cout: number;
  readonly cin: number;
  readonly d: number;
}

export const sizesOf = (r: Shape, w: Shape, identity: boolean): Sizes => {
  const [matrices, d] = r;
  return { matrices, elements: matrices + (identity ? 1 : 0), cout: w[0], cin: w[1], d };
};

/** Visits every kernel of W: its matrix (−1 for the identity), and where its d numbers and those of its canonical kernel begin. */
const walk = ({ elements, cout, cin, d }: Sizes, identity: boolean, visit: (matrix: number, atW: number, atCanonical: number) => void): void => {
  for (let o = 0; o < cout; o++) {
    for (let g = 0; g < elements; g++) {
      for (let i = 0; i < cin; i++) visit(identity ? g - 1 : g, ((o * elements + g) * cin + i) * d, (o * cin + i) * d);
    }
  }
};

export const forward = ({ call, inputs: [r, w], outputs: [out] }: ReferenceRun<ExpandAttrs>): void => {
  const { identity } = call.attrs;
  const sizes = sizesOf(call.inputs[0].shape, call.inputs[1].shape, identity);
  const { d } = sizes;
  walk(sizes, identity, (matrix, atW, at) => {
    for (let n = 0; n < d; n++) {
      let total = matrix < 0 ? w[at + n] : 0;
      if (matrix >= 0) for (let m = 0; m < d; m++) total += r[(matrix * d + n) * d + m] * w[at + m];
      out[atW + n] = total;
    }
  });
};

/** Inputs: R, cotangent of W. */
export const backwardWeight = ({ call, inputs: [r, gradient], outputs: [dw] }: ReferenceRun<ExpandAttrs>): void => {
  const { identity } = call.attrs;
  const sizes = sizesOf(call.inputs[0].shape, call.outputs[0].shape, identity);
  const { d } = sizes;
  dw.fill(0);
  walk(sizes, identity, (matrix, atW, at) => {
    for (let n = 0; n < d; n++) {
      if (matrix < 0) dw[at + n] += gradient[atW + n];
      else for (let m = 0; m < d; m++) dw[at + m] += r[(matrix * d + n) * d + m] * gradient[atW + n];
    }
  });
};

/** Inputs: w, cotangent of W. */
export const backwardMatrices = ({ call, inputs: [w, gradient], outputs: [dr] }: ReferenceRun<ExpandAttrs>): void => {
  const { identity } = call.attrs;
  const sizes = sizesOf(call.outputs[0].shape, call.inputs[0].shape, identity);
  const { d } = sizes;
  dr.fill(0);
  walk(sizes, identity, (matrix, atW, at) => {
    if (matrix < 0) return;
    for (let n = 0; n < d; n++) for (let m = 0; m < d; m++) dr[(matrix * d + n) * d + m] += w[at + m] * gradient[atW + n];
  });
};
