//#include "lib/grid.wgsl"

// y = Φ(x), the lower triangle with half the diagonal, or with `fold` −Φ(x + xᵀ).   x, y: [n, n]
struct Params {
  n: u32,
  fold: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.n * params.n) { return; }
  let row = i / params.n;
  let column = i % params.n;
  var value = 0.0;
  if (row >= column) {
    value = x[i];
    if (params.fold == 1u) { value = -(value + x[column * params.n + row]); }
    if (row == column) { value *= 0.5; }
  }
  y[i] = value;
}
