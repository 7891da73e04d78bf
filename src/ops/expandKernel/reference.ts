/** W[o, g, i, n] = Σ_m R[g, n, m] w[o, i, m] and its gradients, in plain float64 loops; R as it is, as a product of two factors, or as positions. */
import type { Numbers, ReferenceRun, Shape } from "../../op.ts";
import { type ExpandAttrs, type FactorSizes, factorSizesOf, type Sizes, sizesOf } from "./sizes.ts";

type BackwardRun = ReferenceRun<ExpandAttrs & { readonly shape: Shape }>;

/** Visits every kernel of W: its matrix (−1 for the identity), and where its d numbers and those of its canonical kernel begin. */
const walk = ({ matrices, elements, cout, cin, d }: Sizes, visit: (matrix: number, atW: number, atCanonical: number) => void): void => {
  for (let o = 0; o < cout; o++) {
    for (let g = 0; g < elements; g++) {
      for (let i = 0; i < cin; i++) visit(g - (elements - matrices), ((o * elements + g) * cin + i) * d, (o * cin + i) * d);
    }
  }
};

const expand = (sizes: Sizes, r: Numbers, w: Numbers, out: Numbers): void => {
  const { d } = sizes;
  walk(sizes, (matrix, atW, at) => {
    for (let n = 0; n < d; n++) {
      let total = matrix < 0 ? w[at + n] : 0;
      if (matrix >= 0) for (let m = 0; m < d; m++) total += r[(matrix * d + n) * d + m] * w[at + m];
      out[atW + n] = total;
    }
  });
};

const toWeight = (sizes: Sizes, r: Numbers, gradient: Numbers, dw: Numbers): void => {
  const { d } = sizes;
  dw.fill(0);
  walk(sizes, (matrix, atW, at) => {
    for (let n = 0; n < d; n++) {
      if (matrix < 0) dw[at + n] += gradient[atW + n];
      else for (let m = 0; m < d; m++) dw[at + m] += r[(matrix * d + n) * d + m] * gradient[atW + n];
    }
  });
};

const toMatrices = (sizes: Sizes, w: Numbers, gradient: Numbers, dr: Numbers): void => {
  const { d } = sizes;
  dr.fill(0);
  walk(sizes, (matrix, atW, at) => {
    if (matrix < 0) return;
    for (let n = 0; n < d; n++) for (let m = 0; m < d; m++) dr[(matrix * d + n) * d + m] += w[at + m] * gradient[atW + n];
  });
};

export const forward = ({ call: { inputs, attrs }, inputs: [r, w], outputs: [out] }: ReferenceRun<ExpandAttrs>): void =>
  expand(sizesOf(inputs[0].shape, inputs[1].shape, attrs.identity), r, w, out);

/** Inputs: R, cotangent of W. */
export const backwardWeight = ({ call: { inputs, attrs }, inputs: [r, gradient], outputs: [dw] }: BackwardRun): void =>
  toWeight(sizesOf(inputs[0].shape, attrs.shape, attrs.identity), r, gradient, dw);

/** Inputs: w, cotangent of W. */
export const backwardMatrices = ({ call: { inputs, attrs }, inputs: [w, gradient], outputs: [dr] }: BackwardRun): void =>
  toMatrices(sizesOf(attrs.shape, inputs[0].shape, attrs.identity), w, gradient, dr);

/** Visits all entries: R[g, (a, n), (b, m)] = group[g, a, b] · space[g, n, m], with the places of the three. */
const eachEntry = ({ matrices, p, s, d }: FactorSizes, visit: (atR: number, atGroup: number, atSpace: number) => void): void => {
  for (let g = 0; g < matrices; g++) {
    for (let row = 0; row < d; row++) {
      for (let column = 0; column < d; column++) {
        const [a, n, b, m] = [Math.floor(row / s), row % s, Math.floor(column / s), column % s];
        visit((g * d + row) * d + column, (g * p + a) * p + b, (g * s + n) * s + m);
      }
    }
  }
};

const productOf = (sizes: FactorSizes, group: Numbers, space: Numbers): Float64Array => {
  const r = new Float64Array(sizes.matrices * sizes.d ** 2);
  eachEntry(sizes, (atR, atGroup, atSpace) => {
    r[atR] = group[atGroup] * space[atSpace];
  });
  return r;
};

export const factorised = ({ call, inputs: [group, space, w], outputs: [out] }: ReferenceRun<ExpandAttrs>): void => {
  const sizes = factorSizesOf(call.inputs[0].shape, call.inputs[1].shape, call.inputs[2].shape, call.attrs.identity);
  expand(sizes, productOf(sizes, group, space), w, out);
};

/** Inputs: group, space, w, cotangent of W; outputs: gradients of group and w. */
export const backwardFactorised = ({ call, inputs: [group, space, w, gradient], outputs: [dgroup, dw] }: ReferenceRun<ExpandAttrs>): void => {
  const sizes = factorSizesOf(call.inputs[0].shape, call.inputs[1].shape, call.inputs[2].shape, call.attrs.identity);
  const dr = new Float64Array(sizes.matrices * sizes.d ** 2);
  toMatrices(sizes, w, gradient, dr);
  dgroup.fill(0);
  eachEntry(sizes, (atR, atGroup, atSpace) => {
    dgroup[atGroup] += dr[atR] * space[atSpace];
  });
  toWeight(sizes, productOf(sizes, group, space), gradient, dw);
};

/** Inputs: group, w, cotangent of W. */
export const backwardSpace = ({ call: { inputs, attrs }, inputs: [group, w, gradient], outputs: [dspace] }: BackwardRun): void => {
  const sizes = factorSizesOf(inputs[0].shape, attrs.shape, inputs[1].shape, attrs.identity);
  const dr = new Float64Array(sizes.matrices * sizes.d ** 2);
  toMatrices(sizes, w, gradient, dr);
  dspace.fill(0);
  eachEntry(sizes, (atR, atGroup, atSpace) => {
    dspace[atSpace] += dr[atR] * group[atGroup];
  });
};

export const gather = ({ call: { inputs, attrs }, inputs: [index, w], outputs: [out], fault }: ReferenceRun<ExpandAttrs>): void => {
  const sizes = sizesOf(inputs[0].shape, inputs[1].shape, attrs.identity);
  const { d } = sizes;
  walk(sizes, (matrix, atW, at) => {
    for (let n = 0; n < d; n++) {
      const m = matrix < 0 ? n : index[matrix * d + n];
      if (!(m >= 0 && m < d)) fault(m);
      out[atW + n] = m >= 0 && m < d ? w[at + m] : 0;
    }
  });
};

/** Inputs: index, cotangent of W. */
export const scatter = ({ call: { inputs, attrs }, inputs: [index, gradient], outputs: [dw] }: BackwardRun): void => {
  const sizes = sizesOf(inputs[0].shape, attrs.shape, attrs.identity);
  const { d } = sizes;
  dw.fill(0);
  walk(sizes, (matrix, atW, at) => {
    for (let n = 0; n < d; n++) {
      const m = matrix < 0 ? n : index[matrix * d + n];
      if (m >= 0 && m < d) dw[at + m] += gradient[atW + n];
    }
  });
};
