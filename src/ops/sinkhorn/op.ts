import { apply } from "../../apply.ts";
import { type Attributes, flag, oneOf, someOf, whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { type Call, defineOp, type Gradient, type Op, type Shape, type Spec, showShape, type VjpContext } from "../../op.ts";
import { FLOATS, requireFloat, requireInputs, requireInteger } from "../../shapes.ts";
import type { Tensor } from "../../tensor.ts";
import { sum } from "../reduce/index.ts";
import { reshape, slice } from "../shape/index.ts";
import { type BackwardAttrs, type ForwardAttrs, isTiny, orient, recordLayout, SCALARS, TINY, type TinyAttrs } from "./geometry.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import * as referenceBackward from "./reference-backward.ts";

/** The largest side of a matrix: a row is held by one workgroup. */
export const MAX_SIDE = 4096;
export const MAX_ITERATIONS = 100_000;

/** The names of the inputs behind the first, in order. */
export const operandNames = (operands: string): string[] => operands.split(" ").filter((name) => name !== "");

const OPERANDS = ["rows", "columns", "start", "mask", "sizes"];
const ORDERS = ["row", "column"] as const;
/** What `RunAttrs` has, but for the operands. */
const run = { iterations: whole(1, MAX_ITERATIONS), order: oneOf(ORDERS), annealed: whole(), unbalanced: flag };
const ATTRIBUTES: Attributes<ForwardAttrs> = {
  ...run,
  operands: someOf(OPERANDS),
  plan: oneOf(["P", "logP", "none"]),
  record: oneOf(["none", "head", "history"]),
  error: flag,
  checkEvery: whole(),
  uniform: flag,
  backward: oneOf(["exact", "implicit"]),
};

const LEAKS = { leak_rows: "unbalanced", leak_columns: "unbalanced" } as const;

const float32 = (shape: Shape): Spec => ({ shape, dtype: "float32" });
/** What is not wanted is there, but empty. */
const NOTHING = [0] as const;

/** An operand holds one item of `item` for the whole batch, or one for every matrix. */
const checkOperand = (spec: Spec, batch: Shape, item: Shape, argument: string, dtypes: readonly string[]): void => {
  if (!dtypes.includes(spec.dtype)) throw expected("sinkhorn", `dtype ${dtypes.join(" or ")}`, argument, spec.dtype);
  const [shared, whole] = [showShape(item), showShape([...batch, ...item])];
  if (![shared, whole].includes(showShape(spec.shape)))
    throw expected("sinkhorn", shared === whole ? `shape ${whole}` : `shape ${shared} or ${whole}`, argument, spec.shape);
};

const checkAnnealed = (where: string, { iterations, annealed }: ForwardAttrs | BackwardAttrs): void => {
  if (annealed >= iterations) throw expected(where, `fewer than ${iterations} iterations`, "annealed", annealed);
};

const forwardOutputs = ([logits, ...operands]: readonly Spec[], attrs: ForwardAttrs): Spec[] => {
  requireFloat("sinkhorn", [logits], ["logits"], FLOATS);
  const { shape } = logits;
  const [rows, columns] = shape.slice(-2);
  if (shape.length < 2 || !(rows >= 1 && rows <= MAX_SIDE && columns >= 1 && columns <= MAX_SIDE)) {
    throw expected("sinkhorn", `shape [..., n, m] with n and m from 1 to ${MAX_SIDE}`, "logits", shape);
  }
  checkAnnealed("sinkhorn", attrs);
  const { n, m } = orient(shape, attrs.order);
  const batch = shape.slice(0, -2);
  const kinds: Record<string, { readonly item: Shape; readonly argument: string; readonly dtypes: readonly string[] }> = {
    rows: { item: [n], argument: attrs.order === "row" ? "a" : "b", dtypes: ["float32"] },
    columns: { item: [m], argument: attrs.order === "row" ? "b" : "a", dtypes: ["float32"] },
    start: { item: [m], argument: "start", dtypes: ["float32"] },
    mask: { item: [rows, columns], argument: "mask", dtypes: ["int32", "uint32"] },
    sizes: { item: [2], argument: "sizes", dtypes: ["int32"] },
  };
  const names = operandNames(attrs.operands);
  if (operands.length !== names.length) throw expected("sinkhorn", `${1 + names.length} tensors`, "inputs", 1 + operands.length);
  if (names.includes("rows") !== names.includes("columns") || (names.includes("start") && attrs.annealed > 0))
    throw expected("sinkhorn", "masses of both sides, and no start of an annealed run,", "operands", attrs.operands);
  if (attrs.checkEvery > 0 && !attrs.error) throw expected("sinkhorn", "true where errors are looked at", "error", attrs.error);
  for (const [i, name] of names.entries()) checkOperand(operands[i], batch, kinds[name].item, kinds[name].argument, kinds[name].dtypes);
  const { size } = recordLayout(n, m, attrs);
  return [float32(attrs.plan === "none" ? NOTHING : shape), float32(size === 0 ? NOTHING : [...batch, size])];
};

const fault = ({ attrs }: Call<ForwardAttrs>): string => {
  const names = operandNames(attrs.operands);
  const also = [
    ...(names.includes("rows") ? ["finite masses of at least 0 for `a` and `b`"] : []),
    ...(names.includes("start") ? ["finite numbers for `start`"] : []),
    ...(names.includes("sizes") ? ["sizes within the matrix for `sizes`"] : []),
  ];
  return `sinkhorn: expected ${["finite numbers for `logits`", ...also].join(", ")}`;
};

const adjoint = (
  name: string,
  record: BackwardAttrs["record"],
  reference: Op<BackwardAttrs>["reference"],
  passes: Op<BackwardAttrs>["plan"],
): Op<BackwardAttrs> =>
  defineOp<BackwardAttrs>({
    name,
    arity: [2, 6],
    attributes: {
      ...run,
      annealed: record === "history" ? whole() : oneOf([0]),
      operands: someOf(["gradient", "recordGradient", "mask", "logits"]),
      record: oneOf([record]),
      matrix: oneOf(["P", "logP", "logits"]),
      plain: flag,
      vectors: flag,
    },
    // Logits: in place of the matrix, or behind what else there is.
    halves: [0, 2, 3, 4, 5],
    scalars: SCALARS,
    switched: LEAKS,
    outputs: (inputs, attrs) => {
      const [{ shape }] = inputs;
      const { vectors, matrix, annealed, plain, operands } = attrs;
      if (shape.length < 2) throw expected(name, "shape [..., n, m]", "matrix", shape);
      const { n, m } = orient(shape, attrs.order);
      const names = operandNames(operands);
      const own = [...shape.slice(0, -2), recordLayout(n, m, attrs).size];
      // Of operands that are not there nothing is asked below.
      const [mask = inputs[0], logits = inputs[0]] = ["mask", "logits"].map((operand) => inputs[2 + names.indexOf(operand)]);
      requireFloat(name, [inputs[0], logits], ["matrix", "logits"], FLOATS);
      checkAnnealed(name, attrs);
      requireInputs(name, inputs, {
        matrix: inputs[0],
        record: own,
        gradient: names.includes("gradient") && shape,
        recordGradient: names.includes("recordGradient") && own,
        mask: names.includes("mask") && mask && { shape: mask.shape.length === 2 ? shape.slice(-2) : shape, dtype: mask.dtype },
        logits: names.includes("logits") && { shape, dtype: logits.dtype },
      });
      if (names.includes("mask")) requireInteger(name, mask, "mask");
      // From the logits, P is computed anew: once, where they are the matrix, and at every temperature of an annealed run.
      const anew = matrix === "logits" || annealed > 0;
      if (names.includes("logits") !== (anew && matrix !== "logits") || (names.includes("mask") && !anew))
        throw expected(name, `the operands that ${matrix} needs with ${annealed} annealed iterations`, "operands", operands);
      if (plain && n !== m) throw expected(name, "false for sides that differ", "plain", plain);
      return [float32(shape), float32(vectors ? [...shape.slice(0, -2), n + 2 * m] : NOTHING)];
    },
    reference,
    plan: passes,
    gradient: { none: "second derivatives are not provided" },
  });

/**
 * matrix, record and, as far as `operands` names them, the gradients of matrix and record, mask, logits
 * -> gradients of the logits, and of rows, columns and start side by side.
 */
export const backward = adjoint("sinkhorn.backward", "history", referenceBackward.backward, plan.backward);
/** The same of the fixed point. */
export const implicit = adjoint("sinkhorn.implicit", "head", referenceBackward.implicit, plan.implicit);

/** logits and the gradient of P, of a plain run that kept no record -> gradient of the logits. */
export const tinyBackward = defineOp<TinyAttrs>({
  name: "sinkhorn.tiny",
  arity: 2,
  attributes: { iterations: whole(1, TINY.iterations), order: oneOf(ORDERS), uniform: flag },
  halves: [0],
  scalars: ["temperature"],
  outputs: (inputs) => {
    const [logits] = inputs;
    const { shape } = logits;
    requireFloat("sinkhorn.tiny", [logits], ["logits"], FLOATS);
    requireInputs("sinkhorn.tiny", inputs, { logits, gradient: shape });
    if (shape.length < 2 || shape.slice(-2).some((side) => side < 1 || side > TINY.side))
      throw expected("sinkhorn.tiny", `shape [..., n, m] with n and m from 1 to ${TINY.side}`, "logits", shape);
    return [float32(shape)];
  },
  reference: referenceBackward.tiny,
  plan: plan.tinyBackward,
  fault: () => "sinkhorn: expected finite numbers for `logits`",
  gradient: { none: "second derivatives are not provided" },
});

/** The gradient of an operand out of those of all matrices: summed where it was shared. */
const ownPart = (vectors: Tensor, start: number, size: number, shape: Shape): Tensor => {
  const part = slice(vectors, { axis: -1, start, end: start + size });
  if (shape.length === part.shape.length) return part;
  return sum(reshape(part, [-1, size]), 0);
};

const vjp = (ctx: VjpContext<ForwardAttrs>): (Tensor | undefined)[] => {
  const { attrs, inputs } = ctx.call;
  const { iterations, order, annealed, unbalanced } = attrs;
  const names = operandNames(attrs.operands);
  const needed = names.map((_, i) => ctx.needs(i + 1));
  const vectors = needed.some((need) => need);
  const matrix = attrs.plan === "none" ? "logits" : attrs.plan;
  const exact = attrs.backward === "exact";
  const anew = matrix === "logits" || (exact && annealed > 0);
  const extra: [string, Tensor][] = [];
  if (ctx.hasGradient(0) && matrix !== "logits") extra.push(["gradient", ctx.gradient(0)]);
  if (ctx.hasGradient(1)) extra.push(["recordGradient", ctx.gradient(1)]);
  if (anew && names.includes("mask")) extra.push(["mask", ctx.input(1 + names.indexOf("mask"))]);
  if (anew && matrix !== "logits") extra.push(["logits", ctx.input(0)]);
  const { n, m } = orient(inputs[0].shape, order);
  const [dx, all] = apply(
    exact ? backward : implicit,
    [matrix === "logits" ? ctx.input(0) : ctx.output(0), ctx.output(1), ...extra.map(([, tensor]) => tensor)],
    {
      iterations,
      order,
      annealed: exact ? annealed : 0,
      unbalanced,
      record: exact ? "history" : "head",
      matrix,
      plain: attrs.operands === "" && !attrs.uniform && attrs.checkEvery === 0 && n === m,
      vectors,
      operands: extra.map(([name]) => name).join(" "),
    },
    ctx.scalars,
  );
  const places: Record<string, readonly [number, number]> = { rows: [0, n], columns: [n, m], start: [n + m, m] };
  const parts = names.map((name, i) => (needed[i] ? ownPart(all, ...places[name], inputs[i + 1].shape) : undefined));
  return [ctx.needs(0) ? dx : undefined, ...parts];
};

/** `records` says whether the attributes leave behind what the gradient reads. */
const forward = (
  gradient: Gradient<ForwardAttrs>,
  attributes: Partial<Attributes<ForwardAttrs>> = {},
  records: (shape: Shape, attrs: ForwardAttrs) => boolean = () => true,
): Op<ForwardAttrs> =>
  defineOp<ForwardAttrs>({
    name: "sinkhorn",
    arity: [1, 6],
    attributes: { ...ATTRIBUTES, ...attributes },
    halves: [0],
    scalars: [...SCALARS, "tolerance"],
    switched: LEAKS,
    outputs: (inputs, attrs) => {
      const outputs = forwardOutputs(inputs, attrs);
      if (!records(inputs[0].shape, attrs)) throw expected("sinkhorn", "the record that its gradient reads", "record", attrs.record);
      return outputs;
    },
    reference: reference.forward,
    plan: plan.forward,
    fault,
    gradient,
  });

/** What `vjp` hands to the ops above. */
const hasRecord = (_: Shape, { backward: kind, record }: ForwardAttrs): boolean => record === (kind === "exact" ? "history" : "head");

/**
 * logits and, as far as `operands` names them, masses of rows and columns, start, mask, sizes -> the plan, the record.
 * Ops that differ in what they keep for a backward pass: the outputs; the inputs too, for one that computes P again; nothing.
 */
export const recorded = forward({ saves: { outputs: [0, 1] }, vjp }, { plan: oneOf(["P", "logP"]), annealed: oneOf([0]) }, hasRecord);
export const rerun = forward({ saves: { inputs: [0, 1, 2, 3, 4, 5], outputs: [0, 1] }, vjp }, {}, hasRecord);
export const plain = forward({ none: "its record was not kept" });
/** The same for runs as of `isTiny`, which are run again for their gradient. */
export const tiny = forward(
  {
    saves: { inputs: [0] },
    vjp: (ctx) => {
      const { iterations, order, uniform } = ctx.call.attrs;
      const temperature = { temperature: ctx.scalars.temperature };
      return ctx.hasGradient(0) ? apply(tinyBackward, [ctx.input(0), ctx.gradient(0)], { iterations, order, uniform }, temperature) : [undefined];
    },
  },
  {},
  isTiny,
);

export const ops: readonly Op[] = [plain, recorded, rerun, tiny, backward, implicit, tinyBackward] as readonly Op[];
