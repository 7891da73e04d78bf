import * as shaders from "../../generated/elementwise.ts";
import { type BufferRef, type Call, elements, grid, input, type Limits, output, type Pass, type Plan } from "../../op.ts";
import { broadcastStrides, collapse, padAxes, type Walk } from "../../shapes.ts";
import { inSlices, type Part, partOf, partsOf } from "../../slices.ts";
import type { BinaryBackwardAttrs, BinaryKind, UnaryKind } from "./reference.ts";

const THREADS = 256;
/** From this many terms a whole workgroup sums one gradient element. */
export const GROUP_TERMS = 128;

const kindCode = (consts: Readonly<Record<string, number>>, kind: string): number => consts[kind.toUpperCase()];

const wholeUnary = ({ attrs: { kind }, outputs: [y] }: Call<{ kind: UnaryKind }>, limits: Limits): Plan => {
  const count = elements(y.shape);
  const constants = { KIND: kindCode(shaders.unary.consts, kind) };
  return {
    passes: [
      {
        shader: shaders.unary,
        entry: "forward",
        constants,
        params: { count },
        bind: { x: input(0), y: output(0) },
        workgroups: grid(Math.ceil(count / THREADS), limits),
      },
    ],
  };
};

const wholeUnaryBackward = ({ attrs: { kind }, outputs: [dx] }: Call<{ kind: UnaryKind }>, limits: Limits): Plan => {
  const count = elements(dx.shape);
  const constants = { KIND: kindCode(shaders.unary.consts, kind) };
  const bind = { g: input(0), x: input(1), y: output(0) };
  return {
    passes: [{ shader: shaders.unary, entry: "backward", constants, params: { count }, bind, workgroups: grid(Math.ceil(count / THREADS), limits) }],
  };
};

const wholeAffine = ({ outputs: [y] }: Call, limits: Limits): Plan => {
  const count = elements(y.shape);
  return {
    passes: [
      {
        shader: shaders.affine,
        entry: "main",
        params: { count },
        bind: { x: input(0), y: output(0) },
        workgroups: grid(Math.ceil(count / THREADS), limits),
      },
    ],
  };
};

/** Element by element: every axis is one of the batch. */
export const unary: typeof wholeUnary = (call, limits) => inSlices(call, limits, { inputs: [0], outputs: [0] }, wholeUnary);
export const unaryBackward: typeof wholeUnaryBackward = (call, limits) =>
  inSlices(call, limits, { inputs: [0, 0], outputs: [0] }, wholeUnaryBackward);
export const affine: typeof wholeAffine = (call, limits) => inSlices(call, limits, { inputs: [0], outputs: [0] }, wholeAffine);

/** Parts of a walk's first axis, and what an operand takes of one. */
const partsAlong = ({ sizes, strides }: Walk, limits: Limits): readonly { readonly part: Part; readonly sizes: readonly number[] }[] => {
  const [first = 1, ...rest] = sizes;
  const bytes = strides.map(([step = 0]) => 4 * step);
  return partsOf(first, bytes, limits).map((part) => ({ part, sizes: sizes.length > 0 ? [part.count, ...rest] : [] }));
};
const step = ([first = 0]: readonly number[]): number => first;

export const binary = ({ attrs: { kind }, inputs: [a, b], outputs: [y] }: Call<{ kind: BinaryKind }>, limits: Limits): Plan => {
  const walk = collapse(
    y.shape,
    [a, b, y].map(({ shape }) => broadcastStrides(shape, y.shape)),
  );
  const [ofA, ofB, ofY] = walk.strides;
  const same = [ofA, ofB].every((steps) => steps.length === 0 || (steps.length === 1 && steps[0] === 1));
  const passes = partsAlong(walk, limits).map(({ part, sizes }): Pass => {
    const count = elements(sizes);
    return {
      shader: shaders.binary,
      entry: same ? "same" : "broadcast",
      constants: { KIND: kindCode(shaders.binary.consts, kind), SIDE: 0 },
      params: tables(count, 1, sizes, [], [ofA, ofB, sizes.map(() => 0)]),
      bind: { a: partOf(input(0), part, step(ofA)), b: partOf(input(1), part, step(ofB)), y: partOf(output(0), part, step(ofY)) },
      workgroups: grid(Math.ceil(count / THREADS), limits),
    };
  });
  return { passes };
};

/** Parts that add to the same sums go one after the other. */
export const binaryBackward = ({ attrs, inputs }: Call<BinaryBackwardAttrs>, limits: Limits): Plan => {
  const { kind, wrt, shape: own } = attrs;
  const [{ shape }, a = inputs[0], b = inputs[0]] = inputs;
  const walk = collapse(
    shape,
    [own, a.shape, b.shape, shape].map((operand) => broadcastStrides(operand, shape)),
  );
  const [ownSteps, ...steps] = walk.strides;
  // Row-major order of the kept axes is the order of the result's elements.
  const kept = [...walk.sizes.keys()].filter((axis) => ownSteps[axis] !== 0);
  const summed = [...walk.sizes.keys()].filter((axis) => ownSteps[axis] === 0);
  const passes = partsAlong(walk, limits).map(({ part, sizes }): Pass => {
    const pick = (axes: readonly number[]): number[] => axes.map((axis) => sizes[axis]);
    const count = elements(pick(kept));
    const terms = elements(pick(summed));
    const wide = terms >= GROUP_TERMS;
    const onto = summed[0] === 0 && part.from > 0;
    const strides = steps.map((list) => [...padAxes(kept.map((axis) => list[axis])), ...summed.map((axis) => list[axis])]);
    const bound = (index: number, operand: readonly number[]): BufferRef => partOf(input(index), part, step(operand));
    const g = bound(0, steps[2]);
    return {
      shader: shaders.binary,
      entry: wide ? "backward_group" : "backward_thread",
      constants: { KIND: kindCode(shaders.binary.consts, kind), SIDE: wrt },
      params: tables(count, terms, pick(kept), pick(summed), strides, onto),
      bind: {
        g,
        a: inputs.length > 1 ? bound(1, steps[0]) : g,
        b: inputs.length > 2 ? bound(2, steps[1]) : g,
        y: partOf(output(0), part, step(ownSteps)),
      },
      workgroups: grid(wide ? count : Math.ceil(count / THREADS), limits),
    };
  });
  return { passes };
};

const tables = (
  count: number,
  terms: number,
  kept: readonly number[],
  summed: readonly number[],
  steps: readonly (readonly number[])[],
  onto = false,
): Record<string, number | readonly number[]> => {
  const pad = (list: readonly number[]): number[] => [...list, ...new Array<number>(16 - list.length).fill(0)];
  return {
    count,
    terms,
    kept: kept.length,
    summed: summed.length,
    onto: onto ? count : 0,
    sizes: pad([...padAxes(kept), ...summed]),
    strides_a: pad(steps[0]),
    strides_b: pad(steps[1]),
    strides_g: pad(steps[2]),
  };
};
