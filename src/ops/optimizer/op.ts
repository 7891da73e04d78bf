import { type Attributes, flag, list, whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, type Spec, showShape } from "../../op.ts";
import * as plan from "./plan.ts";
import type { SgdAttrs, UpdateAttrs } from "./reference.ts";
import * as reference from "./reference.ts";

const noGradient = { none: "an optimiser's step is not differentiable" } as const;

const update: Attributes<UpdateAttrs> = { offsets: list(whole()), clip: flag };

/** Checks (state of so many rows, parameters, gradients, norm?) and gives no outputs: everything happens in place. */
const checkUpdate = (where: string, mutates: readonly number[], rows: number, inputs: readonly Spec[], attrs: UpdateAttrs): readonly Spec[] => {
  const { offsets, clip } = attrs;
  const count = offsets.length;
  for (const [i, { dtype }] of inputs.entries()) if (dtype !== "float32") throw expected(where, "dtype float32", `inputs[${i}]`, dtype);
  if (count !== mutates.length - 1) throw expected(where, `one for each of ${mutates.length - 1} parameters`, "offsets", offsets);
  if (count === 0 || inputs.length !== 1 + 2 * count + (clip ? 1 : 0)) {
    throw expected(where, `${1 + 2 * count + (clip ? 1 : 0)} tensors, at least 3,`, "inputs", inputs.length);
  }
  if (clip && sizeOf(inputs[inputs.length - 1]) !== 1) throw expected(where, "one number", "norm", inputs[inputs.length - 1].shape);
  let end = 0;
  for (const [k, offset] of offsets.entries()) {
    const [parameter, gradient] = [inputs[1 + k], inputs[1 + count + k]];
    if (showShape(parameter.shape) !== showShape(gradient.shape))
      throw expected(where, `shape ${showShape(parameter.shape)}`, `gradients[${k}]`, gradient.shape);
    if (offset < end) throw expected(where, "places that do not overlap, in rising order", "offsets", offsets);
    end = offset + sizeOf(parameter);
  }
  if (rows > 0 && (rows * end > sizeOf(inputs[0]) || sizeOf(inputs[0]) % rows !== 0))
    throw expected(where, `${rows} times ${end} elements or more`, "state", inputs[0].shape);
  return [];
};

const sizeOf = ({ shape }: Spec): number => shape.reduce((product, size) => product * size, 1);

/** One op per number of parameters, since the positions that an op changes in place are part of the op. */
const perCount = <A extends UpdateAttrs>(make: (mutates: readonly number[]) => Op<A>): ((count: number) => Op<A>) => {
  const made = new Map<number, Op<A>>();
  return (count) => {
    const op = made.get(count) ?? make(Array.from({ length: count + 1 }, (_, i) => i));
    made.set(count, op);
    return op;
  };
};

/** state, parameters…, gradients…, norm? changed in place by PyTorch's SGD. */
export const sgd = perCount<SgdAttrs>((mutates) =>
  defineOp<SgdAttrs>({
    name: "optimizer.sgd",
    arity: [3],
    attributes: { ...update, velocity: flag, nesterov: flag },
    scalars: ["lr", "momentum", "decay", "limit"],
    mutates,
    outputs: (inputs, attrs) => {
      if (attrs.nesterov && !attrs.velocity) throw expected("SGD", "false without a velocity", "nesterov", true);
      return checkUpdate("SGD", mutates, attrs.velocity ? 1 : 0, inputs, attrs);
    },
    reference: reference.sgd,
    plan: plan.sgd,
    gradient: noGradient,
  }),
);

/** state [2, total], parameters…, gradients…, norm? changed in place by PyTorch's AdamW. */
export const adamw = perCount<UpdateAttrs>((mutates) =>
  defineOp<UpdateAttrs>({
    name: "optimizer.adamw",
    arity: [3],
    attributes: update,
    scalars: ["keep", "rate1", "beta2", "rate2", "step", "correction", "eps", "limit"],
    mutates,
    outputs: (inputs, attrs) => checkUpdate("AdamW", mutates, 2, inputs, attrs),
    reference: reference.adamw,
    plan: plan.adamw,
    gradient: noGradient,
  }),
);

/** Gradients… -> the Euclidean norm of them all, a scalar. */
export const norm = defineOp<{ check: boolean }>({
  name: "optimizer.norm",
  arity: [1],
  attributes: { check: flag },
  outputs: (inputs) => {
    for (const [i, { dtype }] of inputs.entries()) if (dtype !== "float32") throw expected("gradNorm", "dtype float32", `gradients[${i}]`, dtype);
    return [{ shape: [], dtype: "float32" }];
  },
  reference: reference.norm,
  plan: plan.norm,
  fault: () => "clipGradNorm: expected a finite norm for `gradients`",
  gradient: { none: "gradient clipping is not differentiable" },
});

/** Gradients…, norm -> gradients of at most the given norm. */
export const clip = defineOp({
  name: "optimizer.clip",
  arity: [2],
  attributes: {},
  scalars: ["limit"],
  outputs: (inputs) => {
    const gradients = inputs.slice(0, -1);
    for (const [i, { dtype }] of inputs.entries()) if (dtype !== "float32") throw expected("clipGradNorm", "dtype float32", `inputs[${i}]`, dtype);
    if (sizeOf(inputs[gradients.length]) !== 1) throw expected("clipGradNorm", "one number", "norm", inputs[gradients.length].shape);
    return gradients;
  },
  reference: reference.clip,
  plan: plan.clip,
  gradient: { none: "gradient clipping is not differentiable" },
});
