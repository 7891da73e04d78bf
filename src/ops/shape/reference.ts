/** Moving elements: every definition is a walk over one shape with strides into the operands. */
import { type Call, elements, type ReferenceRun, type Shape, strides } from "../../op.ts";
import { broadcastStrides, type Walk, walk } from "../../shapes.ts";

export interface SliceAttrs extends Record<string, number> {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

export interface GatherAttrs extends Record<string, number | boolean | readonly number[]> {
  readonly axis: number;
  /** Whether every index picks a whole row (`take`) rather than one element (`gather`). */
  readonly rows: boolean;
}

export interface GatherBackwardAttrs extends GatherAttrs {
  /** Of the tensor that was read. */
  readonly shape: readonly number[];
}

/** Axes of `permute` in the order of the result: sizes, and strides into x. */
export const permuteWalk = ({ inputs: [x], attrs: { axes } }: Call<{ axes: readonly number[] }>): Walk => {
  const own = strides(x.shape);
  return { sizes: axes.map((axis) => x.shape[axis]), strides: [axes.map((axis) => own[axis])] };
};

/**
 * How an indexed read walks: the axes of the result, with strides into x that leave the indexed axis out,
 * into the index, and into the result.
 */
export const gatherWalk = (x: Shape, index: Shape, { axis, rows }: GatherAttrs): Walk & { readonly step: number } => {
  const sizes = gatherShape(x, index, axis, rows);
  const own = strides(x);
  const [before, after] = [own.slice(0, axis), own.slice(axis + 1)];
  const steps = rows ? [...before, ...index.map(() => 0), ...after] : [...before, 0, ...after];
  const picks = rows ? [...before.map(() => 0), ...strides(index), ...after.map(() => 0)] : strides(index);
  return { sizes, strides: [steps, picks, strides(sizes)], step: own[axis] };
};

export const gatherShape = (x: Shape, index: Shape, axis: number, rows: boolean): Shape =>
  rows ? [...x.slice(0, axis), ...index, ...x.slice(axis + 1)] : index;

export const reshape = ({ inputs: [x], outputs: [y] }: ReferenceRun<{ shape: Shape }>): void => y.set(x);

export const permute = ({ call, inputs: [x], outputs: [y] }: ReferenceRun<{ axes: readonly number[] }>): void => {
  let i = 0;
  walk(permuteWalk(call), (at) => {
    y[i++] = x[at];
  });
};

export const expand = ({ call, inputs: [x], outputs: [y] }: ReferenceRun<{ shape: Shape }>): void => {
  const sizes = call.attrs.shape;
  let i = 0;
  walk({ sizes, strides: [broadcastStrides(call.inputs[0].shape, sizes)] }, (at) => {
    y[i++] = x[at];
  });
};

export const concat = ({ call, inputs, outputs: [y] }: ReferenceRun<{ axis: number }>): void => {
  const { axis } = call.attrs;
  const { shape } = call.outputs[0];
  const row = elements(shape.slice(axis));
  let first = 0;
  for (const [k, x] of inputs.entries()) {
    const part = elements(call.inputs[k].shape.slice(axis));
    for (let i = 0; i < x.length; i++) y[Math.floor(i / part) * row + first + (i % part)] = x[i];
    first += part;
  }
};

/** Calls `visit` with the offsets in the whole tensor and in the slice. */
const walkSlice = (whole: Shape, part: Shape, { axis, start, step }: SliceAttrs, visit: (whole: number, part: number) => void): void => {
  const own = strides(whole);
  let i = 0;
  walk({ sizes: part, strides: [own.map((stride, k) => (k === axis ? stride * step : stride))] }, (at) => visit(start * own[axis] + at, i++));
};

export const slice = ({ call, inputs: [x], outputs: [y] }: ReferenceRun<SliceAttrs>): void =>
  walkSlice(call.inputs[0].shape, call.outputs[0].shape, call.attrs, (whole, part) => {
    y[part] = x[whole];
  });

export const sliceBackward = ({ call, inputs: [g], outputs: [dx] }: ReferenceRun<SliceAttrs & { size: number }>): void => {
  dx.fill(0);
  walkSlice(call.outputs[0].shape, call.inputs[0].shape, call.attrs, (whole, part) => {
    dx[whole] = g[part];
  });
};

export const gather = ({ call, inputs: [x, index], outputs: [y], fault }: ReferenceRun<GatherAttrs>): void => {
  const { shape } = call.inputs[0];
  const { step, ...loops } = gatherWalk(shape, call.inputs[1].shape, call.attrs);
  walk(loops, (atX, atIndex, atY) => {
    const picked = index[atIndex];
    const known = picked >= 0 && picked < shape[call.attrs.axis];
    if (!known) fault(picked);
    y[atY] = known ? x[atX + picked * step] : 0;
  });
};

export const gatherBackward = ({ call, inputs: [g, index], outputs: [dx] }: ReferenceRun<GatherBackwardAttrs>): void => {
  const { shape } = call.outputs[0];
  const { step, ...loops } = gatherWalk(shape, call.inputs[1].shape, call.attrs);
  dx.fill(0);
  walk(loops, (atX, atIndex, atG) => {
    const picked = index[atIndex];
    if (picked >= 0 && picked < shape[call.attrs.axis]) dx[atX + picked * step] += g[atG];
  });
};
