/** The definitions, in float64. */
import type { Numbers, ReferenceRun } from "../../op.ts";

/**
 * `x` seen as [outer, groups, inner]: statistics belong to a group and are taken over outer and inner.
 * Weight and bias are indexed by the place within the row ("element", outer is 1) or by `group % channels` ("channel").
 */
export type View = {
  readonly outer: number;
  readonly groups: number;
  readonly inner: number;
  readonly by: "element" | "channel";
  readonly channels: number;
};
export type NormAttrs = View & { readonly weight: boolean; readonly bias: boolean };
export type BackwardAttrs = View & { readonly weight: boolean; readonly fixed: boolean };
export type ParameterAttrs = View & { readonly shape: readonly number[] };

/** Number of elements that one group's statistics are taken over. */
export const termsOf = ({ outer, inner }: View): number => outer * inner;

/** Calls `visit(offset, group, affine index)` for every element. */
const visitAll = ({ outer, groups, inner, by, channels }: View, visit: (at: number, group: number, place: number) => void): void => {
  for (let a = 0; a < outer; a++) {
    for (let b = 0; b < groups; b++) {
      for (let c = 0; c < inner; c++) visit((a * groups + b) * inner + c, b, by === "element" ? c : b % channels);
    }
  }
};

const normalize = (attrs: NormAttrs, eps: number, x: Numbers, mean: Numbers, variance: Numbers, parameters: readonly Numbers[], y: Numbers): void => {
  const weight = attrs.weight ? parameters[0] : undefined;
  const bias = attrs.bias ? parameters[attrs.weight ? 1 : 0] : undefined;
  visitAll(attrs, (at, group, place) => {
    const scaled = (x[at] - mean[group]) / Math.sqrt(variance[group] + eps);
    y[at] = scaled * (weight?.[place] ?? 1) + (bias?.[place] ?? 0);
  });
};

/** The mean and the biased variance of every group; 0 and 0 for groups without elements. */
export const forward = ({ call: { attrs }, scalars, inputs: [x, ...parameters], outputs: [y, mean, variance] }: ReferenceRun<NormAttrs>): void => {
  const terms = Math.max(1, termsOf(attrs));
  mean.fill(0);
  variance.fill(0);
  visitAll(attrs, (at, group) => {
    mean[group] += x[at] / terms;
  });
  visitAll(attrs, (at, group) => {
    variance[group] += (x[at] - mean[group]) ** 2 / terms;
  });
  normalize(attrs, scalars.eps, x, mean, variance, parameters, y);
};

export const fixed = ({ call: { attrs }, scalars, inputs: [x, mean, variance, ...parameters], outputs: [y] }: ReferenceRun<NormAttrs>): void =>
  normalize(attrs, scalars.eps, x, mean, variance, parameters, y);

export const backward = ({ call: { attrs }, scalars, inputs: [g, x, mean, variance, weight], outputs: [dx] }: ReferenceRun<BackwardAttrs>): void => {
  const rstd = Array.from(variance, (value) => 1 / Math.sqrt(value + scalars.eps));
  const sums = new Float64Array(attrs.groups);
  const products = new Float64Array(attrs.groups);
  const terms = termsOf(attrs);
  const each = (visit: (at: number, group: number, h: number, scaled: number) => void): void =>
    visitAll(attrs, (at, group, place) => visit(at, group, g[at] * (weight?.[place] ?? 1), (x[at] - mean[group]) * rstd[group]));
  if (!attrs.fixed) {
    each((_, group, h, scaled) => {
      sums[group] += h / terms;
      products[group] += (h * scaled) / terms;
    });
  }
  each((at, group, h, scaled) => {
    dx[at] = rstd[group] * (h - sums[group] - scaled * products[group]);
  });
};

export const parameters = ({
  call: { attrs },
  scalars,
  inputs: [g, x, mean, variance],
  outputs: [dweight, dbias],
}: ReferenceRun<ParameterAttrs>): void => {
  dweight.fill(0);
  dbias.fill(0);
  visitAll(attrs, (at, group, place) => {
    dweight[place] += (g[at] * (x[at] - mean[group])) / Math.sqrt(variance[group] + scalars.eps);
    dbias[place] += g[at];
  });
};

/** running += momentum · (batch − running), with the unbiased variance. */
export const track = ({
  call: { attrs },
  scalars: { momentum },
  inputs: [runningMean, runningVar, mean, variance],
}: ReferenceRun<{ terms: number }>): void => {
  const unbiased = attrs.terms / (attrs.terms - 1);
  for (let i = 0; i < runningMean.length; i++) {
    runningMean[i] += momentum * (mean[i] - runningMean[i]);
    runningVar[i] += momentum * (unbiased * variance[i] - runningVar[i]);
  }
};
