//#include "lib/grid.wgsl"
//#include "lib/tile.wgsl"
//#include "lib/staging.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/staged-logits.wgsl"
//#include "lib/fault.wgsl"
//#include "lib/tiny.wgsl"
//#include "lib/mixing.wgsl"

// y = P · streams for `matrices` matrices per workgroup: the first threads compute one P each, and then all threads walk along the features.
//   logits: [count, n, m]   scale: [1 or count]   bias: [1 or count, n, m]   streams: [count, m, width]   y: [count, n, width]
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
  // Features of a stream.
  width: u32,
  // At most THREADS / SHARE.
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

fn on_broken(word: u32) { report_fault(params.fault | NUMBER, word); }

fn write_feature(at: u32, value: f32) { y[at] = value; }

@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = min(linear_workgroup(group, groups) * params.matrices, params.count);
  let here = min(params.matrices, params.count - first);
  stage_logits(first, here, lane);
  workgroupBarrier();
  for (var slot = lane; slot < here; slot += THREADS) {
    load_softmax(slot, first + slot);
    normalise(params.iterations);
    put_tile(slot, &x);
  }
  workgroupBarrier();
  for (var slot = lane / params.team; slot < here; slot += THREADS / params.team) {
    load_tile(slot, &weights);
    for (var k = lane % params.team; k < params.width; k += 4u * params.team) {
      let features = features_from(k);
      let v = streams_of(first + slot, 0u, features);
      if (TILE == 4u) {
        write_streams(first + slot, params.n, 0u, features, v * weights[0]);
      } else {
        let w = streams_of(first + slot, 4u, features);
        write_streams(first + slot, params.n, 0u, features, v * weights[0] + w * weights[1]);
        write_streams(first + slot, params.n, 4u, features, v * weights[2] + w * weights[3]);
      }
    }
  }
}
