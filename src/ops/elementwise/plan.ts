import * as shaders from "../../generated/elementwise.ts";
import { type Call, elements, grid, input, type Limits, output, type Pass, type Plan } from "../../op.ts";
import { broadcastStrides, collapse, padAxes } from "../../shapes.ts";
import type { BinaryBackwardAttrs, BinaryKind, UnaryKind } from "./reference.ts";

const THREADS = 256;
/** From this many terms a whole workgroup sums one gradient element. */
export const GROUP_TERMS = 128;

const kindCode = (consts: Readonly<Record<string, number>>, kind: string): number => consts[kind.toUpperCase()];

export const unary = ({ attrs: { kind }, outputs: [y] }: Call<{ kind: UnaryKind }>, limits: Limits): Plan => {
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

export const unaryBackward = ({ attrs: { kind }, outputs: [dx] }: Call<{ kind: UnaryKind }>, limits: Limits): Plan => {
  const count = elements(dx.shape);
  const constants = { KIND: kindCode(shaders.unary.consts, kind) };
  const bind = { g: input(0), x: input(1), y: output(0) };
  return {
    passes: [{ shader: shaders.unary, entry: "backward", constants, params: { count }, bind, workgroups: grid(Math.ceil(count / THREADS), limits) }],
  };
};

export const affine = ({ outputs: [y] }: Call, limits: Limits): Plan => {
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

export const binary = ({ attrs: { kind }, inputs: [a, b], outputs: [y] }: Call<{ kind: BinaryKind }>, limits: Limits): Plan => {
  const count = elements(y.shape);
  const { sizes, strides } = collapse(y.shape, [broadcastStrides(a.shape, y.shape), broadcastStrides(b.shape, y.shape)]);
  const same = strides.every((steps) => steps.length === 0 || (steps.length === 1 && steps[0] === 1));
  const pass: Pass = {
    shader: shaders.binary,
    entry: same ? "same" : "broadcast",
    constants: { KIND: kindCode(shaders.binary.consts, kind), SIDE: 0 },
    params: tables(count, 1, sizes, [], [strides[0], strides[1], sizes.map(() => 0)]),
    bind: { a: input(0), b: input(1), y: output(0) },
    workgroups: grid(Math.ceil(count / THREADS), limits),
  };
  return { passes: [pass] };
};

export const binaryBackward = ({ attrs, inputs }: Call<BinaryBackwardAttrs>, limits: Limits): Plan => {
  const { kind, wrt, shape: own } = attrs;
  const [{ shape }, a = inputs[0], b = inputs[0]] = inputs;
  const operands = [own, a.shape, b.shape, shape].map((operand) => broadcastStrides(operand, shape));
  const { sizes, strides } = collapse(shape, operands);
  const [ownSteps, ...steps] = strides;
  // Row-major order of the kept axes is the order of the result's elements.
  const kept = [...sizes.keys()].filter((axis) => ownSteps[axis] !== 0);
  const summed = [...sizes.keys()].filter((axis) => ownSteps[axis] === 0);
  const pick = (axes: readonly number[]): number[] => axes.map((axis) => sizes[axis]);
  const count = elements(own);
  const terms = elements(pick(summed));
  const wide = terms >= GROUP_TERMS;
  const pass: Pass = {
    shader: shaders.binary,
    entry: wide ? "backward_group" : "backward_thread",
    constants: { KIND: kindCode(shaders.binary.consts, kind), SIDE: wrt },
    params: tables(
      count,
      elements(shape) === 0 ? 0 : terms,
      pick(kept),
      pick(summed),
      steps.map((list) => [...padAxes(kept.map((axis) => list[axis])), ...summed.map((axis) => list[axis])]),
    ),
    bind: { g: input(0), a: input(inputs.length > 1 ? 1 : 0), b: input(inputs.length > 2 ? 2 : 0), y: output(0) },
    workgroups: grid(wide ? count : Math.ceil(count / THREADS), limits),
  };
  return { passes: [pass] };
};

const tables = (
  count: number,
  terms: number,
  kept: readonly number[],
  summed: readonly number[],
  steps: readonly (readonly number[])[],
): Record<string, number | readonly number[]> => {
  const pad = (list: readonly number[]): number[] => [...list, ...new Array<number>(16 - list.length).fill(0)];
  return {
    count,
    terms,
    kept: kept.length,
    summed: summed.length,
    sizes: pad([...padAxes(kept), ...summed]),
    strides_a: pad(steps[0]),
    strides_b: pad(steps[1]),
    strides_g: pad(steps[2]),
  };
};
