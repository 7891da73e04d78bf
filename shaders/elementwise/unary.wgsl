//#include "lib/grid.wgsl"
//#include "lib/activation.wgsl"

// One thread computes one element. KIND picks the formula when the pipeline is compiled: an activation, or one of those below.
//   x, saved, g, y: [count]
override KIND: u32;

const NEG: u32 = 7u;
const EXP: u32 = 8u;
const LOG: u32 = 9u;
const SQRT: u32 = 10u;
const ABS: u32 = 11u;
const SQUARE: u32 = 12u;
const RECIPROCAL: u32 = 13u;

struct Params {
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn value(v: f32) -> f32 {
  switch KIND {
    case NEG: { return -v; }
    case EXP: { return exp(v); }
    case LOG: { return log(v); }
    case SQRT: { return sqrt(v); }
    case ABS: { return abs(v); }
    case SQUARE: { return v * v; }
    case RECIPROCAL: { return 1.0 / v; }
    default: { return activated(KIND, v); }
  }
}

// Derivative from the saved input or output, as `reference.ts` lists it.
fn derivative(s: f32) -> f32 {
  switch KIND {
    case NEG: { return -1.0; }
    case EXP: { return s; }
    case LOG: { return 1.0 / s; }
    case SQRT: { return 0.5 / s; }
    case ABS: { return sign(s); }
    case SQUARE: { return 2.0 * s; }
    case RECIPROCAL: { return -s * s; }
    default: { return slope(KIND, s); }
  }
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i < params.count) { y[i] = value(x[i]); }
}

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i < params.count) { y[i] = g[i] * derivative(x[i]); }
}
