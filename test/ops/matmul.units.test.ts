/**
 * Products of float16 by matrix units. No driver here has them: the kernel runs on a piece of WGSL that does in loops what theirs does, so that all but the four calls
 * of lib/matrix-units.wgsl is checked like any kernel; `npm run check` compiles those.
 */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { intern } from "../../src/apply.ts";
import { openWebGPU } from "../../src/backends/webgpu/index.ts";
import { product } from "../../src/generated/matmul.ts";
import { type Call, FLOOR_LIMITS, type Limits, type Op, type Plan } from "../../src/op.ts";
import { openDevice } from "../../src/open.ts";
import { room } from "../../src/ops/matmul/cases.ts";
import { matmul, PLAIN } from "../../src/ops/matmul/op.ts";
import { reflect } from "../../src/reflect.ts";
import type { Case } from "../../src/testing/cases.ts";
import { conformance } from "../support/suite.ts";

const file = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");
const libs = readdirSync(new URL("../../shaders/lib", import.meta.url)).map((name) => [`lib/${name}`, file(`../../shaders/lib/${name}`)]);
const emulated = reflect("matmul/units", file("../../shaders/matmul/units.wgsl"), {
  ...Object.fromEntries(libs),
  "lib/matrix-units.wgsl": file("../support/emulated-units.wgsl"),
});

const withUnits = (limits: Limits): Limits => ({ ...limits, matrixUnits: true });
const usesUnits = ({ passes }: Plan): boolean => passes.some(({ shader }) => shader.name === "matmul/units");
const callOf = ({ op, inputs, attrs }: Case): Call =>
  intern(
    op,
    inputs.map(({ shape, dtype = "float32" }) => ({ shape, dtype })),
    attrs,
  );
/** Forward alone: gradients multiply float32, which is not theirs. */
const onUnits = (op: Op): Op => ({
  ...op,
  gradient: { none: "only the product is looked at" },
  plan: (call, limits) => {
    const plan = op.plan(call, withUnits(limits));
    return { ...plan, passes: plan.passes.map((pass) => (pass.shader.name === "matmul/units" ? { ...pass, shader: emulated } : pass)) };
  },
});

const cases = room.cases.filter((entry) => entry.op.name === "matmul" && usesUnits(entry.op.plan(callOf(entry), withUnits(FLOOR_LIMITS))));

conformance(
  () => openWebGPU({ allowSoftware: true }),
  (entry) => cases.includes(entry),
  (entry) => ({ ...entry, op: onUnits(entry.op) }),
);

test("products of float16 that fill tiles go to them, where they are asked for", () => {
  expect(cases.length).toBeGreaterThan(3);
  const call = (dtypeA: "float16" | "float32", dtypeB: "float16" | "float32", n: number): Call =>
    intern(
      matmul as Op,
      [
        { shape: [64, 64], dtype: dtypeA },
        { shape: [64, n], dtype: dtypeB },
      ],
      {
        transposeA: false,
        transposeB: false,
        batch: [],
        ...PLAIN,
      },
    );
  const planned = (wanted: Call, limits: Limits) => wanted.op.plan(wanted, limits).passes[0].shader;
  expect(planned(call("float16", "float16", 64), withUnits(FLOOR_LIMITS)).source).toMatch(/^enable f16; enable subgroups; enable chromium_exp/);
  expect(planned(call("float16", "float16", 64), FLOOR_LIMITS)).toBe(product);
  expect(planned(call("float16", "float32", 64), withUnits(FLOOR_LIMITS))).toBe(product);
  expect(planned(call("float16", "float16", 8), withUnits(FLOOR_LIMITS))).toBe(product);
});

test("an adapter without them says what it has", async () => {
  await expect(openDevice({ device: "webgpu", subgroupMatrices: true })).rejects.toThrow(
    /webgpu: expected an adapter whose subgroups of 32 threads multiply matrices of f16 to f32 16x16x16 for `subgroupMatrices`, but received .+ with none/,
  );
});
