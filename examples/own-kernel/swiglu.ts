/**
 * A kernel of one's own, made of what the package exports: SwiGLU, y = silu(gate) · up with silu(x) = x / (1 + e^-x) (Shazeer 2020, arXiv:2002.05202), as one dispatch
 * forward and one backward. With s = 1 / (1 + e^-gate):  d gate = dy · up · s (1 + gate (1 − s)),  d up = dy · gate · s.
 */
import {
  ArgumentError,
  type Call,
  type CustomOp,
  customOp,
  elements,
  grid,
  input,
  type Limits,
  output,
  type Shape,
  type Spec,
  type Tensor,
} from "birkhoff";

/** Threads of a workgroup. */
export const GROUP = 64;

const WGSL = `
struct Params { count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate: array<f32>;
@group(0) @binding(2) var<storage, read> up: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> d_gate: array<f32>;
@group(0) @binding(6) var<storage, read_write> d_up: array<f32>;

const GROUP: u32 = ${GROUP}u;

// e^-|x| never overflows.
fn sigmoid(x: f32) -> f32 {
  let e = exp(-abs(x));
  return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

// Undoes grid(): more workgroups than fit along one axis lie in rows.
fn element(group: vec3u, counts: vec3u, thread: u32) -> u32 {
  return (group.x + counts.x * group.y) * GROUP + thread;
}

@compute @workgroup_size(GROUP)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) counts: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = element(group, counts, thread);
  // Buffers may be longer than the tensor.
  if (i >= params.count) { return; }
  y[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

@compute @workgroup_size(GROUP)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) counts: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = element(group, counts, thread);
  if (i >= params.count) { return; }
  let x = gate[i];
  let s = sigmoid(x);
  d_gate[i] = dy[i] * up[i] * s * (1.0 + x * (1.0 - s));
  d_up[i] = dy[i] * x * s;
}`;

type None = Record<string, never>;

const sameShape = (inputs: readonly Spec[]): Shape => {
  const [{ shape }] = inputs;
  for (const [i, spec] of inputs.entries()) {
    if (spec.dtype !== "float32") throw new ArgumentError(`swiglu: expected float32 for \`inputs[${i}]\`, but received ${spec.dtype}`);
    if (`${spec.shape}` !== `${shape}`)
      throw new ArgumentError(`swiglu: expected shape [${shape}] for \`inputs[${i}]\`, but received [${spec.shape}]`);
  }
  return shape;
};

/** The size of a call as `params` and workgroups. */
const size = ({ inputs: [{ shape }] }: Call<None>, limits: Limits) => {
  const count = elements(shape);
  return { params: { count }, workgroups: grid(Math.ceil(count / GROUP), limits) };
};

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** An op of its own: devices see it, the tests of `op` reach it, and nobody differentiates it again. */
const backward: CustomOp<None> = customOp<None>({
  name: "swiglu.backward",
  outputs: (inputs) => {
    const shape = sameShape(inputs);
    return [
      { shape, dtype: "float32" },
      { shape, dtype: "float32" },
    ];
  },
  wgsl: WGSL,
  plan: (call, limits) => {
    const bind = { gate: input(0), up: input(1), dy: input(2), d_gate: output(0), d_up: output(1) };
    return { passes: [{ entry: "backward", bind, ...size(call, limits) }] };
  },
  reference: ({ inputs: [gate, up, dy], outputs: [dGate, dUp] }) => {
    for (let i = 0; i < dy.length; i++) {
      const s = sigmoid(gate[i]);
      dGate[i] = dy[i] * up[i] * s * (1 + gate[i] * (1 - s));
      dUp[i] = dy[i] * gate[i] * s;
    }
  },
  gradient: { none: "swiglu has first derivatives only" },
});

const forward: CustomOp<None> = customOp<None>({
  name: "swiglu",
  outputs: (inputs) => [{ shape: sameShape(inputs), dtype: "float32" }],
  wgsl: WGSL,
  plan: (call, limits) => ({ passes: [{ entry: "forward", bind: { gate: input(0), up: input(1), y: output(0) }, ...size(call, limits) }] }),
  reference: ({ inputs: [gate, up], outputs: [y] }) => {
    for (let i = 0; i < y.length; i++) y[i] = gate[i] * sigmoid(gate[i]) * up[i];
  },
  gradient: {
    saves: { inputs: [0, 1] },
    vjp: (context) => {
      const [dGate, dUp] = backward([context.input(0), context.input(1), context.gradient(0)], {});
      return [context.needs(0) ? dGate : undefined, context.needs(1) ? dUp : undefined];
    },
  },
});

/** The op's value: for cases, and for `prepareKernel`. */
export const op = forward.op;

/**
 * silu(gate) · up, elementwise.
 *
 * @param gate float32, any shape
 * @param up of the same shape
 * @throws ArgumentError for other shapes or dtypes; DeviceError on `native`, for which there is no kernel
 */
export const swiglu = (gate: Tensor, up: Tensor): Tensor => forward([gate, up], {})[0];
