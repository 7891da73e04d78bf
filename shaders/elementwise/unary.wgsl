//#include "lib/grid.wgsl"
//#include "lib/erf.wgsl"

// One thread computes one element. KIND picks the formula when the pipeline is compiled.
//   x, saved, g, y: [count]
override KIND: u32;

const NEG: u32 = 0u;
const EXP: u32 = 1u;
const LOG: u32 = 2u;
const SQRT: u32 = 3u;
const ABS: u32 = 4u;
const SQUARE: u32 = 5u;
const RECIPROCAL: u32 = 6u;
const RELU: u32 = 7u;
const GELU: u32 = 8u;
const SIGMOID: u32 = 9u;
const TANH: u32 = 10u;
const SILU: u32 = 11u;
const SOFTPLUS: u32 = 12u;

struct Params {
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// exp of a clamped argument, so that no infinity arises on the way; exact at both ends.
fn sigmoid(v: f32) -> f32 {
  let e = exp(-min(abs(v), 88.0));
  return select(e, 1.0, v >= 0.0) / (1.0 + e);
}

// tanh of hardware may overflow for large arguments; beyond 10 it is 1 in float32. Small arguments keep their relative accuracy.
fn safe_tanh(v: f32) -> f32 {
  let a = abs(v);
  let t = a * a;
  let series = a * (1.0 + t * (-0.33333333 + t * (0.13333333 + t * (-0.053968254 + t * 0.021869488))));
  let e = exp(-2.0 * min(a, 20.0));
  return sign(v) * select((1.0 - e) / (1.0 + e), series, a < 0.2);
}

// log(1 + e) for e in [0, 1]: the series where 1 + e would round e away.
fn log1p_small(e: f32) -> f32 {
  let series = e * (1.0 + e * (-0.5 + e * (0.33333333 - 0.25 * e)));
  return select(log(1.0 + e), series, e < 0.02);
}

fn value(v: f32) -> f32 {
  switch KIND {
    case NEG: { return -v; }
    case EXP: { return exp(v); }
    case LOG: { return log(v); }
    case SQRT: { return sqrt(v); }
    case ABS: { return abs(v); }
    case SQUARE: { return v * v; }
    case RECIPROCAL: { return 1.0 / v; }
    case RELU: { return select(v, 0.0, v < 0.0); }
    case GELU: { return v * normal_cdf(v); }
    case SIGMOID: { return sigmoid(v); }
    case TANH: { return safe_tanh(v); }
    case SILU: { return v * sigmoid(v); }
    default: { return max(v, 0.0) + log1p_small(exp(-min(abs(v), 88.0))); }
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
    case RELU: { return select(0.0, 1.0, s > 0.0); }
    case GELU: { return normal_cdf(s) + s * 0.3989422804 * exp(-min(0.5 * s * s, 88.0)); }
    case SIGMOID: { return s * (1.0 - s); }
    case TANH: { return 1.0 - s * s; }
    case SILU: { return sigmoid(s) * (1.0 + s * (1.0 - sigmoid(s))); }
    default: { return sigmoid(s); }
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
