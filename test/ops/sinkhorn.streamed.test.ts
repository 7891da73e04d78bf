/** What matrices that several workgroups share do on webgpu besides giving the right numbers: how many workgroups run. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apply } from "../../src/apply.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import type { Device } from "../../src/device.ts";
import { type Attrs, type Call, type Limits, type Op, output, type Pass, type Plan, type Scalars, type Workgroups } from "../../src/op.ts";
import { deviceOf } from "../../src/open.ts";
import type { BackwardAttrs, ForwardAttrs } from "../../src/ops/sinkhorn/geometry.ts";
import { implicit, recorded } from "../../src/ops/sinkhorn/op.ts";
import { reflect } from "../../src/reflect.ts";
import type { Tensor } from "../../src/tensor.ts";
import { testRandom } from "../../src/testing/random.ts";

let device: Device;
beforeAll(async () => {
  device = deviceOf(await openWebGPU({ allowSoftware: true }));
});
afterAll(async () => {
  await device.close();
});

/** Words that both plans keep for counts: of two kinds of dispatches. */
const WORDS = 6;
const MOST_LOOKS = 12;
const copy = reflect(
  "test/copy",
  `struct Params { slot: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> into: array<u32>;
@compute @workgroup_size(${WORDS}) fn main(@builtin(local_invocation_index) k: u32) { into[params.slot * ${WORDS}u + k] = source[k]; }`,
);

/** The op with its passes changed, and perhaps one more output. */
const changed = <A extends Attrs>(op: Op<A>, name: string, change: (passes: readonly Pass[]) => Pass[], more = 0): Op<A> => ({
  ...op,
  name,
  outputs: (inputs, attrs) => [...op.outputs(inputs, attrs), ...(more > 0 ? [{ shape: [more], dtype: "uint32" as const }] : [])],
  plan: (call: Call<A>, limits: Limits): Plan => {
    const { passes, ...rest } = op.plan({ ...call, outputs: call.outputs.slice(0, 2) }, limits);
    return { ...rest, passes: change(passes) };
  },
  gradient: { none: "a test" },
});
/** A third output tells which counts of workgroups every look leaves. */
const watched = <A extends Attrs>(op: Op<A>, entry: string): Op<A> =>
  changed(
    op,
    "watched",
    (passes) => {
      let slot = 0;
      const record = ({ bind }: Pass): Pass => ({
        shader: copy,
        entry: "main",
        params: { slot: slot++ },
        bind: { source: bind.launch, into: output(2) },
        workgroups: [1, 1, 1],
      });
      return passes.flatMap((pass) => (pass.entry === entry ? [pass, record(pass)] : [pass]));
    },
    MOST_LOOKS * WORDS,
  );
/** As many workgroups as there may be, whatever the device says. */
const direct = <A extends Attrs>(op: Op<A>): Op<A> =>
  changed(op, "direct", (passes) => {
    const full = ({ entry }: Pass): Workgroups =>
      passes.find((pass) => pass.entry === entry && !("indirect" in pass.workgroups))?.workgroups as Workgroups;
    return passes.map((pass) => ("indirect" in pass.workgroups ? { ...pass, workgroups: full(pass) } : pass));
  });
const read = async <A extends Attrs>(op: Op<A>, inputs: readonly Tensor[], attrs: A, scalars: Scalars): Promise<ArrayLike<number>[]> => {
  const results = apply(op, inputs, attrs, scalars);
  const values = await Promise.all(results.map((result) => result.read()));
  for (const result of results) result.dispose();
  return values;
};
const rows = (counts: ArrayLike<number>, looks: number): number[][] =>
  Array.from({ length: looks }, (_, k) => Array.from(counts).slice(k * WORDS, (k + 1) * WORDS));
const NONE = [0, 0, 0, 0, 0, 0];

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
/** Matrices of such deviations. */
const normals = (scales: readonly number[], n: number, m: number): Tensor => {
  const random = testRandom(3);
  const values = Float32Array.from({ length: scales.length * n * m }, (_, e) => scales[Math.floor(e / (n * m))] * random.normal());
  return device.tensor(values, [scales.length, n, m]);
};

describe("an early stop empties the dispatches that follow", () => {
  const scales = [0.1, 4, 0.1];
  const looks = 8;
  const run = async (op: Op<ForwardAttrs>, tolerance: number): Promise<ArrayLike<number>[]> => {
    using logits = normals(scales, 129, 6);
    return read(op, [logits], ATTRS, { ...SCALARS, tolerance });
  };
  const ranOf = (record: ArrayLike<number>): number[] => scales.map((_, b) => record[(b * record.length) / scales.length]);

  test("once the last matrix has converged, and with the same bits", async () => {
    const [p, record, counts] = await run(watched(recorded, "decide"), 1e-2);
    const ran = ranOf(record);
    expect([ran[0], ran[2]]).toEqual([5, 5]);
    expect(ran[1]).toBeGreaterThan(10);
    expect(ran[1]).toBeLessThan(40);
    for (const [k, row] of rows(counts, looks).entries()) expect(row).toEqual(ran[1] > 5 * (k + 1) ? [6, 1, 1, 6, 1, 1] : NONE);
    expect(await run(direct(recorded), 1e-2)).toEqual([p, record]);
  });

  test("and not while a matrix goes on", async () => {
    const [, record, counts] = await run(watched(recorded, "decide"), 0);
    expect(ranOf(record)[1]).toBe(40);
    const seen = rows(counts, looks);
    expect(seen).toEqual(seen.map((_, k) => (k < looks - 1 ? [6, 1, 1, 6, 1, 1] : NONE)));
  });
});

test("conjugate gradients end where the last matrix is solved, with the same bits", async () => {
  const [n, m] = [129, 40];
  const attrs: BackwardAttrs = {
    iterations: 12,
    order: "row",
    annealed: 0,
    unbalanced: false,
    record: "head",
    matrix: "P",
    plain: false,
    vectors: false,
    operands: "gradient",
  };
  const solve = async (scales: readonly number[]): Promise<number[][]> => {
    using logits = normals(scales, n, m);
    using gradient = normals([1, 1], n, m);
    const [p, record] = apply(
      recorded,
      [logits],
      { ...ATTRS, iterations: 12, error: false, checkEvery: 0, record: "head", backward: "implicit" },
      {
        ...SCALARS,
        tolerance: 0,
      },
    );
    const [dx, , counts] = await read(watched(implicit, "look"), [p, record, gradient], attrs, SCALARS);
    expect((await read(direct(implicit), [p, record, gradient], attrs, SCALARS))[0]).toEqual(dx);
    for (const tensor of [p, record]) tensor.dispose();
    return rows(counts, Math.floor((2 * m + 8) / 8));
  };
  const easy = await solve([0.1, 0.5]);
  expect(easy).toEqual([NONE, ...easy.slice(1)]);
  const [first, ...others] = await solve([0.1, 10]);
  expect(first).toEqual([4, 1, 1, 4, 1, 1]);
  expect(others).toContainEqual(NONE);
});
