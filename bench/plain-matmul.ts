/** A product of matrices as anybody would write it first: one GPU thread an element, or three loops on the CPU. What the room's kernels are measured against. */
import { apply } from "../src/apply.ts";
import { defineOp, elements, grid, input, type Op, output } from "../src/op.ts";
import { PLAIN } from "../src/ops/matmul/op.ts";
import { matmul as product } from "../src/ops/matmul/reference.ts";
import { transpose } from "../src/ops/shape/index.ts";
import { reflect } from "../src/reflect.ts";
import type { Tensor } from "../src/tensor.ts";

const shader = reflect(
  "bench/plain-matmul",
  `struct Params { m: u32, n: u32, k: u32, batch: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  let size = params.m * params.n;
  if (i >= params.batch * size) { return; }
  let from_a = i / params.n * params.k;
  let from_b = i / size * params.k * params.n + i % params.n;
  var total = 0.0;
  for (var l = 0u; l < params.k; l++) { total += a[from_a + l] * b[from_b + l * params.n]; }
  c[i] = total;
}
`,
);

/** [..., m, k] · [..., k, n], with the same batch axes. */
const op: Op = defineOp({
  name: "probe.matmul",
  arity: 2,
  attributes: {},
  outputs: ([a, b]) => [{ shape: [...a.shape.slice(0, -1), ...b.shape.slice(-1)], dtype: "float32" }],
  reference: (run) =>
    product({
      ...run,
      call: { ...run.call, attrs: { transposeA: false, transposeB: false, batch: run.call.outputs[0].shape.slice(0, -2), ...PLAIN } } as never,
    }),
  plan: ({ inputs: [{ shape }], outputs: [c] }, limits) => {
    const [m, k] = shape.slice(-2);
    const [n] = c.shape.slice(-1);
    return {
      passes: [
        {
          shader,
          entry: "main",
          params: { m, n, k, batch: elements(shape.slice(0, -2)) },
          bind: { a: input(0), b: input(1), c: output(0) },
          workgroups: grid(Math.ceil(elements(c.shape) / 256), limits),
        },
      ],
    };
  },
  gradient: {
    saves: { inputs: [0, 1] },
    vjp: (ctx) => {
      const [a, b] = [ctx.input(0), ctx.input(1)];
      const g = ctx.gradient(0);
      return [ctx.needs(0) ? plainMatmul(g, transpose(b, -1, -2)) : undefined, ctx.needs(1) ? plainMatmul(transpose(a, -1, -2), g) : undefined];
    },
  },
});

export const plainMatmul = (a: Tensor, b: Tensor): Tensor => apply(op, [a, b], {})[0];
