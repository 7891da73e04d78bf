//#include "lib/grid.wgsl"

// Sums of columns: the gradient of a bias. One workgroup sums `chunk` rows of 32 columns, one thread every eighth row of one column.
// x: [rows, n]; y: [chunks, n]
struct Params {
  rows: u32,
  n: u32,
  chunk: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> partials: array<f32, 256>;

@compute @workgroup_size(32, 8)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let number = linear_workgroup(group, groups);
  let strips = (params.n + 31u) / 32u;
  let column = number % strips * 32u + local.x;
  let chunk = number / strips;
  let inside = chunk < params.chunks && column < params.n;
  var total = 0.0;
  if (inside) {
    let end = min(params.rows, (chunk + 1u) * params.chunk);
    for (var row = chunk * params.chunk + local.y; row < end; row += 8u) { total += x[row * params.n + column]; }
  }
  partials[lane] = total;
  for (var half = 4u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local.y < half) { partials[lane] += partials[lane + half * 32u]; }
  }
  if (inside && local.y == 0u) { y[chunk * params.n + column] = partials[lane]; }
}
