/** Batches that do not fit one binding are cut into slices, and give the same bits. */
import { describe, expect, test } from "vitest";
import { intern } from "../src/apply.ts";
import { refusal } from "../src/backends/webgpu/prepare.ts";
import { type Call, defineOp, FLOOR_LIMITS, input, output, type Plan, type Shape, type Spec, scratch, type Workgroups } from "../src/op.ts";
import { type ItemRanks, inSlices } from "../src/slices.ts";

const RANKS: ItemRanks = { inputs: [2, 1], outputs: [1] };
const shader = { name: "test/none", source: "", consts: {}, overrides: {}, params: undefined, entries: { main: { bindings: [] } } };

/** Plans one pass and a temporary buffer of one number per item. */
const plain = ({ inputs }: Call): Plan => {
  const count = inputs[0].shape.slice(0, -2).reduce((product, size) => product * size, 1);
  return {
    scratch: [count],
    passes: [{ shader, entry: "main", bind: { x: input(0), shared: input(1), y: output(0), t: scratch(0) }, workgroups: [count, 1, 1] }],
  };
};

const callOf = (batch: Shape, item: readonly [number, number]): Call => {
  const float32 = (shape: Shape): Spec => ({ shape, dtype: "float32" });
  const op = defineOp({
    name: "test",
    arity: 2,
    attributes: {},
    outputs: () => [float32([...batch, item[1]])],
    reference: () => undefined,
    plan: plain,
    gradient: { none: "a test" },
  });
  return intern(op, [float32([...batch, ...item]), float32([7])], {});
};

const sliced = (batch: Shape, item: readonly [number, number], bindingBytes: number): Plan =>
  inSlices(callOf(batch, item), { ...FLOOR_LIMITS, bindingBytes }, RANKS, plain);

describe("slices", () => {
  test("what fits is left alone", () => {
    const plan = sliced([4, 50], [3, 5], 4 * 3000);
    expect(plan.passes).toHaveLength(1);
    expect(plan.passes[0].bind).toEqual({ x: input(0), shared: input(1), y: output(0), t: scratch(0) });
  });

  test("windows cover the batch once, begin where bindings may, and leave alone what is shared", () => {
    const plan = sliced([4, 50], [3, 5], 4 * 1000);
    expect(plan.passes.length).toBe(4);
    let next = 0;
    for (const { bind, workgroups } of plan.passes) {
      const [items] = workgroups as Workgroups;
      const { x, y, shared, t } = bind as Record<string, { window?: { from: number; length: number } }>;
      expect(x.window?.from).toBe(next * 15);
      expect(y.window?.from).toBe(next * 5);
      expect((x.window?.from ?? 1) % 64).toBe(0);
      expect((y.window?.from ?? 1) % 64).toBe(0);
      expect(x.window?.length).toBe(items * 15);
      expect(x.window?.length).toBeLessThanOrEqual(1000);
      expect([shared.window, t.window]).toEqual([undefined, undefined]);
      next += items;
    }
    expect(next).toBe(200);
    expect(plan.scratch).toEqual([64]);
    expect(refusal(callOf([4, 50], [3, 5]), plan, { ...FLOOR_LIMITS, bindingBytes: 4000 })).toBeUndefined();
  });

  test("where slices cannot begin, the whole is planned, which the device refuses", () => {
    const plan = sliced([3], [333, 5], 4 * 2000);
    expect(plan.passes).toHaveLength(1);
    expect(refusal(callOf([3], [333, 5]), plan, { ...FLOOR_LIMITS, bindingBytes: 8000 })).toBe(
      "input 0 takes 19980 bytes, more than the device's limit of 8000",
    );
  });

  test("an item without batch is never cut", () => {
    expect(sliced([], [30, 5], 4 * 100).passes).toHaveLength(1);
  });
});
