/** What matrices that several workgroups share do on webgpu besides giving the right numbers: how many workgroups run. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apply } from "../../src/apply.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import type { Device } from "../../src/device.ts";
import { type Call, defineOp, type Limits, output, type Pass, type Plan, type Workgroups } from "../../src/op.ts";
import { deviceOf } from "../../src/open.ts";
import type { ForwardAttrs } from "../../src/ops/sinkhorn/geometry.ts";
import { recorded } from "../../src/ops/sinkhorn/op.ts";
import { reflect } from "../../src/reflect.ts";
import { testRandom } from "../../src/testing/random.ts";

let device: Device;
beforeAll(async () => {
  device = deviceOf(await openWebGPU({ allowSoftware: true }));
});
afterAll(async () => {
  await device.close();
});

const WORDS = 7;
const copy = reflect(
  "test/copy",
  `struct Params { slot: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> into: array<u32>;
@compute @workgroup_size(${WORDS}) fn main(@builtin(local_invocation_index) k: u32) { into[params.slot * ${WORDS}u + k] = source[k]; }`,
);
const planOf = (call: Call<ForwardAttrs>, limits: Limits): Plan => recorded.plan({ ...call, outputs: call.outputs.slice(0, 2) }, limits);

/** The forward pass with a third output: what counts of workgroups every look at the errors leaves. */
const watched = defineOp<ForwardAttrs>({
  ...recorded,
  name: "watched",
  outputs: (inputs, attrs) => [
    ...recorded.outputs(inputs, attrs),
    { shape: [Math.floor((attrs.iterations - 1) / attrs.checkEvery) + Number(attrs.error), WORDS], dtype: "uint32" },
  ],
  plan: (call, limits) => {
    const plan = planOf(call, limits);
    let slot = 0;
    const passes = plan.passes.flatMap((pass): Pass[] =>
      pass.entry === "decide"
        ? [
            pass,
            { shader: copy, entry: "main", params: { slot: slot++ }, bind: { source: pass.bind.launch, into: output(2) }, workgroups: [1, 1, 1] },
          ]
        : [pass],
    );
    return { ...plan, passes };
  },
  gradient: { none: "a test" },
});
/** The same with as many workgroups as there may be. */
const direct = defineOp<ForwardAttrs>({
  ...recorded,
  name: "direct",
  plan: (call, limits) => {
    const plan = planOf(call, limits);
    const full = (entry: string): Workgroups =>
      plan.passes.find((pass) => pass.entry === entry && !("indirect" in pass.workgroups))?.workgroups as Workgroups;
    return { ...plan, passes: plan.passes.map((pass) => ("indirect" in pass.workgroups ? { ...pass, workgroups: full(pass.entry) } : pass)) };
  },
  gradient: { none: "a test" },
});

const ATTRS: ForwardAttrs = {
  iterations: 40,
  order: "row",
  plan: "P",
  record: "history",
  error: true,
  checkEvery: 5,
  annealed: 0,
  unbalanced: false,
  uniform: false,
  backward: "exact",
  operands: "",
};
const SCALARS = { temperature: 1, hot: 1, cooling: 1, leak_rows: 0, leak_columns: 0 };

describe("an early stop empties the dispatches that follow", () => {
  const [n, m] = [129, 6];
  const scales = [0.1, 4, 0.1];
  const random = testRandom(3);
  const values = Float32Array.from({ length: scales.length * n * m }, (_, e) => scales[Math.floor(e / (n * m))] * random.normal());
  const run = async (op: typeof watched, tolerance: number): Promise<ArrayLike<number>[]> => {
    using logits = device.tensor(values, [scales.length, n, m]);
    const results = apply(op, [logits], ATTRS, { ...SCALARS, tolerance });
    const read = await Promise.all(results.map((result) => result.read()));
    for (const result of results) result.dispose();
    return read;
  };
  const watch = async (tolerance: number) => {
    const [p, record, counts] = await run(watched, tolerance);
    const size = record.length / scales.length;
    const rows = Array.from({ length: counts.length / WORDS }, (_, k) => Array.from(counts).slice(k * WORDS, (k + 1) * WORDS));
    return { p, record, rows, ran: scales.map((_, b) => record[b * size]) };
  };

  test("once the last matrix has converged, and with the same bits", async () => {
    const { p, record, rows, ran } = await watch(1e-2);
    expect(ran[0]).toBe(5);
    expect(ran[2]).toBe(5);
    expect(ran[1]).toBeGreaterThan(10);
    expect(ran[1]).toBeLessThan(40);
    for (const [k, row] of rows.entries()) {
      const going = ran.filter((iterations) => iterations > 5 * (k + 1)).length;
      expect(row).toEqual(going > 0 ? [6, 1, 1, 6, 1, 1, going] : [0, 0, 0, 0, 0, 0, 0]);
    }
    expect(await run(direct, 1e-2)).toEqual([p, record]);
  });

  test("and not while a matrix goes on", async () => {
    const { rows, ran } = await watch(0);
    expect(ran[1]).toBe(40);
    const before = rows.slice(0, -1).map((row) => row.slice(0, 6));
    expect(before).toEqual(before.map(() => [6, 1, 1, 6, 1, 1]));
    expect(rows[rows.length - 1]).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });
});
