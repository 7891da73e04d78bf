import * as shaders from "../../generated/norm.ts";
import { type Call, elements, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import type { BackwardAttrs, NormAttrs, ParameterAttrs, View } from "./reference.ts";
import { termsOf } from "./reference.ts";

const THREADS = 256;
/** Groups of more elements than this are cut into parts that several workgroups reduce; then a pass costs two dispatches. */
export const PART_TERMS = 16384;
const MAX_PARTS = 64;
/** Elements that one thread takes before another thread joins in. */
const TERMS_PER_THREAD = 4;
/** Rows shorter than this lie side by side in the threads of a workgroup, so that neighbours read neighbouring memory. */
export const NARROW_INNER = 8;

/** How rows of a view are laid over threads: a row is one part of one group. */
interface Layout {
  readonly parts: number;
  readonly workgroups: number;
  readonly constants: { readonly LANES: number; readonly INTERLEAVED: number };
  readonly params: {
    readonly outer: number;
    readonly groups: number;
    readonly inner: number;
    readonly terms: number;
    readonly parts: number;
    readonly part_terms: number;
  };
}

const powerOfTwo = (least: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, least)));

const layout = (view: { readonly outer: number; readonly groups: number; readonly inner: number }): Layout => {
  const { outer, groups, inner } = view;
  const terms = outer * inner;
  const parts = terms <= PART_TERMS ? 1 : Math.min(MAX_PARTS, Math.ceil(terms / PART_TERMS));
  const partTerms = Math.ceil(terms / parts);
  const interleaved = outer > 1 && inner < NARROW_INNER && groups > 1;
  const most = interleaved ? THREADS / Math.min(32, powerOfTwo(groups)) : THREADS;
  const lanes = Math.min(most, powerOfTwo(partTerms / TERMS_PER_THREAD));
  return {
    parts,
    workgroups: Math.ceil((groups * parts) / (THREADS / lanes)),
    constants: { LANES: lanes, INTERLEAVED: interleaved ? 1 : 0 },
    params: { outer, groups, inner, terms, parts, part_terms: partTerms },
  };
};

const flags = ({ by, weight, bias = false }: View & { weight: boolean; bias?: boolean }): Record<string, number> => ({
  WEIGHT: weight ? 1 : 0,
  BIAS: bias ? 1 : 0,
  BY_ELEMENT: by === "element" ? 1 : 0,
});

/** A binding that the pass does not read: anything that it reads already will do. */
const UNUSED = input(0);

export const forward = ({ attrs }: Call<NormAttrs>, limits: Limits): Plan => {
  const { parts, workgroups, constants, params } = layout(attrs);
  const pass = (entry: string): Pass => ({
    shader: shaders.forward,
    entry,
    constants: { ...constants, ...flags(attrs) },
    params: { ...params, channels: Math.max(1, attrs.channels) },
    bind: {
      x: input(0),
      weight: attrs.weight ? input(1) : UNUSED,
      bias: attrs.bias ? input(attrs.weight ? 2 : 1) : UNUSED,
      y: output(0),
      mean: output(1),
      variance: output(2),
      ...(parts > 1 ? { partials: scratch(0) } : {}),
    },
    workgroups: grid(workgroups, limits),
  });
  if (parts === 1) return { passes: [pass("row")] };
  return { scratch: [2 * attrs.groups * parts], passes: [pass("partial"), pass("finish")] };
};

export const fixed = ({ attrs, outputs: [y] }: Call<NormAttrs>, limits: Limits): Plan => {
  const count = elements(y.shape);
  const { groups, inner, channels } = attrs;
  const bind = {
    x: input(0),
    mean: input(1),
    variance: input(2),
    weight: attrs.weight ? input(3) : UNUSED,
    bias: attrs.bias ? input(attrs.weight ? 4 : 3) : UNUSED,
    y: output(0),
  };
  const params = { count, groups, inner, channels: Math.max(1, channels) };
  return {
    passes: [
      { shader: shaders.fixed, entry: "forward", constants: flags(attrs), params, bind, workgroups: grid(Math.ceil(count / THREADS), limits) },
    ],
  };
};

export const backward = ({ attrs, outputs: [dx] }: Call<BackwardAttrs>, limits: Limits): Plan => {
  const weight = attrs.weight ? input(4) : UNUSED;
  if (attrs.fixed) {
    const count = elements(dx.shape);
    const params = { count, groups: attrs.groups, inner: attrs.inner, channels: Math.max(1, attrs.channels) };
    const bind = { g: input(0), variance: input(3), weight, y: output(0) };
    return {
      passes: [
        { shader: shaders.fixed, entry: "backward", constants: flags(attrs), params, bind, workgroups: grid(Math.ceil(count / THREADS), limits) },
      ],
    };
  }
  const { parts, workgroups, constants, params } = layout(attrs);
  const { BIAS: _, ...affine } = flags(attrs);
  const pass = (entry: string): Pass => ({
    shader: shaders.backward,
    entry,
    constants: { ...constants, ...affine },
    params: { ...params, channels: Math.max(1, attrs.channels) },
    bind: {
      g: input(0),
      x: input(1),
      mean: input(2),
      variance: input(3),
      weight,
      dx: output(0),
      ...(parts > 1 ? { partials: scratch(0) } : {}),
    },
    workgroups: grid(workgroups, limits),
  });
  if (parts === 1) return { passes: [pass("row")] };
  return { scratch: [2 * attrs.groups * parts], passes: [pass("partial"), pass("finish")] };
};

export const parameters = ({ attrs }: Call<ParameterAttrs>, limits: Limits): Plan => {
  const { outer, groups, inner, by, channels } = attrs;
  // The sums of one parameter run over `outer` and `inner` of this view.
  const view =
    by === "element"
      ? { outer: groups, groups: inner, inner: 1 }
      : { outer: termsOf(attrs) === 0 ? 0 : (outer * groups) / channels, groups: channels, inner };
  const { parts, workgroups, constants, params } = layout(view);
  const pass = (entry: string, count: number): Pass => ({
    shader: shaders.parameters,
    entry,
    constants: { ...constants, BY_ELEMENT: by === "element" ? 1 : 0 },
    params: { ...params, statistics: Math.max(1, groups) },
    bind: {
      g: input(0),
      x: input(1),
      mean: input(2),
      variance: input(3),
      dweight: output(0),
      dbias: output(1),
      ...(parts > 1 ? { partials: scratch(0) } : {}),
    },
    workgroups: grid(count, limits),
  });
  if (parts === 1) return { passes: [pass("whole", workgroups)] };
  return { scratch: [2 * view.groups * parts], passes: [pass("partial", workgroups), pass("combine", Math.ceil(view.groups / THREADS))] };
};

export const track = ({ attrs: { terms }, inputs: [{ shape }] }: Call<{ terms: number }>, limits: Limits): Plan => {
  const count = elements(shape);
  const params = { count, unbiased: terms / (terms - 1) };
  const bind = { running_mean: input(0), running_variance: input(1), mean: input(2), variance: input(3) };
  return { passes: [{ shader: shaders.track, entry: "main", params, bind, workgroups: grid(Math.ceil(count / THREADS), limits) }] };
};
