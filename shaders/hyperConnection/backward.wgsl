//#include "lib/grid.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/tiny.wgsl"
//#include "lib/tiny-backward.wgsl"

// Gradients of HOLDERS = THREADS matrices per workgroup, one per thread.
//   gradient, dlogits: [count, n, m]      parameters: [count, numbers], d bias and then d scale
struct Params {
  count: u32,
  n: u32,
  m: u32,
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
@group(0) @binding(4) var<storage, read> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(6) var<storage, read_write> parameters: array<f32>;

// Matrices on their way in and out, and in between the divisors.
const WORDS: u32 = 4096u;
var<workgroup> words: array<f32, WORDS>;

// The forward pass has reported it.
fn on_broken(word: u32) {}

@compute @workgroup_size(THREADS)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = linear_workgroup(group, groups) * THREADS;
  let here = min(THREADS, params.count - min(first, params.count));
  let size = params.n * params.m;
  stage_logits(first, here, lane);
  workgroupBarrier();
  load_softmax(lane, here);
  workgroupBarrier();
  for (var k = lane; k < here * size; k += THREADS) { words[k / size * stride() + k % size] = gradient[first * size + k]; }
  workgroupBarrier();
  for (var i = 0u; i < TILE; i++) {
    for (var j = 0u; j < TILE; j++) {
      var value = 0.0;
      if (i < rows && j < params.m) { value = words[lane * stride() + i * params.m + j]; }
      g[(i * TILE + j) / 4u][j % 4u] = value;
    }
  }
  workgroupBarrier();
  walk_back(lane);
  write_gradients(first, here, lane);
}
