//#include "lib/grid.wgsl"

// Gradients of w and of the group factor, from V[g, (o, i, a), m] = sum over n of t[o, g, i, a, n] · space[g, n, m].
//   to_weight   dw[o, i, b, m] = t[o, identity, i, b, m] + sum over g, a of factors[g, a, b] · V[g, (o, i, a), m]; one element a thread
//   to_group    dfactors[g, a, b] = sum over o, i, m of V[g, (o, i, a), m] · w[o, i, b, m]; four neighbours b a workgroup
struct Params {
  matrices: u32,
  // Kernels (o, i), channels (i, a) of an output channel, group axis, numbers behind it.
  kernels: u32,
  cin: u32,
  p: u32,
  d: u32,
  group: u32,
  // Rows of w to whose gradient what arrives at the identity is added: all or none.
  added: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read> w: array<f32>;
@group(0) @binding(4) var<storage, read> t: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn to_weight(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  let row = i / params.d;
  if (row >= params.kernels * params.p) { return; }
  var total = 0.0;
  if (row < params.added) { total = t[(row / params.cin * params.group * params.cin + row % params.cin) * params.d + i % params.d]; }
  let b = row % params.p;
  let apart = params.kernels * params.p;
  var from_factors = b;
  // One element of the group after the other, and in it one neighbour a.
  for (var first = row - b; first < params.matrices * apart; first += apart) {
    for (var neighbour = first; neighbour < first + params.p; neighbour++) {
      total += factors[from_factors] * values[neighbour * params.d + i % params.d];
      from_factors += params.p;
    }
  }
  y[i] = total;
}

var<workgroup> sums: array<vec4f, 128>;

@compute @workgroup_size(128)
fn to_group(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups);
  let fours = (params.p + 3u) / 4u;
  let row = i / fours;
  if (row >= params.matrices * params.p) { return; }
  let from_values = row / params.p * params.kernels * params.p + row % params.p;
  let b = i % fours * 4u;
  // Entries past the end repeat the last one.
  let last = params.p - 1u;
  let neighbours = vec4u(b, min(b + 1u, last), min(b + 2u, last), min(b + 3u, last)) * params.d;
  var total = vec4f();
  for (var at = lane; at < params.kernels * params.d; at += 128u) {
    let first = at / params.d * params.p;
    let m = at % params.d;
    let own = first * params.d + m;
    total += values[(from_values + first) * params.d + m] * vec4f(w[own + neighbours.x], w[own + neighbours.y], w[own + neighbours.z], w[own + neighbours.w]);
  }
  sums[lane] = total;
  // One barrier, and one thread that adds up: a tree of them takes longer for so few numbers.
  workgroupBarrier();
  if (lane == 0u) {
    for (var part = 1u; part < 128u; part++) { total += sums[part]; }
    for (var q = 0u; q < min(4u, params.p - b); q++) { y[row * params.p + b + q] = total[q]; }
  }
}
