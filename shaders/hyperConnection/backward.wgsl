//#include "lib/grid.wgsl"
//#include "lib/tile.wgsl"
//#include "lib/staging.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/staged-logits.wgsl"
//#include "lib/staged-gradient.wgsl"
//#include "lib/tiny.wgsl"
//#include "lib/tiny-backward.wgsl"

// Gradients of THREADS matrices per workgroup, one per thread.
//   gradient, dlogits: [count, n, m]      parameters: [count, numbers], d bias and then d scale
struct Params {
  count: u32,
  n: u32,
  m: u32,
  row_step: u32,
  column_step: u32,
  iterations: u32,
  has_scale: u32,
  scale_step: u32,
  has_bias: u32,
  bias_step: u32,
  logits_gradient: u32,
  scale_gradient: u32,
  bias_gradient: u32,
  kept: u32,
  history: u32,
  temperature: f32,
  eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> scale: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<u32>;
@group(0) @binding(4) var<storage, read> gradient: array<u32>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<u32>;
@group(0) @binding(6) var<storage, read_write> parameters: array<u32>;

// The forward pass has reported it.
fn on_broken(word: u32) {}

@compute @workgroup_size(THREADS)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = min(linear_workgroup(group, groups) * THREADS, params.count);
  let here = min(THREADS, params.count - first);
  stage_logits(first, here, lane);
  workgroupBarrier();
  if (lane < here) { load_softmax(lane, first + lane); }
  workgroupBarrier();
  stage_gradient(first, here, lane);
  workgroupBarrier();
  if (lane < here) { load_tile(lane, &g); }
  workgroupBarrier();
  if (lane < here) { walk_back(lane); }
  write_gradients(first, here, lane);
}
