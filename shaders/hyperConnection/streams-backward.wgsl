//#include "lib/grid.wgsl"
//#include "lib/tile.wgsl"
//#include "lib/staging.wgsl"
//#include "lib/logits.wgsl"
//#include "lib/half.wgsl"
//#include "lib/stored-logits.wgsl"
//#include "lib/staged-logits.wgsl"
//#include "lib/tiny.wgsl"
//#include "lib/tiny-backward.wgsl"
//#include "lib/mixing.wgsl"

// Gradients through y = P · streams, with the division of work of streams.wgsl. First threads compute P; then all threads walk along the
// features, which gives d streams = Pᵀ · gradient and, added up over a team, dP = gradient · streamsᵀ; then the first threads walk back from dP.
//   gradient: [count, n, width]   streams, dstreams: [count, m, width]   dlogits: [count, n, m]   parameters: [count, numbers]
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
  width: u32,
  matrices: u32,
  team: u32,
  streams_gradient: u32,
  logits_gradient: u32,
  scale_gradient: u32,
  bias_gradient: u32,
  kept: u32,
  // Place in `words` of what the threads of a team add up, and later of the divisors.
  history: u32,
  temperature: f32,
  eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> scale: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<u32>;
@group(0) @binding(4) var<storage, read> streams: array<f32>;
@group(0) @binding(5) var<storage, read> gradient: array<f32>;
@group(0) @binding(6) var<storage, read_write> dlogits: array<u32>;
@group(0) @binding(7) var<storage, read_write> parameters: array<u32>;
@group(0) @binding(8) var<storage, read_write> dstreams: array<f32>;

// dP of one matrix, as one thread saw it.
var<private> partial: Tile;

fn on_broken(word: u32) {}

fn gradient_at(start: u32, features: vec4u) -> vec4f {
  let at = start + min(features, vec4u(params.width - 1u));
  return select(vec4f(), vec4f(gradient[at.x], gradient[at.y], gradient[at.z], gradient[at.w]), features < vec4u(params.width));
}
// Rows i … i + 3, and 0 for features beyond the last.
fn gradients_of(matrix: u32, i: u32, features: vec4u) -> mat4x4f {
  let start = streams_from(matrix, params.n, i);
  return mat4x4f(gradient_at(start.x, features), gradient_at(start.y, features), gradient_at(start.z, features), gradient_at(start.w, features));
}

fn write_feature(at: u32, value: f32) { dstreams[at] = value; }

// Number e of a block as thread `lane` saw it: one thread's numbers lie more than a multiple of 32 words apart, and so in different banks.
fn part_at(e: u32, lane: u32) -> u32 { return params.history + e * (THREADS + 1u) + lane; }
fn put_parts(e: u32, lane: u32, values: vec4f) {
  words[part_at(e, lane)] = bitcast<u32>(values.x);
  words[part_at(e + 1u, lane)] = bitcast<u32>(values.y);
  words[part_at(e + 2u, lane)] = bitcast<u32>(values.z);
  words[part_at(e + 3u, lane)] = bitcast<u32>(values.w);
}
// Adds up `count` parts of number e, `step` threads apart.
fn sum_of_parts(e: u32, lane: u32, count: u32, step: u32) -> f32 {
  var total = 0.0;
  for (var k = 0u; k < count; k += step) { total += bitcast<f32>(words[part_at(e, lane + k)]); }
  return total;
}
const PART: u32 = 16u;

// Adds up a block of `partial` over the team's threads, first over every 16 of them, and puts it where P was.
fn add_up(a: mat4x4f, slot: u32, i: u32, j: u32, live: bool, lane: u32) {
  put_parts(0u, lane, a[0]);
  put_parts(4u, lane, a[1]);
  put_parts(8u, lane, a[2]);
  put_parts(12u, lane, a[3]);
  workgroupBarrier();
  let some = min(params.team, PART);
  let own = lane % some;
  for (var e = own; e < 16u; e += some) { words[part_at(e, lane - own)] = bitcast<u32>(sum_of_parts(e, lane - own, some, 1u)); }
  workgroupBarrier();
  let member = lane % params.team;
  if (live) {
    for (var e = member; e < 16u; e += params.team) {
      let total = sum_of_parts(e, lane - member, params.team, some);
      let row = i + e / 4u;
      let column = j + e % 4u;
      if (row < params.n && column < params.m) { put_word((slot * params.n + row) * params.m + column, bitcast<u32>(total)); }
    }
  }
  workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = min(linear_workgroup(group, groups) * params.matrices, params.count);
  let here = min(params.matrices, params.count - first);
  let through_p = params.logits_gradient + params.scale_gradient + params.bias_gradient > 0u;
  if (params.streams_gradient == 1u) {
    stage_logits(first, here, lane);
    workgroupBarrier();
    for (var slot = lane; slot < here; slot += THREADS) {
      load_softmax(slot, first + slot);
      normalise(params.iterations);
      put_tile(slot, &x);
    }
    workgroupBarrier();
  }

  let teams = THREADS / params.team;
  for (var turn = 0u; turn < params.matrices; turn += teams) {
    let slot = turn + lane / params.team;
    let matrix = first + slot;
    let live = slot < here;
    partial = Tile();
    if (live) {
      load_tile(slot, &weights);
      for (var k = lane % params.team; k < params.width; k += 4u * params.team) {
        let features = features_from(k);
        let dy = gradients_of(matrix, 0u, features);
        var lower = mat4x4f();
        if (TILE > 4u) { lower = gradients_of(matrix, 4u, features); }
        if (through_p) {
          let v = transpose(streams_of(matrix, 0u, features));
          partial[0] += v * dy;
          if (TILE > 4u) {
            let w = transpose(streams_of(matrix, 4u, features));
            partial[1] += w * dy;
            partial[2] += v * lower;
            partial[3] += w * lower;
          }
        }
        if (params.streams_gradient == 1u) {
          if (TILE == 4u) {
            write_streams(matrix, params.m, 0u, features, dy * transpose(weights[0]));
          } else {
            write_streams(matrix, params.m, 0u, features, dy * transpose(weights[0]) + lower * transpose(weights[2]));
            write_streams(matrix, params.m, 4u, features, dy * transpose(weights[1]) + lower * transpose(weights[3]));
          }
        }
      }
    }
    if (through_p) {
      add_up(partial[0], slot, 0u, 0u, live, lane);
      if (TILE > 4u) {
        add_up(partial[1], slot, 0u, 4u, live, lane);
        add_up(partial[2], slot, 4u, 0u, live, lane);
        add_up(partial[3], slot, 4u, 4u, live, lane);
      }
    }
  }
  if (!through_p) { return; }

  for (var slot = lane; slot < here; slot += THREADS) { load_tile(slot, &g); }
  workgroupBarrier();
  stage_logits(first, here, lane);
  workgroupBarrier();
  for (var slot = lane; slot < here; slot += THREADS) { load_softmax(slot, first + slot); }
  workgroupBarrier();
  for (var slot = lane; slot < here; slot += THREADS) { walk_back(lane); }
  write_gradients(first, here, lane);
}
