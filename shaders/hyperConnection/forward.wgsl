//#include "lib/grid.wgsl"
//#include "lib/tile.wgsl"
//#include "lib/staging.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/staged-logits.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/tiny.wgsl"

// P of THREADS matrices per workgroup, one per thread.
//   logits, p: [count, n, m]      scale: [1 or count]      bias: [1 or count, n, m]
struct Params {
  count: u32,
  n: u32,
  m: u32,
  row_step: u32,
  column_step: u32,
  iterations: u32,
  // Whether there is a scale, or a bias, and numbers from one matrix's to the next one's.
  has_scale: u32,
  scale_step: u32,
  has_bias: u32,
  bias_step: u32,
  temperature: f32,
  eps: f32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> scale: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<u32>;
@group(0) @binding(4) var<storage, read_write> p: array<u32>;
@group(0) @binding(5) var<storage, read_write> status: array<atomic<u32>, 2>;

fn on_broken(word: u32) { report_fault(params.fault | NUMBER, word); }

@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = min(linear_workgroup(group, groups) * THREADS, params.count);
  let here = min(THREADS, params.count - first);
  stage_logits(first, here, lane);
  workgroupBarrier();
  if (lane < here) {
    load_softmax(lane, first + lane);
    normalise(params.iterations);
    put_tile(lane, &x);
  }
  workgroupBarrier();
  let size = params.n * params.m;
  for (var k = lane; k < here * size; k += THREADS) { p[first * size + k] = word_at(k); }
}
