/** Plans of calls over a batch, cut where the batch does not fit one binding. */
import { type BufferRef, type Call, ELEMENT_BYTES, elements, type Limits, type Plan, type Shape, type Spec } from "./op.ts";

/** Bytes that a binding's offset is a multiple of: WebGPU's largest `minStorageBufferOffsetAlignment`. */
const ALIGNMENT = 256;

/** Axes of one item, without those of the batch, for each input and output. An operand that has no more is one for the whole batch. */
export interface ItemRanks {
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** Elements and bytes of an operand per item of the batch; nothing for one that all items share. */
interface Batched {
  readonly item: Shape;
  readonly size: number;
  readonly bytes: number;
}

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));

/**
 * The call's plan or, where an operand or a temporary buffer exceeds one binding, the plans of as few slices of the batch as fit, one after the other.
 * Every slice is planned as a call of its own, so an item's result is the same in any slice. Where items are so large that their slices cannot begin
 * at addresses that a binding may have, the plan of the whole call is given, which the device refuses.
 *
 * @param plan plans a call with one batch axis, or the call itself
 */
export const inSlices = <C extends Call>(call: C, limits: Limits, ranks: ItemRanks, plan: (call: C, limits: Limits) => Plan): Plan => {
  const batchRank = call.inputs[0].shape.length - ranks.inputs[0];
  const count = elements(call.inputs[0].shape.slice(0, batchRank));
  const look = (specs: readonly Spec[], itemRanks: readonly number[]): (Batched | undefined)[] =>
    specs.map(({ shape, dtype }, i) => {
      const item = shape.slice(batchRank);
      const size = elements(item);
      return shape.length === batchRank + itemRanks[i] && batchRank > 0 ? { item, size, bytes: ELEMENT_BYTES[dtype] * size } : undefined;
    });
  const batched = { inputs: look(call.inputs, ranks.inputs), outputs: look(call.outputs, ranks.outputs) };
  const all = [...batched.inputs, ...batched.outputs].filter((entry) => entry !== undefined);
  const fits = (items: number, { scratch = [] }: Plan): boolean =>
    all.every(({ bytes }) => bytes * items <= limits.bindingBytes) && scratch.every((size) => 4 * size <= limits.bindingBytes);
  const whole = plan(call, limits);
  if (fits(count, whole)) return whole;

  const unit = Math.max(...all.map(({ bytes }) => ALIGNMENT / greatestCommonDivisor(ALIGNMENT, Math.max(1, bytes))));
  const part = (items: number): C => {
    const cut = (specs: readonly Spec[], parts: readonly (Batched | undefined)[]): Spec[] =>
      specs.map((spec, i) => ({ ...spec, shape: parts[i] ? [items, ...parts[i].item] : spec.shape }));
    return { ...call, inputs: cut(call.inputs, batched.inputs), outputs: cut(call.outputs, batched.outputs) };
  };
  let items = Math.ceil(count / unit) * unit;
  do {
    items = Math.floor(items / 2 / unit) * unit;
    if (items === 0) return whole;
  } while (!fits(items, plan(part(items), limits)));

  const scratch: number[] = [];
  const passes = Array.from({ length: Math.ceil(count / items) }, (_, slice) => {
    const from = slice * items;
    const own = Math.min(items, count - from);
    const window = (ref: BufferRef): BufferRef => {
      const entry = "input" in ref ? batched.inputs[ref.input] : "output" in ref ? batched.outputs[ref.output] : undefined;
      return entry ? { ...ref, window: { from: from * entry.size, length: own * entry.size } } : ref;
    };
    const planned = plan(part(own), limits);
    for (const [i, size] of (planned.scratch ?? []).entries()) scratch[i] = Math.max(scratch[i] ?? 0, size);
    return planned.passes.map((pass) => ({
      ...pass,
      bind: Object.fromEntries(Object.entries(pass.bind).map(([name, ref]) => [name, window(ref)])),
    }));
  }).flat();
  return { scratch, passes };
};
