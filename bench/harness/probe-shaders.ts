/** The GPU's side of the probes. Not in shaders/, which holds what the package computes with. */

/** CHAINS chains of vec4 that do not wait for one another, `rounds` multiply-adds each. y: [threads] */
export const FMA = `const THREADS: u32 = 256u;
const CHAINS: u32 = 8u;
struct Params { rounds: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let start = f32(id.x % 1024u);
  let factor = vec4f(0.999);
  let term = vec4f(0.001);
  var a0 = vec4f(start + 0.0);
  var a1 = vec4f(start + 1.0);
  var a2 = vec4f(start + 2.0);
  var a3 = vec4f(start + 3.0);
  var a4 = vec4f(start + 4.0);
  var a5 = vec4f(start + 5.0);
  var a6 = vec4f(start + 6.0);
  var a7 = vec4f(start + 7.0);
  for (var round = 0u; round < params.rounds; round++) {
    a0 = fma(a0, factor, term);
    a1 = fma(a1, factor, term);
    a2 = fma(a2, factor, term);
    a3 = fma(a3, factor, term);
    a4 = fma(a4, factor, term);
    a5 = fma(a5, factor, term);
    a6 = fma(a6, factor, term);
    a7 = fma(a7, factor, term);
  }
  let all = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7;
  y[id.x] = all.x + all.y + all.z + all.w;
}
`;

/** y = x; every thread takes each `stride`-th vector. x, y: [4 · count] */
export const COPY = `struct Params { count: u32, stride: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
  for (var i = id.x; i < params.count; i += params.stride) { y[i] = x[i]; }
}
`;
