//#include "lib/grid.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/tiny.wgsl"

// y = P · streams for `matrices` matrices per workgroup: the first threads compute one P each, and then all threads walk along the features.
//   logits: [count, n, m]   scale: [1 or count]   bias: [1 or count, n, m]   streams: [count, m, width]   y: [count, n, width]
struct Params {
  count: u32,
  n: u32,
  m: u32,
  iterations: u32,
  has_scale: u32,
  scale_step: u32,
  has_bias: u32,
  bias_step: u32,
  // Features of a stream.
  width: u32,
  // At most HOLDERS.
  matrices: u32,
  // Threads that share a matrix while walking: a power of two.
  team: u32,
  temperature: f32,
  eps: f32,
  fault: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> scale: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<u32>;
@group(0) @binding(4) var<storage, read> streams: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> status: array<atomic<u32>, 2>;

var<workgroup> words: array<f32, HOLDERS * (TILE * TILE + 1u)>;

fn on_broken(word: u32) { report_fault(params.fault | NUMBER, word); }

@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = linear_workgroup(group, groups) * params.matrices;
  let here = min(params.matrices, params.count - min(first, params.count));
  stage_logits(first, here, lane);
  workgroupBarrier();
  if (lane < here) {
    load_softmax(lane, here);
    normalise(params.iterations);
    share_matrix(lane);
  }
  workgroupBarrier();
  for (var slot = lane / params.team; slot < here; slot += THREADS / params.team) {
    let weights = shared_matrix(slot);
    for (var k = lane % params.team; k < params.width; k += params.team) {
      var v = Strip();
      for (var j = 0u; j < TILE; j++) {
        if (j < params.m) { v[j / 4u][j % 4u] = streams[((first + slot) * params.m + j) * params.width + k]; }
      }
      for (var i = 0u; i < TILE; i++) {
        var total = 0.0;
        for (var h = 0u; h < TILE / 4u; h++) { total += dot(weights[i * (TILE / 4u) + h], v[h]); }
        if (i < params.n) { y[((first + slot) * params.n + i) * params.width + k] = total; }
      }
    }
  }
}
