/** Plans of calls whose operands do not fit one binding, cut along an axis. */
import { type BufferRef, type Call, ELEMENT_BYTES, elements, type Limits, type Plan, type Shape, type Spec } from "./op.ts";

/** Bytes that a binding's offset is a multiple of: WebGPU's largest `minStorageBufferOffsetAlignment`. */
const ALIGNMENT = 256;

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));
/** At whose multiples items of so many bytes begin where bindings may. */
const unitOf = (bytes: readonly number[]): number => Math.max(1, ...bytes.map((size) => ALIGNMENT / greatestCommonDivisor(ALIGNMENT, size)));

/** Items [from, from + count) of `all` along an axis. */
export interface Part {
  readonly from: number;
  readonly count: number;
  readonly all: number;
}

/**
 * As few parts as fit one binding each, of items that take so many bytes in each operand (0 in one that all items share). All in one, which the device
 * refuses, where no part both fits and begins where a binding may.
 */
export const partsOf = (all: number, bytes: readonly number[], limits: Limits): readonly Part[] => {
  const most = Math.floor(limits.bindingBytes / Math.max(1, ...bytes));
  const unit = unitOf(bytes);
  const aligned = Math.floor(most / unit) * unit;
  if (all <= most || aligned === 0) return [{ from: 0, count: all, all }];
  const count = Math.ceil(all / Math.ceil(all / aligned) / unit) * unit;
  return Array.from({ length: Math.ceil(all / count) }, (_, i) => ({ from: i * count, count: Math.min(count, all - i * count), all }));
};

/** Those items of a buffer, of `size` elements each; all of it where the size is 0. */
export const partOf = (ref: BufferRef, { from, count, all }: Part, size: number): BufferRef =>
  count === all || size === 0 ? ref : { ...ref, window: { from: from * size, length: count * size } };

/** One plan after the other, each with the temporary buffers for itself. */
export const inTurn = (plans: readonly Plan[]): Plan => {
  const scratch: number[] = [];
  for (const plan of plans) for (const [i, size] of (plan.scratch ?? []).entries()) scratch[i] = Math.max(scratch[i] ?? 0, size);
  return { scratch, passes: plans.flatMap(({ passes }) => passes) };
};

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

  const unit = unitOf(all.map(({ bytes }) => bytes));
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

  const slices = Array.from({ length: Math.ceil(count / items) }, (_, slice): Plan => {
    const from = slice * items;
    const own: Part = { from, count: Math.min(items, count - from), all: count };
    const window = (ref: BufferRef): BufferRef => {
      const entry = "input" in ref ? batched.inputs[ref.input] : "output" in ref ? batched.outputs[ref.output] : undefined;
      return entry ? partOf(ref, own, entry.size) : ref;
    };
    const { scratch = [], passes } = plan(part(own.count), limits);
    return {
      scratch,
      passes: passes.map((pass) => ({
        ...pass,
        bind: Object.fromEntries(Object.entries(pass.bind).map(([name, ref]) => [name, window(ref)])),
      })),
    };
  });
  return inTurn(slices);
};
