//#include "lib/grid.wgsl"

// running += momentum · (batch - running), with the unbiased variance; one thread a channel. All buffers: [count]
struct Params {
  count: u32,
  unbiased: f32, // n / (n - 1)
  momentum: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> running_variance: array<f32>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> variance: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = linear_workgroup(group, groups) * 256u + lane;
  if (i >= params.count) { return; }
  running_mean[i] += params.momentum * (mean[i] - running_mean[i]);
  running_variance[i] += params.momentum * (params.unbiased * variance[i] - running_variance[i]);
}
