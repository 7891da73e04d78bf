import { apply } from "../../apply.ts";
import { flag, list, sizes, whole } from "../../attributes.ts";
import { ArgumentError, expected } from "../../errors.ts";
import { defineOp, elements, type Op, type Shape, type Spec, showShape } from "../../op.ts";
import { broadcastShapes, MAX_AXES, requireAxis, requireInputs, requireInteger } from "../../shapes.ts";
import { binaryBackward } from "../elementwise/op.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { type GatherAttrs, type GatherBackwardAttrs, gatherShape, type SliceAttrs } from "./reference.ts";

const noSecond = { none: "second derivatives are not provided" } as const;

const requireAxes = (where: string, shape: Shape, argument: string): void => {
  if (shape.length > MAX_AXES) throw expected(where, `at most ${MAX_AXES} axes`, argument, showShape(shape));
};

export const reshape: Op<{ readonly shape: readonly number[] }> = defineOp<{ readonly shape: readonly number[] }>({
  name: "shape.reshape",
  arity: 1,
  attributes: { shape: sizes },
  alias: true,
  outputs: ([x], { shape }) => {
    if (elements(shape) !== elements(x.shape)) {
      throw expected("reshape", `a shape with the ${elements(x.shape)} elements of ${showShape(x.shape)}`, "shape", shape);
    }
    return [{ shape, dtype: x.dtype }];
  },
  reference: reference.reshape,
  plan: () => ({ passes: [] }),
  gradient: { saves: {}, vjp: (ctx) => apply(reshape, [ctx.gradient(0)], { shape: ctx.call.inputs[0].shape }) },
});

export const permute: Op<{ readonly axes: readonly number[] }> = defineOp<{ readonly axes: readonly number[] }>({
  name: "shape.permute",
  arity: 1,
  attributes: { axes: list(whole()) },
  outputs: ([x], { axes }) => {
    requireAxes("permute", x.shape, "x");
    const known = new Set(axes.filter((axis) => axis < x.shape.length));
    if (axes.length !== x.shape.length || known.size !== axes.length)
      throw expected("permute", `each axis of shape ${showShape(x.shape)} once`, "axes", axes);
    return [{ shape: axes.map((axis) => x.shape[axis]), dtype: x.dtype }];
  },
  reference: reference.permute,
  plan: plan.permute,
  gradient: {
    saves: {},
    vjp: (ctx) => apply(permute, [ctx.gradient(0)], { axes: ctx.call.attrs.axes.map((_, axis) => ctx.call.attrs.axes.indexOf(axis)) }),
  },
});

export const expand = defineOp<{ readonly shape: readonly number[] }>({
  name: "shape.expand",
  arity: 1,
  attributes: { shape: sizes },
  outputs: ([x], { shape }) => {
    requireAxes("expand", shape, "shape");
    if (showShape(broadcastShapes("expand", x.shape, shape)) !== showShape(shape)) {
      throw expected("expand", `a shape that ${showShape(x.shape)} broadcasts to`, "shape", shape);
    }
    return [{ shape, dtype: x.dtype }];
  },
  reference: reference.expand,
  plan: plan.expand,
  // The gradient of a + b for a repeated a: one fused sum over the repeated axes.
  gradient: { saves: {}, vjp: (ctx) => apply(binaryBackward, [ctx.gradient(0)], { kind: "add", wrt: 0, shape: ctx.call.inputs[0].shape }) },
});

const withSize = ({ shape, dtype }: Spec, axis: number, size: number): Spec => ({ shape: shape.map((old, k) => (k === axis ? size : old)), dtype });

export const concat = defineOp<{ readonly axis: number }>({
  name: "shape.concat",
  arity: [1],
  attributes: { axis: whole() },
  outputs: (inputs, { axis }) => {
    const [first] = inputs;
    requireAxis("concat", axis, first.shape);
    for (const [i, { shape, dtype }] of inputs.entries()) {
      if (dtype !== first.dtype) throw expected("concat", `dtype ${first.dtype} as in tensors[0]`, `tensors[${i}]`, dtype);
      if (shape.length !== first.shape.length || shape.some((size, k) => k !== axis && size !== first.shape[k])) {
        throw expected("concat", `the sizes of ${showShape(first.shape)} on all axes but ${axis}`, `tensors[${i}]`, showShape(shape));
      }
    }
    return [
      withSize(
        first,
        axis,
        inputs.reduce((sum, { shape }) => sum + shape[axis], 0),
      ),
    ];
  },
  reference: reference.concat,
  plan: plan.concat,
  gradient: {
    saves: {},
    vjp: (ctx) => {
      const { axis } = ctx.call.attrs;
      let end = 0;
      return ctx.call.inputs.map(({ shape }, i) => {
        const start = end;
        end += shape[axis];
        return ctx.needs(i) ? apply(slice, [ctx.gradient(0)], { axis, start, end, step: 1 })[0] : undefined;
      });
    },
  },
});

const sliceKinds = { axis: whole(), start: whole(), end: whole(), step: whole(1) };

/** How many of `size` places are taken. */
const sliceSize = (where: string, { start, end, step }: SliceAttrs, size: number): number => {
  if (!(start <= end && end <= size)) throw expected(where, `an integer in [${start}, ${size}]`, "end", end);
  return Math.ceil((end - start) / step);
};

export const slice: Op<SliceAttrs> = defineOp<SliceAttrs>({
  name: "shape.slice",
  arity: 1,
  attributes: sliceKinds,
  outputs: ([x], attrs) => {
    requireAxes("slice", x.shape, "x");
    requireAxis("slice", attrs.axis, x.shape);
    return [withSize(x, attrs.axis, sliceSize("slice", attrs, x.shape[attrs.axis]))];
  },
  reference: reference.slice,
  plan: plan.slice,
  gradient: {
    saves: {},
    vjp: (ctx) => apply(sliceBackward, [ctx.gradient(0)], { ...ctx.call.attrs, size: ctx.call.inputs[0].shape[ctx.call.attrs.axis] }),
  },
});

export const sliceBackward = defineOp<SliceAttrs & { readonly size: number }>({
  name: "shape.sliceBackward",
  arity: 1,
  attributes: { ...sliceKinds, size: whole() },
  outputs: ([g], { size, ...attrs }) => {
    const where = "shape.sliceBackward";
    requireAxis(where, attrs.axis, g.shape);
    requireInputs(where, [g], { g: withSize(g, attrs.axis, sliceSize(where, attrs, size)).shape });
    return [withSize(g, attrs.axis, size)];
  },
  reference: reference.sliceBackward,
  plan: plan.sliceBackward,
  gradient: {
    saves: {},
    vjp: (ctx) => {
      const { axis, start, end, step } = ctx.call.attrs;
      return apply(slice, [ctx.gradient(0)], { axis, start, end, step });
    },
  },
});

const gatherKinds = { axis: whole(), rows: flag };

/** The shape of the result; throws for an axis or an index that does not fit. */
const gathered = (where: string, x: Shape, index: Shape, axis: number, rows: boolean): Shape => {
  requireAxis(where, axis, x);
  if (!rows && (index.length !== x.length || index.some((size, k) => k !== axis && size > x[k]))) {
    throw new ArgumentError(
      `${where}: expected as many axes as ${showShape(x)} for \`index\`, none longer except axis ${axis}, but received shape ${showShape(index)}`,
    );
  }
  return gatherShape(x, index, axis, rows);
};

export const gather = defineOp<GatherAttrs>({
  name: "shape.gather",
  arity: 2,
  attributes: gatherKinds,
  outputs: ([x, index], { axis, rows }) => {
    const where = rows ? "take" : "gather";
    const argument = rows ? "indices" : "index";
    requireInteger(where, index, argument);
    const shape = gathered(where, x.shape, index.shape, axis, rows);
    requireAxes(where, shape, argument);
    return [{ shape, dtype: x.dtype }];
  },
  reference: reference.gather,
  plan: plan.gather,
  fault: ({ inputs: [x], attrs: { axis, rows } }) =>
    `${rows ? "take" : "gather"}: expected an integer in [0, ${x.shape[axis]}) for \`${rows ? "indices" : "index"}\``,
  gradient: {
    saves: { inputs: [1] },
    vjp: (ctx) => {
      const { inputs, attrs } = ctx.call;
      return [apply(gatherBackward, [ctx.gradient(0), ctx.input(1)], { ...attrs, shape: inputs[0].shape })[0], undefined];
    },
  },
});

export const gatherBackward = defineOp<GatherBackwardAttrs>({
  name: "shape.gatherBackward",
  arity: 2,
  attributes: { ...gatherKinds, shape: sizes },
  outputs: (inputs, { axis, rows, shape }) => {
    const where = "shape.gatherBackward";
    const [g, index] = inputs;
    requireInteger(where, index, "index");
    requireInputs(where, inputs, { g: gathered(where, shape, index.shape, axis, rows), index });
    return [{ shape, dtype: g.dtype }];
  },
  reference: reference.gatherBackward,
  plan: plan.gatherBackward,
  gradient: noSecond,
});

export const ops: readonly Op[] = [reshape, permute, expand, concat, slice, sliceBackward, gather, gatherBackward] as readonly Op[];
