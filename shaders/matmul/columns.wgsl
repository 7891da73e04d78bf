//#include "lib/grid.wgsl"
//#include "lib/activation.wgsl"

// Sums of columns: the gradient of a bias. One workgroup sums `chunk` rows of 32 columns, one thread every eighth row of one column.
//   main        the columns of x
//   through     those of d = x · f'(saved), which it also writes: x is the cotangent of a result with an activation
// x, saved, d: [rows, n]; y: [chunks, n] from row `before` on, behind those of rows that came in dispatches before
override ACTIVATION: u32 = 0u;

struct Params {
  rows: u32,
  n: u32,
  chunk: u32,
  chunks: u32,
  before: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> saved: array<f32>;
@group(0) @binding(4) var<storage, read_write> d: array<f32>;

var<workgroup> partials: array<f32, 256>;

struct Share {
  // Elements of x that this thread adds up, `step` apart.
  first: u32,
  end: u32,
  step: u32,
  // Where the first row of threads puts the sum, if anywhere.
  to: u32,
  inside: bool,
}

fn share_of(number: u32, local: vec3u) -> Share {
  let strips = (params.n + 31u) / 32u;
  let column = number % strips * 32u + local.x;
  let chunk = number / strips;
  if (chunk >= params.chunks || column >= params.n) { return Share(0u, 0u, 1u, 0u, false); }
  let end = min(params.rows, (chunk + 1u) * params.chunk);
  return Share((chunk * params.chunk + local.y) * params.n + column, end * params.n, 8u * params.n, (params.before + chunk) * params.n + column, true);
}

fn finish(share: Share, total: f32, local: vec3u) {
  let lane = local.y * 32u + local.x;
  partials[lane] = total;
  for (var half = 4u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local.y < half) { partials[lane] += partials[lane + half * 32u]; }
  }
  if (share.inside && local.y == 0u) { y[share.to] = partials[lane]; }
}

@compute @workgroup_size(32, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let share = share_of(linear_workgroup(group, groups), local);
  var total = 0.0;
  for (var i = share.first; i < share.end; i += share.step) { total += x[i]; }
  finish(share, total, local);
}

@compute @workgroup_size(32, 8)
fn through(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let share = share_of(linear_workgroup(group, groups), local);
  var total = 0.0;
  for (var i = share.first; i < share.end; i += share.step) {
    let part = x[i] * slope(ACTIVATION, saved[i]);
    d[i] = part;
    total += part;
  }
  finish(share, total, local);
}
