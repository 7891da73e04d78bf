import * as shaders from "../../generated/reduce.ts";
import { type Call, elements, grid, input, type Limits, output, type Pass, type Plan, type Shader, type Shape, scratch } from "../../op.ts";
import { type ArgmaxAttrs, type BackwardAttrs, type ReduceAttrs, reducedShape, splitAxes, termsOf } from "./reference.ts";

const THREADS = 256;
/** Terms that one thread takes before another thread joins in. */
export const TERMS_PER_THREAD = 4;
/** Terms that a workgroup takes before another workgroup joins in, and a second dispatch with it. */
export const PART_TERMS = 4096;
/** Workgroups that keep a large GPU busy: with more of them, terms are not cut into parts. */
const ENOUGH_WORKGROUPS = 1024;
/** Neighbouring outputs that one workgroup takes side by side, where the last axis is kept: a cache line of them. */
export const SIDE_BY_SIDE = 32;

const powerOfTwo = (least: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, least)));
const padded = (list: readonly number[]): number[] => [...list, ...new Array<number>(4 - list.length).fill(1)];

const passes = (
  shader: Shader,
  shape: Shape,
  axes: readonly number[],
  constants: Readonly<Record<string, number>>,
  results: Pass["bind"],
  limits: Limits,
): Plan => {
  const outputs = elements(reducedShape(shape, axes, false));
  const terms = termsOf(shape, axes);
  if (outputs === 0) return { passes: [] };
  const { sizes, steps, own } = splitAxes(shape, axes);
  const kept = [...sizes.keys()].filter((axis) => steps[axis] !== 0);
  const reduced = [...sizes.keys()].filter((axis) => steps[axis] === 0);
  const pick = (list: readonly number[], of: readonly number[]): number[] => of.map((axis) => list[axis]);

  const interleaved = kept.length > 0 && kept[kept.length - 1] === sizes.length - 1;
  const widest = interleaved ? THREADS / Math.min(SIDE_BY_SIDE, powerOfTwo(outputs)) : THREADS;
  const rowsAlone = Math.ceil(outputs / (THREADS / Math.min(widest, powerOfTwo(terms / TERMS_PER_THREAD))));
  const parts = rowsAlone >= ENOUGH_WORKGROUPS ? 1 : Math.max(1, Math.min(Math.ceil(terms / PART_TERMS), Math.floor(ENOUGH_WORKGROUPS / rowsAlone)));
  const partTerms = Math.ceil(terms / parts);
  // With outputs enough to fill the GPU by themselves, neighbours read neighbouring memory and nothing is exchanged.
  const alone = interleaved && outputs >= THREADS * ENOUGH_WORKGROUPS;
  const lanes = alone ? 1 : Math.min(widest, powerOfTwo(partTerms / TERMS_PER_THREAD));

  const params = {
    outputs,
    terms,
    parts,
    part_terms: partTerms,
    kept_sizes: padded(pick(sizes, kept)),
    kept_steps: padded(pick(own, kept)),
    reduced_sizes: padded(pick(sizes, reduced)),
    reduced_steps: padded(pick(own, reduced)),
  };
  const pass = (entry: string, count: number, lanesPerRow: number, sideBySide: boolean): Pass => ({
    shader,
    entry,
    constants: { ...constants, LANES: lanesPerRow, INTERLEAVED: sideBySide ? 1 : 0, KEPT: kept.length, REDUCED: reduced.length },
    params,
    bind: { x: input(0), ...results, ...(parts > 1 ? { partials: scratch(0) } : {}) },
    workgroups: grid(Math.ceil((count * lanesPerRow) / THREADS), limits),
  });
  if (parts === 1) return { passes: [pass("whole", outputs, lanes, interleaved)] };
  return {
    scratch: [2 * outputs * parts],
    passes: [pass("partial", outputs * parts, lanes, interleaved), pass("combine", outputs, Math.min(THREADS, powerOfTwo(parts)), true)],
  };
};

export const forward = ({ attrs: { kind, axes }, inputs: [{ shape }] }: Call<ReduceAttrs>, limits: Limits): Plan => {
  const y = { y: output(0) };
  if (kind === "logsumexp") return passes(shaders.logsumexp, shape, axes, {}, y, limits);
  if (kind === "sum" || kind === "mean") return passes(shaders.sum, shape, axes, { MEAN: kind === "mean" ? 1 : 0 }, y, limits);
  return passes(shaders.extreme, shape, axes, { LEAST: kind === "min" ? 1 : 0 }, { ...y, ties: output(1) }, limits);
};

export const argmax = ({ attrs: { axes }, inputs: [{ shape }] }: Call<ArgmaxAttrs>, limits: Limits): Plan =>
  passes(shaders.argmax, shape, axes, {}, { y: output(0) }, limits);

export const backward = ({ attrs: { kind, axes, shape }, inputs }: Call<BackwardAttrs>, limits: Limits): Plan => {
  const count = elements(shape);
  if (count === 0) return { passes: [] };
  const { sizes, steps } = splitAxes(shape, axes);
  const pad = (list: readonly number[]): number[] => [...list, ...new Array<number>(8 - list.length).fill(0)];
  // A binding that the kind does not read gets what is bound anyway.
  const ref = (i: number): ReturnType<typeof input> => input(i < inputs.length ? i : 0);
  return {
    passes: [
      {
        shader: shaders.backward,
        entry: "main",
        constants: { KIND: shaders.backward.consts[kind.toUpperCase()], AXES: sizes.length },
        params: { count, scale: kind === "mean" ? 1 / termsOf(shape, axes) : 1, sizes: pad(sizes), steps: pad(steps) },
        bind: { g: ref(0), x: ref(1), y: ref(2), ties: ref(3), dx: output(0) },
        workgroups: grid(Math.ceil(count / THREADS), limits),
      },
    ],
  };
};
