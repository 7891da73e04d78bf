import { apply } from "../../apply.ts";
import { type Attributes, flag, whole } from "../../attributes.ts";
import { expected } from "../../errors.ts";
import { defineOp, type Op, type Shape, type Spec, showShape, type VjpContext } from "../../op.ts";
import { requireFloat } from "../../shapes.ts";
import type { Tensor } from "../../tensor.ts";
import { sum } from "../reduce/index.ts";
import { reshape, slice } from "../shape/index.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { type BackwardAttrs, type HyperConnectionAttrs, outputsOf, positionsOf, sizesOf } from "./reference.ts";

/** The largest side: a matrix is held in the registers of one thread. */
export const MAX_SIDE = 8;
export const MAX_ITERATIONS = 10_000;

const WHERE = "hyperConnection";

const attributes: Attributes<HyperConnectionAttrs> = { iterations: whole(1, MAX_ITERATIONS), scale: flag, bias: flag, streams: flag };

const requireShape = ({ shape }: Spec, wanted: readonly Shape[], argument: string): void => {
  const shown = wanted.map(showShape);
  if (!shown.includes(showShape(shape))) throw expected(WHERE, `shape ${[...new Set(shown)].join(" or ")}`, argument, shape);
};

const forwardOutputs = (inputs: readonly Spec[], attrs: HyperConnectionAttrs): Spec[] => {
  const at = positionsOf(attrs);
  if (inputs.length !== at.gradient) throw expected(WHERE, `${at.gradient} tensors`, "inputs", inputs.length);
  const { logits, scale, bias, streams } = {
    logits: inputs[0],
    scale: at.scale === undefined ? undefined : inputs[at.scale],
    bias: at.bias === undefined ? undefined : inputs[at.bias],
    streams: at.streams === undefined ? undefined : inputs[at.streams],
  };
  for (const [name, spec] of Object.entries({ logits, scale, bias, streams })) if (spec) requireFloat(WHERE, [spec], [name]);
  const { shape } = logits;
  const batch = shape.slice(0, -2);
  const [n, m] = shape.slice(-2);
  if (shape.length < 2 || n < 1 || m < 1 || n > MAX_SIDE || m > MAX_SIDE)
    throw expected(WHERE, `shape [..., n, m] with n and m from 1 to ${MAX_SIDE}`, "logits", shape);
  if (scale) requireShape(scale, [[], batch], "scale");
  if (bias) requireShape(bias, [[n, m], shape], "bias");
  if (streams && (streams.shape.length !== shape.length || showShape(streams.shape.slice(0, -1)) !== showShape([...batch, m])))
    throw expected(WHERE, `shape [${[...batch, m, "d"].join(", ")}]`, "streams", streams.shape);
  return streams ? [{ shape: [...batch, n, streams.shape[shape.length - 1]], dtype: "float32" }] : [logits];
};

/** logits, scale?, bias?, streams?, gradient -> d logits?, parameters?, d streams?: see `outputsOf`. */
export const backward = defineOp<BackwardAttrs>({
  name: "hyperConnection.backward",
  arity: [2, 5],
  attributes: { ...attributes, logitsGradient: flag, scaleGradient: flag, biasGradient: flag, streamsGradient: flag },
  scalars: ["temperature", "eps"],
  outputs: (inputs, attrs) => {
    const where = "hyperConnection.backward";
    const at = positionsOf(attrs);
    const operands = inputs.slice(0, at.gradient);
    const [forwardResult] = forwardOutputs(operands, attrs);
    if (inputs.length !== at.gradient + 1) throw expected(where, `${at.gradient + 1} tensors`, "inputs", inputs.length);
    requireFloat(where, [inputs[at.gradient]], ["gradient"]);
    requireShape(inputs[at.gradient], [forwardResult.shape], "gradient");
    for (const name of ["scale", "bias", "streams"] as const)
      if (attrs[`${name}Gradient`] && !attrs[name]) throw expected(where, `false without ${name}`, `${name}Gradient`, true);
    const { n, m, parameters } = sizesOf({ inputs, attrs });
    const batch = inputs[0].shape.slice(0, -2);
    const result: Spec[] = [];
    const to = outputsOf(attrs);
    if (to.logits !== undefined) result[to.logits] = { shape: [...batch, n, m], dtype: "float32" };
    if (to.parameters !== undefined) result[to.parameters] = { shape: [...batch, parameters], dtype: "float32" };
    if (to.streams !== undefined && at.streams !== undefined) result[to.streams] = inputs[at.streams];
    return result;
  },
  reference: reference.backward,
  plan: plan.backward,
  gradient: { none: "second derivatives are not provided" },
});

/** What the gradient of a parameter is made of: its numbers per matrix, summed over the batch where the parameter is shared. */
const gathered = (perMatrix: Tensor, shape: Shape, shared: boolean): Tensor => reshape(shared ? sum(perMatrix, 0) : perMatrix, shape);

const vjp = (ctx: VjpContext<HyperConnectionAttrs>): readonly (Tensor | undefined)[] => {
  const { call, scalars } = ctx;
  const { attrs, inputs } = call;
  const at = positionsOf(attrs);
  const needs = (place: number | undefined): boolean => place !== undefined && ctx.needs(place);
  const logitsGradient = ctx.needs(0);
  // Without a scale the gradients of logits and bias are the same numbers.
  const biasGradient = needs(at.bias) && (attrs.scale || !logitsGradient);
  const wanted: BackwardAttrs = { ...attrs, logitsGradient, scaleGradient: needs(at.scale), biasGradient, streamsGradient: needs(at.streams) };
  const operands = inputs.map((_, place) => ctx.input(place));
  const results = apply(backward, [...operands, ctx.gradient(0)], wanted, { temperature: scalars.temperature, eps: scalars.eps });
  const to = outputsOf(wanted);

  const { count, n, m, parameters: size, scaleStep, biasStep } = sizesOf({ inputs, attrs: wanted });
  const gradients: (Tensor | undefined)[] = inputs.map(() => undefined);
  if (to.logits !== undefined) gradients[0] = results[to.logits];
  if (to.streams !== undefined && at.streams !== undefined) gradients[at.streams] = results[to.streams];
  if (at.bias !== undefined && needs(at.bias) && !biasGradient && to.logits !== undefined)
    gradients[at.bias] = gathered(reshape(results[to.logits], [count, n * m]), inputs[at.bias].shape, biasStep === 0);
  if (to.parameters === undefined) return gradients;

  // One sum serves both when both are shared.
  const bothShared = scaleStep === 0 && biasStep === 0;
  const rows = reshape(results[to.parameters], [count, size]);
  const table = bothShared ? reshape(sum(rows, 0), [1, size]) : rows;
  const columns = (start: number, end: number): Tensor => (end - start === size ? table : slice(table, { axis: 1, start, end }));
  if (at.bias !== undefined && biasGradient) gradients[at.bias] = gathered(columns(0, n * m), inputs[at.bias].shape, biasStep === 0 && !bothShared);
  if (at.scale !== undefined && needs(at.scale))
    gradients[at.scale] = gathered(columns(size - 1, size), inputs[at.scale].shape, scaleStep === 0 && !bothShared);
  return gradients;
};

/** logits, scale?, bias?, streams? -> P, or P · streams. The backward pass computes P again, so nothing but the inputs is kept. */
export const forward = defineOp<HyperConnectionAttrs>({
  name: "hyperConnection",
  arity: [1, 4],
  attributes,
  scalars: ["temperature", "eps"],
  outputs: forwardOutputs,
  reference: reference.forward,
  plan: plan.forward,
  fault: ({ attrs }) => {
    const named = ["`logits`", ...(attrs.scale ? ["`scale`"] : []), ...(attrs.bias ? ["`bias`"] : [])];
    return `${WHERE}: expected finite numbers for ${named.join(", ").replace(/, ([^,]*)$/, " and $1")}`;
  },
  gradient: { saves: { inputs: [0, 1, 2, 3] }, vjp },
});

export const ops: readonly Op[] = [forward, backward] as readonly Op[];
