import * as shaders from "../../generated/expandKernel.ts";
import { type BufferRef, type Call, grid, input, type Limits, output, type Pass, type Plan, scratch } from "../../op.ts";
import { type ExpandAttrs, type FactorSizes, factorSizesOf, type Sizes, sizesOf } from "./sizes.ts";

/** Side of the square of results that one workgroup computes. */
export const TILE = 32;
/** Numbers that a workgroup copies to the identity's place. */
export const COPIED = 1024;
/** In place of a number of elements: more than there are. */
const ALL = 2 ** 32 - 1;
/** Threads of the kernels that give one result each. */
const THREADS = 256;

type BackwardCall = Call<ExpandAttrs & { readonly shape: readonly number[] }>;

interface Product {
  readonly kind: "FORWARD" | "TO_WEIGHT" | "TO_MATRICES";
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Elements of the group with a product of their own. */
  readonly batches?: number;
  /** Rows of the group factor, by which rows of w are mixed, or rows of the result where that is to happen late. */
  readonly mixed?: number;
  readonly late?: boolean;
  readonly added?: boolean;
  readonly bind: Readonly<Partial<Record<"w" | "r" | "t" | "factors", BufferRef>> & { y: BufferRef }>;
}

/** One product after the plan's first `scratch` buffers. */
const product = (
  sizes: Sizes,
  { kind, rows, columns, depth, batches = 1, mixed = 0, late = false, added = false, bind }: Product,
  limits: Limits,
  own: readonly number[] = [],
): Plan & { readonly scratch: readonly number[] } => {
  const { matrices, elements: group, cin, d } = sizes;
  const identity = group - matrices;
  const copies = kind === "FORWARD" && identity ? Math.ceil((rows * d) / COPIED) : 0;
  const tall = late ? TILE - (TILE % mixed) : TILE;
  const quads = d % 4 === 0 && matrices * rows * columns * depth > 0;
  // What is not read must be bound nonetheless; a quad needs four numbers.
  const unread = scratch(own.length);
  const { w = unread, r = unread, t = unread, factors = unread, y } = bind;
  const [w_quads, r_quads, t_quads] = [w, r, t].map((operand) => (quads ? operand : unread));
  return {
    scratch: [...own, 4],
    passes: [
      {
        shader: shaders.product,
        entry: "main",
        constants: { KIND: shaders.product.consts[kind] },
        params: {
          rows,
          columns,
          depth,
          batches,
          d,
          cin,
          group,
          identity,
          mixed,
          tall,
          mixed_operands: mixed > 0 && !late ? sizes.kernels : 0,
          mixed_results: late ? rows : 0,
          quads: quads ? ALL : 0,
          copied: identity === 1 ? rows * d : 0,
          added: added && identity === 1 ? rows : 0,
        },
        bind: { w, w_quads, r, r_quads, t, t_quads, factors, y },
        workgroups: grid(Math.ceil(rows / tall) * Math.ceil(columns / TILE) * batches + copies, limits),
      },
    ],
  };
};

export const forward = ({ attrs, inputs: [r, w] }: Call<ExpandAttrs>, limits: Limits): Plan => {
  const sizes = sizesOf(r.shape, w.shape, attrs.identity);
  const { matrices, kernels, d } = sizes;
  const bind = { w: input(1), r: input(0), y: output(0) };
  return product(sizes, { kind: "FORWARD", rows: kernels, columns: matrices * d, depth: d, bind }, limits);
};

export const backwardWeight = ({ attrs, inputs: [r], outputs: [dw] }: BackwardCall, limits: Limits): Plan => {
  const sizes = sizesOf(r.shape, dw.shape, attrs.identity);
  const { matrices, kernels, d } = sizes;
  const bind = { r: input(0), t: input(1), y: output(0) };
  return product(sizes, { kind: "TO_WEIGHT", rows: kernels, columns: d, depth: matrices * d, added: true, bind }, limits);
};

export const backwardMatrices = ({ attrs, inputs: [w], outputs: [dr] }: BackwardCall, limits: Limits): Plan => {
  const sizes = sizesOf(dr.shape, w.shape, attrs.identity);
  const { matrices, kernels, d } = sizes;
  const bind = { w: input(0), t: input(1), y: output(0) };
  return product(sizes, { kind: "TO_MATRICES", rows: matrices * d, columns: d, depth: kernels, bind }, limits);
};

/** The layouts behind the group axis: rows (o, i, a) of s numbers, as if (i, a) were channels. */
const inner = ({ matrices, elements, cout, cin, kernels, p, s }: FactorSizes): Sizes => ({
  matrices,
  elements,
  cout,
  cin: cin * p,
  kernels: kernels * p,
  d: s,
});

export const factorised = ({ attrs, inputs: [group, space, w] }: Call<ExpandAttrs>, limits: Limits): Plan => {
  const sizes = factorSizesOf(group.shape, space.shape, w.shape, attrs.identity);
  const { matrices, kernels, p, s } = sizes;
  const bind = { w: input(2), r: input(1), factors: input(0), y: output(0) };
  const rows = { kind: "FORWARD", rows: kernels * p, depth: s, mixed: p, bind } as const;
  // All neighbours in one tile: one product with all space factors, whose results are mixed. Longer group axes mix the rows of w, once per element.
  const part = p <= TILE ? { columns: matrices * s, late: true } : { columns: s, batches: matrices };
  return product(inner(sizes), { ...rows, ...part }, limits);
};

/** Gradients of the group factor and of w, which share what arrives times the space factor. */
export const backwardFactorised = ({ attrs, inputs: [group, space, w] }: Call<ExpandAttrs>, limits: Limits): Plan => {
  const sizes = factorSizesOf(group.shape, space.shape, w.shape, attrs.identity);
  const { matrices, elements, cin, kernels, p, s } = sizes;
  const params = { matrices, kernels, cin: cin * p, p, d: s, group: elements, added: elements === matrices ? 0 : kernels * p };
  const bindings = { values: scratch(0), factors: input(0), w: input(2), t: input(3) };
  const combine = (entry: string, target: number, workgroups: number): readonly Pass[] =>
    workgroups === 0
      ? []
      : [{ shader: shaders.factors, entry, params, bind: { ...bindings, y: output(target) }, workgroups: grid(workgroups, limits) }];
  const rows = kernels * p;
  const bind = { r: input(1), t: input(3), y: scratch(0) };
  const kind = "TO_WEIGHT";
  const values = product(inner(sizes), { kind, rows, columns: s, depth: s, batches: matrices, bind }, limits, [matrices * rows * s]);
  return {
    scratch: values.scratch,
    passes: [
      ...values.passes,
      ...combine("to_group", 0, matrices * p * Math.ceil(p / 4)),
      ...combine("to_weight", 1, Math.ceil((rows * s) / THREADS)),
    ],
  };
};

export const backwardSpace = ({ attrs, inputs: [group, w], outputs: [space] }: BackwardCall, limits: Limits): Plan => {
  const sizes = factorSizesOf(group.shape, space.shape, w.shape, attrs.identity);
  const { matrices, kernels, p, s } = sizes;
  const bind = { w: input(1), t: input(2), factors: input(0), y: output(0) };
  return product(inner(sizes), { kind: "TO_MATRICES", rows: s, columns: s, depth: kernels * p, batches: matrices, mixed: p, bind }, limits);
};

const gathering = ({ matrices, elements, cin, kernels, d }: Sizes): Record<string, number> => ({
  matrices,
  kernels,
  cin,
  d,
  group: elements,
  identity: elements - matrices,
});

export const gather = ({ attrs, inputs: [index, w] }: Call<ExpandAttrs>, limits: Limits): Plan => {
  const sizes = sizesOf(index.shape, w.shape, attrs.identity);
  return {
    passes: [
      {
        shader: shaders.gather,
        entry: "forward",
        constants: { SIGNED: Number(index.dtype === "int32") },
        params: gathering(sizes),
        bind: { index: input(0), x: input(1), y: output(0) },
        workgroups: grid(Math.ceil((sizes.kernels * sizes.elements * sizes.d) / THREADS), limits),
      },
    ],
  };
};

export const scatter = ({ attrs, inputs: [index], outputs: [dw] }: BackwardCall, limits: Limits): Plan => {
  const sizes = sizesOf(index.shape, dw.shape, attrs.identity);
  const { matrices, kernels, d } = sizes;
  const [starts, places] = [matrices * (d + 1), matrices * d];
  const common = { shader: shaders.gather, params: { ...gathering(sizes), fault: 0 } };
  return {
    scratch: [starts, places],
    passes: [
      {
        ...common,
        entry: "invert",
        bind: { index: input(0), starts: scratch(0), places: scratch(1) },
        workgroups: grid(Math.ceil(starts / THREADS), limits),
      },
      {
        ...common,
        entry: "scatter",
        bind: { x: input(1), y: output(0), starts: scratch(0), places: scratch(1) },
        workgroups: grid(Math.ceil((kernels * d) / THREADS), limits),
      },
    ].filter(({ workgroups }) => workgroups[0] > 0),
  };
};
